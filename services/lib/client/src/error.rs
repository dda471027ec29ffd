//! Why a call failed, and what a scorer's refusal means for the next attempt: the one place that reads gRPC codes.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tonic::{Code, Status, TimeoutExpired};
use tonic_types::StatusExt;

/// What a scorer is taken to mean that is busy and does not say for how long.
const BUSY: Duration = Duration::from_millis(20);

/// Why a call has no answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Error {
    /// The request itself is wrong (INVALID_ARGUMENT), larger than is allowed (OUT_OF_RANGE), or was found to be before it was sent.
    #[error("the request is wrong: {}{tried}", Sentence(.violations))]
    Invalid {
        /// Everything that is wrong with it.
        violations: Vec<Violation>,
        /// Who was asked.
        tried: Tried,
    },
    /// The model, the slot or an item does not exist (NOT_FOUND).
    #[error("{message}{tried}")]
    NotFound {
        /// What does not exist.
        message: String,
        /// Who was asked.
        tried: Tried,
    },
    /// The version cannot do what was asked (FAILED_PRECONDITION): it has no catalog, and items were asked for by id.
    #[error("{message}{tried}")]
    Precondition {
        /// What stands against it.
        message: String,
        /// Who was asked.
        tried: Tried,
    },
    /// No scorer that could be reached serves the model now (UNAVAILABLE, or no connection).
    #[error("no scorer is ready: {message}{tried}")]
    NotReady {
        /// What the last one said.
        message: String,
        /// Who was asked.
        tried: Tried,
    },
    /// The scorers have too much to do (RESOURCE_EXHAUSTED).
    #[error("the scorers are busy, try again after {retry_after:?}: {message}{tried}")]
    Busy {
        /// When another try makes sense.
        retry_after: Duration,
        /// What the last one said.
        message: String,
        /// Who was asked.
        tried: Tried,
    },
    /// The deadline passed first.
    #[error("no answer within {deadline:?}{tried}")]
    Expired {
        /// The call's deadline.
        deadline: Duration,
        /// Who was asked.
        tried: Tried,
    },
    /// Anything else: a fault of the scorer (INTERNAL), or an answer that makes no sense.
    #[error("{code:?}: {message}{tried}")]
    Unexpected {
        /// The status code.
        code: Code,
        /// What was said.
        message: String,
        /// Who was asked.
        tried: Tried,
    },
}

impl Error {
    /// Whether the same call may well succeed a little later. The client has already made the attempts that its deadline
    /// and its budget of retries allow.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::NotReady { .. } | Self::Busy { .. })
    }

    /// Who was asked.
    pub fn tried(&self) -> &Tried {
        match self {
            Self::Invalid { tried, .. }
            | Self::NotFound { tried, .. }
            | Self::Precondition { tried, .. }
            | Self::NotReady { tried, .. }
            | Self::Busy { tried, .. }
            | Self::Expired { tried, .. }
            | Self::Unexpected { tried, .. } => tried,
        }
    }
}

/// Who was asked before the call failed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tried {
    /// How often a scorer was asked.
    pub attempts: u32,
    /// The address of the one that was asked last.
    pub scorer: Option<Arc<str>>,
}

impl fmt::Display for Tried {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.scorer, self.attempts) {
            (None, _) => formatter.write_str(" (no scorer was asked)"),
            (Some(scorer), 1) => write!(formatter, " (1 attempt, at {scorer})"),
            (Some(scorer), attempts) => {
                write!(formatter, " ({attempts} attempts, the last at {scorer})")
            }
        }
    }
}

/// Something wrong with a part of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The part, such as `columns[age]`.
    pub field: String,
    /// What is wrong with it.
    pub reason: String,
}

struct Sentence<'a>(&'a [Violation]);

impl fmt::Display for Sentence<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, Violation { field, reason }) in self.0.iter().enumerate() {
            let separator = if position == 0 { "" } else { "; " };
            write!(formatter, "{separator}{field}: {reason}")?;
        }
        Ok(())
    }
}

/// What an attempt that failed means.
pub(crate) enum Refusal {
    /// The scorer said UNAVAILABLE: another one may serve.
    Unavailable,
    /// It said RESOURCE_EXHAUSTED: another one may have room, or this one later.
    Busy(Duration),
    /// The connection broke before an answer. What is asked changes nothing, so it can be asked again.
    Broken,
    /// No answer before the deadline.
    Silent,
    /// It said that the time left is too short, or over. One that was asked earlier may still answer in time.
    Late,
    /// Asking again would not help.
    Final,
}

impl Refusal {
    /// Reads a failed attempt.
    pub(crate) fn of(status: &Status) -> Self {
        // A scorer's own status has no source; one that has was made on this side.
        if let Some(source) = status.source() {
            return if caused_by_timeout(source) {
                Self::Silent
            } else {
                Self::Broken
            };
        }
        match status.code() {
            Code::Unavailable => Self::Unavailable,
            Code::ResourceExhausted => Self::Busy(retry_after(status)),
            // CANCELLED is what our own side of the transport says when it is the first to see the deadline pass.
            Code::DeadlineExceeded | Code::Cancelled => Self::Late,
            _ => Self::Final,
        }
    }
}

/// The error that a caller gets when there is no further attempt.
pub(crate) fn error(status: &Status, deadline: Duration, tried: Tried) -> Error {
    let message = status.message().to_owned();
    match Refusal::of(status) {
        Refusal::Unavailable => Error::NotReady { message, tried },
        Refusal::Busy(retry_after) => Error::Busy {
            retry_after,
            message,
            tried,
        },
        Refusal::Broken => Error::NotReady {
            message: causes(status),
            tried,
        },
        Refusal::Silent | Refusal::Late => Error::Expired { deadline, tried },
        Refusal::Final => match status.code() {
            // The latter for a message that is too large.
            Code::InvalidArgument | Code::OutOfRange => Error::Invalid {
                violations: violations(status),
                tried,
            },
            Code::NotFound => Error::NotFound { message, tried },
            Code::FailedPrecondition => Error::Precondition { message, tried },
            code => Error::Unexpected {
                code,
                message,
                tried,
            },
        },
    }
}

fn violations(status: &Status) -> Vec<Violation> {
    let details = status.get_details_bad_request();
    let listed = details.map_or_else(Vec::new, |details| details.field_violations);
    if listed.is_empty() {
        return vec![Violation {
            field: "request".to_owned(),
            reason: status.message().to_owned(),
        }];
    }
    let violation = |listed: tonic_types::FieldViolation| Violation {
        field: listed.field,
        reason: listed.description,
    };
    listed.into_iter().map(violation).collect()
}

fn retry_after(status: &Status) -> Duration {
    let details = status.get_details_retry_info();
    details
        .and_then(|details| details.retry_delay)
        .unwrap_or(BUSY)
}

fn caused_by_timeout(error: &(dyn StdError + 'static)) -> bool {
    error.is::<TimeoutExpired>() || error.source().is_some_and(caused_by_timeout)
}

/// What went wrong and why, down to the operating system's word.
fn causes(status: &Status) -> String {
    let mut text = String::new();
    let mut next = status.source();
    while let Some(error) = next {
        let cause = error.to_string();
        if !text.ends_with(&cause) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&cause);
        }
        next = error.source();
    }
    text
}

#[cfg(test)]
mod tests;
