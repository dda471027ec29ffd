//! What can go wrong with a store.

use std::error::Error as StdError;
use std::path::PathBuf;

use thiserror::Error;

use crate::txn::{MAX_BYTES, MAX_OPERATIONS};
use crate::{Conflict, Key, LeaseId, Revision};

/// Why a store did not do as asked.
#[derive(Debug, Error)]
pub enum StoreError {
    /// A key is not as the transaction expected; nothing was written.
    #[error(transparent)]
    Conflict(Box<Conflict>),
    /// A watch cannot begin so early, or fell so far behind: list again.
    #[error(
        "changes from revision {from} on were asked for, but only those from {oldest} on are held"
    )]
    Compacted {
        /// The revision asked for.
        from: Revision,
        /// The oldest from which a watch can begin.
        oldest: Revision,
    },
    /// A value is too large; nothing was written.
    #[error("the value of key {key} has {bytes} bytes, but at most {MAX_BYTES} are allowed")]
    ValueTooLarge {
        /// The key.
        key: Key,
        /// The value's size.
        bytes: usize,
    },
    /// All values together are too large; nothing was written.
    #[error(
        "a transaction has {bytes} bytes of keys and values, but at most {MAX_BYTES} are allowed"
    )]
    TransactionTooLarge {
        /// The size.
        bytes: usize,
    },
    /// A transaction does too much; nothing was written.
    #[error("a transaction has {operations} operations, but at most {MAX_OPERATIONS} are allowed")]
    TooManyOperations {
        /// Comparisons and writes.
        operations: usize,
    },
    /// A transaction writes a key twice; nothing was written.
    #[error("a transaction writes key {key} twice")]
    WrittenTwice {
        /// The key.
        key: Key,
    },
    /// The store's file cannot be opened.
    #[error("the store {} cannot be opened: {reason}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A lease has expired or was revoked; nothing was written.
    #[error("lease {:x} has expired or was revoked", .lease.0)]
    LeaseLost {
        /// The lease.
        lease: LeaseId,
    },
    /// The store cannot be reached, has no leader, or did not answer in time. What was asked for may have been done.
    #[error("the store is unavailable: it could not {action}: {reason}")]
    Unavailable {
        /// What it was to do.
        action: &'static str,
        /// What happened.
        reason: String,
    },
    /// The store does not let this client do this; nothing was done.
    #[error("the store refused to {action}: {reason}")]
    Denied {
        /// What it was to do.
        action: &'static str,
        /// What it said.
        reason: String,
    },
    /// The machinery below failed.
    #[error("the store failed to {action}: {source}")]
    Failed {
        /// What it was doing.
        action: &'static str,
        /// What happened.
        source: Box<dyn StdError + Send + Sync>,
    },
}

impl StoreError {
    pub(crate) fn failed<E: Into<Box<dyn StdError + Send + Sync>>>(
        action: &'static str,
    ) -> impl FnOnce(E) -> Self {
        move |source| StoreError::Failed {
            action,
            source: source.into(),
        }
    }
}
