//! Takes rollouts from step to step. Whenever something changes, and about once a second, the leader looks at each rollout that
//! is not over: how far scorers are, how long it has been where it is, and what the gates say of what scorers counted. The
//! rollout itself says what follows from that; what follows is one transaction.

mod clock;
mod counts;
mod progress;
mod sight;

use std::collections::{BTreeMap, BTreeSet};

use decant_chassis::telemetry::propagation::continued;
use decant_coordination::keys::{
    self, DesiredKey, ObservedKey, RolloutKey, RolloutRecord, ScorerKey,
};
use decant_coordination::{Epoch, Key, Revision, View};
use decant_failpoint::Point;
use decant_model::DesiredSlot;
use decant_model::rollout::{Changed, Event, Intent, Phase, Setting};
use futures::StreamExt;
use futures::future::join_all;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::Instrument;
use tracing::field::Empty;

use super::Reconcilers;
use crate::error::CallError;
use crate::ledger::Ask;
use crate::metrics::{Ended, RolloutSeen};
use crate::rollout::{Decision, Fleet, place_words, subject as slot_name};

use clock::Clock;
use counts::{Counted, Scorers};
use progress::Progress;
use sight::{Seen, Standstill};

pub(super) struct Rolling {
    with: Reconcilers,
    epoch: Epoch,
    views: Views,
    scorers: Scorers,
    /// The rollouts that are not over, and what is known of each besides its record.
    known: BTreeMap<Key, Known>,
    /// Those that are over, as of these revisions: there may be many, and nothing is left to be done for them.
    over: BTreeMap<Key, (Revision, Phase)>,
    /// Whether all were looked at once: whatever is over from then on has ended in this term.
    looked: bool,
}

/// The newest views of what a rollout depends on; none before the first.
#[derive(Default)]
struct Views {
    desired: Option<View>,
    scorers: Option<View>,
    observed: Option<View>,
    rollouts: Option<View>,
}

/// What this leader knows of a rollout.
struct Known {
    clock: Clock,
    progress: Progress,
    /// What scorers counted last.
    counted: Option<Counted>,
    /// Since when the views do not fit together. They come one after the other, so that one of them may only be late.
    unfit: Option<Instant>,
    /// What went wrong, as last logged.
    trouble: String,
}

/// A rollout that is not over, beside its slot and what scorers make of that.
struct Subject {
    entry: Key,
    rollout_at: Revision,
    slot_at: Revision,
    key: RolloutKey,
    record: RolloutRecord,
    desired: DesiredSlot,
    fleet: Fleet,
}

impl Rolling {
    pub(super) fn new(with: Reconcilers, epoch: Epoch) -> Self {
        Self {
            scorers: Scorers::new(with.caller.clone()),
            with,
            epoch,
            views: Views::default(),
            known: BTreeMap::new(),
            over: BTreeMap::new(),
            looked: false,
        }
    }

    pub(super) async fn run(mut self) {
        let records = &self.with.records;
        let keyspace = &records.keyspace;
        let mut desired = Box::pin(records.follow(keyspace.all::<DesiredKey>()));
        let mut scorers = Box::pin(records.follow(keyspace.all::<ScorerKey>()));
        let mut observed = Box::pin(records.follow(keyspace.all::<ObservedKey>()));
        let mut rollouts = Box::pin(records.follow(keyspace.all::<RolloutKey>()));
        let mut timer = interval(self.with.rollout_interval);
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            // Scorers are asked for their counts by the clock alone: their news come by the hundred.
            let is_time = tokio::select! {
                view = desired.next() => { self.views.desired = view; false }
                view = scorers.next() => { self.views.scorers = view; false }
                view = observed.next() => { self.views.observed = view; false }
                view = rollouts.next() => { self.views.rollouts = view; false }
                _ = timer.tick() => true,
            };
            let subjects = self.subjects();
            if is_time {
                self.count(&subjects).await;
            }
            for subject in &subjects {
                self.look(subject).await;
            }
            self.show(&subjects);
        }
    }

    /// Shows where rollouts stand.
    fn show(&self, subjects: &[Subject]) {
        let seen = subjects.iter().map(|subject| {
            let rollout = &subject.record.rollout;
            let known = self.known.get(&subject.entry);
            let written = known.and_then(|known| known.progress.written());
            // Of another step it says nothing.
            let place = (rollout.phase, rollout.step);
            let written = written.filter(|written| (written.phase, written.step) == place);
            let judgement = written.map(|written| &written.judgement);
            let seen = RolloutSeen::new(place, &subject.desired, judgement);
            let RolloutKey { model, slot, .. } = &subject.key;
            ((model.clone(), slot.clone()), seen)
        });
        let rollouts = seen.collect();
        self.with.metrics.show(|board| board.rollouts = rollouts);
    }

    /// The rollouts that are not over; none before everything was seen.
    fn subjects(&mut self) -> Vec<Subject> {
        let Some((desired, scorers, observed, rollouts)) = self.views.all() else {
            return Vec::new();
        };
        let keyspace = &self.with.records.keyspace;
        let mut subjects = Vec::new();
        for (entry_key, entry) in rollouts.entries.iter() {
            let over = self.over.get(entry_key).copied();
            if over.is_some_and(|(revision, _)| revision == entry.mod_revision) {
                continue;
            }
            // What cannot be read is told by whoever asks for it.
            let Ok((key, record)) = keyspace.read::<RolloutKey>(entry) else {
                continue;
            };
            let phase = record.rollout.phase;
            if phase.is_over() {
                let is_news = over.is_none_or(|(_, before)| before != phase);
                if let (true, true, Some(ended)) = (self.looked, is_news, Ended::of(phase)) {
                    let metrics = &self.with.metrics;
                    metrics.show(|board| board.ended((key.model, key.slot), ended));
                }
                let now = (entry.mod_revision, phase);
                self.over.insert(entry_key.clone(), now);
                continue;
            }
            let place = DesiredKey {
                model: key.model.clone(),
                slot: key.slot.clone(),
            };
            let Some(slot) = desired.entries.get(&keyspace.key(&place)) else {
                continue;
            };
            let of_slot = keyspace.of_slot::<ObservedKey>(&key.model, &key.slot);
            let fleet = Fleet::read(keyspace, scorers, observed, &of_slot);
            let (Ok(value), Ok(fleet)) = (keys::value::<DesiredKey>(slot), fleet) else {
                continue;
            };
            subjects.push(Subject {
                entry: entry_key.clone(),
                rollout_at: entry.mod_revision,
                slot_at: slot.mod_revision,
                key,
                record,
                desired: value,
                fleet,
            });
        }
        let live: BTreeSet<&Key> = subjects.iter().map(|subject| &subject.entry).collect();
        self.known.retain(|key, _| live.contains(key));
        self.looked = true;
        subjects
    }

    /// Asks scorers what they counted in the slots of rollouts whose versions see traffic.
    async fn count(&mut self, subjects: &[Subject]) {
        let fleets = subjects.iter().map(|subject| &subject.fleet);
        self.scorers.keep_only(fleets);
        let mut asked = Vec::new();
        for subject in subjects {
            let rollout = &subject.record.rollout;
            if rollout.phase.holds_slot() && rollout.setting != Setting::Idle {
                let counts =
                    self.scorers
                        .ask(&subject.key, &subject.fleet, subject.record.generation);
                let entry = subject.entry.clone();
                asked.push(async move { (entry, counts.await) });
            }
        }
        for (entry, counted) in join_all(asked).await {
            if let Some(known) = self.known.get_mut(&entry) {
                known.counted = Some(counted);
            }
        }
    }

    /// Looks at a rollout, and does what follows.
    async fn look(&mut self, subject: &Subject) {
        if !self.known.contains_key(&subject.entry) {
            // What earlier leaders have seen counts.
            let progress = Progress::read(&self.with.records, &subject.key).await;
            match progress {
                Ok(progress) => {
                    let known = Known::new(progress);
                    self.known.insert(subject.entry.clone(), known);
                }
                Err(error) => {
                    tracing::warn!(key = %subject.entry, %error, "could not read how far a rollout is");
                    return;
                }
            }
        }
        let Some(known) = self.known.get_mut(&subject.entry) else {
            return;
        };
        let trouble = known.look(&self.with, &self.epoch, subject).await;
        let trouble = match trouble {
            // The election ends this leader's term.
            Ok(()) | Err(CallError::Deposed) => String::new(),
            Err(error) => error.to_string(),
        };
        if !trouble.is_empty() && trouble != known.trouble {
            tracing::warn!(key = %subject.entry, error = trouble, "a rollout could not be moved");
        }
        known.trouble = trouble;
    }
}

impl Known {
    fn new(progress: Progress) -> Self {
        Self {
            clock: Clock::new(progress.written()),
            progress,
            counted: None,
            unfit: None,
            trouble: String::new(),
        }
    }

    async fn look(
        &mut self,
        with: &Reconcilers,
        epoch: &Epoch,
        subject: &Subject,
    ) -> Result<(), CallError> {
        let rollout = &subject.record.rollout;
        let now = Instant::now();
        let standstill = sight::standstill(with, subject);
        let frozen = subject.desired.frozen.as_ref();
        let frozen = frozen.filter(|_| rollout.phase.holds_slot());
        let goes_on = standstill.is_none() && frozen.is_none();
        let longest = clock::longest_step(with.rollout_interval);
        self.clock
            .pass((rollout.phase, rollout.step), now, goes_on, longest);
        let seen = Seen::new(subject, self.counted.as_ref(), self.clock.elapsed());
        let waits_for = match standstill {
            Some(Standstill::Unfit(words)) => {
                let since = *self.unfit.get_or_insert(now);
                if now.duration_since(since) < sight::LATE {
                    return Ok(());
                }
                words
            }
            Some(Standstill::Vanished(words)) => {
                self.unfit = None;
                words
            }
            None => {
                self.unfit = None;
                // Looking never fails.
                let changed = rollout.on(&Event::Look(seen.sight.clone())).ok().flatten();
                let allowed =
                    |changed: &Changed| frozen.is_none() || changed.intent == Some(Intent::Restore);
                match (changed.filter(allowed), frozen) {
                    (Some(changed), _) => {
                        return self.act(with, epoch, subject, &seen, changed).await;
                    }
                    (None, Some(freeze)) => {
                        format!("the slot is frozen by `{}`: {}", freeze.by, freeze.reason)
                    }
                    (None, None) => sight::waits_for(subject, &seen),
                }
            }
        };
        let record = self.progress.record(subject, &seen, waits_for);
        self.progress
            .write(with, epoch, &subject.key, record, now)
            .await
    }

    /// Puts on record what the leader saw, and then what follows from it.
    async fn act(
        &mut self,
        with: &Reconcilers,
        epoch: &Epoch,
        subject: &Subject,
        seen: &Seen,
        changed: Changed,
    ) -> Result<(), CallError> {
        let (now, trouble) = (Instant::now(), self.trouble.clone());
        let record = self.progress.record(subject, seen, trouble);
        self.progress
            .write(with, epoch, &subject.key, record, now)
            .await?;
        Point::RolloutDecided.pass();
        with.cluster.check().await?;
        let trace = subject.record.trace.as_deref();
        let span = continued(trace, || {
            let RolloutKey {
                model,
                slot,
                rollout,
            } = &subject.key;
            let (slot, phase) = (slot_name(model, slot), changed.rollout.phase);
            tracing::info_span!(
                "rollout step",
                slot,
                %rollout,
                %phase,
                step = changed.rollout.step,
                trace_id = Empty,
                span_id = Empty
            )
        });
        let decision = Decision {
            key: subject.key.clone(),
            rollout_at: subject.rollout_at,
            slot_at: subject.slot_at,
            changed,
        };
        let step = async {
            let words = place_words(&decision.changed.rollout);
            let ask = Ask::leader(epoch, &with.actor, words, trace);
            with.rollouts.advance(&ask, &decision).await
        };
        if step.instrument(span).await? {
            Point::RolloutMoved.pass();
        }
        Ok(())
    }
}

impl Views {
    /// All of them, once they were seen. Of a store that was replaced nothing counts; the election ends on it too.
    fn all(&self) -> Option<(&View, &View, &View, &View)> {
        let (desired, scorers) = (self.desired.as_ref()?, self.scorers.as_ref()?);
        let (observed, rollouts) = (self.observed.as_ref()?, self.rollouts.as_ref()?);
        let all = [desired, scorers, observed, rollouts];
        let is_whole = all.into_iter().all(|view| view.replaced.is_none());
        is_whole.then_some((desired, scorers, observed, rollouts))
    }
}
