//! What can be configured, as a table made of what the code says: keys and their comments from the types, defaults from
//! their values, in the order of the alphabet.

use std::fmt::Write as _;

use schemars::{JsonSchema, schema_for};
use serde::Serialize;
use serde_json::{Map, Value};
use toml::Value as Defaults;

/// The keys of a configuration as a section of Markdown.
///
/// # Errors
/// When the default configuration cannot be written, which only a broken build causes.
pub fn markdown<C: JsonSchema + Serialize + Default>(
    program: &str,
) -> Result<String, toml::ser::Error> {
    let schema = schema_for!(C).to_value();
    let defaults = Defaults::try_from(C::default())?;
    let mut rows = Vec::new();
    let reader = Reader {
        definitions: schema.get("$defs").and_then(Value::as_object),
    };
    reader.read("", &schema, Some(&defaults), &mut rows);
    let mut text = format!("## `{program}`\n\n| key | default | meaning |\n|---|---|---|\n");
    for Row {
        key,
        default,
        meaning,
    } in rows
    {
        // Writing into a string cannot fail.
        let _ = writeln!(text, "| `{key}` | {default} | {meaning} |");
    }
    Ok(text)
}

struct Row {
    key: String,
    default: String,
    meaning: String,
}

struct Reader<'s> {
    definitions: Option<&'s Map<String, Value>>,
}

impl<'s> Reader<'s> {
    /// Adds a row for each key of a section, and for those of its sections.
    fn read(
        &self,
        prefix: &str,
        section: &'s Value,
        defaults: Option<&Defaults>,
        rows: &mut Vec<Row>,
    ) {
        let keys = section.get("properties").and_then(Value::as_object);
        for (name, property) in keys.into_iter().flatten() {
            let key = match prefix {
                "" => name.clone(),
                prefix => format!("{prefix}.{name}"),
            };
            let default = defaults.and_then(|defaults| defaults.get(name));
            let resolved = self.resolve(property);
            if resolved.get("properties").is_some() {
                self.read(&key, resolved, default, rows);
            } else if let Some(entry) = self.entry(resolved) {
                // An array of tables: what one of them holds.
                self.read(&format!("{key}[]"), entry, None, rows);
            } else {
                rows.push(Row {
                    key,
                    default: shown(default),
                    meaning: self.meaning(property, resolved),
                });
            }
        }
    }

    /// The table that the array holds several of, if it is an array of tables.
    fn entry(&self, array: &'s Value) -> Option<&'s Value> {
        let item = self.resolve(array.get("items")?);
        item.get("properties").is_some().then_some(item)
    }

    fn resolve(&self, schema: &'s Value) -> &'s Value {
        let name = schema.get("$ref").and_then(Value::as_str);
        let name = name.and_then(|path| path.strip_prefix("#/$defs/"));
        name.and_then(|name| self.definitions?.get(name))
            .unwrap_or(schema)
    }

    /// The key's own comment, and the words that its value may be.
    fn meaning(&self, property: &Value, resolved: &Value) -> String {
        let comment = property
            .get("description")
            .or_else(|| resolved.get("description"));
        let mut meaning = comment
            .and_then(Value::as_str)
            .unwrap_or_default()
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
            .replace('|', "\\|");
        let words = resolved.get("oneOf").or_else(|| resolved.get("enum"));
        let words: Vec<String> = words
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(|word| word.get("const").unwrap_or(word).as_str())
            .map(|word| format!("`{word}`"))
            .collect();
        if !words.is_empty() {
            let _ = write!(meaning, " One of {}.", words.join(", "));
        }
        meaning
    }
}

/// A value as a file has it; nothing where there is no default.
fn shown(value: Option<&Defaults>) -> String {
    value.map_or_else(String::new, |value| format!("`{value}`"))
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    /// A server.
    #[derive(Serialize, Deserialize, JsonSchema)]
    struct Server {
        /// Where it listens, as
        /// `host:port`.
        listen: String,
        /// How it speaks.
        tone: Tone,
        limits: Limits,
        /// Who may come in.
        guests: Vec<Guest>,
    }

    #[derive(Serialize, Deserialize, JsonSchema)]
    #[serde(rename_all = "lowercase")]
    enum Tone {
        /// So that nobody hears it.
        Soft,
        /// So that all do.
        Loud,
    }

    #[derive(Serialize, Deserialize, JsonSchema)]
    struct Limits {
        /// Rows | columns.
        rows: usize,
        /// A file, if any.
        file: Option<String>,
    }

    #[derive(Serialize, Deserialize, JsonSchema)]
    struct Guest {
        /// Their name.
        name: String,
    }

    impl Default for Server {
        fn default() -> Self {
            Self {
                listen: "127.0.0.1:1".to_owned(),
                tone: Tone::Soft,
                limits: Limits {
                    rows: 7,
                    file: None,
                },
                guests: Vec::new(),
            }
        }
    }

    #[test]
    fn every_key_has_its_default_and_its_comment() {
        let expected = "\
## `serve`

| key | default | meaning |
|---|---|---|
| `guests[].name` |  | Their name. |
| `limits.file` |  | A file, if any. |
| `limits.rows` | `7` | Rows \\| columns. |
| `listen` | `\"127.0.0.1:1\"` | Where it listens, as `host:port`. |
| `tone` | `\"soft\"` | How it speaks. One of `soft`, `loud`. |
";
        assert_eq!(markdown::<Server>("serve").unwrap(), expected);
    }
}
