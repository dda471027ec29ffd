//! What the leader and `decant admin adopt` do to slots: no version comes in that was not pending or in service already.

use decant_coordination::Revision;
use decant_coordination::keys::{DesiredKey, RolloutKey, RolloutRecord};
use decant_model::{DesiredSlot, Generation};

use super::change::{replaced, write};
use super::guard::check_free;
use super::{Slots, subject};
use crate::clock::now_millis;
use crate::error::CallError;
use crate::ledger::{Ask, Plan, Planned};

/// A pending change, as it was when it was found ready.
pub(crate) struct Pending {
    pub(crate) key: DesiredKey,
    pub(crate) written_at: Revision,
    /// How far the fleet is.
    pub(crate) readiness: String,
}

impl Slots {
    /// Puts what is pending into service, unless somebody changed the slot since. What was in service stays ready.
    pub(crate) async fn activate(&self, ask: &Ask, pending: &Pending) -> Result<(), CallError> {
        let activated = self
            .ledger
            .mutate(ask, |_| self.plan_activation(ask, pending))
            .await?;
        if let Some(slot) = activated {
            tracing::info!(
                slot = subject(&pending.key.model, &pending.key.slot),
                generation = slot.generation.0,
                epoch = slot.epoch,
                readiness = pending.readiness,
                "activated what was pending"
            );
        }
        Ok(())
    }

    async fn plan_activation(
        &self,
        ask: &Ask,
        pending: &Pending,
    ) -> Result<Planned<Option<DesiredSlot>>, CallError> {
        let key = &pending.key;
        let found = self.find(&key.model, &key.slot).await?;
        let found = found.filter(|found| found.entry.mod_revision == pending.written_at);
        let Some((found, ready)) = found.and_then(|found| {
            let ready = found.value.pending.clone()?;
            Some((found, ready))
        }) else {
            return Ok(Planned::Nothing(None));
        };
        let current = &found.value;
        check_free(key, current)?;
        let model = self.catalog.model_found(&key.model).await?;
        for active in &ready.active {
            // Scorers have checked it when they loaded it; a key may have been withdrawn since.
            let version = self
                .catalog
                .version(&key.model, Some(active.version))
                .await?;
            CallError::check_signed(&version, &model.value.signers)?;
        }
        let next = DesiredSlot {
            generation: current.generation.next(),
            epoch: ask.epoch(),
            prepare: replaced(&current.active, &ready.active),
            active: ready.active,
            pending: None,
            signers: model.value.signers.clone(),
            issued_by: current.issued_by.clone(),
            reason: current.reason.clone(),
            issued_at_millis: now_millis(),
            trace: ask.trace(),
            ..current.clone()
        };
        let plan = write(
            &self.records,
            "slot.activate",
            (&key.model, &key.slot),
            Some(&found),
            next,
        )?
        .unchanged(&model.entry);
        Ok(Planned::Do(
            plan.reason(pending.readiness.clone()).map_answer(Some),
        ))
    }

    /// Moves a slot above every generation that a live scorer has seen, and changes nothing else. Whether there was
    /// anything to do.
    pub(crate) async fn adopt(&self, ask: &Ask, key: &DesiredKey) -> Result<bool, CallError> {
        self.ledger
            .mutate(ask, |_| self.plan_adoption(ask, key))
            .await
    }

    async fn plan_adoption(&self, ask: &Ask, key: &DesiredKey) -> Result<Planned<bool>, CallError> {
        let Some(found) = self.find(&key.model, &key.slot).await? else {
            return Ok(Planned::Nothing(false));
        };
        let fleet = self.fleet(&key.model, &key.slot).await?;
        let seen = fleet.latest().unwrap_or(Generation(0));
        if seen < found.value.generation {
            return Ok(Planned::Nothing(false));
        }
        let next = DesiredSlot {
            generation: seen.next(),
            epoch: ask.epoch(),
            issued_by: ask.actor.clone(),
            reason: ask.reason.clone(),
            issued_at_millis: now_millis(),
            trace: ask.trace(),
            ..found.value.clone()
        };
        let generation = next.generation;
        let plan = write(
            &self.records,
            "slot.adopt",
            (&key.model, &key.slot),
            Some(&found),
            next,
        )?;
        let plan = self.take_along(plan, key, &found.value, generation).await?;
        Ok(Planned::Do(plan.map_answer(|_| true)))
    }

    /// Has the rollout that has a slot belong to the slot's next generation, when that changes nothing for the rollout.
    pub(super) async fn take_along<A>(
        &self,
        plan: Plan<A>,
        place: &DesiredKey,
        current: &DesiredSlot,
        generation: Generation,
    ) -> Result<Plan<A>, CallError> {
        let Some(rollout) = current.rollout.clone() else {
            return Ok(plan);
        };
        let key = RolloutKey {
            model: place.model.clone(),
            slot: place.slot.clone(),
            rollout,
        };
        let Some(found) = self.records.get(&key).await? else {
            return Ok(plan);
        };
        let record = RolloutRecord {
            generation,
            ..found.value
        };
        plan.replace(&self.records, &key, Some(&found.entry), &record)
    }
}
