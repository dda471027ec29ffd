//! The protocol's messages as JSON, for scripts: the protocol's field names, digests as text, times in RFC 3339, enums
//! by name without prefix, `null` for what is not set. Fields are only ever added.

mod rollout;
mod rollouts;
mod access;
mod admin;

pub(crate) use access::{added_principal, principal, who_am_i};
pub(crate) use admin::{audit_entry, cluster, garbage, rebuilt, verified};
pub(crate) use rollout::{scorer, slot, slot_status};
pub(crate) use rollouts::{rollout, rollout_status, stored_plan};

use std::collections::BTreeMap;

use decant_model::Manifest;
use decant_proto::registry::v1::{Gate, GateResult, LineageNode, Model, Version};
use decant_proto::scorer::v1::{ScoreResponse, ScoredItem, ScoredItems, Servable, ServedBy};
use decant_proto::trainer::v1::{Job, JobResult, Progress, PushedVersion, QualityRow};
use prost_types::Timestamp;
use serde_json::{Map, Value, json};

use crate::output::names;

/// All elements of a list.
pub(crate) fn list<T>(elements: &[T], element: impl Fn(&T) -> Value) -> Value {
    elements.iter().map(element).collect()
}

fn time(timestamp: Option<&Timestamp>) -> Value {
    timestamp.map(ToString::to_string).into()
}

/// The shortest number that is this float: going through f64 would print 0.7 as 0.699999988079071.
fn float(value: f32) -> Value {
    value
        .to_string()
        .parse::<f64>()
        .ok()
        .filter(|value| value.is_finite())
        .into()
}

/// A job.
pub(crate) fn job(job: &Job) -> Value {
    json!({
        "id": job.id,
        "model": job.model,
        "state": names::job_state(job.state),
        "error": job.error,
        "create_time": time(job.create_time.as_ref()),
        "start_time": time(job.start_time.as_ref()),
        "end_time": time(job.end_time.as_ref()),
        "progress": job.progress.as_ref().map(progress),
        "result": job.result.as_ref().map(job_result),
    })
}

fn progress(progress: &Progress) -> Value {
    json!({
        "stage": progress.stage,
        "message": progress.message,
        "epoch": progress.epoch,
        "epochs": progress.epochs,
        "loss": progress.loss,
        "validation_auc": progress.validation_auc,
        "step_seconds_left": progress.step_seconds_left,
        "fraction_done": progress.fraction_done,
        "time": time(progress.time.as_ref()),
    })
}

fn job_result(result: &JobResult) -> Value {
    json!({
        "dataset_digest": result.dataset_digest,
        "dataset_report": result.dataset_report,
        "quality": list(&result.quality, quality_row),
        "versions": list(&result.versions, pushed_version),
    })
}

fn quality_row(row: &QualityRow) -> Value {
    json!({
        "name": row.name,
        "role": row.role,
        "auc": row.auc,
        "logloss": row.logloss,
        "accuracy": row.accuracy,
        "precision": row.precision,
        "recall": row.recall,
        "f1": row.f1,
        "parameters": row.parameters,
        "bytes": row.bytes,
        "micros_1": row.micros_1,
        "micros_500": row.micros_500,
    })
}

fn pushed_version(version: &PushedVersion) -> Value {
    json!({
        "student": version.student,
        "model": version.model,
        "version": version.version,
        "digest": version.digest,
        "approved": version.approved,
    })
}

/// A model.
pub(crate) fn model(model: &Model) -> Value {
    json!({
        "name": model.name,
        "description": model.description,
        "gates": list(&model.gates, gate),
        "create_time": time(model.create_time.as_ref()),
        "latest_version": model.latest_version,
        "signers": model.signers,
    })
}

fn gate(gate: &Gate) -> Value {
    json!({ "metric": gate.metric, "min": gate.min, "max": gate.max })
}

fn gate_result(result: &GateResult) -> Value {
    json!({ "gate": result.gate.as_ref().map(gate), "value": result.value, "passed": result.passed })
}

/// A version, without its manifest.
pub(crate) fn version(version: &Version) -> Value {
    json!({
        "model": version.model,
        "version": version.version,
        "digest": version.digest,
        "state": names::version_state(version.state),
        "gate_results": list(&version.gate_results, gate_result),
        "create_time": time(version.create_time.as_ref()),
        "size_bytes": version.size_bytes,
        "signature": version.signature,
        "state_reason": version.state_reason,
        "state_time": time(version.state_time.as_ref()),
    })
}

/// A version as part of a line of descent.
pub(crate) fn lineage_node(node: &LineageNode) -> Value {
    let metrics: BTreeMap<&String, f64> = node
        .metrics
        .iter()
        .map(|(name, &value)| (name, value))
        .collect();
    json!({
        "version": node.version,
        "digest": node.digest,
        "state": names::version_state(node.state),
        "create_time": time(node.create_time.as_ref()),
        "student": node.student,
        "teachers": list(&node.teachers, |teacher| json!({
            "name": teacher.name,
            "digest": teacher.digest,
            "weight": teacher.weight,
        })),
        "dataset": node.dataset,
        "job": node.job,
        "spec": node.spec,
        "code_revision": node.code_revision,
        "parent": node.parent,
        "metrics": metrics,
    })
}

/// A version and its manifest; one that this build cannot read is `null`.
pub(crate) fn version_with_manifest(complete: &Version, manifest: Option<&Manifest>) -> Value {
    let mut value = version(complete);
    value["manifest"] = manifest
        .and_then(|manifest| serde_json::to_value(manifest).ok())
        .into();
    value
}

fn served_by(by: &ServedBy) -> Value {
    json!({
        "model": by.model,
        "slot": by.slot,
        "version": by.version,
        "digest": by.digest,
        "arm": names::arm(by.arm),
        "generation": by.generation,
    })
}

/// Scores.
pub(crate) fn scores(response: &ScoreResponse) -> Value {
    json!({
        "served_by": response.served_by.as_ref().map(served_by),
        "scores": list(&response.scores, |&score| float(score)),
    })
}

/// Items in order: what `Rank` and `Recommend` answer.
pub(crate) fn items(by: Option<&ServedBy>, items: &ScoredItems) -> Value {
    let items: Vec<Value> = items.iter().map(scored_item).collect();
    json!({ "served_by": by.map(served_by), "items": items })
}

fn scored_item(item: ScoredItem<'_>) -> Value {
    // A hash map would print in another order every time.
    let mut attributes: Vec<_> = item.attributes.into_iter().flatten().collect();
    attributes.sort();
    let attributes: Map<String, Value> = attributes
        .into_iter()
        .map(|(column, text)| (column.clone(), Value::from(text.as_str())))
        .collect();
    json!({ "id": item.id, "position": item.position, "score": float(item.score), "attributes": attributes })
}

/// A servable.
pub(crate) fn servable(servable: &Servable) -> Value {
    json!({
        "served_by": servable.served_by.as_ref().map(served_by),
        "state": names::servable_state(servable.state),
        "error": servable.error,
        "state_time": time(servable.state_time.as_ref()),
        "answered": servable.answered,
        "load_times": servable.load_times.as_ref().map(|times| json!({
            "fetch_micros": times.fetch_micros,
            "open_micros": times.open_micros,
            "replay_micros": times.replay_micros,
            "warm_up_micros": times.warm_up_micros,
        })),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_stay_as_short_as_they_were() {
        assert_eq!(float(0.7).to_string(), "0.7");
        assert_eq!(float(1.0).to_string(), "1.0");
        assert_eq!(float(f32::NAN), Value::Null);
    }

    #[test]
    fn what_is_not_set_is_null() {
        let json = job(&Job::default());
        assert_eq!(json["start_time"], Value::Null);
        assert_eq!(json["result"], Value::Null);
        assert_eq!(json["state"], "UNSPECIFIED");
    }
}
