//! Which version serves where. A slot is one key; scorers watch it, and every change is a compare-and-swap on it.
//!
//! Slots come first: changes by hand, what scorers make of them, and what was. Rollouts change slots step by step: `start`
//! checks and begins one, `intent` says what scorers are to serve where it stands, `transition` writes it; the leader looks at
//! it in `reconcile`, and operators steer it.

mod guard;
mod change;
mod activation;
mod fleet;
mod history;
mod roll;
mod status;
mod rollouts;
mod plans;
mod checks;
mod start;
mod intent;
mod transition;
mod steer;
mod rollback;
mod freeze;
mod progress;

use decant_coordination::keys::{
    self, DesiredKey, ObservedKey, ObservedRecord, RefusalKey, RefusalRecord, ScorerKey,
    ScorerRecord,
};
use decant_model::{DesiredSlot, ModelName, ScorerName, SlotName};
use futures::{Stream, StreamExt, future};

use crate::catalog::Catalog;
use crate::cluster::{self, Cluster};
use crate::error::CallError;
use crate::ledger::Ledger;
use crate::records::{Found, Records};

pub(crate) use activation::Pending;
pub(crate) use change::Change;
pub(crate) use fleet::{Fleet, Member, Readiness};
pub(crate) use freeze::Freezing;
pub(crate) use history::Moment;
pub(crate) use plans::StoredPlan;
pub(crate) use progress::{RolloutStatus, progress_key};
pub(crate) use roll::Roll;
pub(crate) use rollback::{Rollback, RolledBack};
pub(crate) use rollouts::{Moved, Rollouts};
pub(crate) use start::{How, Start, Started, What};
pub(crate) use status::SlotStatus;
pub(crate) use steer::Steering;
pub(crate) use transition::{Decision, place_words};

/// The slots of one cluster.
#[derive(Clone)]
pub(crate) struct Slots {
    records: Records,
    ledger: Ledger,
    catalog: Catalog,
    cluster: Cluster,
    roll: Roll,
}

impl Slots {
    pub(crate) fn new(
        records: Records,
        ledger: Ledger,
        catalog: Catalog,
        cluster: Cluster,
        roll: Roll,
    ) -> Self {
        Self {
            records,
            ledger,
            catalog,
            cluster,
            roll,
        }
    }

    pub(crate) async fn get(
        &self,
        model: &ModelName,
        slot: &SlotName,
    ) -> Result<DesiredSlot, CallError> {
        let found = self.find(model, slot).await?;
        let found = found.ok_or_else(|| CallError::UnknownSlot {
            model: model.clone(),
            slot: slot.clone(),
        })?;
        Ok(found.value)
    }

    async fn find(
        &self,
        model: &ModelName,
        slot: &SlotName,
    ) -> Result<Option<Found<DesiredKey>>, CallError> {
        let key = DesiredKey {
            model: model.clone(),
            slot: slot.clone(),
        };
        self.records.get(&key).await
    }

    /// All slots of all models.
    pub(crate) async fn all(&self) -> Result<Vec<(DesiredKey, DesiredSlot)>, CallError> {
        let prefix = self.records.keyspace.all::<DesiredKey>();
        let slots = self.records.list::<DesiredKey>(&prefix).await?;
        Ok(slots
            .into_iter()
            .map(|(key, found)| (key, found.value))
            .collect())
    }

    /// A slot now, if it was set, and after each change, without end.
    pub(crate) async fn watch(
        &self,
        model: ModelName,
        slot: SlotName,
    ) -> Result<impl Stream<Item = Result<DesiredSlot, CallError>> + Send + 'static, CallError>
    {
        self.catalog.model(&model).await?;
        let of_model = self.records.keyspace.of_model::<DesiredKey>(&model);
        let views = self.records.follow(of_model);
        let key = self.records.key(&DesiredKey { model, slot });
        let mut last_seen = None;
        let changes = views.filter_map(move |view| {
            if let Some(with) = &view.replaced {
                return future::ready(Some(Err(cluster::replaced(with))));
            }
            let entry = view
                .entries
                .get(&key)
                .filter(|entry| last_seen != Some(entry.mod_revision));
            last_seen = entry.map(|entry| entry.mod_revision).or(last_seen);
            future::ready(
                entry.map(|entry| keys::value::<DesiredKey>(entry).map_err(CallError::from)),
            )
        });
        Ok(changes)
    }

    /// The live scorers, by name.
    pub(crate) async fn scorers(&self) -> Result<Vec<(ScorerName, ScorerRecord)>, CallError> {
        let prefix = self.records.keyspace.all::<ScorerKey>();
        let scorers = self.records.list::<ScorerKey>(&prefix).await?;
        Ok(scorers
            .into_iter()
            .map(|(key, found)| (key.scorer, found.value))
            .collect())
    }

    /// The live scorers, and what each makes of a slot.
    pub(crate) async fn fleet(
        &self,
        model: &ModelName,
        slot: &SlotName,
    ) -> Result<Fleet, CallError> {
        // Read first: what is observed by a scorer that appears between the two counts at the next look.
        let scorers = self.scorers().await?;
        let prefix = self.records.keyspace.of_slot::<ObservedKey>(model, slot);
        let observed = self.records.list::<ObservedKey>(&prefix).await?;
        let observed = observed
            .into_iter()
            .map(|(key, found)| (key.scorer, found.value));
        Ok(Fleet::new(scorers, observed))
    }

    /// Why a fleet may not decide about a slot, if most of it has just vanished.
    pub(crate) fn refuses(
        &self,
        fleet: &Fleet,
        readiness: &Readiness,
        percent: u8,
    ) -> Option<String> {
        self.roll.refuses(fleet, readiness, percent)
    }

    /// What the leader says of a slot.
    async fn refusal(
        &self,
        model: &ModelName,
        slot: &SlotName,
    ) -> Result<Option<RefusalRecord>, CallError> {
        let key = RefusalKey {
            model: model.clone(),
            slot: slot.clone(),
        };
        Ok(self.records.get(&key).await?.map(|found| found.value))
    }
}

/// A slot in the audit log.
pub(crate) fn subject(model: &ModelName, slot: &SlotName) -> String {
    format!("{model}/{slot}")
}

/// What a scorer said of itself, and of a slot.
type Observed = (ScorerName, ObservedRecord);
