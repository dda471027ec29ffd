//! The way of a fleet to a change: first every scorer has the version ready, then it is activated, then every scorer
//! answers with it. Pure: statuses and times go in, words come out.

use std::collections::BTreeMap;
use std::time::Duration;

use decant_proto::rollout::v1::{ObservedState, ScorerStatus, Slot, SlotStatus};
use serde_json::{Value, json};

use super::observed;
use crate::output::{names, units};

/// What was seen of a change.
pub(super) struct Convergence {
    version: u64,
    /// The slot as it was seen last.
    slot: Slot,
    /// The generation that activated the version.
    activated: Option<u64>,
    /// What was seen of each scorer, also of those that have gone.
    seen: BTreeMap<String, Seen>,
    /// The scorers that were live when they were asked last; `None` before the first answer.
    live: Option<Vec<ScorerStatus>>,
    blocked: String,
}

/// What was seen of one scorer, and how long after the change.
#[derive(Default)]
struct Seen {
    ready: Option<Duration>,
    serving: Option<Duration>,
    /// What it complained of last, so that it is told once.
    error: String,
}

/// Where a change stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Waiting,
    Done,
    /// Somebody else set the slot to something else.
    Overtaken,
}

impl Convergence {
    /// The slot is the answer to the change, which asked for the version.
    pub(super) fn new(slot: &Slot, version: u64) -> Self {
        let mut convergence = Self {
            version,
            slot: slot.clone(),
            activated: None,
            seen: BTreeMap::new(),
            live: None,
            blocked: String::new(),
        };
        if convergence.is_active(slot) {
            convergence.activated = Some(slot.generation);
        }
        convergence
    }

    fn is_active(&self, slot: &Slot) -> bool {
        slot.pending.is_empty() && slot.active.iter().any(|one| one.version == self.version)
    }

    /// Takes in a status that came so long after the change; returns what is new about it, and where the change stands.
    pub(super) fn observe(
        &mut self,
        status: &SlotStatus,
        elapsed: Duration,
    ) -> (Vec<String>, Stage) {
        let mut lines = Vec::new();
        let Some(slot) = &status.slot else {
            return (lines, Stage::Waiting);
        };
        // A replica of the registry that has not yet seen the change says nothing about it.
        if slot.generation < self.slot.generation {
            return (lines, Stage::Waiting);
        }
        self.slot = slot.clone();
        let is_pending = slot.pending.iter().any(|one| one.version == self.version);
        if self.is_active(slot) {
            if self.activated.is_none() {
                self.activated = Some(slot.generation);
                lines.push(format!(
                    "{} is activated as generation {} after {}",
                    names::version(self.version),
                    slot.generation,
                    time(elapsed)
                ));
            }
        } else if !is_pending {
            return (lines, Stage::Overtaken);
        }
        for scorer in &status.scorers {
            lines.extend(self.observe_scorer(scorer, elapsed));
        }
        if status.blocked != self.blocked {
            self.blocked.clone_from(&status.blocked);
            if !self.blocked.is_empty() {
                lines.push(format!("blocked: {}", self.blocked));
            }
        }
        self.live = Some(status.scorers.clone());
        let stage = if self.activated.is_some() && self.lagging().is_empty() {
            Stage::Done
        } else {
            Stage::Waiting
        };
        (lines, stage)
    }

    fn observe_scorer(&mut self, scorer: &ScorerStatus, elapsed: Duration) -> Option<String> {
        let name = observed::name(scorer);
        let is_ready = observed::version(scorer, self.version)
            .is_some_and(|one| one.state() == ObservedState::Ready);
        let serves = self
            .activated
            .is_some_and(|generation| scorer.serving >= generation);
        let error = observed::error(scorer);
        let seen = self.seen.entry(name.to_owned()).or_default();
        if serves {
            if seen.serving.is_some() {
                return None;
            }
            seen.serving = Some(elapsed);
            let (generation, took) = (scorer.serving, time(elapsed));
            return Some(format!(
                "{name} serves generation {generation} after {took}"
            ));
        }
        if error != seen.error {
            seen.error.clone_from(&error);
            if !error.is_empty() {
                return Some(format!("{name}: {error}"));
            }
        }
        if is_ready && seen.ready.is_none() {
            seen.ready = Some(elapsed);
            return Some(format!(
                "{name} has {} ready after {}",
                names::version(self.version),
                time(elapsed)
            ));
        }
        None
    }

    /// The slot as it was seen last.
    pub(super) fn slot(&self) -> &Slot {
        &self.slot
    }

    /// The live scorers that do not serve the change yet.
    fn lagging(&self) -> Vec<&ScorerStatus> {
        let serves = |scorer: &&ScorerStatus| {
            self.activated
                .is_some_and(|generation| scorer.serving >= generation)
        };
        self.live()
            .iter()
            .filter(|scorer| !serves(scorer))
            .collect()
    }

    fn live(&self) -> &[ScorerStatus] {
        self.live.as_deref().unwrap_or_default()
    }

    /// The live scorer that was the last to serve, and when.
    fn slowest(&self) -> Option<(&str, Duration)> {
        self.live()
            .iter()
            .filter_map(|scorer| {
                let name = observed::name(scorer);
                Some((name, self.seen.get(name)?.serving?))
            })
            .max_by_key(|&(_, serving)| serving)
    }

    /// How long it took; `None` when there was nobody to wait for.
    pub(super) fn took(&self) -> Option<Duration> {
        self.slowest().map(|(_, serving)| serving)
    }

    /// The end in words; `None` when there was nobody to wait for.
    pub(super) fn summary(&self) -> Option<String> {
        let (name, took) = self.slowest()?;
        let all = self.live().len();
        Some(format!(
            "converged: {all}/{all} scorers serve generation {} (slowest {name}, {})",
            self.activated?,
            time(took)
        ))
    }

    /// What is missing, in words that follow "but".
    pub(super) fn shortfall(&self) -> String {
        let all = match &self.live {
            None => return "nothing is known of the scorers".to_owned(),
            Some(live) => live.len(),
        };
        match self.activated {
            Some(generation) => format!(
                "{} of {all} scorers do not serve generation {generation}",
                self.lagging().len()
            ),
            None => {
                let is_ready = |scorer: &&ScorerStatus| {
                    observed::version(scorer, self.version)
                        .is_some_and(|one| one.state() == ObservedState::Ready)
                };
                let ready = self.live().iter().filter(is_ready).count();
                format!("it is not activated: {ready} of {all} scorers have it ready")
            }
        }
    }

    /// What stands in the way, a line each.
    pub(super) fn obstacles(&self) -> Vec<String> {
        let blocked = (!self.blocked.is_empty()).then(|| format!("blocked: {}", self.blocked));
        let lagging = self.lagging();
        // While nothing is activated, those that are ready have done their part.
        let in_the_way = lagging.iter().filter(|scorer| {
            self.activated.is_some()
                || observed::version(scorer, self.version)
                    .is_none_or(|one| one.state() != ObservedState::Ready)
        });
        let lagging = in_the_way.map(|scorer| self.obstacle(scorer));
        blocked.into_iter().chain(lagging).collect()
    }

    fn obstacle(&self, scorer: &ScorerStatus) -> String {
        let number = names::version(self.version);
        let state = match observed::version(scorer, self.version) {
            Some(one) if !one.error.is_empty() => {
                format!(
                    "{number} {}: {}",
                    names::observed_state(one.state),
                    one.error
                )
            }
            Some(one) => format!("{number} {}", names::observed_state(one.state)),
            None => format!("does not know of {number} yet"),
        };
        let frozen = match scorer.frozen.as_str() {
            "" => String::new(),
            why => format!(", FROZEN: {why}"),
        };
        format!(
            "{}: at generation {}, serves {}, {state}{frozen}",
            observed::name(scorer),
            scorer.generation,
            scorer.serving
        )
    }

    /// When each live scorer was ready and served.
    pub(super) fn to_json(&self) -> Value {
        let seconds = |time: Option<Duration>| time.map(|time| time.as_secs_f64());
        let scorer = |scorer: &ScorerStatus| {
            let name = observed::name(scorer);
            let seen = self.seen.get(name);
            json!({
                "name": name,
                "ready_after_seconds": seconds(seen.and_then(|seen| seen.ready)),
                "serving_after_seconds": seconds(seen.and_then(|seen| seen.serving)),
            })
        };
        self.live().iter().map(scorer).collect()
    }
}

fn time(elapsed: Duration) -> String {
    units::micros(u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests;
