//! What scorers are to serve in one slot: the contract between the control plane and the scorers.

use serde::{Deserialize, Serialize};

use crate::rollout::RolloutId;
use crate::{Digest, ModelVersion, PublicKey};

/// Counts a slot's changes.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Generation(pub u64);

impl Generation {
    /// The generation after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// All of the traffic, in basis points.
pub const BASIS_POINTS: u32 = 10_000;

/// The part that a version plays in a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Arm {
    /// Answers by default.
    Stable,
    /// Answers some of the traffic.
    Canary,
    /// Scores a copy of the traffic and answers none.
    Shadow,
    /// The teacher of the version that is released: scores a sample of the traffic, to compare with, and answers none.
    Teacher,
}

impl Arm {
    /// As it is written in labels and in the log.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stable => "stable",
            Self::Canary => "canary",
            Self::Shadow => "shadow",
            Self::Teacher => "teacher",
        }
    }
}

/// One version in a slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Active {
    /// Its manifest digest, and so its identity.
    pub digest: Digest,
    /// Its number.
    pub version: ModelVersion,
    /// The part that it plays.
    pub arm: Arm,
    /// Its share of the traffic.
    pub weight_basis_points: u32,
}

/// A version that scorers are to have ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Prepared {
    /// Its manifest digest.
    pub digest: Digest,
    /// Its number.
    pub version: ModelVersion,
}

/// Who keeps a slot as it is, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freeze {
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Since when, in milliseconds since 1970.
    pub since_millis: u64,
}

/// What a slot is to serve next, once enough scorers have it ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// The versions that come into service.
    pub active: Vec<Active>,
    /// How many of each hundred live scorers must have them ready; 100 unless an operator said otherwise.
    pub min_ready_percent: u8,
}

/// The value of a slot's key. *Prepare* and *activate* are two generations: the first makes every scorer fetch, verify
/// and warm up, the second only moves a pointer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DesiredSlot {
    /// Grows with each change, and never goes back.
    pub generation: Generation,
    /// The epoch of the registry's leader when it made the change by itself; 0 when an operator did.
    #[serde(default)]
    pub epoch: u64,
    /// The versions in service.
    pub active: Vec<Active>,
    /// Further versions to have ready.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prepare: Vec<Prepared>,
    /// What the leader activates when the scorers have it ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<Pending>,
    /// What is hashed together with a request's routing key, while the traffic is split; empty while it is not.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub salt: String,
    /// The share of requests, in basis points, that are scored by the other versions too, off the request path, to compare
    /// what they say.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub compare_basis_points: u32,
    /// The rollout that has the slot; nobody else changes it meanwhile, but for a rollback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutId>,
    /// Set while nothing but a rollback may change the slot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frozen: Option<Freeze>,
    /// The keys that may sign this model's versions; when there are none, versions need no signature.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signers: Vec<PublicKey>,
    /// Who made the change.
    pub issued_by: String,
    /// Why.
    pub reason: String,
    /// When, in milliseconds since 1970.
    pub issued_at_millis: u64,
    /// The trace that the change is part of, as a W3C `traceparent`: what scorers make of it continues there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}
