//! Releasing a version step by step: the plan, what is measured meanwhile, and a state machine that decides.
//!
//! Reading order: a [`Plan`] is what an operator asks for; [`evidence`] is what scorers count; [`gate`] says what the counts
//! must show; a [`Rollout`] is where a release stands, and what comes next.

pub mod evidence;
pub mod gate;
mod plan;
mod span;
mod state;
#[cfg(test)]
mod testing;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use gate::{Gate, Judgement, Metric, OnFail, Reading, Verdict, judge};
pub use plan::{Plan, PlanError, Share, Step};
pub use span::Span;
pub use state::{
    Changed, Event, Intent, NotNow, Pause, Phase, Preparation, Rollout, Setting, Sight, Verb,
};

/// A rollout's identity: a ULID in lower case, so that ids sort by the time of their start.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RolloutId(String);

/// Text that is no rollout's id.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "`{0}` is no rollout: an id of 26 lower-case letters and digits is expected, as `decant rollout history` shows them"
)]
pub struct RolloutIdError(String);

impl RolloutId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RolloutId {
    type Err = RolloutIdError;

    fn from_str(text: &str) -> Result<Self, RolloutIdError> {
        text.to_owned().try_into()
    }
}

impl TryFrom<String> for RolloutId {
    type Error = RolloutIdError;

    fn try_from(text: String) -> Result<Self, RolloutIdError> {
        // Crockford's alphabet: no i, l, o or u.
        let allowed = |byte: u8| {
            byte.is_ascii_digit()
                || (byte.is_ascii_lowercase() && !matches!(byte, b'i' | b'l' | b'o' | b'u'))
        };
        if text.len() == 26 && text.bytes().all(allowed) {
            Ok(Self(text))
        } else {
            Err(RolloutIdError(text))
        }
    }
}

impl From<RolloutId> for String {
    fn from(id: RolloutId) -> String {
        id.0
    }
}

impl fmt::Display for RolloutId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}
