//! Models and versions.

use std::fmt::Display;

use decant_artifact::Bundle;
use decant_coordination::keys::VersionState;
use decant_model::access::Permission;
use decant_model::{Gate, GateResult, ModelVersion, PublicKey, SignatureError};
use decant_proto::registry::v1::{self as proto, push_version_request as push};
use tonic::Status;

use super::timestamp;
use crate::admission::{Header, Part};
use crate::catalog::{Ancestor, Model, Version};
use crate::error::CallError;
use crate::ledger::Ask;
use crate::service::caller::Caller;

/// One message of an upload, if its caller may make it.
pub(in crate::service) fn part(
    caller: &Caller,
    message: proto::PushVersionRequest,
) -> Result<Part, CallError> {
    match message.part {
        Some(push::Part::Header(header)) => self::header(caller, header),
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
pub(in crate::service) fn cut(status: Status) -> CallError {
    CallError::field("part", format!("the stream was cut: {}", status.message()))
}

fn header(caller: &Caller, header: proto::PushHeader) -> Result<Part, CallError> {
    let model = caller.may(Permission::Publish, "header.model", &header.model)?;
    let ask = Ask::operator(
        header.request_id.clone(),
        header.issued_by.clone(),
        String::new(),
        &header,
    )?;
    let ask = caller.sign(ask);
    let signature = match &*header.signature {
        "" => None,
        text => Some(
            text.parse()
                .map_err(|error| CallError::field("header.signature", error))?,
        ),
    };
    Ok(Part::Header(Box::new(Header {
        model,
        digest: header
            .digest
            .parse()
            .map_err(|error| CallError::field("header.digest", error))?,
        manifest: header.manifest,
        signature,
        ask,
    })))
}

pub(in crate::service) fn signers(
    field: &'static str,
    keys: &[String],
) -> Result<Vec<PublicKey>, CallError> {
    let parse = |(place, key): (usize, &String)| {
        key.parse()
            .map_err(|error: SignatureError| CallError::field(format!("{field}[{place}]"), error))
    };
    keys.iter().enumerate().map(parse).collect()
}

fn texts<T: Display>(values: &[T]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}

fn state(state: VersionState) -> proto::VersionState {
    match state {
        VersionState::Staged => proto::VersionState::Staged,
        VersionState::Validated => proto::VersionState::Validated,
        VersionState::Approved => proto::VersionState::Approved,
        VersionState::Retired => proto::VersionState::Retired,
        VersionState::Rejected => proto::VersionState::Rejected,
    }
}

pub(in crate::service) fn gates(gates: Vec<proto::Gate>) -> Vec<Gate> {
    gates
        .into_iter()
        .map(|gate| Gate {
            metric: gate.metric,
            min: gate.min,
            max: gate.max,
        })
        .collect()
}

fn gate(gate: Gate) -> proto::Gate {
    proto::Gate {
        metric: gate.metric,
        min: gate.min,
        max: gate.max,
    }
}

fn gate_result(judged: GateResult) -> proto::GateResult {
    proto::GateResult {
        gate: Some(gate(judged.gate)),
        value: judged.value,
        passed: judged.passed,
    }
}

pub(in crate::service) fn model(model: Model) -> proto::Model {
    proto::Model {
        name: model.name.to_string(),
        description: model.record.description,
        gates: model.record.gates.into_iter().map(gate).collect(),
        create_time: timestamp(model.record.created_at_millis),
        latest_version: model.record.latest_version.map_or(0, ModelVersion::get),
        signers: texts(&model.record.signers),
    }
}

/// A version without its manifest.
pub(in crate::service) fn version(version: Version) -> proto::Version {
    proto::Version {
        model: version.model.to_string(),
        version: version.version.get(),
        digest: version.record.digest.to_string(),
        state: state(version.state.state).into(),
        gate_results: version.state.gates.into_iter().map(gate_result).collect(),
        create_time: timestamp(version.record.created_at_millis),
        size_bytes: version.record.manifest.size(),
        manifest: bytes::Bytes::new(),
        signature: version
            .record
            .signature
            .map(|signature| signature.to_string())
            .unwrap_or_default(),
        state_reason: version.state.reason,
        state_time: timestamp(version.state.changed_at_millis),
    }
}

pub(in crate::service) fn version_with_manifest(found: Version, bundle: &Bundle) -> proto::Version {
    proto::Version {
        manifest: bundle.manifest_bytes().clone(),
        ..version(found)
    }
}

/// One version of a line. A parent that is no version has nothing but its digest.
pub(in crate::service) fn lineage_node(ancestor: Ancestor) -> proto::LineageNode {
    let version = match ancestor {
        Ancestor::Known(version) => *version,
        Ancestor::Unknown(digest) => {
            return proto::LineageNode {
                digest: digest.to_string(),
                ..proto::LineageNode::default()
            };
        }
    };
    let manifest = version.record.manifest;
    let lineage = manifest.lineage;
    let teachers = lineage.teachers.into_iter().map(|teacher| proto::Teacher {
        name: teacher.name,
        digest: teacher.digest.to_string(),
        weight: teacher.weight,
    });
    proto::LineageNode {
        version: version.version.get(),
        digest: version.record.digest.to_string(),
        state: state(version.state.state).into(),
        create_time: timestamp(version.record.created_at_millis),
        student: lineage.student,
        teachers: teachers.collect(),
        dataset: lineage.dataset.to_string(),
        job: lineage.job,
        spec: lineage.spec.to_string(),
        code_revision: lineage.code_revision,
        parent: lineage
            .parent
            .map(|parent| parent.to_string())
            .unwrap_or_default(),
        metrics: manifest.metrics.into_iter().collect(),
    }
}
