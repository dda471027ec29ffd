//! Puts pending versions into service, as soon as enough scorers have them ready.

use std::collections::BTreeMap;

use decant_coordination::keys::{self, DesiredKey, ObservedKey, ScorerKey};
use decant_coordination::{Epoch, Key, Revision, View, follow};
use decant_model::DesiredSlot;
use futures::StreamExt;
use tokio::time::{MissedTickBehavior, interval};

use super::Reconcilers;
use crate::error::CallError;
use crate::ledger::Ask;
use crate::rollout::{Fleet, Pending};

pub(super) struct Activation {
    with: Reconcilers,
    epoch: Epoch,
    desired: Option<View>,
    scorers: Option<View>,
    observed: Option<View>,
    /// Why each pending slot waits, as last told.
    told: BTreeMap<Key, (Revision, String)>,
}

impl Activation {
    pub(super) fn new(with: Reconcilers, epoch: Epoch) -> Self {
        Self {
            with,
            epoch,
            desired: None,
            scorers: None,
            observed: None,
            told: BTreeMap::new(),
        }
    }

    pub(super) async fn run(mut self) {
        let store = &self.with.records.store;
        let keyspace = &self.with.records.keyspace;
        let mut desired = Box::pin(follow(store.clone(), keyspace.all::<DesiredKey>()));
        let mut scorers = Box::pin(follow(store.clone(), keyspace.all::<ScorerKey>()));
        let mut observed = Box::pin(follow(store.clone(), keyspace.all::<ObservedKey>()));
        let mut timer = interval(self.with.interval);
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                view = desired.next() => self.desired = view,
                view = scorers.next() => self.scorers = view,
                view = observed.next() => self.observed = view,
                _ = timer.tick() => {}
            }
            self.pass().await;
        }
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
        let mut told = BTreeMap::new();
        for (key, entry) in desired.entries.iter() {
            let outcome = match keys::value::<DesiredKey>(entry) {
                Ok(slot) if slot.pending.is_none() => continue,
                Ok(slot) => self.consider(key, entry.mod_revision, &slot).await,
                Err(error) => Err(error.into()),
            };
            let why = match outcome {
                Ok(None) => continue,
                Ok(Some(why)) => why,
                Err(error) => error.to_string(),
            };
            let now = (entry.mod_revision, why);
            if self.told.get(key) != Some(&now) {
                tracing::info!(%key, why = now.1, "a pending change waits");
            }
            told.insert(key.clone(), now);
        }
        self.told = told;
    }

    /// Activates a slot's pending change, or says why it waits.
    async fn consider(
        &self,
        key: &Key,
        written_at: Revision,
        slot: &DesiredSlot,
    ) -> Result<Option<String>, CallError> {
        let Some(pending) = &slot.pending else {
            return Ok(None);
        };
        let key = self.with.records.keyspace.parse::<DesiredKey>(key)?;
        let Some(fleet) = self.fleet(&key)? else {
            return Ok(Some("the scorers were not seen yet".to_owned()));
        };
        if let Some((scorer, seen)) = fleet.ahead_of(slot.generation) {
            return Ok(Some(format!(
                "scorer `{}` has seen generation {} already: see `decant admin adopt`",
                scorer.name, seen.0
            )));
        }
        let readiness = fleet.readiness(&pending.active);
        if readiness.live == 0 {
            // Scorers that lost their leases all at once still serve, and have nothing ready.
            return Ok(Some("no scorer is live".to_owned()));
        }
        if !readiness.is_enough(pending.min_ready_percent) {
            return Ok(Some(readiness.words()));
        }
        self.with.cluster.check().await?;
        let ask = Ask::leader(&self.epoch, &self.with.actor, "");
        let pending = Pending {
            key,
            written_at,
            readiness: readiness.words(),
        };
        self.with.slots.activate(&ask, &pending).await?;
        Ok(None)
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
