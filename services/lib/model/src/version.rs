//! Numbers of versions.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The number of a model's version: 1, 2, 3 and so on, never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ModelVersion(u64);

impl ModelVersion {
    /// A model's first version.
    pub const FIRST: ModelVersion = ModelVersion(1);

    /// The version of this number; `None` for 0, which no version has.
    pub fn new(number: u64) -> Option<Self> {
        (number > 0).then_some(Self(number))
    }

    /// The number.
    pub fn get(self) -> u64 {
        self.0
    }

    /// The version after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for ModelVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "v{}", self.0)
    }
}
