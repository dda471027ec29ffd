//! Requests that were turned away.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::CallError;

/// Why a request was turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Too much waits already: so many rows, or for so long.
    QueueFull,
    /// It would not have been done in time, or was not.
    Deadline,
    /// Too much of the same client's waits.
    ClientLimit,
    /// The scorer is going away.
    Draining,
    /// No version is there to answer.
    NotReady,
    /// Under pressure, and before the request was read.
    Early,
}

impl Refusal {
    pub(super) const ALL: [Self; 6] = [
        Self::QueueFull,
        Self::Deadline,
        Self::ClientLimit,
        Self::Draining,
        Self::NotReady,
        Self::Early,
    ];

    /// Why a call was refused; none when that was its own fault, or a version's.
    fn of(error: &CallError) -> Option<Self> {
        match error {
            CallError::Busy { limit, .. } => Some(*limit),
            CallError::Expired => Some(Self::Deadline),
            CallError::Draining => Some(Self::Draining),
            CallError::NotLearnt | CallError::NotReady { .. } => Some(Self::NotReady),
            CallError::Invalid(_)
            | CallError::UnknownSlot { .. }
            | CallError::UnknownVersion { .. }
            | CallError::UnknownItems { .. }
            | CallError::NoCatalog
            | CallError::NotDecidedHere(_)
            | CallError::Model(_)
            | CallError::Denied(_)
            | CallError::Broken => None,
        }
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::Deadline => "deadline",
            Self::ClientLimit => "client_limit",
            Self::Draining => "draining",
            Self::NotReady => "not_ready",
            Self::Early => "early",
        }
    }
}

/// How many were turned away.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    counts: [AtomicU64; Refusal::ALL.len()],
}

impl Refusals {
    /// Counts a call that failed, if it was turned away.
    pub(crate) fn note(&self, error: &CallError) {
        if let Some(refusal) = Refusal::of(error) {
            self.count(refusal);
        }
    }

    pub(crate) fn count(&self, refusal: Refusal) {
        self.counts[refusal as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn of(&self, refusal: Refusal) -> u64 {
        self.counts[refusal as usize].load(Ordering::Relaxed)
    }
}
