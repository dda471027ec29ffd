//! From what was seen to what it means. Pure: answers and times go in, findings come out.

use std::time::{Duration, SystemTime};

use decant_model::SlotName;
use decant_proto::admin::v1::{GetClusterResponse, GetDiagnosisResponse, StoreDiagnosis};
use decant_proto::registry::v1::{Version, VersionState};
use decant_proto::rollout::v1::{PausedBy, RolloutPhase, RolloutStatus, ScorerStatus, SlotStatus};
use prost_types::Timestamp;
use tonic_health::pb::health_check_response::ServingStatus;

use super::finding::Finding;
use crate::failure::Failure;
use crate::output::{names, units};

/// How far two clocks may be apart before people read logs and histories wrongly. Nothing in Decant is decided by them.
const CLOCKS: f64 = 5.0;
/// How long scorers may take to a change before that is worth a look.
const CHANGE: f64 = 300.0;
/// How long a version may take from its upload to its verdict.
const VERDICT: f64 = 600.0;

/// Whether the connections could be listened to.
pub(super) fn links(addresses: &[String]) -> Finding {
    // What goes over TLS is nobody's business on the way.
    let is_far = |address: &&String| {
        address.strip_prefix("http://").is_some_and(|host| {
            !["127.", "localhost", "[::1]"]
                .iter()
                .any(|local| host.starts_with(local))
        })
    };
    let far: Vec<&str> = addresses
        .iter()
        .filter(is_far)
        .map(String::as_str)
        .collect();
    if far.is_empty() {
        let is_secure = addresses
            .iter()
            .any(|address| address.starts_with("https://"));
        let words = if is_secure {
            "over TLS wherever they leave this machine"
        } else {
            "in clear, and all on this machine"
        };
        return Finding::ok("links", words);
    }
    Finding::warn(
        "links",
        &format!(
            "in clear to {}: without TLS, whoever is in between reads and changes what is sent, and there is no certificate \
             to look at",
            far.join(", ")
        ),
        "keep these addresses inside a network that you trust",
    )
}

/// Whether a service answers.
pub(super) fn health(
    subject: &str,
    health: &Result<ServingStatus, Failure>,
    took: Duration,
) -> Finding {
    match health {
        Ok(ServingStatus::Serving) => {
            let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
            Finding::ok(
                subject,
                &format!("serving, answers in {}", units::micros(took)),
            )
        }
        Ok(ServingStatus::NotServing) => Finding::fail(
            subject,
            "it answers, and says that it is not serving",
            "it may be starting or stopping; its log says which",
        ),
        Ok(_) => Finding::fail(subject, "its health is unknown", "look into its log"),
        Err(failure) => Finding::fail(
            subject,
            failure.what(),
            "start it, or correct the address: `decant context show` says where it comes from",
        ),
    }
}

/// How far a service's clock is from the one here. It was asked at this time, and took so long to answer.
pub(super) fn clock(
    subject: &str,
    there: Option<&Timestamp>,
    asked: SystemTime,
    took: Duration,
) -> Finding {
    let Some(there) = there else {
        return Finding::skipped(subject, "it does not tell the time");
    };
    let here = Timestamp::from(asked + took / 2);
    // Both were set, so there is a difference.
    let apart = units::seconds_between(Some(&here), Some(there)).unwrap_or_default();
    let uncertain = took.as_secs_f64() / 2.0;
    let words =
        format!("its clock is {apart:+.3} s from the one here, give or take {uncertain:.3} s");
    if apart.abs() - uncertain > CLOCKS {
        Finding::warn(
            subject,
            &words,
            "synchronise both with the same time server",
        )
    } else {
        Finding::ok(subject, &words)
    }
}

/// How a registry's store is.
pub(super) fn store(subject: &str, store: &StoreDiagnosis) -> Vec<Finding> {
    if store.kind.is_empty() && store.errors.is_empty() {
        return vec![Finding::skipped(
            subject,
            "its store does not tell how it is",
        )];
    }
    let mut findings: Vec<Finding> = store
        .errors
        .iter()
        .map(|error| {
            Finding::fail(
                subject,
                &format!("its store: {error}"),
                "`etcdctl endpoint status` and `etcdctl alarm list` say more",
            )
        })
        .collect();
    if store.has_leader == Some(false) {
        findings.push(Finding::fail(
            subject,
            "etcd has no leader: nothing can be changed meanwhile",
            "start its other members: more than half of them must be up",
        ));
    }
    if findings.is_empty() {
        let version = Some(&store.version).filter(|version| !version.is_empty());
        let version = version.map_or_else(String::new, |version| format!(" {version}"));
        let size = store.bytes.map(units::bytes);
        let size = size.map_or_else(String::new, |size| format!(", {size}"));
        let words = format!(
            "its store: {}{version}, revision {}{size}",
            store.kind, store.revision
        );
        findings.push(Finding::ok(subject, &words));
    }
    findings
}

/// How far the audit log is, for whoever keeps its head elsewhere.
pub(super) fn audit(diagnosis: &GetDiagnosisResponse) -> Finding {
    let head = match diagnosis.audit_head_hash.as_str() {
        "" => String::new(),
        hash => format!(", head {hash}"),
    };
    Finding::ok(
        "audit log",
        &format!("{} entries{head}", diagnosis.audit_entries),
    )
}

/// Whether all registries are of one cluster.
pub(super) fn clusters(clusters: &[(String, String)]) -> Option<Finding> {
    let (_, first) = clusters.first()?;
    if clusters.iter().all(|(_, cluster)| cluster == first) {
        return Some(Finding::ok(
            "cluster",
            &format!("all registries are of {first}"),
        ));
    }
    let each = clusters
        .iter()
        .map(|(registry, cluster)| format!("{registry} is of {cluster}"));
    Some(Finding::fail(
        "cluster",
        &each.collect::<Vec<_>>().join(", "),
        "name registries of one cluster only: `decant context set` changes them",
    ))
}

/// Whether anybody is there to answer.
pub(super) fn fleet(scorers: usize) -> Finding {
    if scorers == 0 {
        return Finding::warn(
            "scorers",
            "none is live: nobody answers, and a change has nobody to wait for",
            "start a scorer",
        );
    }
    Finding::ok("scorers", &format!("{scorers} live"))
}

/// Whether the store told a scorer of every change.
pub(super) fn watch(subject: &str, divergences: u64) -> Option<Finding> {
    let words =
        format!("the store's watch missed {divergences} changes, which its listings made good");
    (divergences > 0).then(|| {
        let advice =
            "a member of etcd that was paused does that; if the number grows, upgrade etcd";
        Finding::warn(subject, &words, advice)
    })
}

/// What stands in the way of the cluster, but for what is told already.
pub(super) fn alarms(cluster: &GetClusterResponse, told: &[String]) -> Vec<Finding> {
    let is_told = |alarm: &str| {
        let mut told = told.iter().filter(|words| !words.is_empty());
        told.any(|words| alarm.contains(words.as_str()))
    };
    let alarms = cluster.alarms.iter().filter(|alarm| !is_told(alarm));
    let mut findings: Vec<Finding> = alarms
        .map(|alarm| Finding::fail("cluster", alarm, "`decant admin status` says how it is now"))
        .collect();
    if !cluster.leader.is_empty() {
        let words = format!("{} leads, epoch {}", cluster.leader, cluster.epoch);
        findings.push(Finding::ok("cluster", &words));
    }
    findings
}

/// How long ago something was, in seconds; 0 while that is not known.
fn age(since: Option<&Timestamp>, now: SystemTime) -> f64 {
    let now = Timestamp::from(now);
    units::seconds_between(since, Some(&now)).map_or(0.0, |seconds| seconds.max(0.0))
}

/// A slot as the arguments of a command.
fn addressed(model: &str, slot: &str) -> String {
    if slot == SlotName::default().as_str() {
        model.to_owned()
    } else {
        format!("{model} --slot {slot}")
    }
}

/// What is wrong with a slot; one finding when nothing is.
pub(super) fn slot(status: &SlotStatus, now: SystemTime) -> Vec<Finding> {
    let slot = status.slot.clone().unwrap_or_default();
    let name = format!("slot {}", names::slot(&slot));
    let address = addressed(&slot.model, &slot.slot);
    let look = format!("`decant slot status {address}` shows each scorer");
    let mut findings = Vec::new();
    if !status.blocked.is_empty() {
        findings.push(Finding::fail(
            &name,
            &format!("blocked: {}", status.blocked),
            &format!("{look}; `decant slot set {address} VERSION` takes another version"),
        ));
    }
    for scorer in &status.scorers {
        findings.extend(laggard(&name, scorer, slot.generation, &look));
    }
    if let Some(freeze) = &slot.frozen {
        findings.push(Finding::warn(
            &name,
            &format!(
                "frozen by {} since {}: {}",
                freeze.issued_by,
                units::time(freeze.since.as_ref()),
                freeze.reason
            ),
            &format!("`decant slot unfreeze {address}` lets it change again"),
        ));
    }
    let waiting = age(slot.issue_time.as_ref(), now);
    if !status.converged && waiting > CHANGE {
        let what = if slot.pending.is_empty() {
            "not every live scorer answers with".to_owned()
        } else {
            let pending = names::slot_versions(&slot.pending);
            format!("{pending} is pending since")
        };
        findings.push(Finding::warn(
            &name,
            &format!(
                "{what} generation {}, for {}",
                slot.generation,
                units::wait(waiting)
            ),
            &look,
        ));
    }
    if findings.is_empty() {
        let state = if status.converged {
            "converged"
        } else {
            "on its way"
        };
        let words = format!("generation {}, {state}", slot.generation);
        findings.push(Finding::ok(&name, &words));
    }
    findings
}

/// A scorer that does not follow.
fn laggard(name: &str, status: &ScorerStatus, generation: u64, look: &str) -> Option<Finding> {
    let scorer = status.scorer.as_ref();
    let scorer = scorer.map_or("?", |scorer| scorer.name.as_str());
    if !status.frozen.is_empty() {
        return Some(Finding::fail(
            name,
            &format!("{scorer} takes in nothing new: {}", status.frozen),
            "if the store was put back to a backup, and is the truth: `decant admin adopt --reason WHY`",
        ));
    }
    (status.generation < generation).then(|| {
        Finding::warn(
            name,
            &format!(
                "{scorer} has taken in generation {}, and {generation} is intended",
                status.generation
            ),
            look,
        )
    })
}

/// What is wrong with a slot's newest rollout; nothing is said of one that ended well.
pub(super) fn rollout(status: &RolloutStatus) -> Vec<Finding> {
    let Some(rollout) = &status.rollout else {
        return Vec::new();
    };
    let name = format!("rollout {}/{}", rollout.model, rollout.slot);
    let address = addressed(&rollout.model, &rollout.slot);
    let reason = match rollout.reason_in_phase.as_str() {
        "" => String::new(),
        reason => format!(": {reason}"),
    };
    let mut findings = Vec::new();
    match (rollout.phase(), rollout.paused_by()) {
        (RolloutPhase::Degraded, _) => findings.push(Finding::fail(
            &name,
            &format!("aborted, and some scorers have not taken that in{reason}"),
            &format!("`decant slot status {address}` shows which; restart them"),
        )),
        (RolloutPhase::Paused, PausedBy::Gate) => findings.push(Finding::warn(
            &name,
            &format!("paused by a gate{reason}"),
            &format!(
                "`decant rollout status {address}` shows the gates; then `decant rollout abort {address}` or `resume`"
            ),
        )),
        (RolloutPhase::Paused, PausedBy::Operator) => findings.push(Finding::ok(
            &name,
            &format!("paused by {}{reason}", rollout.moved_by),
        )),
        (
            RolloutPhase::Pending
            | RolloutPhase::Preparing
            | RolloutPhase::Shadowing
            | RolloutPhase::Progressing
            | RolloutPhase::Paused
            | RolloutPhase::Aborting,
            _,
        ) => {
            let phase = rollout.phase().as_str_name();
            let phase = phase.strip_prefix("ROLLOUT_PHASE_").unwrap_or(phase);
            findings.push(Finding::ok(
                &name,
                &format!("{}{reason}", phase.to_ascii_lowercase()),
            ));
        }
        (
            RolloutPhase::Unspecified
            | RolloutPhase::Promoted
            | RolloutPhase::Aborted
            | RolloutPhase::RolledBack,
            _,
        ) => return findings,
    }
    if !status.silent_scorers.is_empty() {
        findings.push(Finding::warn(
            &name,
            &format!(
                "the leader cannot read the counts of {}",
                status.silent_scorers.join(", ")
            ),
            "see that registries reach these scorers at the addresses that they advertise",
        ));
    }
    findings
}

/// Versions that wait for their verdict for too long.
pub(super) fn versions(versions: &[Version], now: SystemTime) -> Vec<Finding> {
    let waits = |version: &&Version| {
        matches!(
            version.state(),
            VersionState::Staged | VersionState::Validated
        ) && age(version.create_time.as_ref(), now) > VERDICT
    };
    let finding = |version: &Version| {
        Finding::warn(
            &format!("version {}", names::qualified(version)),
            &format!(
                "{} for {}: nobody finishes it",
                names::version_state(version.state),
                units::wait(age(version.create_time.as_ref(), now))
            ),
            "a leader of the registries does that: see above whether one leads, and look into its log",
        )
    };
    versions.iter().filter(waits).map(finding).collect()
}

#[cfg(test)]
mod tests;
