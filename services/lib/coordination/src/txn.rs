//! Transactions: what must hold, and what is written if it does.

use std::collections::BTreeSet;
use std::fmt;

use bytes::Bytes;
use thiserror::Error;

use crate::{Entry, Key, LeaseId, Revision, StoreError};

/// Comparisons and writes that one transaction may have together; etcd takes 128 of each.
pub const MAX_OPERATIONS: usize = 64;
/// Bytes that the keys and values of one transaction may have together. etcd takes 1536 KiB in one request; the rest is for
/// what it wraps around them.
pub const MAX_BYTES: usize = 1472 * 1024;

/// What a transaction expects of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// There is no such key.
    Absent,
    /// The key was last written at this revision.
    WrittenAt(Revision),
    /// The key came into being at this revision, whatever was written to it since: a leader's epoch.
    CreatedAt(Revision),
}

impl Expect {
    /// That a key is as it was read.
    pub fn unchanged(entry: Option<&Entry>) -> Self {
        entry.map_or(Expect::Absent, |entry| {
            Expect::WrittenAt(entry.mod_revision)
        })
    }

    /// Whether a key that was found so is as expected.
    pub fn holds(self, found: Option<&Entry>) -> bool {
        match self {
            Expect::Absent => found.is_none(),
            Expect::WrittenAt(expected) => {
                found.is_some_and(|entry| entry.mod_revision == expected)
            }
            Expect::CreatedAt(expected) => {
                found.is_some_and(|entry| entry.create_revision == expected)
            }
        }
    }
}

impl fmt::Display for Expect {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Expect::Absent => formatter.write_str("absent"),
            Expect::WrittenAt(revision) => write!(formatter, "at revision {revision}"),
            Expect::CreatedAt(revision) => write!(formatter, "created at revision {revision}"),
        }
    }
}

/// One write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Gives a key a value, whether it exists or not. With a lease, the key goes when the lease goes; without, it stays,
    /// also if it was bound to a lease before.
    Put(Key, Bytes, Option<LeaseId>),
    /// Deletes a key, if it exists.
    Delete(Key),
}

impl Write {
    /// The key that is written.
    pub fn key(&self) -> &Key {
        match self {
            Write::Put(key, ..) | Write::Delete(key) => key,
        }
    }

    fn value_len(&self) -> usize {
        match self {
            Write::Put(_, value, _) => value.len(),
            Write::Delete(_) => 0,
        }
    }
}

/// Writes that happen together or not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Txn {
    pub(crate) expected: Vec<(Key, Expect)>,
    pub(crate) writes: Vec<Write>,
}

impl Txn {
    /// A transaction that does nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes the writes depend on a key's state.
    #[must_use]
    pub fn expect(mut self, key: Key, expect: Expect) -> Self {
        self.expected.push((key, expect));
        self
    }

    /// Gives a key a value.
    #[must_use]
    pub fn put(mut self, key: Key, value: impl Into<Bytes>) -> Self {
        self.writes.push(Write::Put(key, value.into(), None));
        self
    }

    /// Gives a key a value for as long as a lease lives. When the lease is gone already, the whole transaction fails
    /// with [`StoreError::LeaseLost`].
    #[must_use]
    pub fn put_leased(mut self, key: Key, value: impl Into<Bytes>, lease: LeaseId) -> Self {
        self.writes.push(Write::Put(key, value.into(), Some(lease)));
        self
    }

    /// Deletes a key.
    #[must_use]
    pub fn delete(mut self, key: Key) -> Self {
        self.writes.push(Write::Delete(key));
        self
    }

    /// Checks what every store refuses, so that all refuse the same.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        let operations = self.expected.len() + self.writes.len();
        if operations > MAX_OPERATIONS {
            return Err(StoreError::TooManyOperations { operations });
        }
        let mut written = BTreeSet::new();
        // Each is sent twice: to compare it, and to read it if it is not as expected.
        let expected = self.expected.iter().map(|(key, _)| 2 * key.as_str().len());
        let mut bytes = expected.sum();
        for write in &self.writes {
            if !written.insert(write.key()) {
                return Err(StoreError::WrittenTwice {
                    key: write.key().clone(),
                });
            }
            if write.value_len() > MAX_BYTES {
                return Err(StoreError::ValueTooLarge {
                    key: write.key().clone(),
                    bytes: write.value_len(),
                });
            }
            bytes += write.key().as_str().len() + write.value_len();
        }
        if bytes > MAX_BYTES {
            return Err(StoreError::TransactionTooLarge { bytes });
        }
        Ok(())
    }
}

/// Why a transaction was not made: somebody else wrote a key first.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("key {key} was expected {expected}, but is {}", found_words(.found.as_ref()))]
pub struct Conflict {
    /// The first key that is not as expected.
    pub key: Key,
    /// What was expected of it.
    pub expected: Expect,
    /// What it holds instead: the winner's work.
    pub found: Option<Entry>,
}

fn found_words(found: Option<&Entry>) -> Expect {
    Expect::unchanged(found)
}
