//! What operators tell a rollout. It is done at once, by whichever replica is asked.

use decant_coordination::Conflict;
use decant_coordination::keys::{DesiredKey, RolloutKey};
use decant_model::Generation;
use decant_model::rollout::{Event, RolloutId, Verb};

use super::guard::{YieldsTo, check_generation, check_lost, check_thawed};
use super::rollouts::{Moved, Rollouts};
use super::transition::log;
use crate::error::CallError;
use crate::ledger::{Ask, Planned};

/// What a rollout is told.
pub(crate) struct Steering {
    pub(crate) place: DesiredKey,
    /// Which rollout; none for the slot's newest.
    pub(crate) rollout: Option<RolloutId>,
    pub(crate) verb: Verb,
    /// What the slot's generation must be.
    pub(crate) expected: Option<Generation>,
    /// Whether nothing is to be done but to say what would be.
    pub(crate) dry_run: bool,
    pub(crate) ask: Ask,
}

impl Rollouts {
    /// Has a rollout do something, or says what it would do.
    pub(crate) async fn steer(&self, steering: &Steering) -> Result<Moved, CallError> {
        if steering.dry_run {
            return Ok(self.plan_steer(steering, None).await?.answer());
        }
        let moved = self
            .ledger
            .mutate(&steering.ask, |lost_to| self.plan_steer(steering, lost_to))
            .await?;
        let key = RolloutKey {
            model: steering.place.model.clone(),
            slot: steering.place.slot.clone(),
            rollout: moved.id.clone(),
        };
        log("steered a rollout", &key, &moved);
        Ok(moved)
    }

    async fn plan_steer(
        &self,
        steering: &Steering,
        lost_to: Option<Box<Conflict>>,
    ) -> Result<Planned<Moved>, CallError> {
        let Steering { place, verb, .. } = steering;
        // Whatever step the leader has just taken: who wants it to stay where it is, or to end, means that step too.
        let yields = match verb {
            Verb::Pause => YieldsTo::Operators,
            Verb::Abort | Verb::RollBack => YieldsTo::WhoEnded,
            Verb::Resume | Verb::Promote | Verb::PromoteFully => YieldsTo::Anybody,
        };
        check_lost(&self.records, place, lost_to, yields)?;
        let kept = self.kept(place, steering.rollout.as_ref()).await?;
        let slot = self.slots.find(&place.model, &place.slot).await?;
        let current = slot.as_ref().map(|slot| &slot.value);
        check_generation(place, steering.expected, current)?;
        let slot = slot.ok_or_else(|| CallError::UnknownSlot {
            model: place.model.clone(),
            slot: place.slot.clone(),
        })?;
        if matches!(verb, Verb::Resume | Verb::Promote | Verb::PromoteFully) {
            check_thawed(place, &slot.value)?;
        }
        let told = Event::Told(*verb, why(&steering.ask));
        let changed = kept.record().rollout.on(&told)?;
        // Being told always changes something, or is refused.
        let changed = changed.ok_or(CallError::Broken("a rollout was told something in vain"))?;
        self.cluster.check().await?;
        let action = match verb {
            Verb::Pause => "rollout.pause",
            Verb::Resume => "rollout.resume",
            Verb::Promote => "rollout.promote",
            Verb::PromoteFully => "rollout.promote-fully",
            Verb::Abort => "rollout.abort",
            Verb::RollBack => "rollout.rollback",
        };
        let plan = self
            .plan_move(&steering.ask, action, &kept, &slot, &changed)
            .await?;
        Ok(Planned::Do(plan))
    }
}

/// Why a rollout is where an operator has brought it, in words.
pub(super) fn why(ask: &Ask) -> String {
    match (&*ask.actor, &*ask.reason) {
        ("", "") => "an operator said so".to_owned(),
        (actor, "") => format!("`{actor}` said so"),
        (_, reason) => reason.to_owned(),
    }
}
