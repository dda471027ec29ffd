//! What is waited for. Pure: words and answers go in, and what was seen comes out.

use decant_model::{ModelName, SlotName};
use decant_proto::rollout::v1::{RolloutPhase, RolloutStatus, Scorer, SlotStatus};
use decant_proto::trainer::v1::JobState;
use decant_proto::trainer::v1::watch_job_response::News;

use crate::arguments::version;
use crate::failure::Failure;
use crate::output::names;

/// What is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Slot(ModelName, SlotName),
    Rollout(ModelName, SlotName),
    Scorers,
    Job(String),
}

/// What must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    Converged,
    Generation(u64),
    Version(u64),
    Phase(Phase),
    Live(usize),
    Done,
}

/// A target and a condition that fit together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    Slot {
        model: ModelName,
        slot: SlotName,
        wanted: Wanted,
    },
    Rollout {
        model: ModelName,
        slot: SlotName,
        phase: Phase,
    },
    Scorers {
        live: usize,
    },
    Job {
        id: String,
    },
}

/// What must hold of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Converged,
    Generation(u64),
    Version(u64),
}

/// The phase that a rollout must be in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Phase(RolloutPhase);

/// What an answer shows.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sighting {
    Reached(String),
    NotYet(String),
    /// It cannot be reached any more.
    Never(Failure),
}

/// Reads a target.
pub(super) fn target(text: &str) -> Result<Target, String> {
    const EXPECTED: &str = "slot/MODEL[/SLOT], rollout/MODEL[/SLOT], scorers or job/ID is expected";
    if text == "scorers" {
        return Ok(Target::Scorers);
    }
    let (kind, name) = text.split_once('/').ok_or(EXPECTED)?;
    match kind {
        "slot" => place(name).map(|(model, slot)| Target::Slot(model, slot)),
        "rollout" => place(name).map(|(model, slot)| Target::Rollout(model, slot)),
        "job" if !name.is_empty() => Ok(Target::Job(name.to_owned())),
        _ => Err(EXPECTED.to_owned()),
    }
}

/// Reads `MODEL` or `MODEL/SLOT`.
fn place(text: &str) -> Result<(ModelName, SlotName), String> {
    let (model, slot) = match text.split_once('/') {
        Some((model, slot)) => (model, Some(slot)),
        None => (text, None),
    };
    let model = model
        .parse::<ModelName>()
        .map_err(|error| format!("model `{model}`: {error}"))?;
    let slot = match slot {
        Some(slot) => slot
            .parse::<SlotName>()
            .map_err(|error| format!("slot `{slot}`: {error}"))?,
        None => SlotName::default(),
    };
    Ok((model, slot))
}

/// Reads a condition.
pub(super) fn condition(text: &str) -> Result<Condition, String> {
    match text.split_once('=') {
        None if text == "converged" => Ok(Condition::Converged),
        None if text == "done" => Ok(Condition::Done),
        Some(("generation", value)) => number(value).map(Condition::Generation),
        Some(("version", value)) => version::number(value).map(Condition::Version),
        Some(("live", value)) => {
            let live = number(value)?;
            usize::try_from(live)
                .map(Condition::Live)
                .map_err(|_| "it is too large".to_owned())
        }
        Some(("phase", value)) => phase(value).map(Condition::Phase),
        _ => Err(
            "converged, generation=N, version=N, phase=PHASE, live=N or done is expected"
                .to_owned(),
        ),
    }
}

fn number(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("a number from 1 is expected".to_owned()),
        Ok(number) => Ok(number),
    }
}

/// The phases that can be waited for.
const PHASES: [RolloutPhase; 10] = [
    RolloutPhase::Pending,
    RolloutPhase::Preparing,
    RolloutPhase::Shadowing,
    RolloutPhase::Progressing,
    RolloutPhase::Paused,
    RolloutPhase::Promoted,
    RolloutPhase::Aborting,
    RolloutPhase::Aborted,
    RolloutPhase::RolledBack,
    RolloutPhase::Degraded,
];

fn phase(text: &str) -> Result<Phase, String> {
    let wanted = text.to_ascii_lowercase().replace('_', "-");
    let found = PHASES
        .into_iter()
        .map(Phase)
        .find(|phase| phase.name() == wanted);
    found.ok_or_else(|| {
        let all: Vec<String> = PHASES
            .into_iter()
            .map(|phase| Phase(phase).name())
            .collect();
        format!("`{text}` is none of {}", all.join(", "))
    })
}

impl Goal {
    /// Says which conditions the target can have, where this is none of them.
    pub(super) fn new(target: Target, condition: Condition) -> Result<Self, String> {
        let slot = |wanted| match target.clone() {
            Target::Slot(model, slot) => Ok(Goal::Slot {
                model,
                slot,
                wanted,
            }),
            other => Err(other.conditions()),
        };
        match (target.clone(), condition) {
            (_, Condition::Converged) => slot(Wanted::Converged),
            (_, Condition::Generation(number)) => slot(Wanted::Generation(number)),
            (_, Condition::Version(number)) => slot(Wanted::Version(number)),
            (Target::Rollout(model, slot), Condition::Phase(phase)) => {
                Ok(Goal::Rollout { model, slot, phase })
            }
            (Target::Scorers, Condition::Live(live)) => Ok(Goal::Scorers { live }),
            (Target::Job(id), Condition::Done) => Ok(Goal::Job { id }),
            (target, Condition::Phase(_) | Condition::Live(_) | Condition::Done) => {
                Err(target.conditions())
            }
        }
    }

    /// The target as it is typed.
    pub(super) fn target(&self) -> String {
        match self {
            Goal::Slot { model, slot, .. } => format!("slot/{model}/{slot}"),
            Goal::Rollout { model, slot, .. } => format!("rollout/{model}/{slot}"),
            Goal::Scorers { .. } => "scorers".to_owned(),
            Goal::Job { id } => format!("job/{id}"),
        }
    }

    /// The condition as it is typed.
    pub(super) fn condition(&self) -> String {
        match self {
            Goal::Slot { wanted, .. } => match wanted {
                Wanted::Converged => "converged".to_owned(),
                Wanted::Generation(number) => format!("generation={number}"),
                Wanted::Version(number) => format!("version={number}"),
            },
            Goal::Rollout { phase, .. } => format!("phase={}", phase.name()),
            Goal::Scorers { live } => format!("live={live}"),
            Goal::Job { .. } => "done".to_owned(),
        }
    }
}

impl Target {
    /// What can be waited for, in words.
    fn conditions(&self) -> String {
        match self {
            Target::Slot(..) => {
                "a slot is waited for with --for=converged, generation=N or version=N"
            }
            Target::Rollout(..) => "a rollout is waited for with --for=phase=PHASE",
            Target::Scorers => "scorers are waited for with --for=live=N",
            Target::Job(_) => "a job is waited for with --for=done",
        }
        .to_owned()
    }
}

impl Wanted {
    /// What a slot's status shows.
    pub(super) fn look(self, status: &SlotStatus) -> Sighting {
        let slot = status.slot.clone().unwrap_or_default();
        let all = status.scorers.len();
        let serve = |generation: u64| {
            let serving = status.scorers.iter();
            serving
                .filter(|scorer| scorer.serving >= generation)
                .count()
        };
        let is_answering = |number: u64| {
            let mut answering = slot.active.iter().filter(|one| one.weight_basis_points > 0);
            answering.any(|one| one.version == number)
        };
        let serving = serve(slot.generation);
        let (is_reached, subject) = match self {
            Wanted::Converged => (status.converged, serving),
            Wanted::Generation(wanted) => (
                slot.generation >= wanted && serve(wanted) == all,
                serve(wanted),
            ),
            Wanted::Version(number) => (is_answering(number) && serving == all, serving),
        };
        let shown = match self {
            Wanted::Generation(wanted) => wanted,
            Wanted::Converged | Wanted::Version(_) => slot.generation,
        };
        let mut words = format!(
            "generation {} serves {}, {subject} of {all} live scorers answer with {shown} or later",
            slot.generation,
            names::slot_versions(&slot.active)
        );
        if !slot.pending.is_empty() {
            words.push_str(&format!(
                ", {} is pending",
                names::slot_versions(&slot.pending)
            ));
        }
        if !status.blocked.is_empty() {
            words.push_str(&format!(", blocked: {}", status.blocked));
        }
        if is_reached {
            Sighting::Reached(words)
        } else {
            Sighting::NotYet(words)
        }
    }
}

impl Phase {
    /// As it is typed, such as `rolled-back`.
    fn name(self) -> String {
        let name = self.0.as_str_name();
        let name = name.strip_prefix("ROLLOUT_PHASE_").unwrap_or(name);
        name.to_ascii_lowercase().replace('_', "-")
    }

    /// What a rollout's status shows.
    pub(super) fn look(self, status: &RolloutStatus) -> Sighting {
        let rollout = status.rollout.clone().unwrap_or_default();
        let phase = Phase(rollout.phase());
        let mut words = phase.name();
        for detail in [&rollout.reason_in_phase, &status.waits_for] {
            if !detail.is_empty() {
                words.push_str(&format!(": {detail}"));
            }
        }
        if phase == self {
            return Sighting::Reached(words);
        }
        let is_over = match phase.0 {
            RolloutPhase::Promoted | RolloutPhase::Aborted | RolloutPhase::RolledBack => true,
            // What is aborted may become either of these, and then stays.
            RolloutPhase::Degraded | RolloutPhase::Aborting => {
                !matches!(self.0, RolloutPhase::Aborted | RolloutPhase::Degraded)
            }
            _ => false,
        };
        if is_over {
            let failure = Failure::otherwise(format!(
                "the rollout is not {} any more: it is {words}",
                self.name()
            ));
            return Sighting::Never(failure.hint(format!(
                "`decant rollout status {}` shows what happened",
                rollout.model
            )));
        }
        Sighting::NotYet(words)
    }
}

/// What the live scorers show.
pub(super) fn scorers(scorers: &[Scorer], live: usize) -> Sighting {
    let words = format!("{} live", scorers.len());
    if scorers.len() >= live {
        Sighting::Reached(words)
    } else {
        Sighting::NotYet(words)
    }
}

/// What a job's news show.
pub(super) fn job(id: &str, news: &News) -> Sighting {
    let job = match news {
        News::Progress(progress) => return Sighting::NotYet(progress.stage.clone()),
        News::Job(job) => job,
    };
    match job.state() {
        JobState::Succeeded => Sighting::Reached(names::job_state(job.state)),
        JobState::Failed => {
            Sighting::Never(Failure::new(format!("job {id} failed: {}", job.error)))
        }
        JobState::Cancelled => Sighting::Never(Failure::new(format!("job {id} was cancelled"))),
        _ => Sighting::NotYet(names::job_state(job.state)),
    }
}

#[cfg(test)]
mod tests;
