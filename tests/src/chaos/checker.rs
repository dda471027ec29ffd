//! What must hold of a run, looked for in what was recorded of it: the invariants of ARCHITECTURE.md. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use decant_proto::admin::v1::AuditEntry;
use decant_proto::rollout::v1 as rollout;

use super::operator::NAME;
use super::schedule::{Fault, Host, SCORERS, SETTLE};
use crate::history::{Answer, History, Violation};
use crate::tiny::Tiny;

/// What the invariant Converges allows, once all is calm.
const CONVERGES_WITHIN: Duration = Duration::from_secs(5);

/// A fault, when it really was.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub(crate) fault: Fault,
    pub(crate) from: SystemTime,
    pub(crate) until: SystemTime,
}

/// Everything that was recorded.
pub(crate) struct Evidence {
    /// What each scorer answered to a client of its own, which tries nothing twice.
    pub(crate) asked: History,
    /// What callers got through the client that tries again.
    pub(crate) called: History,
    pub(crate) windows: Vec<Window>,
    pub(crate) deaths: Vec<(Host, SystemTime)>,
    /// All bundles that were pushed.
    pub(crate) bundles: Vec<Tiny>,
    /// Everything that was ever intended, the newest first.
    pub(crate) slots: Vec<rollout::Slot>,
    /// All rollouts' ids.
    pub(crate) rollouts: Vec<String>,
    /// The audit log, and where its chain is broken.
    pub(crate) audit: Vec<AuditEntry>,
    pub(crate) audit_broken: String,
    /// What registries said that they did, by the request's name; the slot as they told it.
    pub(crate) told: Vec<(String, Option<rollout::Slot>)>,
    /// Generations that were made in calm times, with their times.
    pub(crate) calm: Vec<(u64, SystemTime)>,
    /// What did not come about in calm times, and which processes ended unasked.
    pub(crate) failed: Vec<String>,
}

/// What was found out about one invariant.
pub(crate) struct Finding {
    pub(crate) invariant: &'static str,
    /// How many answers, generations or requests were looked at.
    pub(crate) seen: usize,
    pub(crate) violation: Option<Violation>,
}

impl Evidence {
    /// Looks at everything.
    pub(crate) fn findings(&self) -> Vec<Finding> {
        let answers = self.asked.0.len() + self.called.0.len();
        let finding = |invariant, seen, found: Result<(), Violation>| Finding {
            invariant,
            seen,
            violation: found.err(),
        };
        vec![
            finding(
                "NeverUnpromoted, MonotoneGeneration",
                answers,
                self.never_unpromoted(),
            ),
            finding("NeverUnverified, ExactRollback", answers, self.exact()),
            finding("NoDrop", self.called.0.len(), self.no_drop()),
            finding(
                "StaticStability",
                self.asked.0.len(),
                self.static_stability(),
            ),
            finding("WeightWithin", self.rollouts.len(), self.weight_within()),
            finding("Fenced", self.slots.len(), self.fenced()),
            finding("AuditComplete", self.audit.len(), self.audit_complete()),
            finding("Converges", self.calm.len(), self.converges()),
        ]
    }

    /// How many calls failed, all of them when no scorer could be reached.
    pub(crate) fn excused(&self) -> usize {
        let called = self.called.0.iter();
        let failed = called.filter(|answer| answer.outcome.is_err());
        failed.filter(|answer| self.excuses(answer)).count()
    }

    /// What scorers answered is told apart by their lives: a scorer that is started again may know less than the one before,
    /// and never less than it said itself.
    fn never_unpromoted(&self) -> Result<(), Violation> {
        let mut asked = self.asked.clone();
        for answer in &mut asked.0 {
            let died = |(host, at): &&(Host, SystemTime)| {
                *host == Host::Scorer(answer.scorer) && *at <= answer.answered
            };
            let life = self.deaths.iter().filter(died).count();
            answer.scorer += SCORERS * life;
        }
        asked.follows(&self.slots)?;
        self.called.follows(&self.slots)
    }

    fn exact(&self) -> Result<(), Violation> {
        self.asked.is_exact(&self.bundles)?;
        self.called.is_exact(&self.bundles)
    }

    /// A call may fail only if, at some moment of it, faults touched every scorer.
    fn no_drop(&self) -> Result<(), Violation> {
        let mut failed = self.called.0.iter();
        match failed.find(|answer| answer.outcome.is_err() && !self.excuses(answer)) {
            None => Ok(()),
            Some(answer) => {
                let what =
                    format!("failed while there were scorers that no fault touched: {answer:?}");
                Err(Violation::of(answer, what))
            }
        }
    }

    fn excuses(&self, call: &Answer) -> bool {
        // More scorers are touched only when a fault begins.
        let begins = self.windows.iter().map(|window| window.from);
        let during = begins.filter(|from| (call.asked..=call.answered).contains(from));
        let mut moments = during.chain([call.asked]);
        moments.any(|moment| (0..SCORERS).all(|scorer| self.touched(scorer, moment, moment)))
    }

    /// Whatever becomes of etcd, registries and the object store: a scorer that no fault touches answers.
    fn static_stability(&self) -> Result<(), Violation> {
        let mut failed = self.asked.0.iter().filter(|answer| answer.outcome.is_err());
        let violated =
            failed.find(|answer| !self.touched(answer.scorer, answer.asked, answer.answered));
        match violated {
            None => Ok(()),
            Some(answer) => {
                let what = format!("a scorer that no fault touched did not answer: {answer:?}");
                Err(Violation::of(answer, what))
            }
        }
    }

    /// Whether some fault touched a scorer between these moments, or had done so shortly before.
    fn touched(&self, scorer: usize, from: SystemTime, until: SystemTime) -> bool {
        let mut windows = self.windows.iter();
        windows.any(|window| {
            let meets = window.from <= until && from <= window.until + SETTLE;
            meets && window.fault.touches(scorer)
        })
    }

    fn weight_within(&self) -> Result<(), Violation> {
        let mut all = self.asked.clone();
        all.0.extend(self.called.0.iter().cloned());
        for id in &self.rollouts {
            all.splits(&self.slots, id)?;
        }
        Ok(())
    }

    /// Nothing of an earlier leader comes after what a later one did.
    fn fenced(&self) -> Result<(), Violation> {
        let by_leaders = self.slots.iter().filter(|slot| slot.epoch > 0);
        let by_leaders: Vec<&rollout::Slot> = by_leaders.collect();
        let late = by_leaders
            .windows(2)
            .find(|pair| pair[0].epoch < pair[1].epoch);
        match late {
            None => Ok(()),
            Some(pair) => Err(unseen(format!(
                "an earlier leader's generation follows a later one's: {pair:?}"
            ))),
        }
    }

    /// The log is whole; no generation is missing; what a registry said that it did is there, and was done once.
    fn audit_complete(&self) -> Result<(), Violation> {
        if !self.audit_broken.is_empty() {
            return Err(unseen(self.audit_broken.clone()));
        }
        let generations = self.slots.iter().map(|slot| slot.generation);
        let generations: Vec<u64> = generations.collect();
        let newest = generations.first().copied().unwrap_or_default();
        if !generations.iter().copied().eq((1..=newest).rev()) {
            return Err(unseen(format!("generations are missing: {generations:?}")));
        }
        let mut logged: BTreeMap<&str, usize> = BTreeMap::new();
        for entry in &self.audit {
            if entry.request_id.starts_with(NAME) {
                *logged.entry(&entry.request_id).or_default() += 1;
            }
        }
        if let Some((name, times)) = logged.iter().find(|(_, times)| **times > 1) {
            return Err(unseen(format!("{name} was done {times} times")));
        }
        for slot in &self.slots {
            if slot.reason.starts_with(NAME) && !logged.contains_key(&*slot.reason) {
                return Err(unseen(format!("no entry tells of {slot:?}")));
            }
        }
        for (name, slot) in &self.told {
            // One that changed nothing tells of the generation that was there.
            let Some(slot) = slot.as_ref().filter(|slot| slot.reason == *name) else {
                continue;
            };
            if !self.slots.contains(slot) {
                return Err(unseen(format!(
                    "{name} was said to be done, and is lost: {slot:?}"
                )));
            }
        }
        Ok(())
    }

    /// In calm times each generation comes to all scorers soon; and what was asked for comes about.
    fn converges(&self) -> Result<(), Violation> {
        if let Some(failed) = self.failed.first() {
            return Err(unseen(failed.clone()));
        }
        for (generation, made) in &self.calm {
            let answers = self.asked.0.iter();
            let since = answers.filter(|answer| answer.asked >= *made);
            let since = History(since.cloned().collect());
            let scorers: BTreeSet<usize> = since.0.iter().map(|answer| answer.scorer).collect();
            let took = since.converged(*generation, *made);
            if scorers.len() < SCORERS || took.is_none_or(|took| took > CONVERGES_WITHIN) {
                return Err(Violation {
                    at: Some(*made),
                    what: format!(
                        "in calm times, generation {generation} came to all scorers within {took:?}, instead of \
                         {CONVERGES_WITHIN:?}; {scorers:?} answered"
                    ),
                });
            }
        }
        Ok(())
    }
}

/// One without a time.
fn unseen(what: String) -> Violation {
    Violation { at: None, what }
}

#[cfg(test)]
mod tests;
