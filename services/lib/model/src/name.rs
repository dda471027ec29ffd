//! Names that people choose.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A name that breaks the rule: 1 to 63 lower-case letters, digits and hyphens, beginning with a letter and ending
/// with a letter or digit, as in DNS labels.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{value}` is no {what} name: {reason}")]
pub struct NameError {
    what: &'static str,
    value: String,
    reason: &'static str,
}

fn check(what: &'static str, value: &str) -> Result<(), NameError> {
    let reason = if value.is_empty() || value.len() > 63 {
        "it must have 1 to 63 characters"
    } else if !value
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    {
        "only lower-case letters, digits and hyphens are allowed"
    } else if !value.starts_with(|first: char| first.is_ascii_lowercase()) {
        "it must begin with a letter"
    } else if value.ends_with('-') {
        "it must not end with a hyphen"
    } else {
        return Ok(());
    };
    Err(NameError {
        what,
        value: value.to_owned(),
        reason,
    })
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(String);

        impl $type {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = NameError;

            fn from_str(value: &str) -> Result<Self, NameError> {
                check($what, value)?;
                Ok(Self(value.to_owned()))
            }
        }

        impl TryFrom<String> for $type {
            type Error = NameError;

            fn try_from(value: String) -> Result<Self, NameError> {
                check($what, &value)?;
                Ok(Self(value))
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }
    };
}

name!(
    /// A model's name.
    ModelName,
    "model"
);
name!(
    /// A slot's name: a place in which a model's versions are served.
    SlotName,
    "slot"
);
name!(
    /// A scorer's name, one for each process of a cluster; it outlives the process.
    ScorerName,
    "scorer"
);

name!(
    /// A principal's name: whom the audit log names.
    PrincipalName,
    "principal"
);

name!(
    /// A cluster's name: it sets the keys of one cluster apart from those of others in the same store.
    ClusterName,
    "cluster"
);

impl Default for ClusterName {
    /// `default`, for those that have only one.
    fn default() -> Self {
        Self("default".to_owned())
    }
}

impl Default for SlotName {
    /// `main`, the slot of models that have only one.
    fn default() -> Self {
        Self("main".to_owned())
    }
}

impl SlotName {
    /// The slot that a request names; none given means the default.
    ///
    /// # Errors
    /// When a name is given and breaks the rule.
    pub fn or_default(value: &str) -> Result<Self, NameError> {
        if value.is_empty() {
            Ok(Self::default())
        } else {
            value.parse()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rule_of_dns_labels() {
        for good in ["a", "movies", "movies-2", "a9"] {
            assert_eq!(good.parse::<ModelName>().unwrap().as_str(), good);
        }
        for bad in [
            "",
            "Movies",
            "2movies",
            "-a",
            "a-",
            "a_b",
            "a/b",
            "..",
            "é",
            &"a".repeat(64),
        ] {
            let error = bad.parse::<ModelName>().unwrap_err().to_string();
            assert!(error.contains(&format!("`{bad}`")), "{error}");
        }
    }
}
