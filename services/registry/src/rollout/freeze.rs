//! Keeping a slot as it is. A rollout that has it stays where it is; it can only be aborted, by people or by a gate.

use decant_coordination::Conflict;
use decant_coordination::keys::DesiredKey;
use decant_model::{DesiredSlot, Freeze, Generation};

use super::change::write;
use super::guard::{YieldsTo, check_generation, check_lost};
use super::rollouts::Rollouts;
use super::subject;
use crate::clock::now_millis;
use crate::error::CallError;
use crate::ledger::{Ask, Planned};

/// A slot that is to be kept as it is, or to change again.
pub(crate) struct Freezing {
    pub(crate) place: DesiredKey,
    pub(crate) frozen: bool,
    /// What the slot's generation must be.
    pub(crate) expected: Option<Generation>,
    pub(crate) ask: Ask,
}

impl Rollouts {
    /// Freezes a slot, or thaws it.
    pub(crate) async fn freeze(&self, freezing: &Freezing) -> Result<DesiredSlot, CallError> {
        if freezing.frozen && freezing.ask.reason.is_empty() {
            return Err(CallError::field("reason", "must be given to freeze a slot"));
        }
        let slot = self
            .ledger
            .mutate(&freezing.ask, |lost_to| self.plan_freeze(freezing, lost_to))
            .await?;
        tracing::info!(
            slot = subject(&freezing.place.model, &freezing.place.slot),
            generation = slot.generation.0,
            frozen = freezing.frozen,
            issued_by = freezing.ask.actor,
            "froze or thawed a slot"
        );
        Ok(slot)
    }

    async fn plan_freeze(
        &self,
        freezing: &Freezing,
        lost_to: Option<Box<Conflict>>,
    ) -> Result<Planned<DesiredSlot>, CallError> {
        let (place, ask) = (&freezing.place, &freezing.ask);
        check_lost(&self.records, place, lost_to, YieldsTo::Operators)?;
        let found = self.slots.find(&place.model, &place.slot).await?;
        let current = found.as_ref().map(|found| &found.value);
        check_generation(place, freezing.expected, current)?;
        let found = found.ok_or_else(|| CallError::UnknownSlot {
            model: place.model.clone(),
            slot: place.slot.clone(),
        })?;
        let current = &found.value;
        if current.frozen.is_some() == freezing.frozen {
            return Ok(Planned::Nothing(current.clone()));
        }
        self.cluster.check().await?;
        let now = now_millis();
        let next = DesiredSlot {
            generation: current.generation.next(),
            epoch: ask.epoch(),
            frozen: freezing.frozen.then(|| Freeze {
                by: ask.actor.clone(),
                reason: ask.reason.clone(),
                since_millis: now,
            }),
            issued_by: ask.actor.clone(),
            reason: ask.reason.clone(),
            issued_at_millis: now,
            trace: ask.trace(),
            ..current.clone()
        };
        let generation = next.generation;
        let action = match freezing.frozen {
            true => "slot.freeze",
            false => "slot.thaw",
        };
        let plan = write(
            &self.records,
            action,
            (&place.model, &place.slot),
            Some(&found),
            next,
        )?;
        let plan = self
            .slots
            .take_along(plan, place, current, generation)
            .await?;
        Ok(Planned::Do(plan))
    }
}
