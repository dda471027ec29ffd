//! Going back: an earlier version becomes the stable one at once. Nothing is waited for and no gate is asked, neither scorers
//! nor the leader; and a slot that is kept as it is goes back all the same.

use decant_coordination::Conflict;
use decant_coordination::keys::{DesiredKey, RolloutKey, VersionState};
use decant_model::rollout::{Event, Phase, RolloutId, Verb};
use decant_model::{Arm, BASIS_POINTS, DesiredSlot, Generation, ModelVersion, Prepared};
use serde::{Deserialize, Serialize};

use super::change::write;
use super::guard::{YieldsTo, check_generation, check_lost};
use super::rollouts::{Kept, Rollouts};
use super::start::stable_of;
use super::steer::why;
use super::transition::{moved, told, with_slot};
use super::{intent, subject};
use crate::clock::now_millis;
use crate::error::CallError;
use crate::ledger::{Ask, Planned};

/// A slot that is to go back.
pub(crate) struct Rollback {
    pub(crate) place: DesiredKey,
    /// The version to go back to; none for the stable one of before.
    pub(crate) version: Option<ModelVersion>,
    /// What the slot's generation must be.
    pub(crate) expected: Option<Generation>,
    /// Whether nothing is to be done but to say what would be.
    pub(crate) dry_run: bool,
    pub(crate) ask: Ask,
}

/// A slot that went back.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct RolledBack {
    pub(crate) slot: DesiredSlot,
    pub(crate) before: DesiredSlot,
    /// The rollout that ended with it.
    pub(crate) rollout: Option<RolloutId>,
}

impl Rollouts {
    /// Takes a slot back, or says what would be done.
    pub(crate) async fn roll_back(&self, rollback: &Rollback) -> Result<RolledBack, CallError> {
        if rollback.dry_run {
            return Ok(self.plan_rollback(rollback, None).await?.answer());
        }
        let back = self
            .ledger
            .mutate(&rollback.ask, |lost_to| {
                self.plan_rollback(rollback, lost_to)
            })
            .await?;
        let DesiredKey { model, slot } = &rollback.place;
        tracing::warn!(
            slot = subject(model, slot),
            generation = back.slot.generation.0,
            version = stable_of(&back.slot).map_or(0, |stable| stable.version.get()),
            rollout = back.rollout.as_ref().map(RolloutId::as_str),
            issued_by = back.slot.issued_by,
            "rolled a slot back"
        );
        Ok(back)
    }

    async fn plan_rollback(
        &self,
        rollback: &Rollback,
        lost_to: Option<Box<Conflict>>,
    ) -> Result<Planned<RolledBack>, CallError> {
        let (place, ask) = (&rollback.place, &rollback.ask);
        check_lost(&self.records, place, lost_to, YieldsTo::WhoEnded)?;
        let model = self.catalog.model_found(&place.model).await?;
        let found = self.slots.find(&place.model, &place.slot).await?;
        let current = found.as_ref().map(|found| &found.value);
        check_generation(place, rollback.expected, current)?;
        let found = found.ok_or_else(|| CallError::UnknownSlot {
            model: place.model.clone(),
            slot: place.slot.clone(),
        })?;
        let current = &found.value;
        let rollout = self.rollout_of(place, current).await?;
        let under_way = rollout.as_ref().filter(|kept| has_slot(kept, current));
        let version = match (rollback.version, under_way) {
            (Some(version), _) => version,
            (None, Some(kept)) => kept.record().stable.version,
            (None, None) => self.stable_before(place, current).await?,
        };
        let version = self.catalog.version(&place.model, Some(version)).await?;
        if version.state.state != VersionState::Approved {
            return Err(CallError::not_approved(&version));
        }
        CallError::check_signed(&version, &model.value.signers)?;
        let to = Prepared {
            digest: version.record.digest,
            version: version.version,
        };
        self.cluster.check().await?;
        let is_there = stable_of(current) == Some(to);
        if is_there && current.rollout.is_none() && current.pending.is_none() {
            return Ok(Planned::Nothing(RolledBack {
                slot: current.clone(),
                before: current.clone(),
                rollout: None,
            }));
        }
        let next = DesiredSlot {
            generation: current.generation.next(),
            epoch: ask.epoch(),
            active: vec![intent::active(to, Arm::Stable, BASIS_POINTS)],
            prepare: ready_after(current, under_way, to),
            pending: None,
            signers: model.value.signers.clone(),
            issued_by: ask.actor.clone(),
            reason: ask.reason.clone(),
            issued_at_millis: now_millis(),
            trace: ask.trace(),
            ..intent::let_go(current.clone())
        };
        let ended = rollout.filter(|kept| ends(kept, current, to));
        let back = RolledBack {
            slot: next.clone(),
            before: current.clone(),
            rollout: ended.as_ref().map(|kept| kept.id().clone()),
        };
        let (generation, after) = (next.generation, next.clone());
        let plan = write(
            &self.records,
            "slot.rollback",
            (&place.model, &place.slot),
            Some(&found),
            next,
        )?
        .unchanged(&version.state_entry)
        .unchanged(&model.entry);
        let Some(kept) = ended else {
            return Ok(Planned::Do(plan.map_answer(|_| back)));
        };
        let rolled_back = kept
            .record()
            .rollout
            .on(&Event::Told(Verb::RollBack, why(ask)))?
            .ok_or(CallError::Broken("a rollout was told something in vain"))?;
        let mut record = moved(kept.record(), &rolled_back.rollout, ask);
        record.generation = generation;
        let plan = plan
            .before(with_slot(told(kept.id(), &kept.record().rollout), current))
            .after(with_slot(told(kept.id(), &record.rollout), &after))
            .replace(&self.records, &kept.key, Some(&kept.found.entry), &record)?;
        Ok(Planned::Do(plan.map_answer(|_| back)))
    }

    /// The rollout that has a slot, or else the slot's newest.
    async fn rollout_of(
        &self,
        place: &DesiredKey,
        current: &DesiredSlot,
    ) -> Result<Option<Kept>, CallError> {
        let Some(rollout) = &current.rollout else {
            return self.newest(place).await;
        };
        let key = RolloutKey {
            model: place.model.clone(),
            slot: place.slot.clone(),
            rollout: rollout.clone(),
        };
        // Without a record of it the slot goes back all the same.
        let found = self.records.get(&key).await?;
        Ok(found.map(|found| Kept { key, found }))
    }

    /// The newest stable version of before that is another one than the present one.
    async fn stable_before(
        &self,
        place: &DesiredKey,
        current: &DesiredSlot,
    ) -> Result<ModelVersion, CallError> {
        let DesiredKey { model, slot } = place;
        let present = stable_of(current).map(|stable| stable.digest);
        let earlier = |slot: DesiredSlot| {
            let stable = stable_of(&slot)?;
            (Some(stable.digest) != present).then_some(stable.version)
        };
        let found = self.slots.newest(model, slot, earlier).await?;
        found.ok_or_else(|| CallError::NothingBefore {
            model: model.clone(),
            slot: slot.clone(),
        })
    }
}

/// What goes out of service stays ready, and so does what a rollout had made ready; a teacher need not.
fn ready_after(current: &DesiredSlot, under_way: Option<&Kept>, to: Prepared) -> Vec<Prepared> {
    let served = current
        .active
        .iter()
        .filter(|active| active.arm != Arm::Teacher)
        .map(super::change::prepared);
    let candidate = under_way.map(|kept| kept.record().candidate);
    let mut ready: Vec<Prepared> = Vec::new();
    for version in served.chain(candidate) {
        if version.digest != to.digest && !ready.contains(&version) {
            ready.push(version);
        }
    }
    ready
}

fn has_slot(kept: &Kept, current: &DesiredSlot) -> bool {
    current.rollout.as_ref() == Some(kept.id())
}

/// Whether a rollout is over with this: the one under way, and the one whose version is in service and is not any more.
fn ends(kept: &Kept, current: &DesiredSlot, to: Prepared) -> bool {
    let record = kept.record();
    let is_in_service = stable_of(current).is_some_and(|stable| stable == record.candidate);
    match record.rollout.phase {
        Phase::Promoted => is_in_service && to != record.candidate,
        phase => has_slot(kept, current) && phase.holds_slot(),
    }
}
