//! The cluster, its audit log and its care.

use decant_proto::admin::v1::{
    AuditEntry, CollectGarbageResponse, GetClusterResponse, RebuildMetadataResponse,
    VerifyAuditResponse,
};
use serde_json::{Value, json};

use super::time;

/// The cluster.
pub(crate) fn cluster(cluster: &GetClusterResponse) -> Value {
    json!({
        "uuid": cluster.uuid,
        "incarnation": cluster.incarnation,
        "revision": cluster.revision,
        "leader": cluster.leader,
        "epoch": cluster.epoch,
        "scorers": cluster.scorers,
        "alarms": cluster.alarms,
    })
}

/// An audit entry. What was before and after is a value, not a text that holds one.
pub(crate) fn audit_entry(entry: &AuditEntry) -> Value {
    json!({
        "number": entry.number,
        "time": time(entry.time.as_ref()),
        "actor": entry.actor,
        "action": entry.action,
        "subject": entry.subject,
        "before": embedded(&entry.before),
        "after": embedded(&entry.after),
        "reason": entry.reason,
        "request_id": entry.request_id,
        "hash": entry.hash,
        "previous_hash": entry.previous_hash,
    })
}

/// JSON inside a text; `null` for none, and the text itself where it is no JSON.
fn embedded(text: &str) -> Value {
    if text.is_empty() {
        return Value::Null;
    }
    serde_json::from_str(text).unwrap_or_else(|_| text.into())
}

/// The audit log, checked.
pub(crate) fn verified(verified: &VerifyAuditResponse) -> Value {
    json!({
        "entries": verified.entries,
        "head_hash": verified.head_hash,
        "broken": verified.broken,
    })
}

/// What was deleted, or would be.
pub(crate) fn garbage(garbage: &CollectGarbageResponse, is_dry_run: bool) -> Value {
    json!({
        "dry_run": is_dry_run,
        "bundles": garbage.bundles,
        "blobs": garbage.blobs,
        "bytes": garbage.bytes,
        "kept_young": garbage.kept_young,
    })
}

/// What was made anew, or would be.
pub(crate) fn rebuilt(rebuilt: &RebuildMetadataResponse, is_dry_run: bool) -> Value {
    json!({
        "dry_run": is_dry_run,
        "models": rebuilt.models,
        "versions": rebuilt.versions,
        "unreadable": rebuilt.unreadable,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_before_and_after_is_a_value() {
        let entry = AuditEntry {
            after: r#"{"generation": 1}"#.into(),
            reason: "first".into(),
            ..AuditEntry::default()
        };
        let json = audit_entry(&entry);
        assert_eq!(json["before"], Value::Null);
        assert_eq!(json["after"]["generation"], 1);
        assert_eq!(embedded("{half"), "{half");
    }
}
