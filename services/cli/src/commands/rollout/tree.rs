//! A rollout as people see it: facts, a tree of what takes part, and what can be done now. Pure: a status goes in, text
//! comes out.

mod part;
mod next;

use decant_proto::rollout::plan::from_wire;
use decant_proto::rollout::v1::{
    GateReading, Rollout, RolloutPhase, RolloutStatus, ScorerStatus, Slot,
};

use super::quality::Qualities;
use crate::commands::slot::observed;
use crate::output::table::{Facts, one_line};
use crate::output::tone::Palette;
use crate::output::{names, units};

/// A status, taken apart: what the registry left out is empty.
struct Sight<'a> {
    status: &'a RolloutStatus,
    rollout: Rollout,
    slot: Slot,
    scorers: &'a [ScorerStatus],
}

impl<'a> Sight<'a> {
    fn new(status: &'a RolloutStatus) -> Self {
        let fleet = status.slot.as_ref();
        Self {
            status,
            rollout: status.rollout.clone().unwrap_or_default(),
            slot: fleet
                .and_then(|fleet| fleet.slot.clone())
                .unwrap_or_default(),
            scorers: fleet
                .map(|fleet| fleet.scorers.as_slice())
                .unwrap_or_default(),
        }
    }

    fn phase(&self) -> RolloutPhase {
        self.rollout.phase()
    }

    /// Whether scorers are still to have the version ready.
    fn is_preparing(&self) -> bool {
        matches!(
            self.phase(),
            RolloutPhase::Pending | RolloutPhase::Preparing
        )
    }

    /// The step under way as the plan spells it; empty where there is none.
    fn step(&self) -> String {
        let plan = self.rollout.plan.clone().unwrap_or_default();
        if self.is_preparing() {
            return String::new();
        }
        let steps = from_wire(plan).map(|plan| plan.steps).unwrap_or_default();
        let step = steps.get(self.rollout.step as usize);
        step.map(ToString::to_string).unwrap_or_default()
    }

    /// What the gates say; what they are, before they have said anything.
    fn gates(&self) -> Vec<GateReading> {
        if !self.status.gates.is_empty() {
            return self.status.gates.clone();
        }
        let plan = self.rollout.plan.clone().unwrap_or_default();
        let unread = |gate| GateReading {
            gate: Some(gate),
            ..GateReading::default()
        };
        plan.gates.into_iter().map(unread).collect()
    }

    /// The live scorers that are not where the slot is, or have something to complain of.
    fn lagging(&self) -> Vec<&'a ScorerStatus> {
        let wanted = || self.slot.active.iter().chain(&self.slot.prepare);
        let lags = |scorer: &&ScorerStatus| {
            let has_all = wanted().all(|one| observed::is_ready(scorer, one.version));
            !scorer.frozen.is_empty()
                || scorer.generation < self.slot.generation
                || scorer.serving < self.slot.generation
                || !has_all
        };
        self.scorers.iter().filter(lags).collect()
    }
}

/// All there is to see.
pub(super) fn render(status: &RolloutStatus, qualities: &Qualities, palette: Palette) -> String {
    let sight = Sight::new(status);
    let tree = part::tree(&sight, qualities);
    let next = next::commands(&sight);
    let next = if next.is_empty() {
        String::new()
    } else {
        format!("\nNext:\n{next}")
    };
    format!(
        "{}\n{}{next}",
        facts(&sight).render(palette),
        tree.render(palette)
    )
}

/// What changed last, on one line, without what changes all the time.
pub(super) fn line(status: &RolloutStatus) -> String {
    let sight = Sight::new(status);
    let rollout = &sight.rollout;
    let mut parts = vec![format!(
        "{} {}: {}, step {}",
        names::rollout_slot(rollout),
        names::rollout_version(rollout.candidate.as_ref()),
        names::rollout_phase(rollout.phase),
        names::rollout_step(rollout)
    )];
    let step = sight.step();
    if !step.is_empty() {
        parts.push(format!(" ({step})"));
    }
    if !sight.slot.active.is_empty() {
        parts.push(format!(", {}", names::slot_versions(&sight.slot.active)));
    }
    for reading in &status.gates {
        let metric = reading
            .gate
            .as_ref()
            .map_or("?", |gate| gate.metric.as_str());
        parts.push(format!(
            "; {metric} {}",
            names::gate_verdict(reading.verdict)
        ));
    }
    let lagging = sight.lagging().len();
    if lagging > 0 {
        parts.push(format!(
            "; {lagging} of {} scorers lag",
            sight.scorers.len()
        ));
    }
    if !rollout.reason_in_phase.is_empty() {
        parts.push(format!("; {}", rollout.reason_in_phase));
    }
    // Words of the registry's: they must not break the line.
    one_line(&parts.concat())
}

fn facts(sight: &Sight<'_>) -> Facts {
    let (status, rollout) = (sight.status, &sight.rollout);
    let moved = stamp(&units::time(rollout.move_time.as_ref()), &rollout.moved_by);
    let started = stamp(
        &units::time(rollout.start_time.as_ref()),
        &rollout.issued_by,
    );
    let frozen = sight
        .slot
        .frozen
        .as_ref()
        .map_or_else(String::new, |freeze| {
            let since = stamp(&units::time(freeze.since.as_ref()), &freeze.issued_by);
            format!("since {since}: {}", freeze.reason)
        });
    Facts::default()
        .with("slot", names::rollout_slot(rollout))
        .with("generation", generation(sight))
        .with("status", names::rollout_phase_cell(rollout.phase))
        .with_some("since", &moved)
        .with_some("why", &rollout.reason_in_phase)
        .with("rollout", &rollout.id)
        .with_some("retry of", &rollout.retry_of)
        .with("step", step(sight))
        .with_some("weight", &weight(sight))
        .with_some("ready", &ready(sight))
        .with_some("waits for", &status.waits_for)
        .with_some("silent", &status.silent_scorers.join(", "))
        .with_some("frozen", &frozen)
        .with_some("started", &started)
        .with_some("reason", &rollout.reason)
}

/// When and by whom, as far as that is known.
fn stamp(time: &str, by: &str) -> String {
    match (time, by) {
        (_, "") => time.to_owned(),
        ("", by) => format!("by {by}"),
        (time, by) => format!("{time} by {by}"),
    }
}

/// The slot's generation, and who has seen it.
fn generation(sight: &Sight<'_>) -> String {
    let generation = sight.slot.generation;
    let all = sight.scorers.len();
    if all == 0 {
        return format!("{generation}, no scorer is live");
    }
    let has_seen = |scorer: &&ScorerStatus| scorer.generation >= generation;
    let observed = sight.scorers.iter().filter(has_seen).count();
    format!("{generation}, observed by {observed} of {all} scorers")
}

/// Which step of how many, what it is, and how long it has been under way.
fn step(sight: &Sight<'_>) -> String {
    let mut words = names::rollout_step(&sight.rollout);
    let step = sight.step();
    if !step.is_empty() {
        words = format!("{words}: {step}");
    }
    let elapsed = sight.status.elapsed.as_ref();
    match elapsed.filter(|_| !super::has_ended(sight.phase())) {
        None => words,
        Some(elapsed) => {
            let seconds = elapsed.seconds as f64 + f64::from(elapsed.nanos) / 1e9;
            format!("{words}, for {}", units::wait(seconds))
        }
    }
}

/// The share that is set, and the one that is measured.
fn weight(sight: &Sight<'_>) -> String {
    let set = sight
        .rollout
        .candidate
        .as_ref()
        .map_or(0, |candidate| candidate.weight_basis_points);
    if set == 0 {
        return String::new();
    }
    let set = names::weight_share(set);
    match sight.status.actual_basis_points {
        None => format!("set {set}"),
        Some(actual) => format!(
            "set {set}, actual {} (n={})",
            names::weight_share(actual),
            sight.status.requests
        ),
    }
}

/// How many scorers have the version ready, while that is what is waited for.
fn ready(sight: &Sight<'_>) -> String {
    let Some(candidate) = sight
        .rollout
        .candidate
        .as_ref()
        .filter(|_| sight.is_preparing())
    else {
        return String::new();
    };
    let has_it = |scorer: &&ScorerStatus| observed::is_ready(scorer, candidate.version);
    let ready = sight.scorers.iter().filter(has_it).count();
    let percent = sight
        .rollout
        .plan
        .as_ref()
        .map_or(0, |plan| plan.min_ready_percent);
    format!(
        "{ready} of {} scorers have {} ready; {percent} % must",
        sight.scorers.len(),
        names::version(candidate.version)
    )
}
