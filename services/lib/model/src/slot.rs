//! What scorers are to serve in one slot: the contract between the control plane and the scorers.

use serde::{Deserialize, Serialize};

use crate::{Digest, ModelVersion};

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

/// The value of a slot's key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DesiredSlot {
    /// Grows by one with each change.
    pub generation: Generation,
    /// The versions in service.
    pub active: Vec<Active>,
    /// Who made the change.
    pub issued_by: String,
    /// Why.
    pub reason: String,
    /// When, in milliseconds since 1970.
    pub issued_at_millis: u64,
}
