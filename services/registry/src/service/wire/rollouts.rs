//! Rollouts and their plans.

use decant_coordination::keys::{CheckRecord, DesiredKey, RolloutRecord};
use decant_model::rollout::{Pause, Phase, Plan, Reading, RolloutId, Setting, Verb, Verdict};
use decant_model::{
    Active, Arm, BASIS_POINTS, Generation, ModelName, ModelVersion, Prepared, SlotName,
};
use decant_proto::rollout::plan;
use decant_proto::rollout::v1 as proto;
use prost_types::Duration;
use proto::start_rollout_request::How as WireHow;

use super::rollout::{place, slot_status, slot_version};
use super::{given_version, timestamp};
use crate::error::CallError;
use crate::rollout::{Freezing, How, Rollback, RolloutStatus, Start, Steering, StoredPlan, What};
use crate::service::caller::Caller;

/// The rollout that a request names; empty names none.
pub(in crate::service) fn named_rollout(
    field: &'static str,
    text: &str,
) -> Result<Option<RolloutId>, CallError> {
    let given = Some(text).filter(|text| !text.is_empty());
    let id = given.map(str::parse::<RolloutId>);
    id.transpose()
        .map_err(|error| CallError::field(field, error))
}

/// The plan that a request names; empty names none.
pub(in crate::service) fn named_plan(
    field: &'static str,
    text: &str,
) -> Result<Option<SlotName>, CallError> {
    let given = Some(text).filter(|text| !text.is_empty());
    let name = given.map(str::parse::<SlotName>);
    name.transpose().map_err(CallError::name(field))
}

/// The plan that a request holds.
pub(in crate::service) fn given_plan(given: Option<proto::Plan>) -> Result<Plan, CallError> {
    let given = given.ok_or_else(|| CallError::field("plan", "not given"))?;
    plan::from_wire(given)
        .map_err(|error| CallError::field(format!("plan.{}", error.field), error.reason))
}

pub(in crate::service) fn start(
    caller: &Caller,
    request: proto::StartRolloutRequest,
) -> Result<Start, CallError> {
    let ask = asked!(caller, request)?;
    let (model, slot) = place(&request.model, &request.slot)?;
    let what = match named_rollout("retry_of", &request.retry_of)? {
        Some(earlier) => {
            let says_more = request.version != 0
                || request.how.is_some()
                || request.teacher_version != 0
                || !request.override_checks.is_empty();
            if says_more {
                let words =
                    "version, plan, teacher and checks are those of the rollout that is begun anew";
                return Err(CallError::field("retry_of", words));
            }
            What::Again(earlier)
        }
        None => What::Version {
            version: given_version(request.version)?,
            how: match request.how {
                None => How::Usual,
                Some(WireHow::Plan(given)) => How::Given(Box::new(given_plan(Some(given))?)),
                Some(WireHow::PlanName(name)) => match named_plan("plan_name", &name)? {
                    Some(name) => How::Named(name),
                    None => How::Usual,
                },
            },
            teacher: ModelVersion::new(request.teacher_version),
            overrides: request.override_checks,
        },
    };
    Ok(Start {
        place: DesiredKey { model, slot },
        what,
        expected: request.expected_generation.map(Generation),
        dry_run: request.dry_run,
        ask,
    })
}

pub(in crate::service) fn steering(
    caller: &Caller,
    request: proto::SteerRolloutRequest,
) -> Result<Steering, CallError> {
    let ask = asked!(caller, request)?;
    let (model, slot) = place(&request.model, &request.slot)?;
    let verb = match request.steer() {
        proto::Steer::Pause => Verb::Pause,
        proto::Steer::Resume => Verb::Resume,
        proto::Steer::Promote => Verb::Promote,
        proto::Steer::PromoteFully => Verb::PromoteFully,
        proto::Steer::Abort => Verb::Abort,
        proto::Steer::Unspecified => return Err(CallError::field("steer", "not given")),
    };
    Ok(Steering {
        place: DesiredKey { model, slot },
        rollout: named_rollout("rollout", &request.rollout)?,
        verb,
        expected: request.expected_generation.map(Generation),
        dry_run: request.dry_run,
        ask,
    })
}

pub(in crate::service) fn rollback(
    caller: &Caller,
    request: proto::RollbackRequest,
) -> Result<Rollback, CallError> {
    let ask = asked!(caller, request)?;
    let (model, slot) = place(&request.model, &request.slot)?;
    Ok(Rollback {
        place: DesiredKey { model, slot },
        version: ModelVersion::new(request.version),
        expected: request.expected_generation.map(Generation),
        dry_run: request.dry_run,
        ask,
    })
}

pub(in crate::service) fn freezing(
    caller: &Caller,
    request: proto::FreezeSlotRequest,
) -> Result<Freezing, CallError> {
    let ask = asked!(caller, request)?;
    let (model, slot) = place(&request.model, &request.slot)?;
    Ok(Freezing {
        place: DesiredKey { model, slot },
        frozen: request.frozen,
        expected: request.expected_generation.map(Generation),
        ask,
    })
}

pub(in crate::service) fn rollout(
    place: &DesiredKey,
    id: &RolloutId,
    record: RolloutRecord,
) -> proto::Rollout {
    let rollout = record.rollout;
    let (arm, share) = match (rollout.phase, rollout.setting) {
        (Phase::Promoted, _) => (Some(Arm::Stable), BASIS_POINTS),
        (_, Setting::Idle) => (None, 0),
        (_, Setting::Shadow) => (Some(Arm::Shadow), 0),
        (_, Setting::Weight(share)) => (Some(Arm::Canary), share.basis_points()),
    };
    let paused_by = match rollout.pause {
        None => proto::PausedBy::Unspecified,
        Some(Pause::Planned(_)) => proto::PausedBy::Plan,
        Some(Pause::Operator(_)) => proto::PausedBy::Operator,
        Some(Pause::Gate(_)) => proto::PausedBy::Gate,
    };
    let teacher = record
        .teacher
        .map(|teacher| version(teacher, Some(Arm::Teacher), 0));
    proto::Rollout {
        id: id.to_string(),
        model: place.model.to_string(),
        slot: place.slot.to_string(),
        plan: Some(plan::to_wire(&rollout.plan)),
        phase: phase(rollout.phase).into(),
        step: u32::try_from(rollout.step).unwrap_or(u32::MAX),
        reason_in_phase: rollout.why,
        candidate: Some(version(record.candidate, arm, share)),
        stable: Some(version(
            record.stable,
            Some(Arm::Stable),
            BASIS_POINTS - share,
        )),
        teacher,
        generation: record.generation.0,
        checks: record.checks.into_iter().map(check).collect(),
        retry_of: record.retry_of,
        issued_by: record.issued_by,
        reason: record.reason,
        start_time: timestamp(record.started_at_millis),
        move_time: timestamp(record.moved_at_millis),
        moved_by: record.moved_by,
        paused_by: paused_by.into(),
    }
}

fn version(version: Prepared, arm: Option<Arm>, weight_basis_points: u32) -> proto::SlotVersion {
    match arm {
        Some(arm) => slot_version(Active {
            digest: version.digest,
            version: version.version,
            arm,
            weight_basis_points,
        }),
        None => proto::SlotVersion {
            version: version.version.get(),
            digest: version.digest.to_string(),
            ..proto::SlotVersion::default()
        },
    }
}

fn phase(phase: Phase) -> proto::RolloutPhase {
    match phase {
        Phase::Pending => proto::RolloutPhase::Pending,
        Phase::Preparing => proto::RolloutPhase::Preparing,
        Phase::Shadowing => proto::RolloutPhase::Shadowing,
        Phase::Progressing => proto::RolloutPhase::Progressing,
        Phase::Paused => proto::RolloutPhase::Paused,
        Phase::Promoted => proto::RolloutPhase::Promoted,
        Phase::Aborting => proto::RolloutPhase::Aborting,
        Phase::Aborted => proto::RolloutPhase::Aborted,
        Phase::RolledBack => proto::RolloutPhase::RolledBack,
        Phase::Degraded => proto::RolloutPhase::Degraded,
    }
}

fn check(check: CheckRecord) -> proto::RolloutCheck {
    proto::RolloutCheck {
        name: check.name,
        passed: check.passed,
        found: check.found,
        overridden: check.overridden,
    }
}

fn reading(reading: &Reading) -> proto::GateReading {
    let verdict = match reading.verdict {
        Verdict::Pass => proto::GateVerdict::Pass,
        Verdict::Fail => proto::GateVerdict::Fail,
        Verdict::Inconclusive => proto::GateVerdict::Inconclusive,
    };
    proto::GateReading {
        gate: Some(plan::gate_to_wire(&reading.gate)),
        verdict: verdict.into(),
        value: reading.value,
        low: reading.interval.map(|(low, _)| low),
        high: reading.interval.map(|(_, high)| high),
        count: reading.count,
    }
}

pub(in crate::service) fn rollout_status(status: RolloutStatus) -> proto::RolloutStatus {
    let is_current = status.is_current();
    let RolloutStatus {
        place,
        id,
        record,
        slot,
        progress,
    } = status;
    let answer = proto::RolloutStatus {
        rollout: Some(rollout(&place, &id, record)),
        slot: Some(slot_status(&place.model, &place.slot, slot)),
        ..proto::RolloutStatus::default()
    };
    let Some(progress) = progress else {
        return answer;
    };
    // What the gates said last stands; of the time and of what is waited for, only what is about where the rollout is now.
    let measured = proto::RolloutStatus {
        gates: progress.judgement.readings.iter().map(reading).collect(),
        actual_basis_points: progress.actual_basis_points,
        requests: progress.requests,
        ..answer
    };
    if !is_current {
        return measured;
    }
    proto::RolloutStatus {
        elapsed: Some(duration(progress.elapsed_millis)),
        waits_for: progress.waits_for,
        silent_scorers: progress.silent,
        ..measured
    }
}

fn duration(millis: u64) -> Duration {
    Duration {
        seconds: i64::try_from(millis / 1_000).unwrap_or(i64::MAX),
        nanos: (millis % 1_000) as i32 * 1_000_000,
    }
}

pub(in crate::service) fn stored_plan(model: &ModelName, stored: StoredPlan) -> proto::StoredPlan {
    proto::StoredPlan {
        model: model.to_string(),
        name: stored.name.to_string(),
        plan: Some(plan::to_wire(&stored.plan)),
        issued_by: stored.issued_by,
        issue_time: stored.issued_at_millis.and_then(timestamp),
    }
}
