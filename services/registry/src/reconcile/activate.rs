//! Puts pending versions into service, as soon as enough scorers have them ready.

use std::collections::BTreeMap;

use decant_chassis::telemetry::propagation::continued;
use decant_coordination::keys::{self, DesiredKey, ObservedKey, RefusalRecord, ScorerKey};
use decant_coordination::{Entry, Epoch, Key, Revision, View};
use decant_failpoint::Point;
use decant_model::DesiredSlot;
use futures::StreamExt;
use tokio::time::{MissedTickBehavior, interval};
use tracing::Instrument;
use tracing::field::Empty;

use super::Reconcilers;
use super::refusals::Refusals;
use crate::error::CallError;
use crate::ledger::Ask;
use crate::metrics::SlotSeen;
use crate::rollout::{Fleet, Pending, subject};

pub(super) struct Activation {
    with: Reconcilers,
    epoch: Epoch,
    desired: Option<View>,
    scorers: Option<View>,
    observed: Option<View>,
    /// Why each pending slot waits, as last told.
    told: BTreeMap<Key, (Revision, String)>,
    refusals: Refusals,
    /// Why operators could not be told, as last logged.
    trouble: Option<String>,
}

/// What becomes of a pending change.
enum Outcome {
    /// Nothing of it is left to do.
    Done,
    /// It waits for scorers, which tell of themselves.
    Waits(String),
    /// It could be activated, and is not: operators have to be told why.
    Refused(String),
}

impl Activation {
    pub(super) fn new(with: Reconcilers, epoch: Epoch) -> Self {
        let refusals = Refusals::new(with.records.clone(), epoch.clone());
        Self {
            with,
            epoch,
            refusals,
            trouble: None,
            desired: None,
            scorers: None,
            observed: None,
            told: BTreeMap::new(),
        }
    }

    pub(super) async fn run(mut self) {
        let records = &self.with.records;
        let keyspace = &records.keyspace;
        let mut desired = Box::pin(records.follow(keyspace.all::<DesiredKey>()));
        let mut scorers = Box::pin(records.follow(keyspace.all::<ScorerKey>()));
        let mut observed = Box::pin(records.follow(keyspace.all::<ObservedKey>()));
        let mut timer = interval(self.with.interval);
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            // Scorers tell of themselves by the hundred: what is only shown is worked out by the clock.
            let is_time = tokio::select! {
                view = desired.next() => { self.desired = view; true }
                view = scorers.next() => { self.scorers = view; false }
                view = observed.next() => { self.observed = view; false }
                _ = timer.tick() => true,
            };
            self.pass().await;
            if is_time {
                self.show();
            }
        }
    }

    /// Shows how far slots are.
    fn show(&self) {
        let Some(desired) = self.desired.as_ref().filter(|view| view.replaced.is_none()) else {
            return;
        };
        let keyspace = &self.with.records.keyspace;
        let seen = |(key, entry): (&Key, &Entry)| {
            let place = keyspace.parse::<DesiredKey>(key).ok()?;
            let slot = keys::value::<DesiredKey>(entry).ok()?;
            let fleet = self.fleet(&place).ok().flatten()?;
            let seen = SlotSeen {
                generation: slot.generation,
                converged: fleet.converged(&slot),
            };
            Some(((place.model, place.slot), seen))
        };
        let slots = desired.entries.iter().filter_map(seen).collect();
        let scorers = self.scorers.as_ref().map(|view| view.entries.len());
        self.with.metrics.show(|board| {
            board.slots = slots;
            board.scorers = scorers;
        });
    }

    /// Looks at every slot once.
    async fn pass(&mut self) {
        let parts = [&self.desired, &self.scorers, &self.observed];
        let Some(desired) = self.desired.clone() else {
            return;
        };
        // Of a store that was replaced nothing counts; the election ends on it too.
        if parts
            .into_iter()
            .flatten()
            .any(|view| view.replaced.is_some())
        {
            return;
        }
        let (mut told, mut refused) = (BTreeMap::new(), Vec::new());
        for (key, entry) in desired.entries.iter() {
            let place = self.with.records.keyspace.parse::<DesiredKey>(key);
            let slot = keys::value::<DesiredKey>(entry);
            let (place, slot) = match (place, slot) {
                (Ok(place), Ok(slot)) => (place, slot),
                // Told by whoever asks for that slot.
                (Err(error), _) | (_, Err(error)) => {
                    told.insert(key.clone(), (entry.mod_revision, error.to_string()));
                    continue;
                }
            };
            let outcome = self.consider(&place, entry.mod_revision, &slot).await;
            let why = match outcome.unwrap_or_else(|error| Outcome::Refused(error.to_string())) {
                Outcome::Done => continue,
                Outcome::Waits(why) => why,
                Outcome::Refused(reason) => {
                    let record = RefusalRecord {
                        generation: slot.generation,
                        reason: reason.clone(),
                    };
                    refused.push((place, record));
                    reason
                }
            };
            told.insert(key.clone(), (entry.mod_revision, why));
        }
        for (key, now) in &told {
            if self.told.get(key) != Some(now) {
                tracing::info!(%key, why = now.1, "a pending change waits");
            }
        }
        self.told = told;
        let trouble = self.refusals.tell(refused).await.err();
        let trouble = trouble.map(|error| error.to_string());
        if let (Some(error), true) = (&trouble, trouble != self.trouble) {
            tracing::warn!(error, "could not tell why a pending change waits");
        }
        self.trouble = trouble;
    }

    /// Activates a slot's pending change, or says why it waits.
    async fn consider(
        &self,
        key: &DesiredKey,
        written_at: Revision,
        slot: &DesiredSlot,
    ) -> Result<Outcome, CallError> {
        let Some(pending) = &slot.pending else {
            return Ok(Outcome::Done);
        };
        if let Some(freeze) = &slot.frozen {
            return Ok(Outcome::Refused(format!(
                "the slot is frozen by `{}`: {}",
                freeze.by, freeze.reason
            )));
        }
        let Some(fleet) = self.fleet(key)? else {
            return Ok(Outcome::Waits("the scorers were not seen yet".to_owned()));
        };
        if let Some((scorer, seen)) = fleet.ahead_of(slot.generation) {
            return Ok(Outcome::Waits(format!(
                "scorer `{}` has seen generation {} already: see `decant admin adopt`",
                scorer.name, seen.0
            )));
        }
        let readiness = fleet.readiness(&pending.active);
        if readiness.live == 0 {
            // Scorers that lost their leases all at once still serve, and have nothing ready.
            return Ok(Outcome::Refused("no scorer is live".to_owned()));
        }
        if !readiness.is_enough(pending.min_ready_percent) {
            return Ok(Outcome::Waits(readiness.words()));
        }
        let percent = pending.min_ready_percent;
        if let Some(reason) = self.with.slots.refuses(&fleet, &readiness, percent) {
            return Ok(Outcome::Refused(reason));
        }
        Point::FleetReady.pass();
        self.with.cluster.check().await?;
        let pending = Pending {
            key: key.clone(),
            written_at,
            readiness: readiness.words(),
        };
        let trace = slot.trace.as_deref();
        let span = continued(trace, || {
            let slot_name = subject(&key.model, &key.slot);
            tracing::info_span!(
                "activate",
                slot = slot_name,
                prepared = slot.generation.0,
                trace_id = Empty,
                span_id = Empty
            )
        });
        let activation = async {
            let ask = Ask::leader(&self.epoch, &self.with.actor, "", trace);
            self.with.slots.activate(&ask, &pending).await
        };
        activation.instrument(span).await?;
        Ok(Outcome::Done)
    }

    /// The live scorers, as last seen; none before they were.
    fn fleet(&self, slot: &DesiredKey) -> Result<Option<Fleet>, CallError> {
        let (Some(scorers), Some(observed)) = (&self.scorers, &self.observed) else {
            return Ok(None);
        };
        let keyspace = &self.with.records.keyspace;
        let prefix = keyspace.of_slot::<ObservedKey>(&slot.model, &slot.slot);
        Ok(Some(Fleet::read(keyspace, scorers, observed, &prefix)?))
    }
}
