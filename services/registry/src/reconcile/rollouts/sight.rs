//! What the leader sees of a rollout at one moment. Nothing here reads or writes anything.

use decant_model::rollout::{OnFail, Pause, Phase, Preparation, Rollout, Sight, Step, Verdict};
use decant_model::{Active, Arm, Prepared, ScorerName};
use tokio::time::Duration;

use super::counts::Counted;
use super::{Reconcilers, Subject};
use crate::rollout::Readiness;

/// How long views may not fit together before operators hear of it.
pub(super) const LATE: Duration = Duration::from_secs(5);

/// Why nothing is done for a rollout, and its time does not pass.
pub(super) enum Standstill {
    /// The rollout, its slot and what scorers say of it do not fit together; mostly since one of them comes later.
    Unfit(String),
    /// Most scorers have just vanished: the rest says little.
    Vanished(String),
}

/// What is seen.
pub(super) struct Seen {
    pub(super) sight: Sight,
    readiness: Readiness,
    /// Whether counts of the rollout's generation were read.
    pub(super) is_measured: bool,
    /// The share of the requests that the version answered, in basis points, and how many requests there were.
    pub(super) share: Option<u32>,
    pub(super) requests: u64,
    /// The scorers whose counts could not be read.
    pub(super) silent: Vec<String>,
    /// Whether those are too many for the counts of the others to say anything.
    are_most_silent: bool,
}

impl Seen {
    pub(super) fn new(subject: &Subject, counted: Option<&Counted>, elapsed: Duration) -> Self {
        let (rollout, fleet) = (&subject.record.rollout, &subject.fleet);
        let counted = counted.filter(|counted| {
            counted.evidence.generation == subject.record.generation && rollout.phase.holds_slot()
        });
        let silent = counted.map_or(0, |counted| counted.silent.len());
        let are_most_silent = 2 * silent > fleet.members.len();
        let judgement = counted.filter(|_| !are_most_silent).map(|counted| {
            decant_model::rollout::judge(
                &rollout.plan,
                subject.record.candidate.digest,
                &counted.evidence,
            )
        });
        let readiness = fleet.readiness(&wanted(subject));
        let (share, requests) = counted.map_or((None, 0), Counted::share);
        Self {
            sight: Sight {
                preparation: preparation(rollout, &readiness),
                converged: has_converged(subject),
                elapsed,
                judgement: judgement.unwrap_or_default(),
            },
            readiness,
            is_measured: counted.is_some(),
            share,
            requests,
            silent: counted.map_or_else(Vec::new, |counted| {
                counted.silent.iter().map(ToString::to_string).collect()
            }),
            are_most_silent,
        }
    }
}

/// Why nothing is to be done for a rollout now.
pub(super) fn standstill(with: &Reconcilers, subject: &Subject) -> Option<Standstill> {
    let (record, desired, fleet) = (&subject.record, &subject.desired, &subject.fleet);
    let rollout = &record.rollout;
    if let Some((scorer, seen)) = fleet.ahead_of(desired.generation) {
        return Some(Standstill::Unfit(format!(
            "scorer `{}` has seen generation {} already: see `decant admin adopt`",
            scorer.name, seen.0
        )));
    }
    let has_slot = desired.rollout.as_ref() == Some(&subject.key.rollout);
    if rollout.phase.holds_slot() && (!has_slot || desired.generation != record.generation) {
        return Some(Standstill::Unfit(format!(
            "its slot is at generation {}, and it is at {}: `decant rollback` ends it",
            desired.generation.0, record.generation.0
        )));
    }
    let (versions, percent) = match rollout.phase {
        Phase::Preparing => (wanted(subject), rollout.plan.min_ready_percent),
        _ => (desired.active.clone(), 100),
    };
    let readiness = fleet.readiness(&versions);
    let refused = with.slots.refuses(fleet, &readiness, percent);
    refused.map(Standstill::Vanished)
}

/// What keeps a rollout where it is, in words.
pub(super) fn waits_for(subject: &Subject, seen: &Seen) -> String {
    let rollout = &subject.record.rollout;
    match rollout.phase {
        Phase::Preparing if seen.readiness.live == 0 => "no scorer is live".to_owned(),
        Phase::Preparing => seen.readiness.words(),
        Phase::Shadowing | Phase::Progressing => match rollout.current_step() {
            Some(Step::Analysis(_)) => undecided(rollout, seen),
            _ => behind(subject),
        },
        Phase::Paused => paused(rollout),
        Phase::Aborting | Phase::Degraded => behind(subject),
        Phase::Pending | Phase::Promoted | Phase::Aborted | Phase::RolledBack => String::new(),
    }
}

/// The versions that scorers have to have ready before the first step.
fn wanted(subject: &Subject) -> Vec<Active> {
    let versions = [subject.record.candidate]
        .into_iter()
        .chain(subject.record.teacher);
    let active = |version: Prepared| Active {
        digest: version.digest,
        version: version.version,
        arm: Arm::Shadow,
        weight_basis_points: 0,
    };
    versions.map(active).collect()
}

fn preparation(rollout: &Rollout, readiness: &Readiness) -> Preparation {
    let percent = rollout.plan.min_ready_percent;
    if readiness.live == 0 {
        // Scorers that lost their leases all at once still serve, and have nothing ready.
        return Preparation::Waiting;
    }
    if readiness.is_enough(percent) {
        return Preparation::Ready;
    }
    match readiness.never_enough(percent) {
        Some(why) => Preparation::Impossible(why),
        None => Preparation::Waiting,
    }
}

/// Whether every live scorer answers with what the rollout wrote last. Without a scorer a step is not taken, but an aborted
/// version is not served either.
fn has_converged(subject: &Subject) -> bool {
    let (record, fleet) = (&subject.record, &subject.fleet);
    let is_taken_up = fleet.behind(record.generation).is_empty();
    let holds_slot = record.rollout.phase.holds_slot();
    is_taken_up && !(holds_slot && fleet.members.is_empty())
}

fn behind(subject: &Subject) -> String {
    let (fleet, generation) = (&subject.fleet, subject.record.generation);
    let behind = fleet.behind(generation);
    if behind.is_empty() {
        return match fleet.members.is_empty() {
            true => "no scorer is live".to_owned(),
            false => String::new(),
        };
    }
    let names: Vec<&str> = behind.into_iter().map(ScorerName::as_str).collect();
    format!(
        "these scorers do not answer with generation {} yet: {}",
        generation.0,
        names.join(", ")
    )
}

fn undecided(rollout: &Rollout, seen: &Seen) -> String {
    if seen.are_most_silent {
        return format!(
            "most scorers do not tell what they counted: {}",
            seen.silent.join(", ")
        );
    }
    let readings = &seen.sight.judgement.readings;
    if readings.is_empty() {
        return "nothing was measured yet".to_owned();
    }
    let open = readings.iter().filter(|reading| {
        reading.verdict != Verdict::Pass
            && reading.gate.on_fail != OnFail::Warn
            && !rollout.waived.contains(&reading.gate.metric)
    });
    let names: Vec<&str> = open.map(|reading| reading.gate.metric.as_str()).collect();
    match names.is_empty() {
        true => String::new(),
        false => format!("these gates have not passed yet: {}", names.join(", ")),
    }
}

fn paused(rollout: &Rollout) -> String {
    match rollout.pause {
        Some(Pause::Planned(Some(span))) => format!("the plan's pause of {span}"),
        Some(Pause::Planned(None)) => "an operator: the plan pauses here".to_owned(),
        Some(Pause::Gate(_)) => "an operator: a gate failed".to_owned(),
        Some(Pause::Operator(_)) | None => "an operator, one of whom paused it".to_owned(),
    }
}
