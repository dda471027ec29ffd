//! Where a table lies, and how it is written.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::IngestError;

/// A file, and what must be known to read it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableSource {
    /// The file, relative to the folder of datasets.
    pub path: String,
    /// Its format; by the extension when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<Format>,
    /// What separates cells: one byte. A comma for `.csv`, else a tab.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delimiter: Option<char>,
    /// What encloses cells that hold the delimiter: one byte, or empty for none. `"` when the delimiter is a comma or
    /// a semicolon, else none, because titles in tab-separated files open with quotes and never close them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quote: Option<String>,
    /// How the file's bytes are letters.
    #[serde(default)]
    pub encoding: Encoding,
    /// The columns' names, for a file without a header; each may carry its type as a header's may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub names: Option<Vec<String>>,
    /// What is to be read otherwise than the file says, by the file's own column names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub columns: BTreeMap<String, ColumnSource>,
}

/// How one column is read.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnSource {
    /// The name it gets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The type it gets, over the header's and over what its values look like.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<ColumnType>,
    /// What separates the values of a list; a space when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub separator: Option<String>,
    /// Texts that stand for a missing value. An empty cell always does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub null_values: Vec<String>,
}

/// The type of a column's values. RecBole's names are understood too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ColumnType {
    /// 64-bit signed integers.
    #[serde(rename = "int64")]
    Int,
    /// 64-bit floats; finite.
    #[serde(rename = "float")]
    Float,
    /// Text.
    #[serde(rename = "string", alias = "token")]
    Text,
    /// Lists of integers.
    #[serde(rename = "int64_list")]
    IntList,
    /// Lists of floats.
    #[serde(rename = "float_list", alias = "float_seq")]
    FloatList,
    /// Lists of texts.
    #[serde(rename = "string_list", alias = "token_seq")]
    TextList,
}

impl ColumnType {
    /// The type that a header's `name:type` names.
    pub(super) fn from_header(name: &str) -> Option<Self> {
        Some(match name {
            "int64" => ColumnType::Int,
            "float" => ColumnType::Float,
            "string" | "token" => ColumnType::Text,
            "int64_list" => ColumnType::IntList,
            "float_list" | "float_seq" => ColumnType::FloatList,
            "string_list" | "token_seq" => ColumnType::TextList,
            _ => return None,
        })
    }

    pub(super) fn is_list(self) -> bool {
        matches!(
            self,
            ColumnType::IntList | ColumnType::FloatList | ColumnType::TextList
        )
    }
}

/// A file format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Text, one row a line.
    Delimited,
    /// Apache Parquet.
    Parquet,
}

/// How bytes are letters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Encoding {
    /// UTF-8, checked.
    #[default]
    #[serde(rename = "utf-8")]
    Utf8,
    /// ISO 8859-1, where every byte is a letter.
    #[serde(rename = "latin1")]
    Latin1,
}

/// What happens to a row that is not what its header says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Malformed {
    /// Reading ends with an error that points at it.
    #[default]
    Error,
    /// It is left out and counted.
    Drop,
}

impl TableSource {
    /// The format, given or by extension.
    pub fn format(&self) -> Format {
        let by_extension = if self.extension() == "parquet" {
            Format::Parquet
        } else {
            Format::Delimited
        };
        self.format.unwrap_or(by_extension)
    }

    /// What contradicts itself without a look at the file: the option's key and value, and the reason.
    ///
    /// # Errors
    /// The first such option.
    pub fn check(&self) -> Result<(), (&'static str, String, String)> {
        check_relative(&self.path)
            .map_err(|reason| ("path", self.path.clone(), reason.to_owned()))?;
        if self.format() == Format::Parquet {
            return self.check_parquet();
        }
        self.delimiter_byte()
            .map_err(|reason| ("delimiter", text(self.delimiter), reason))?;
        self.quote_byte()
            .map_err(|reason| ("quote", text(self.quote.as_ref()), reason))?;
        for (name, column) in &self.columns {
            if column.separator.as_deref() == Some("") {
                return Err((
                    "columns",
                    name.clone(),
                    "separator must not be empty".into(),
                ));
            }
        }
        Ok(())
    }

    fn check_parquet(&self) -> Result<(), (&'static str, String, String)> {
        let refuse = |key, value| {
            Err((
                key,
                value,
                "is for delimited text, but the file is Parquet".to_owned(),
            ))
        };
        if self.delimiter.is_some() {
            return refuse("delimiter", text(self.delimiter));
        }
        if let Some(quote) = &self.quote {
            return refuse("quote", quote.clone());
        }
        if let Some(names) = &self.names {
            return refuse("names", names.join(", "));
        }
        let typed = |column: &ColumnSource| {
            column.kind.is_some() || column.separator.is_some() || !column.null_values.is_empty()
        };
        match self.columns.iter().find(|(_, column)| typed(column)) {
            Some((name, _)) => Err((
                "columns",
                name.clone(),
                "a Parquet column has its own type; only `name` can be given".into(),
            )),
            None => Ok(()),
        }
    }

    /// The byte between cells.
    pub(super) fn delimiter_byte(&self) -> Result<u8, String> {
        let default = if self.extension() == "csv" { ',' } else { '\t' };
        single_byte(self.delimiter.unwrap_or(default))
    }

    /// The byte around cells, if any.
    pub(super) fn quote_byte(&self) -> Result<Option<u8>, String> {
        let Some(quote) = &self.quote else {
            return Ok(matches!(self.delimiter_byte()?, b',' | b';').then_some(b'"'));
        };
        let mut letters = quote.chars();
        match (letters.next(), letters.next()) {
            (None, _) => Ok(None),
            (Some(letter), None) if self.delimiter_byte() == single_byte(letter) => {
                Err("is the delimiter too".into())
            }
            (Some(letter), None) => single_byte(letter).map(Some),
            (Some(_), Some(_)) => Err("must be one letter, or empty for none".into()),
        }
    }

    fn extension(&self) -> String {
        Path::new(&self.path)
            .extension()
            .and_then(|extension| extension.to_str())
            .unwrap_or("")
            .to_ascii_lowercase()
    }
}

fn text(value: Option<impl ToString>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

fn single_byte(letter: char) -> Result<u8, String> {
    match u8::try_from(letter) {
        Ok(byte) if byte.is_ascii() && !matches!(byte, b'\n' | b'\r' | 0) => Ok(byte),
        _ => Err("must be one ASCII letter and no line end".into()),
    }
}

/// Refuses paths that could name something outside the folder they are relative to.
///
/// # Errors
/// What is wrong with the path.
pub fn check_relative(path: &str) -> Result<(), &'static str> {
    if path.is_empty() {
        return Err("must not be empty");
    }
    if path.contains('\0') {
        return Err("must not hold a zero byte");
    }
    let plain = |component| matches!(component, Component::Normal(_) | Component::CurDir);
    if Path::new(path).components().all(plain) {
        Ok(())
    } else {
        Err("must be relative to the folder of datasets and must not leave it")
    }
}

/// The file that a relative path names. Symbolic links are followed, and must end within `root` too.
pub(super) fn resolve(root: &Path, path: &str) -> Result<PathBuf, IngestError> {
    let refuse = |reason: String| IngestError::Path {
        path: path.to_owned(),
        reason,
    };
    check_relative(path).map_err(|reason| refuse(reason.into()))?;
    let root = root.canonicalize().map_err(|error| {
        refuse(format!(
            "the folder of datasets {} cannot be opened: {error}",
            root.display()
        ))
    })?;
    let file = root
        .join(path)
        .canonicalize()
        .map_err(|error| refuse(error.to_string()))?;
    if !file.starts_with(&root) {
        return Err(refuse(
            "is a link that leaves the folder of datasets".into(),
        ));
    }
    // A pipe or a device would be read for ever.
    if !file.is_file() {
        return Err(refuse("is not a regular file".into()));
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str) -> TableSource {
        TableSource {
            path: path.into(),
            ..TableSource::default()
        }
    }

    #[test]
    fn paths_stay_below_the_root() {
        for path in ["../a.csv", "/etc/passwd", "a/../../b.csv", "", "a\0b"] {
            assert!(check_relative(path).is_err(), "{path:?}");
        }
        for path in ["a.csv", "./a.csv", "deep/er/a..csv", "...csv"] {
            assert_eq!(check_relative(path), Ok(()), "{path:?}");
        }
    }

    #[test]
    fn links_folders_and_absent_files_are_refused() {
        let outside = tempfile::tempdir().unwrap();
        let root = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("secret.csv"), "a\n1\n").unwrap();
        std::fs::create_dir(root.path().join("folder")).unwrap();
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(
                outside.path().join("secret.csv"),
                root.path().join("link.csv"),
            )
            .unwrap();
            let error = resolve(root.path(), "link.csv").unwrap_err().to_string();
            assert_eq!(
                error,
                "link.csv: is a link that leaves the folder of datasets"
            );
        }
        let error = resolve(root.path(), "folder").unwrap_err().to_string();
        assert_eq!(error, "folder: is not a regular file");
        assert!(
            resolve(root.path(), "absent.csv")
                .unwrap_err()
                .to_string()
                .starts_with("absent.csv: No such file")
        );
    }

    #[test]
    fn delimiter_and_quote_follow_the_extension() {
        let csv = source("a.CSV");
        assert_eq!(
            (csv.delimiter_byte(), csv.quote_byte()),
            (Ok(b','), Ok(Some(b'"')))
        );
        let inter = source("a.inter");
        assert_eq!(
            (inter.delimiter_byte(), inter.quote_byte()),
            (Ok(b'\t'), Ok(None))
        );
        let quoted = TableSource {
            quote: Some("'".into()),
            delimiter: Some('|'),
            ..source("a.txt")
        };
        assert_eq!(
            (quoted.delimiter_byte(), quoted.quote_byte()),
            (Ok(b'|'), Ok(Some(b'\'')))
        );
    }

    #[test]
    fn options_that_contradict_each_other_are_named() {
        let wide = TableSource {
            delimiter: Some('→'),
            ..source("a.csv")
        };
        assert_eq!(wide.check().unwrap_err().0, "delimiter");
        let same = TableSource {
            quote: Some(",".into()),
            ..source("a.csv")
        };
        assert_eq!(
            same.check().unwrap_err(),
            ("quote", ",".into(), "is the delimiter too".into())
        );
        let parquet = TableSource {
            delimiter: Some(','),
            ..source("a.parquet")
        };
        assert_eq!(parquet.check().unwrap_err().0, "delimiter");
        assert_eq!(
            TableSource {
                format: Some(Format::Delimited),
                ..parquet
            }
            .check(),
            Ok(())
        );
    }
}
