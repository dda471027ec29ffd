//! Slots, and what scorers make of them.

use decant_proto::rollout::v1::{
    Freeze, ObservedVersion, Scorer, ScorerStatus, Slot, SlotStatus, SlotVersion,
};
use serde_json::{Value, json};

use super::{list, time};
use crate::output::names;

/// A slot.
pub(crate) fn slot(slot: &Slot) -> Value {
    json!({
        "model": slot.model,
        "slot": slot.slot,
        "generation": slot.generation,
        "active": list(&slot.active, slot_version),
        "issued_by": slot.issued_by,
        "reason": slot.reason,
        "issue_time": time(slot.issue_time.as_ref()),
        "prepare": list(&slot.prepare, slot_version),
        "pending": list(&slot.pending, slot_version),
        "min_ready_percent": slot.min_ready_percent,
        "epoch": slot.epoch,
        "rollout": slot.rollout,
        "frozen": slot.frozen.as_ref().map(freeze),
        "compare_basis_points": slot.compare_basis_points,
    })
}

fn freeze(freeze: &Freeze) -> Value {
    json!({
        "issued_by": freeze.issued_by,
        "reason": freeze.reason,
        "since": time(freeze.since.as_ref()),
    })
}

pub(super) fn slot_version(version: &SlotVersion) -> Value {
    json!({
        "version": version.version,
        "digest": version.digest,
        "arm": names::arm(version.arm),
        "weight_basis_points": version.weight_basis_points,
    })
}

/// A slot as intended and as it is.
pub(crate) fn slot_status(status: &SlotStatus) -> Value {
    json!({
        "slot": status.slot.as_ref().map(slot),
        "scorers": list(&status.scorers, scorer_status),
        "converged": status.converged,
        "blocked": status.blocked,
    })
}

fn scorer_status(status: &ScorerStatus) -> Value {
    json!({
        "scorer": status.scorer.as_ref().map(scorer),
        "generation": status.generation,
        "serving": status.serving,
        "versions": list(&status.versions, observed_version),
        "frozen": status.frozen,
    })
}

fn observed_version(version: &ObservedVersion) -> Value {
    json!({
        "version": version.version,
        "digest": version.digest,
        "state": names::observed_state(version.state),
        "error": version.error,
    })
}

/// A live scorer.
pub(crate) fn scorer(scorer: &Scorer) -> Value {
    json!({
        "name": scorer.name,
        "address": scorer.address,
        "zone": scorer.zone,
        "boot_id": scorer.boot_id,
        "build": scorer.build,
        "start_time": time(scorer.start_time.as_ref()),
    })
}
