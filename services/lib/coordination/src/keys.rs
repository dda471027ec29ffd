//! What is kept, and under which keys.
//!
//! ```text
//! /decant/{cluster}/v1/
//!   meta/cluster                             which cluster this is
//!   meta/audit                               the newest audit entry: every mutation moves it
//!   access/{principal}                       who may do what, and by which credentials they are known
//!   leader                                   the registry that leads; lease-bound, its create revision is the epoch
//!   models/{model}                           what a model's versions must reach, who may sign them, how many there are
//!   versions/{model}/{version:010}           a version's digest and manifest; never changed
//!   digests/{model}/{sha256}                 which version has this digest: no two have the same
//!   state/{model}/{version:010}              staged, validated, approved, retired or rejected, with the gates' judgement
//!   desired/{model}/{slot}                   what scorers are to serve
//!   history/{model}/{slot}/{generation:020}  what they were to serve at each generation; never changed
//!   plans/{model}/{plan}                     how rollouts of the model are done, if nobody says otherwise: `default`; or by name
//!   rollouts/{model}/{slot}/{ulid}           what a rollout does, and where it stands; desired/ names the one that has the slot
//!   progress/{model}/{slot}/{ulid}           what the leader sees of a rollout: time in its step, what the gates say
//!   refusals/{model}/{slot}                  why the leader does not activate what is pending; bound to the leader's lease
//!   scorers/{scorer}                         a live scorer; lease-bound
//!   observed/{model}/{slot}/{scorer}         what a live scorer serves; lease-bound
//!   requests/{sha256}                        what became of a request; lease-bound, for a day
//!   audit/{number:020}                       who did what, chained by hash; never changed
//! ```
//!
//! Values are JSON objects with a field `format`. A reader ignores fields that it does not know, and refuses a format newer
//! than it knows; a change of the keys themselves takes a new root, `v2`.

mod kinds;
mod records;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use decant_model::{ClusterName, ModelName, SlotName};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{Entry, Key, Prefix};

pub use kinds::{
    AccessKey, AuditHeadKey, AuditKey, ClusterKey, DesiredKey, DigestKey, HistoryKey, LeaderKey,
    ModelKey, ObservedKey, PlanKey, ProgressKey, RefusalKey, RequestId, RequestKey, RolloutKey,
    ScorerKey, StateKey, VersionKey,
};
pub use records::{
    AccessRecord, AuditHead, AuditRecord, CheckRecord, ClusterRecord, DigestRecord, LeaderRecord,
    ModelRecord, ObservedRecord, ObservedState, ObservedVersion, PlanRecord, ProgressRecord,
    RefusalRecord, RequestRecord, RolloutRecord, ScorerRecord, StateRecord, VersionRecord,
    VersionState,
};

/// The newest format of values that this build reads, and the one that it writes.
pub const FORMAT: u64 = 1;

/// A kind of key, and what it holds.
pub trait Record: Sized {
    /// The name of the kind in the tree.
    const KIND: &'static str;
    /// The value's type.
    type Value: Serialize + DeserializeOwned;

    /// What follows the kind in the key.
    fn path(&self) -> String;

    /// Reads what follows the kind in the key; `None` when it is no key of this kind.
    fn parse(path: &str) -> Option<Self>;
}

/// The keys of one cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keyspace {
    root: String,
}

impl Default for Keyspace {
    fn default() -> Self {
        Self::new(&ClusterName::default())
    }
}

impl Keyspace {
    /// The keys of this cluster.
    pub fn new(cluster: &ClusterName) -> Self {
        Self {
            root: format!("/decant/{cluster}/v1/"),
        }
    }

    /// A key as it is stored.
    pub fn key<R: Record>(&self, record: &R) -> Key {
        let path = record.path();
        let slash = if path.is_empty() { "" } else { "/" };
        Key::new(format!("{}{}{slash}{path}", self.root, R::KIND))
    }

    /// All keys of a kind.
    pub fn all<R: Record>(&self) -> Prefix {
        Prefix::new(format!("{}{}/", self.root, R::KIND))
    }

    /// All of a model's keys of a kind that has several for each model.
    pub fn of_model<R: Record>(&self, model: &ModelName) -> Prefix {
        Prefix::new(format!("{}{}/{model}/", self.root, R::KIND))
    }

    /// All keys of the cluster.
    pub fn everything(&self) -> Prefix {
        Prefix::new(self.root.clone())
    }

    /// All of a slot's keys of a kind that has several for each slot.
    pub fn of_slot<R: Record>(&self, model: &ModelName, slot: &SlotName) -> Prefix {
        Prefix::new(format!("{}{}/{model}/{slot}/", self.root, R::KIND))
    }

    /// Reads a stored key.
    ///
    /// # Errors
    /// When it is no key of this kind in this cluster.
    pub fn parse<R: Record>(&self, key: &Key) -> Result<R, RecordError> {
        let path = key
            .as_str()
            .strip_prefix(&self.root)
            .and_then(|path| path.strip_prefix(R::KIND))
            .and_then(|path| {
                if path.is_empty() {
                    Some(path)
                } else {
                    path.strip_prefix('/')
                }
            });
        path.and_then(R::parse).ok_or_else(|| RecordError::Key {
            key: key.clone(),
            kind: R::KIND,
        })
    }

    /// Reads a stored entry.
    ///
    /// # Errors
    /// When the key is none of this kind, or the value does not parse.
    pub fn read<R: Record>(&self, entry: &Entry) -> Result<(R, R::Value), RecordError> {
        Ok((self.parse(&entry.key)?, value::<R>(entry)?))
    }
}

/// Reads an entry's value.
///
/// # Errors
/// When it does not parse, or is of a newer format.
pub fn value<R: Record>(entry: &Entry) -> Result<R::Value, RecordError> {
    let unreadable = |error: serde_json::Error| RecordError::Value {
        key: entry.key.clone(),
        reason: error.to_string(),
    };
    let Format { format } = serde_json::from_slice(&entry.value).map_err(unreadable)?;
    if format > FORMAT {
        return Err(RecordError::Format {
            key: entry.key.clone(),
            format,
        });
    }
    serde_json::from_slice(&entry.value).map_err(unreadable)
}

/// Writes a value as it is stored.
///
/// # Errors
/// When the value cannot be written as JSON.
pub fn encode<R: Record>(record: &R, value: &R::Value) -> Result<Bytes, RecordError> {
    let formatted = Formatted {
        format: FORMAT,
        value,
    };
    let json = serde_json::to_vec(&formatted).map_err(|error| RecordError::Encode {
        kind: R::KIND,
        path: record.path(),
        reason: error.to_string(),
    })?;
    Ok(json.into())
}

#[derive(Deserialize)]
struct Format {
    /// Values of the first format may leave it out.
    #[serde(default)]
    format: u64,
}

#[derive(Serialize)]
struct Formatted<'a, T> {
    format: u64,
    #[serde(flatten)]
    value: &'a T,
}

/// A record that cannot be read or written.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RecordError {
    /// The key is none of its kind.
    #[error("`{key}` is no key of {kind}")]
    Key {
        /// The key.
        key: Key,
        /// The kind expected.
        kind: &'static str,
    },
    /// The value does not parse.
    #[error("the value of key {key} does not parse: {reason}")]
    Value {
        /// The key.
        key: Key,
        /// What is wrong with it.
        reason: String,
    },
    /// The value was written by a newer Decant.
    #[error(
        "the value of key {key} has format {format}, but this build reads up to format {FORMAT}: upgrade it"
    )]
    Format {
        /// The key.
        key: Key,
        /// Its format.
        format: u64,
    },
    /// The value cannot be written.
    #[error("the value of {kind}/{path} cannot be written: {reason}")]
    Encode {
        /// The kind.
        kind: &'static str,
        /// Which one of it.
        path: String,
        /// Why.
        reason: String,
    },
}
