//! The values behind the keys, as they are stored. `desired/` holds [`decant_model::DesiredSlot`].

use decant_model::{Digest, Gate, GateResult, Manifest, ModelVersion};
use serde::{Deserialize, Serialize};

/// The value of `models/{model}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelRecord {
    /// Free text for people.
    pub description: String,
    /// What a version's metrics must reach.
    pub gates: Vec<Gate>,
    /// When the model was created, in milliseconds since 1970.
    pub created_at_millis: u64,
    /// The newest version. Each new version moves it, and so any two that come at once are told apart.
    pub latest_version: Option<ModelVersion>,
}

/// The value of `versions/{model}/{version:010}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VersionRecord {
    /// Digest of the manifest's bytes: the version's identity, and its bundle's address.
    pub digest: Digest,
    /// What the manifest says. Its bytes, which the digest is of, lie in the bundle.
    pub manifest: Manifest,
    /// When the version was pushed, in milliseconds since 1970.
    pub created_at_millis: u64,
}

/// The value of `digests/{model}/{sha256}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DigestRecord {
    /// The version that has the digest.
    pub version: ModelVersion,
}

/// The value of `state/{model}/{version:010}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StateRecord {
    /// Where the version stands.
    pub state: VersionState,
    /// How the gates of its model judged it.
    pub gates: Vec<GateResult>,
}

/// The life of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VersionState {
    /// Complete, and every gate holds: it may be served.
    Approved,
    /// Complete, but a gate does not hold: kept for inspection, never served.
    Rejected,
}
