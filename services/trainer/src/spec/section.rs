//! A TOML table to a raw struct, with errors that name the dotted key and its value.

use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::error::Violation;

/// Reads a table that stands under `prefix` in the file.
pub(crate) fn section<T: DeserializeOwned>(prefix: &str, table: Table) -> Result<T, Violation> {
    let value = Value::Table(table);
    value
        .clone()
        .try_into()
        .map_err(|error: toml::de::Error| violation(prefix, &value, &error))
}

/// `prefix.key`, or whichever of the two is not empty.
pub(super) fn dotted(prefix: &str, key: &str) -> String {
    match (prefix.is_empty(), key.is_empty()) {
        (false, false) => format!("{prefix}.{key}"),
        _ => format!("{prefix}{key}"),
    }
}

fn violation(prefix: &str, value: &Value, error: &toml::de::Error) -> Violation {
    // The keys on the way to the error are told only in its `Display`, whose last line is "in `a.b`".
    let displayed = error.to_string();
    let path = displayed
        .trim_end()
        .rsplit_once("\nin `")
        .map_or("", |(_, path)| path.trim_end_matches('`'));
    let parent = dotted(prefix, path);
    let message = error.message();
    if let Some((field, known)) = backticked(message, "unknown field `") {
        // For an unknown field the path ends with its parent in some versions and with the field in others.
        let key = if path.rsplit('.').next() == Some(field) {
            parent
        } else {
            dotted(&parent, field)
        };
        return Violation::of_key(key, format!("unknown key{known}"));
    }
    if let Some((field, _)) = backticked(message, "missing field `") {
        return Violation::of_key(dotted(&parent, field), "is required");
    }
    match path.split('.').try_fold(value, |value, key| value.get(key)) {
        Some(found) if !found.is_table() => Violation::new(parent, shown(found), message),
        _ => Violation::of_key(parent, message),
    }
}

/// The backticked word after `start`, and the rest.
fn backticked<'a>(message: &'a str, start: &str) -> Option<(&'a str, &'a str)> {
    message.strip_prefix(start)?.split_once('`')
}

fn shown(value: &Value) -> String {
    const LONGEST: usize = 60;
    let text = value.to_string().replace('\n', " ");
    match text.char_indices().nth(LONGEST) {
        Some((cut, _)) => format!("{}...", &text[..cut]),
        None => text,
    }
}
