//! Messages as domain types, and back.

use std::time::{Duration, SystemTime};

use decant_artifact::Bundle;
use decant_coordination::keys::VersionState;
use decant_model::{
    Active, Arm, DesiredSlot, Gate, GateResult, Generation, ModelName, ModelVersion, SlotName,
};
use decant_proto::registry::v1::{self as registry, push_version_request as push};
use decant_proto::rollout::v1 as rollout;
use prost_types::Timestamp;
use tonic::Status;

use crate::admission::{Header, Part};
use crate::catalog::{Model, Version};
use crate::error::CallError;
use crate::rollout::Change;

/// One message of an upload.
pub(super) fn part(message: registry::PushVersionRequest) -> Result<Part, CallError> {
    match message.part {
        Some(push::Part::Header(header)) => Ok(Part::Header(Header {
            model: header
                .model
                .parse()
                .map_err(CallError::name("header.model"))?,
            digest: header
                .digest
                .parse()
                .map_err(|error| CallError::field("header.digest", error))?,
            manifest: header.manifest,
        })),
        Some(push::Part::Chunk(chunk)) => Ok(Part::Chunk {
            path: chunk
                .path
                .parse()
                .map_err(|error| CallError::field("chunk.path", error))?,
            bytes: chunk.data,
        }),
        None => Err(CallError::field("part", "not given")),
    }
}

/// A stream that broke. Who broke it hears nothing of this, but the log does.
pub(super) fn cut(status: Status) -> CallError {
    CallError::field("part", format!("the stream was cut: {}", status.message()))
}

/// 0 asks for the newest.
pub(super) fn version_number(number: u64) -> Option<ModelVersion> {
    ModelVersion::new(number)
}

pub(super) fn gates(gates: Vec<registry::Gate>) -> Vec<Gate> {
    gates
        .into_iter()
        .map(|gate| Gate {
            metric: gate.metric,
            min: gate.min,
            max: gate.max,
        })
        .collect()
}

fn gate(gate: Gate) -> registry::Gate {
    registry::Gate {
        metric: gate.metric,
        min: gate.min,
        max: gate.max,
    }
}

fn gate_result(judged: GateResult) -> registry::GateResult {
    registry::GateResult {
        gate: Some(gate(judged.gate)),
        value: judged.value,
        passed: judged.passed,
    }
}

pub(super) fn model(model: Model) -> registry::Model {
    registry::Model {
        name: model.name.to_string(),
        description: model.record.description,
        gates: model.record.gates.into_iter().map(gate).collect(),
        create_time: timestamp(model.record.created_at_millis),
        latest_version: model.record.latest_version.map_or(0, ModelVersion::get),
    }
}

/// A version without its manifest.
pub(super) fn version(version: Version) -> registry::Version {
    let state = match version.state.state {
        VersionState::Approved => registry::VersionState::Approved,
        VersionState::Rejected => registry::VersionState::Rejected,
    };
    registry::Version {
        model: version.model.to_string(),
        version: version.version.get(),
        digest: version.record.digest.to_string(),
        state: state.into(),
        gate_results: version.state.gates.into_iter().map(gate_result).collect(),
        create_time: timestamp(version.record.created_at_millis),
        size_bytes: version.record.manifest.size(),
        manifest: bytes::Bytes::new(),
    }
}

pub(super) fn version_with_manifest(found: Version, bundle: &Bundle) -> registry::Version {
    registry::Version {
        manifest: bundle.manifest_bytes().clone(),
        ..version(found)
    }
}

/// The slot that a request names.
pub(super) fn place(model: &str, slot: &str) -> Result<(ModelName, SlotName), CallError> {
    let model = model.parse().map_err(CallError::name("model"))?;
    let slot = SlotName::or_default(slot).map_err(CallError::name("slot"))?;
    Ok((model, slot))
}

pub(super) fn change(request: rollout::SetSlotRequest) -> Result<Change, CallError> {
    let (model, slot) = place(&request.model, &request.slot)?;
    let version = ModelVersion::new(request.version);
    Ok(Change {
        model,
        slot,
        version: version
            .ok_or_else(|| CallError::field("version", "0 is no version; they begin with 1"))?,
        expected: request.expected_generation.map(Generation),
        issued_by: request.issued_by,
        reason: request.reason,
    })
}

pub(super) fn slot(model: &ModelName, slot: &SlotName, desired: DesiredSlot) -> rollout::Slot {
    rollout::Slot {
        model: model.to_string(),
        slot: slot.to_string(),
        generation: desired.generation.0,
        active: desired.active.into_iter().map(slot_version).collect(),
        issued_by: desired.issued_by,
        reason: desired.reason,
        issue_time: timestamp(desired.issued_at_millis),
    }
}

fn slot_version(active: Active) -> rollout::SlotVersion {
    let arm = match active.arm {
        Arm::Stable => rollout::Arm::Stable,
        Arm::Canary => rollout::Arm::Canary,
        Arm::Shadow => rollout::Arm::Shadow,
    };
    rollout::SlotVersion {
        version: active.version.get(),
        digest: active.digest.to_string(),
        arm: arm.into(),
        weight_basis_points: active.weight_basis_points,
    }
}

/// None for a time that no calendar has.
fn timestamp(millis: u64) -> Option<Timestamp> {
    SystemTime::UNIX_EPOCH
        .checked_add(Duration::from_millis(millis))
        .map(Timestamp::from)
}
