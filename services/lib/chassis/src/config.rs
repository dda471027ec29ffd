//! Configuration: a TOML file, overridden by the environment, checked as a whole before anything starts.
//!
//! A variable `DECANT_KEY` sets a top-level key and `DECANT_SECTION__KEY` a key of a section. Unknown keys are refused;
//! only a variable without `__` that names no key is left alone, since other programs of Decant have variables too.

pub mod reference;

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use thiserror::Error;
use toml::{Table, Value};

/// The exit code of a process whose configuration is wrong: `EX_USAGE`.
pub const EXIT_BAD_CONFIG: u8 = 64;

const PREFIX: &str = "DECANT_";

/// Why there is no configuration.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("configuration file {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        source: std::io::Error,
    },
    /// The file is no TOML.
    #[error("configuration file {}: {source}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// A variable points into a value that is no section.
    #[error("environment variable {variable}: `{section}` is no section")]
    NoSection {
        /// The variable.
        variable: String,
        /// The part of it that names no section.
        section: String,
    },
    /// A key is unknown, or its value does not fit.
    #[error("configuration key `{key}`: {reason}")]
    Key {
        /// The key, with dots between sections.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl ConfigError {
    /// An error of a value that parses but makes no sense.
    pub fn invalid(key: impl Into<String>, reason: impl Into<String>) -> Self {
        ConfigError::Key {
            key: key.into(),
            reason: reason.into(),
        }
    }
}

/// Where ONNX Runtime's shared library is: as configured, or else where the variable that its other users know says.
pub fn onnx_runtime(configured: &Path) -> PathBuf {
    if configured.as_os_str().is_empty() {
        std::env::var_os("ORT_DYLIB_PATH")
            .map(PathBuf::from)
            .unwrap_or_default()
    } else {
        configured.to_owned()
    }
}

/// Checks that ONNX Runtime's shared library is there.
///
/// # Errors
/// When it is not named, or no file.
pub fn check_onnx_runtime(path: &Path) -> Result<(), ConfigError> {
    let reason = if path.as_os_str().is_empty() {
        "not given; name libonnxruntime.so here or in ORT_DYLIB_PATH (deploy/bootstrap.sh env prints it)".to_owned()
    } else if !path.is_file() {
        format!("{} is no file", path.display())
    } else {
        return Ok(());
    };
    Err(ConfigError::invalid("onnx_runtime", reason))
}

/// Checks that the folder of datasets is there.
///
/// # Errors
/// When it is not named, or no folder.
pub fn check_datasets(path: &Path) -> Result<(), ConfigError> {
    let reason = if path.as_os_str().is_empty() {
        "not given; name the folder that jobs read their data from".to_owned()
    } else if !path.is_dir() {
        format!("{} is no folder", path.display())
    } else {
        return Ok(());
    };
    Err(ConfigError::invalid("datasets", reason))
}

/// Reads the file, if one is given, and applies the variables to it.
///
/// # Errors
/// Names the file, or the key and what is wrong with its value.
pub fn load<T: DeserializeOwned>(
    path: Option<&Path>,
    variables: impl Iterator<Item = (String, String)>,
) -> Result<T, ConfigError> {
    let mut table = match path {
        Some(path) => read(path)?,
        None => Table::new(),
    };
    let mut lenient = Vec::new();
    for (variable, text) in variables {
        let Some(key) = variable.strip_prefix(PREFIX).map(str::to_lowercase) else {
            continue;
        };
        if key.contains("__") {
            set(&mut table, &variable, &key, &text)?;
        } else {
            lenient.push((key, text));
        }
    }
    apply_known::<T>(&mut table, lenient);
    parse(table)
}

fn read(path: &Path) -> Result<Table, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
        path: path.to_owned(),
        source,
    })?;
    text.parse().map_err(|source| ConfigError::Parse {
        path: path.to_owned(),
        source: Box::new(source),
    })
}

fn set(table: &mut Table, variable: &str, key: &str, text: &str) -> Result<(), ConfigError> {
    let mut parts: Vec<&str> = key.split("__").collect();
    let Some(last) = parts.pop() else {
        return Ok(());
    };
    let mut section = table;
    for part in parts {
        let entry = section
            .entry(part)
            .or_insert_with(|| Value::Table(Table::new()));
        section = entry.as_table_mut().ok_or_else(|| ConfigError::NoSection {
            variable: variable.to_owned(),
            section: part.to_owned(),
        })?;
    }
    section.insert(last.to_owned(), value(text));
    Ok(())
}

/// A variable's text as a TOML value where it is one, else as a string: `8`, `true` and `["a"]` need no quotes, nor does
/// `127.0.0.1:7430`.
fn value(text: &str) -> Value {
    let parsed = format!("value = {text}")
        .parse::<Table>()
        .ok()
        .and_then(|mut table| table.remove("value"));
    parsed
        .filter(|value| !matches!(value, Value::Datetime(_)))
        .unwrap_or_else(|| Value::String(text.to_owned()))
}

/// Sets those keys that the configuration knows: a key that alone makes parsing complain of an unknown field is not
/// one of them, nor is a section, since one variable cannot hold one: `DECANT_REGISTRY` is the command line's.
fn apply_known<T: DeserializeOwned>(table: &mut Table, variables: Vec<(String, String)>) {
    for (key, text) in variables {
        let probe = Table::from_iter([(key.clone(), value(&text))]);
        let not_ours = T::deserialize(Value::Table(probe))
            .err()
            .is_some_and(|error| {
                let error = error.to_string();
                error.contains(&format!("unknown field `{key}`"))
                    || error.contains("expected struct")
            });
        if !not_ours {
            table.insert(key, value(&text));
        }
    }
}

fn parse<T: DeserializeOwned>(table: Table) -> Result<T, ConfigError> {
    serde_path_to_error::deserialize(Value::Table(table)).map_err(|error| {
        let key = error.path().to_string();
        // toml's message ends in the position, which means nothing here.
        let reason = error.inner().to_string().trim_end().replace('\n', "; ");
        ConfigError::Key { key, reason }
    })
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Config {
        data: String,
        scorer: Scorer,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    struct Scorer {
        address: String,
        threads: usize,
    }

    impl Default for Config {
        fn default() -> Self {
            Self {
                data: "data".into(),
                scorer: Scorer::default(),
            }
        }
    }

    impl Default for Scorer {
        fn default() -> Self {
            Self {
                address: "127.0.0.1:7430".into(),
                threads: 2,
            }
        }
    }

    fn load_with(file: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("decant.toml");
        std::fs::write(&path, file).unwrap();
        let variables = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        load(Some(&path), variables)
    }

    #[test]
    fn the_environment_overrides_the_file_and_the_file_the_defaults() {
        let variables = [
            ("DECANT_SCORER__THREADS", "8"),
            ("DECANT_DATA", "/var/decant"),
            ("PATH", "/bin"),
        ];
        let config =
            load_with("[scorer]\nthreads = 4\naddress = \"0.0.0.0:1\"", &variables).unwrap();
        let scorer = Scorer {
            address: "0.0.0.0:1".into(),
            threads: 8,
        };
        assert_eq!(
            config,
            Config {
                data: "/var/decant".into(),
                scorer
            }
        );
    }

    #[test]
    fn other_programs_variables_are_left_alone_but_misspelt_ones_are_not() {
        assert!(load_with("", &[("DECANT_PYTHON", "/usr/bin/python3")]).is_ok());
        assert!(load_with("", &[("DECANT_SCORER", "http://127.0.0.1:7430")]).is_ok());
        let error = load_with("", &[("DECANT_SCORER__THREDS", "8")])
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("scorer") && error.contains("threds"),
            "{error}"
        );
    }

    #[test]
    fn errors_name_the_key_and_the_reason() {
        let wrong_type = load_with("[scorer]\nthreads = \"many\"", &[])
            .unwrap_err()
            .to_string();
        assert!(
            wrong_type.contains("`scorer.threads`") && wrong_type.contains("many"),
            "{wrong_type}"
        );
        let unknown = load_with("datta = 1", &[]).unwrap_err().to_string();
        assert!(unknown.contains("datta"), "{unknown}");
        let no_section = load_with("data = \"x\"", &[("DECANT_DATA__X", "1")])
            .unwrap_err()
            .to_string();
        assert!(no_section.contains("DECANT_DATA__X"), "{no_section}");
        let missing = load::<Config>(Some(Path::new("/nonexistent.toml")), std::iter::empty());
        assert!(
            missing
                .unwrap_err()
                .to_string()
                .contains("/nonexistent.toml")
        );
    }
}
