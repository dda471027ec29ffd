//! `decant doctor`: what is wrong, or will be, and what to do about it. Whatever can be looked at is looked at, also while
//! something is down.

mod finding;
mod judge;

use std::collections::BTreeSet;
use std::time::{Duration, Instant, SystemTime};

use decant_model::SlotName;
use decant_proto::rollout::v1::Scorer;

use self::finding::{Finding, Level, Report};
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::remote::{self, Registry, Remote, Service};

/// How long one address may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// How many versions of a model are looked at, the newest first.
const VERSIONS: usize = 50;

/// Carries out `decant doctor`; fails when something is wrong.
pub(crate) async fn execute(context: &Context) -> Result<Exit, Failure> {
    let mut report = Report::default();
    report.add([judge::links(&addresses(context))]);
    let trainer = Box::pin(reach(&context.trainer.0)).await;
    let registry = Box::pin(reach(&context.registry.0)).await;
    let scorer = Box::pin(reach(&context.scorer.0)).await;
    let is_up = registry.iter().any(|finding| finding.level == Level::Ok);
    report.add(trainer.into_iter().chain(registry).chain(scorer));
    if is_up {
        Box::pin(diagnose(context, &mut report)).await?;
        let examined = Box::pin(examine(context, &mut report)).await;
        if let Err(failure) = examined {
            report.add([Finding::fail("cluster", failure.what(), "")]);
        }
    } else {
        report.add([Finding::skipped(
            "cluster",
            "no registry answers, so nothing is known of slots, scorers and rollouts",
        )]);
    }
    context
        .output
        .result(|| report.to_json(), |palette| report.render(palette))?;
    Ok(if report.has_failed() {
        Exit::Failed
    } else {
        Exit::Ok
    })
}

fn addresses(context: &Context) -> Vec<String> {
    let all = [&context.trainer.0, &context.registry.0, &context.scorer.0];
    let all = all.map(Remote::address).join(",");
    all.split(',').map(str::to_owned).collect()
}

/// Whether a service answers at each of its addresses.
async fn reach(remote: &Remote) -> Vec<Finding> {
    let mut findings = Vec::new();
    for one in remote.alone(PATIENCE) {
        let started = Instant::now();
        let health = one.health().await;
        let subject = format!("{} {}", one.service().name(), one.address());
        findings.push(judge::health(&subject, &health, started.elapsed()));
    }
    findings
}

/// What each registry says of its clock, its store and its cluster.
async fn diagnose(context: &Context, report: &mut Report) -> Result<(), Failure> {
    let mut clusters = Vec::new();
    for one in context.registry.0.alone(PATIENCE) {
        let subject = format!("registry {}", one.address());
        let (asked, started) = (SystemTime::now(), Instant::now());
        match Registry(one).get_diagnosis().await {
            Ok(diagnosis) => {
                let took = started.elapsed();
                report.add([judge::clock(&subject, diagnosis.time.as_ref(), asked, took)]);
                let store = diagnosis.store.clone().unwrap_or_default();
                report.add(judge::store(&subject, &store));
                report.add([judge::audit(&diagnosis)]);
                clusters.push((subject, diagnosis.cluster));
            }
            Err(failure) if failure.is_unimplemented() => report.add([Finding::skipped(
                &subject,
                "it is older than this command, and tells neither its clock nor its store",
            )]),
            // That it cannot be reached is told already.
            Err(failure) if failure.is_unanswered() => {}
            Err(failure) => report.add([Finding::fail(&subject, failure.what(), "")]),
        }
    }
    report.add(judge::clusters(&clusters));
    Ok(())
}

/// Scorers, slots, rollouts and versions.
async fn examine(context: &Context, report: &mut Report) -> Result<(), Failure> {
    let now = SystemTime::now();
    let cluster = context.registry.get_cluster().await?;
    let scorers = context.registry.list_scorers().await?;
    report.add([judge::fleet(scorers.len())]);
    let mut slots = BTreeSet::new();
    for scorer in &scorers {
        let (findings, known) = Box::pin(visit(context, scorer)).await;
        report.add(findings);
        slots.extend(known);
    }
    // The slots that scorers know, and each model's main one: the registry lists none.
    for model in context.registry.list_models().await? {
        slots.insert((model.name.clone(), SlotName::default().as_str().to_owned()));
        let versions = context
            .registry
            .list_versions(&model.name, VERSIONS)
            .await?;
        report.add(judge::versions(&versions.items, now));
    }
    let mut told = Vec::new();
    for (model, slot) in &slots {
        match context.registry.get_slot_status(model, slot).await {
            Ok(status) => {
                report.add(judge::slot(&status, now));
                told.push(status.blocked.clone());
                told.extend(status.scorers.iter().map(|scorer| scorer.frozen.clone()));
            }
            Err(failure) if failure.is_not_found() => continue,
            Err(failure) => return Err(failure),
        }
        match context.registry.get_rollout(model, slot, "").await {
            Ok(status) => report.add(judge::rollout(&status)),
            Err(failure) if failure.is_not_found() || failure.is_unimplemented() => {}
            Err(failure) => return Err(failure),
        }
    }
    report.add(judge::alarms(&cluster, &told));
    Ok(())
}

/// Whether a scorer answers where it says it does, and the slots that it knows.
async fn visit(context: &Context, scorer: &Scorer) -> (Vec<Finding>, Vec<(String, String)>) {
    let subject = format!("scorer {} at {}", scorer.name, scorer.address);
    if scorer.address.is_empty() {
        let words = "it says nowhere where it serves: set `advertise` in its configuration";
        let finding = Finding::warn(&subject, "it has no address", words);
        return (vec![finding], Vec::new());
    }
    // Either all services of a cluster serve over TLS, or none does.
    let is_secure = context.registry.0.address().starts_with("https://");
    let scheme = if is_secure { "https" } else { "http" };
    let address = format!("{scheme}://{}", scorer.address);
    let remote = Remote::new(&context.caller, Service::Scorer, &address, Some(PATIENCE));
    let remote = match remote {
        Ok(remote) => remote,
        Err(failure) => {
            let words = "correct `advertise` in its configuration";
            let finding = Finding::fail(&subject, failure.what(), words);
            return (vec![finding], Vec::new());
        }
    };
    let started = Instant::now();
    let health = remote.health().await;
    let mut findings = vec![judge::health(&subject, &health, started.elapsed())];
    // That it does not answer is told already.
    let seen = remote::Scorer(remote).look().await.unwrap_or_default();
    findings.extend(judge::watch(&subject, seen.watch_divergences));
    let known = seen.servables.into_iter();
    let known = known
        .filter_map(|servable| servable.served_by)
        .map(|by| (by.model, by.slot));
    (findings, known.collect())
}
