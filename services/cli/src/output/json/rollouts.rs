//! Rollouts and their plans. A plan stands here as in its file, steps as text.

use decant_proto::rollout::plan::from_wire;
use decant_proto::rollout::v1::{
    GateReading, Plan, Rollout, RolloutCheck, RolloutGate, RolloutStatus, StoredPlan,
};
use serde_json::{Value, json};

use super::rollout::{slot_status, slot_version};
use super::{list, time};
use crate::output::names;

/// A plan as its file spells it; one that this build cannot read is `null`.
fn plan(plan: &Plan) -> Value {
    from_wire(plan.clone())
        .ok()
        .and_then(|plan| serde_json::to_value(plan).ok())
        .into()
}

/// A stored plan.
pub(crate) fn stored_plan(stored: &StoredPlan) -> Value {
    json!({
        "model": stored.model,
        "name": stored.name,
        "plan": stored.plan.as_ref().map(plan),
        "issued_by": stored.issued_by,
        "issue_time": time(stored.issue_time.as_ref()),
    })
}

/// A rollout.
pub(crate) fn rollout(rollout: &Rollout) -> Value {
    json!({
        "id": rollout.id,
        "model": rollout.model,
        "slot": rollout.slot,
        "plan": rollout.plan.as_ref().map(plan),
        "phase": names::rollout_phase(rollout.phase),
        "step": rollout.step,
        "reason_in_phase": rollout.reason_in_phase,
        "candidate": rollout.candidate.as_ref().map(slot_version),
        "stable": rollout.stable.as_ref().map(slot_version),
        "teacher": rollout.teacher.as_ref().map(slot_version),
        "generation": rollout.generation,
        "checks": list(&rollout.checks, check),
        "retry_of": rollout.retry_of,
        "issued_by": rollout.issued_by,
        "reason": rollout.reason,
        "start_time": time(rollout.start_time.as_ref()),
        "move_time": time(rollout.move_time.as_ref()),
        "moved_by": rollout.moved_by,
        "paused_by": names::paused_by(rollout.paused_by),
    })
}

fn check(check: &RolloutCheck) -> Value {
    json!({
        "name": check.name,
        "passed": check.passed,
        "found": check.found,
        "overridden": check.overridden,
    })
}

/// A rollout, and what is measured of it.
pub(crate) fn rollout_status(status: &RolloutStatus) -> Value {
    json!({
        "rollout": status.rollout.as_ref().map(rollout),
        "slot": status.slot.as_ref().map(slot_status),
        "gates": list(&status.gates, reading),
        "elapsed": status.elapsed.as_ref().map(ToString::to_string),
        "actual_basis_points": status.actual_basis_points,
        "requests": status.requests,
        "waits_for": status.waits_for,
        "silent_scorers": status.silent_scorers,
    })
}

fn reading(reading: &GateReading) -> Value {
    json!({
        "gate": reading.gate.as_ref().map(gate),
        "verdict": names::gate_verdict(reading.verdict),
        "value": reading.value,
        "low": reading.low,
        "high": reading.high,
        "count": reading.count,
    })
}

fn gate(gate: &RolloutGate) -> Value {
    json!({
        "metric": gate.metric,
        "min": gate.min,
        "max": gate.max,
        "min_count": gate.min_count,
        "on_fail": names::on_fail(gate.on_fail),
    })
}
