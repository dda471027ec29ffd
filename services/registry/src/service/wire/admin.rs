//! The audit log.

use decant_coordination::{Revision, StoreCondition};
use decant_model::Digest;
use decant_proto::admin::v1 as proto;
use serde_json::Value;

use super::timestamp;
use crate::ledger::audit::Audited;

pub(in crate::service) fn audit_entry(audited: Audited) -> proto::AuditEntry {
    let record = audited.record;
    proto::AuditEntry {
        number: audited.number,
        time: timestamp(record.at_millis),
        actor: record.actor,
        action: record.action,
        subject: record.subject,
        before: json(&record.before),
        after: json(&record.after),
        reason: record.reason,
        request_id: record.request_id,
        hash: audited.hash.to_string(),
        previous_hash: hash(record.previous),
    }
}

pub(in crate::service) fn store(
    condition: StoreCondition,
    revision: Revision,
) -> proto::StoreDiagnosis {
    proto::StoreDiagnosis {
        kind: condition.kind.to_owned(),
        revision: revision.0,
        version: condition.version,
        bytes: condition.bytes,
        has_leader: condition.has_leader,
        errors: condition.errors,
    }
}

/// Empty for none.
pub(in crate::service) fn hash(hash: Option<Digest>) -> String {
    hash.map(|hash| hash.to_string()).unwrap_or_default()
}

/// Empty for nothing.
fn json(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        value => value.to_string(),
    }
}
