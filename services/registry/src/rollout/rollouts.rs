//! Rollouts as they are kept: one record for each, the newest of a slot under its last key.

use decant_artifact::BundleStore;
use decant_coordination::Order;
use decant_coordination::keys::{DesiredKey, RolloutKey, RolloutRecord};
use decant_model::DesiredSlot;
use decant_model::rollout::RolloutId;
use serde::{Deserialize, Serialize};

use super::Slots;
use crate::catalog::Catalog;
use crate::cluster::Cluster;
use crate::error::CallError;
use crate::ledger::Ledger;
use crate::paging::Paging;
use crate::records::{Found, PageOf, Records};

/// The rollouts of one cluster.
#[derive(Clone)]
pub(crate) struct Rollouts {
    pub(super) records: Records,
    pub(super) ledger: Ledger,
    pub(super) catalog: Catalog,
    pub(super) cluster: Cluster,
    pub(super) slots: Slots,
    pub(super) bundles: BundleStore,
}

/// A rollout as it was read.
pub(super) struct Kept {
    pub(super) key: RolloutKey,
    pub(super) found: Found<RolloutKey>,
}

/// A rollout that was changed, and its slot before and after that.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Moved {
    pub(crate) id: RolloutId,
    pub(crate) record: RolloutRecord,
    pub(crate) before: DesiredSlot,
    pub(crate) slot: DesiredSlot,
}

impl Kept {
    pub(super) fn id(&self) -> &RolloutId {
        &self.key.rollout
    }

    pub(super) fn record(&self) -> &RolloutRecord {
        &self.found.value
    }
}

impl Rollouts {
    pub(crate) fn new(slots: Slots, bundles: BundleStore) -> Self {
        Self {
            records: slots.records.clone(),
            ledger: slots.ledger.clone(),
            catalog: slots.catalog.clone(),
            cluster: slots.cluster.clone(),
            slots,
            bundles,
        }
    }

    /// A slot's rollouts, the newest first.
    pub(crate) async fn list(
        &self,
        place: &DesiredKey,
        size: u32,
        token: &str,
    ) -> Result<PageOf<(RolloutId, RolloutRecord)>, CallError> {
        let DesiredKey { model, slot } = place;
        self.catalog.model(model).await?;
        let prefix = self.records.keyspace.of_slot::<RolloutKey>(model, slot);
        let paging = Paging::of(&prefix, size, token)?;
        let page = self
            .records
            .page::<RolloutKey>(&prefix, Order::Descending, &paging)
            .await?;
        let rollouts = page.items.into_iter();
        Ok(PageOf {
            items: rollouts
                .map(|(key, found)| (key.rollout, found.value))
                .collect(),
            next_page_token: page.next_page_token,
        })
    }

    /// A slot's newest rollout.
    pub(super) async fn newest(&self, place: &DesiredKey) -> Result<Option<Kept>, CallError> {
        let DesiredKey { model, slot } = place;
        let prefix = self.records.keyspace.of_slot::<RolloutKey>(model, slot);
        let first = Paging {
            size: 1,
            after: None,
        };
        let page = self
            .records
            .page::<RolloutKey>(&prefix, Order::Descending, &first)
            .await?;
        let mut rollouts = page.items.into_iter();
        Ok(rollouts.next().map(|(key, found)| Kept { key, found }))
    }

    /// A rollout; a slot's newest, if none is named.
    pub(super) async fn kept(
        &self,
        place: &DesiredKey,
        named: Option<&RolloutId>,
    ) -> Result<Kept, CallError> {
        let DesiredKey { model, slot } = place;
        self.catalog.model(model).await?;
        let Some(rollout) = named else {
            return self
                .newest(place)
                .await?
                .ok_or_else(|| CallError::NoRollout {
                    model: model.clone(),
                    slot: slot.clone(),
                });
        };
        let key = RolloutKey {
            model: model.clone(),
            slot: slot.clone(),
            rollout: rollout.clone(),
        };
        match self.records.get(&key).await? {
            Some(found) => Ok(Kept { key, found }),
            None => Err(CallError::UnknownRollout {
                model: model.clone(),
                slot: slot.clone(),
                rollout: rollout.clone(),
            }),
        }
    }
}
