//! What is kept, and under which keys.
//!
//! ```text
//! /decant/{cluster}/v1/
//!   models/{model}                     what a model's versions must reach; how many there are
//!   versions/{model}/{version:010}     a version's digest and manifest; never changed
//!   digests/{model}/{sha256}           which version has this digest: no two have the same
//!   state/{model}/{version:010}        approved or rejected, with the gates' judgement
//!   desired/{model}/{slot}             what scorers are to serve
//! ```
//!
//! Values are JSON. A reader ignores fields that it does not know; a change that old readers would misread takes a new
//! root, `v2`.

mod records;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use decant_model::{ClusterName, DesiredSlot, Digest, ModelName, ModelVersion, SlotName};
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::{Entry, Key, Prefix};

pub use records::{DigestRecord, ModelRecord, StateRecord, VersionRecord, VersionState};

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

/// `models/{model}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelKey {
    /// The model.
    pub model: ModelName,
}

/// `versions/{model}/{version:010}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionKey {
    /// The model.
    pub model: ModelName,
    /// The version.
    pub version: ModelVersion,
}

/// `digests/{model}/{sha256}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DigestKey {
    /// The model.
    pub model: ModelName,
    /// The digest of a version's manifest.
    pub digest: Digest,
}

/// `state/{model}/{version:010}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateKey {
    /// The model.
    pub model: ModelName,
    /// The version.
    pub version: ModelVersion,
}

/// `desired/{model}/{slot}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredKey {
    /// The model.
    pub model: ModelName,
    /// The slot.
    pub slot: SlotName,
}

impl Record for ModelKey {
    const KIND: &'static str = "models";
    type Value = ModelRecord;

    fn path(&self) -> String {
        self.model.to_string()
    }

    fn parse(path: &str) -> Option<Self> {
        Some(Self {
            model: path.parse().ok()?,
        })
    }
}

impl Record for VersionKey {
    const KIND: &'static str = "versions";
    type Value = VersionRecord;

    fn path(&self) -> String {
        format!("{}/{}", self.model, padded(self.version))
    }

    fn parse(path: &str) -> Option<Self> {
        let (model, version) = path.split_once('/')?;
        Some(Self {
            model: model.parse().ok()?,
            version: unpadded(version)?,
        })
    }
}

impl Record for DigestKey {
    const KIND: &'static str = "digests";
    type Value = DigestRecord;

    fn path(&self) -> String {
        format!("{}/{}", self.model, self.digest.hex())
    }

    fn parse(path: &str) -> Option<Self> {
        let (model, hex) = path.split_once('/')?;
        Some(Self {
            model: model.parse().ok()?,
            digest: format!("sha256:{hex}").parse().ok()?,
        })
    }
}

impl Record for StateKey {
    const KIND: &'static str = "state";
    type Value = StateRecord;

    fn path(&self) -> String {
        format!("{}/{}", self.model, padded(self.version))
    }

    fn parse(path: &str) -> Option<Self> {
        let (model, version) = path.split_once('/')?;
        Some(Self {
            model: model.parse().ok()?,
            version: unpadded(version)?,
        })
    }
}

impl Record for DesiredKey {
    const KIND: &'static str = "desired";
    type Value = DesiredSlot;

    fn path(&self) -> String {
        format!("{}/{}", self.model, self.slot)
    }

    fn parse(path: &str) -> Option<Self> {
        let (model, slot) = path.split_once('/')?;
        Some(Self {
            model: model.parse().ok()?,
            slot: slot.parse().ok()?,
        })
    }
}

/// Ten digits, so that keys sort as numbers do.
fn padded(version: ModelVersion) -> String {
    format!("{:010}", version.get())
}

fn unpadded(text: &str) -> Option<ModelVersion> {
    let version = ModelVersion::new(text.parse().ok()?)?;
    (padded(version) == text).then_some(version)
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
        Key::new(format!("{}{}/{}", self.root, R::KIND, record.path()))
    }

    /// All keys of a kind.
    pub fn all<R: Record>(&self) -> Prefix {
        Prefix::new(format!("{}{}/", self.root, R::KIND))
    }

    /// All of a model's keys of a kind that has several for each model.
    pub fn of_model<R: Record>(&self, model: &ModelName) -> Prefix {
        Prefix::new(format!("{}{}/{model}/", self.root, R::KIND))
    }

    /// Reads a stored key.
    ///
    /// # Errors
    /// When it is no key of this kind in this cluster.
    pub fn parse<R: Record>(&self, key: &Key) -> Result<R, RecordError> {
        let path = key
            .as_str()
            .strip_prefix(&self.root)
            .and_then(|path| path.strip_prefix(R::KIND)?.strip_prefix('/'));
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
/// When it does not parse.
pub fn value<R: Record>(entry: &Entry) -> Result<R::Value, RecordError> {
    serde_json::from_slice(&entry.value).map_err(|error| RecordError::Value {
        key: entry.key.clone(),
        reason: error.to_string(),
    })
}

/// Writes a value as it is stored.
///
/// # Errors
/// When the value cannot be written as JSON.
pub fn encode<R: Record>(record: &R, value: &R::Value) -> Result<Bytes, RecordError> {
    let json = serde_json::to_vec(value).map_err(|error| RecordError::Encode {
        kind: R::KIND,
        path: record.path(),
        reason: error.to_string(),
    })?;
    Ok(json.into())
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
