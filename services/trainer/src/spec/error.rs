//! What can be wrong with a job file.

use std::fmt;

use thiserror::Error;

/// Why a job file was refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SpecError {
    /// Not TOML.
    #[error("line {line}, column {column}: {reason}")]
    Syntax {
        /// The line, from 1.
        line: usize,
        /// The column in letters, from 1.
        column: usize,
        /// What is wrong there.
        reason: String,
    },
    /// TOML, but no job.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Invalid(Vec<Violation>),
}

/// A key that is missing, unknown, or has an impossible value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The key, dotted, such as `data.split.test`.
    pub key: String,
    /// Its value as it is written, where there is one.
    pub value: Option<String>,
    /// What is wrong with it.
    pub reason: String,
}

impl Violation {
    pub(crate) fn new(
        key: impl Into<String>,
        value: impl fmt::Display,
        reason: impl fmt::Display,
    ) -> Self {
        Self {
            key: key.into(),
            value: Some(value.to_string()),
            reason: reason.to_string(),
        }
    }

    pub(crate) fn of_key(key: impl Into<String>, reason: impl fmt::Display) -> Self {
        Self {
            key: key.into(),
            value: None,
            reason: reason.to_string(),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(formatter, "{} = {value}: {}", self.key, self.reason),
            None => write!(formatter, "{}: {}", self.key, self.reason),
        }
    }
}

impl SpecError {
    pub(super) fn syntax(text: &str, error: &toml::de::Error) -> Self {
        let start = error.span().map_or(0, |span| span.start);
        let before = text.get(..start).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        SpecError::Syntax {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            reason: error.message().to_owned(),
        }
    }
}
