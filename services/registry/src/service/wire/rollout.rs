//! Slots, and what scorers make of them.

use decant_coordination::keys::{ObservedState, ObservedVersion, ScorerRecord};
use decant_model::{Active, DesiredSlot, Generation, ModelName, Prepared, ScorerName, SlotName};
use decant_proto::rollout::v1 as proto;
use prost_types::Timestamp;

use super::{given_version, millis, timestamp};
use crate::error::CallError;
use crate::rollout::{Change, Member, Moment, SlotStatus};
use crate::service::caller::Caller;

/// All of each hundred live scorers.
const ALL: u8 = 100;

/// The slot that a request names.
pub(in crate::service) fn place(
    model: &str,
    slot: &str,
) -> Result<(ModelName, SlotName), CallError> {
    let model = model.parse().map_err(CallError::name("model"))?;
    let slot = SlotName::or_default(slot).map_err(CallError::name("slot"))?;
    Ok((model, slot))
}

pub(in crate::service) fn set_slot(
    caller: &Caller,
    request: proto::SetSlotRequest,
) -> Result<Change, CallError> {
    let ask = asked!(caller, request)?;
    let (model, slot) = place(&request.model, &request.slot)?;
    let min_ready_percent = match request.min_ready_percent {
        0 => ALL,
        percent => u8::try_from(percent)
            .ok()
            .filter(|percent| *percent <= ALL)
            .ok_or_else(|| {
                CallError::field("min_ready_percent", format!("{percent} is more than {ALL}"))
            })?,
    };
    Ok(Change {
        model,
        slot,
        version: given_version(request.version)?,
        expected: request.expected_generation.map(Generation),
        min_ready_percent,
        ask,
    })
}

pub(in crate::service) fn prepare_slot(
    caller: &Caller,
    request: proto::PrepareSlotRequest,
) -> Result<Change, CallError> {
    let ask = asked!(caller, request)?;
    let (model, slot) = place(&request.model, &request.slot)?;
    Ok(Change {
        model,
        slot,
        version: given_version(request.version)?,
        expected: request.expected_generation.map(Generation),
        min_ready_percent: ALL,
        ask,
    })
}

/// A time in a request.
pub(in crate::service) fn moment(at: Timestamp) -> Result<Moment, CallError> {
    Ok(Moment(millis("at", at)?))
}

pub(in crate::service) fn slot(
    model: &ModelName,
    slot: &SlotName,
    desired: DesiredSlot,
) -> proto::Slot {
    proto::Slot {
        model: model.to_string(),
        slot: slot.to_string(),
        generation: desired.generation.0,
        active: desired.active.into_iter().map(slot_version).collect(),
        issued_by: desired.issued_by,
        reason: desired.reason,
        issue_time: timestamp(desired.issued_at_millis),
        prepare: desired.prepare.into_iter().map(prepared).collect(),
        min_ready_percent: desired
            .pending
            .as_ref()
            .map_or(0, |pending| pending.min_ready_percent.into()),
        pending: desired
            .pending
            .into_iter()
            .flat_map(|pending| pending.active)
            .map(slot_version)
            .collect(),
        epoch: desired.epoch,
        rollout: desired
            .rollout
            .map_or_else(String::new, |rollout| rollout.to_string()),
        frozen: desired.frozen.map(|freeze| proto::Freeze {
            issued_by: freeze.by,
            reason: freeze.reason,
            since: timestamp(freeze.since_millis),
        }),
        compare_basis_points: desired.compare_basis_points,
    }
}

pub(super) fn slot_version(active: Active) -> proto::SlotVersion {
    let arm = proto::Arm::from(active.arm);
    proto::SlotVersion {
        version: active.version.get(),
        digest: active.digest.to_string(),
        arm: arm.into(),
        weight_basis_points: active.weight_basis_points,
    }
}

fn prepared(prepared: Prepared) -> proto::SlotVersion {
    proto::SlotVersion {
        version: prepared.version.get(),
        digest: prepared.digest.to_string(),
        ..proto::SlotVersion::default()
    }
}

pub(in crate::service) fn slot_status(
    model: &ModelName,
    slot: &SlotName,
    status: SlotStatus,
) -> proto::SlotStatus {
    let scorers = status.fleet.members.into_iter().map(scorer_status);
    proto::SlotStatus {
        slot: Some(self::slot(model, slot, status.desired)),
        scorers: scorers.collect(),
        converged: status.converged,
        blocked: status.blocked,
    }
}

fn scorer_status(member: Member) -> proto::ScorerStatus {
    let said = proto::ScorerStatus {
        scorer: Some(scorer(&member.name, member.record)),
        ..proto::ScorerStatus::default()
    };
    let Some(observed) = member.observed else {
        return said;
    };
    proto::ScorerStatus {
        generation: observed.generation.0,
        serving: observed.serving.0,
        versions: observed
            .versions
            .into_iter()
            .map(observed_version)
            .collect(),
        frozen: observed.frozen.unwrap_or_default(),
        ..said
    }
}

fn observed_version(observed: ObservedVersion) -> proto::ObservedVersion {
    let state = match observed.state {
        ObservedState::Loading => proto::ObservedState::Loading,
        ObservedState::Ready => proto::ObservedState::Ready,
        ObservedState::Failed => proto::ObservedState::Failed,
    };
    proto::ObservedVersion {
        version: observed.version.get(),
        digest: observed.digest.to_string(),
        state: state.into(),
        error: observed.error,
    }
}

pub(in crate::service) fn scorer(name: &ScorerName, record: ScorerRecord) -> proto::Scorer {
    proto::Scorer {
        name: name.to_string(),
        address: record.address,
        zone: record.zone,
        boot_id: record.boot_id,
        build: record.build,
        start_time: timestamp(record.started_at_millis),
    }
}
