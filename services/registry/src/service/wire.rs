//! Messages as domain types, and back.

mod access;
mod admin;
mod registry;
mod rollout;
mod rollouts;

use std::time::{Duration, SystemTime};

use decant_model::{ModelName, ModelVersion};
use prost_types::Timestamp;

use crate::error::CallError;

pub(super) use access::{adding, principal, principal_name, principals};
pub(super) use admin::{audit_entry, hash, store};
pub(super) use registry::{
    cut, gates, lineage_node, model, part, signers, version, version_with_manifest,
};
pub(super) use rollout::{moment, place, prepare_slot, scorer, set_slot, slot, slot_status};
pub(super) use rollouts::{
    freezing, given_plan, named_plan, named_rollout, rollback, rollout, rollout_status, start,
    steering, stored_plan,
};

pub(super) fn model_name(field: &'static str, name: &str) -> Result<ModelName, CallError> {
    name.parse().map_err(CallError::name(field))
}

/// The version that a request names; 0 names none.
pub(super) fn given_version(number: u64) -> Result<ModelVersion, CallError> {
    ModelVersion::new(number)
        .ok_or_else(|| CallError::field("version", "0 is no version; they begin with 1"))
}

/// None for a time that no calendar has.
pub(super) fn timestamp(millis: u64) -> Option<Timestamp> {
    SystemTime::UNIX_EPOCH
        .checked_add(Duration::from_millis(millis))
        .map(Timestamp::from)
}

/// A time in a request; one before 1970 is long over.
fn millis(field: &'static str, time: Timestamp) -> Result<u64, CallError> {
    let time = SystemTime::try_from(time).map_err(|error| CallError::field(field, error))?;
    let since_1970 = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    Ok(u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX))
}
