//! The contract of a store: keys with values, one revision that counts all changes, transactions, and watches.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

use crate::{StoreError, Txn};

/// Counts the store's changes. Each transaction that changes anything takes the next one; no two share one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Revision(pub u64);

impl Revision {
    /// The revision after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.0)
    }
}

/// A key: a path such as `/decant/default/v1/models/movies`. [`Keyspace`](crate::Keyspace) makes them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(String);

impl Key {
    /// A key of this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// All keys that begin alike.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Prefix(String);

impl Prefix {
    /// The keys that begin with this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The prefix as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a key begins so.
    pub fn contains(&self, key: &str) -> bool {
        key.starts_with(&self.0)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A key and what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: Key,
    /// Its value.
    pub value: Bytes,
    /// When the key came into being, counted anew after a deletion.
    pub create_revision: Revision,
    /// When the value was last written. What a transaction compares.
    pub mod_revision: Revision,
}

/// The keys of a prefix at one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// The entries, by key.
    pub entries: Vec<Entry>,
    /// The revision that they are of. A watch from the next one misses nothing and repeats nothing.
    pub revision: Revision,
}

/// All that one transaction did to the watched keys. Without events it is a sign of life: nothing that is watched has
/// changed up to this revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// The transaction's revision.
    pub revision: Revision,
    /// What it did, at most one event for each key.
    pub events: Vec<Event>,
}

/// What a transaction did to one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The key was written.
    Put(Entry),
    /// The key was deleted.
    Delete(Key),
}

/// The changes of a prefix, in the order of their revisions. It ends after an error, or when nobody can write any more.
pub type Watch = BoxStream<'static, Result<Changes, StoreError>>;

/// Holds keys as long as it is kept alive; when it expires or is revoked, they are deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LeaseId(pub i64);

/// A lease as the store granted it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// What keys are bound to.
    pub id: LeaseId,
    /// How long it lives unless it is kept alive. The store may give more than was asked for, never less.
    pub ttl: Duration,
}

/// Which store this is, and how far it has come. Another id, or a revision that goes back, means that somebody put another
/// store, or an older copy of this one, in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreIdentity {
    /// etcd's cluster id; drawn at random when an embedded store is made.
    pub id: u64,
    /// The last revision taken.
    pub revision: Revision,
}

/// How a store is, for people: nothing is decided by it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreCondition {
    /// What kind of store it is; empty when it does not tell.
    pub kind: &'static str,
    /// Its own version; empty when it has none.
    pub version: String,
    /// How large it is on disk, in bytes.
    pub bytes: Option<u64>,
    /// Whether it has a leader, where it needs one.
    pub has_leader: Option<bool>,
    /// What is wrong with it.
    pub errors: Vec<String>,
}

/// Some entries of a prefix, in the order that was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The entries.
    pub entries: Vec<Entry>,
    /// Whether there are more.
    pub more: bool,
}

/// In which order a page's keys come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// From the first key up.
    Ascending,
    /// From the last key down.
    Descending,
}

/// A store of keys.
#[async_trait]
pub trait MetaStore: Send + Sync + 'static {
    /// A key's entry, as of now.
    async fn get(&self, key: &Key) -> Result<Option<Entry>, StoreError>;

    /// All entries of a prefix, as of one revision.
    async fn list(&self, prefix: &Prefix) -> Result<Listing, StoreError>;

    /// At most `limit` entries of a prefix, as of one revision: those after the key `after` in the order asked for, or
    /// the first ones when there is none.
    async fn page(
        &self,
        prefix: &Prefix,
        after: Option<&Key>,
        order: Order,
        limit: usize,
    ) -> Result<Page, StoreError>;

    /// Makes all writes of a transaction, if all that it expects holds, and returns its revision; or makes none of them.
    /// A transaction that changes nothing takes no revision, and returns the current one.
    ///
    /// When it fails with anything but [`StoreError::Conflict`], [`StoreError::LeaseLost`] or a limit, it may have been made
    /// nevertheless.
    async fn commit(&self, txn: Txn) -> Result<Revision, StoreError>;

    /// Every change of a prefix from a revision on, each once. A revision in the future is waited for; one whose changes
    /// are no longer held gives [`StoreError::Compacted`], here or as the stream's only item.
    async fn watch(&self, prefix: &Prefix, from: Revision) -> Result<Watch, StoreError>;

    /// Which store answers, and its revision.
    async fn identity(&self) -> Result<StoreIdentity, StoreError>;

    /// How the store is. One that does not tell says so by an empty kind.
    async fn condition(&self) -> Result<StoreCondition, StoreError> {
        Ok(StoreCondition::default())
    }

    /// A new lease, which lives at least so long.
    async fn grant(&self, ttl: Duration) -> Result<Lease, StoreError>;

    /// Gives a lease its whole time to live again. [`StoreError::LeaseLost`] when it has expired or was revoked.
    async fn keep_alive(&self, lease: LeaseId) -> Result<Duration, StoreError>;

    /// Ends a lease and deletes its keys, in one transaction. A lease that is gone is fine.
    async fn revoke(&self, lease: LeaseId) -> Result<(), StoreError>;
}
