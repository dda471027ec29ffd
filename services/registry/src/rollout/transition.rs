//! A rollout that comes from one place to the next: its record, and with it the slot's next generation, if scorers are to serve
//! something else there. Both are one transaction.

use decant_coordination::Revision;
use decant_coordination::keys::{DesiredKey, RolloutKey, RolloutRecord, VersionState};
use decant_model::rollout::{Changed, Intent, Phase, Rollout, RolloutId, Setting};
use decant_model::{DesiredSlot, Prepared};
use serde_json::{Value, json};

use super::change::write;
use super::rollouts::{Kept, Moved, Rollouts};
use super::{intent, subject};
use crate::clock::now_millis;
use crate::error::CallError;
use crate::ledger::{Ask, Plan, Planned, summary};
use crate::records::Found;

/// What the leader has seen that a rollout is to become.
pub(crate) struct Decision {
    pub(crate) key: RolloutKey,
    /// The record and the slot that it was seen from.
    pub(crate) rollout_at: Revision,
    pub(crate) slot_at: Revision,
    pub(crate) changed: Changed,
}

impl Rollouts {
    /// Carries out what the leader has decided, unless somebody changed the rollout or the slot since. Whether it did.
    pub(crate) async fn advance(&self, ask: &Ask, decision: &Decision) -> Result<bool, CallError> {
        let moved = self
            .ledger
            .mutate(ask, |_| self.plan_advance(ask, decision))
            .await?;
        if let Some(moved) = &moved {
            log("moved a rollout", &decision.key, moved);
        }
        Ok(moved.is_some())
    }

    async fn plan_advance(
        &self,
        ask: &Ask,
        decision: &Decision,
    ) -> Result<Planned<Option<Moved>>, CallError> {
        let Decision { key, changed, .. } = decision;
        let found = self.records.get(key).await?;
        let found = found.filter(|found| found.entry.mod_revision == decision.rollout_at);
        let slot = self.slots.find(&key.model, &key.slot).await?;
        let slot = slot.filter(|slot| slot.entry.mod_revision == decision.slot_at);
        let (Some(found), Some(slot)) = (found, slot) else {
            return Ok(Planned::Nothing(None));
        };
        let kept = Kept {
            key: key.clone(),
            found,
        };
        let action = leaders_action(&changed.rollout);
        let plan = self.plan_move(ask, action, &kept, &slot, changed).await?;
        Ok(Planned::Do(plan.map_answer(Some)))
    }

    /// What a change of a rollout writes.
    pub(super) async fn plan_move(
        &self,
        ask: &Ask,
        action: &'static str,
        kept: &Kept,
        slot: &Found<DesiredKey>,
        changed: &Changed,
    ) -> Result<Plan<Moved>, CallError> {
        let (id, current) = (kept.id(), &slot.value);
        let mut record = moved(kept.record(), &changed.rollout, ask);
        let Some(intent) = changed.intent else {
            let answer = Moved {
                id: id.clone(),
                record: record.clone(),
                before: current.clone(),
                slot: current.clone(),
            };
            return Plan::new(action, subject(&kept.key.model, &kept.key.slot), answer)
                .before(told(id, &kept.record().rollout))
                .after(told(id, &record.rollout))
                .unchanged(&slot.entry)
                .replace(&self.records, &kept.key, Some(&kept.found.entry), &record);
        };
        if current.rollout.as_ref() != Some(id) || current.generation != record.generation {
            return Err(CallError::Astray {
                model: kept.key.model.clone(),
                slot: kept.key.slot.clone(),
                rollout: id.clone(),
                found: current.generation,
            });
        }
        let next = DesiredSlot {
            epoch: ask.epoch(),
            issued_by: ask.actor.clone(),
            reason: words(&record.rollout, &ask.reason),
            issued_at_millis: now_millis(),
            trace: ask.trace(),
            ..intent::next(intent, id, &record, current)
        };
        record.generation = next.generation;
        self.plan_with_slot(action, kept, slot, (record, next), intent)
            .await
    }

    /// The same, with the slot's next generation.
    async fn plan_with_slot(
        &self,
        action: &'static str,
        kept: &Kept,
        slot: &Found<DesiredKey>,
        (record, mut next): (RolloutRecord, DesiredSlot),
        intent: Intent,
    ) -> Result<Plan<Moved>, CallError> {
        let place = (&kept.key.model, &kept.key.slot);
        let mut states = Vec::new();
        if intent != Intent::Restore {
            // On the way back nothing is asked: what the slot says of signers is what the stable version was served with.
            let model = self.catalog.model_found(place.0).await?;
            let teacher = record.teacher.filter(|_| intent != Intent::Promote);
            for version in [record.candidate].into_iter().chain(teacher) {
                let Prepared { version, .. } = version;
                let version = self.catalog.version(place.0, Some(version)).await?;
                if version.state.state != VersionState::Approved {
                    return Err(CallError::not_approved(&version));
                }
                CallError::check_signed(&version, &model.value.signers)?;
                states.push(version.state_entry);
            }
            next.signers.clone_from(&model.value.signers);
            states.push(model.entry);
        }
        let id = kept.id();
        let before = with_slot(told(id, &kept.record().rollout), &slot.value);
        let after = with_slot(told(id, &record.rollout), &next);
        let answer = Moved {
            id: id.clone(),
            record: record.clone(),
            before: slot.value.clone(),
            slot: next.clone(),
        };
        let plan = write(&self.records, action, place, Some(slot), next)?
            .before(before)
            .after(after)
            .replace(&self.records, &kept.key, Some(&kept.found.entry), &record)?;
        let plan = states.iter().fold(plan, Plan::unchanged);
        Ok(plan.map_answer(|_| answer))
    }
}

/// A record of a rollout that came to another place.
pub(super) fn moved(record: &RolloutRecord, rollout: &Rollout, ask: &Ask) -> RolloutRecord {
    RolloutRecord {
        rollout: rollout.clone(),
        moved_at_millis: now_millis(),
        moved_by: ask.actor.clone(),
        epoch: ask.epoch(),
        ..record.clone()
    }
}

/// A rollout in the audit log: its plan is told once, where it begins.
pub(super) fn told(id: &RolloutId, rollout: &Rollout) -> Value {
    json!({
        "rollout": id,
        "phase": rollout.phase,
        "step": rollout.step,
        "setting": rollout.setting,
        "why": rollout.why,
    })
}

/// The same beside what scorers are to serve.
pub(super) fn with_slot(mut told: Value, slot: &DesiredSlot) -> Value {
    told["slot"] = summary(slot);
    told
}

/// Why a slot is changed by a rollout: what somebody said, or else where the rollout is now.
fn words(rollout: &Rollout, reason: &str) -> String {
    if reason.is_empty() {
        place_words(rollout)
    } else {
        reason.to_owned()
    }
}

/// Where a rollout is, in words.
pub(crate) fn place_words(rollout: &Rollout) -> String {
    if !rollout.why.is_empty() {
        return rollout.why.clone();
    }
    let (step, steps) = (rollout.step + 1, rollout.plan.steps.len());
    match (rollout.phase, rollout.setting) {
        (Phase::Shadowing, _) => format!("step {step} of {steps}: shadow"),
        (Phase::Progressing, Setting::Weight(share)) => format!("step {step} of {steps}: {share}"),
        (phase, _) => format!("the rollout is {phase}"),
    }
}

/// What the leader does, by where that leads.
fn leaders_action(rollout: &Rollout) -> &'static str {
    match rollout.phase {
        Phase::Pending | Phase::Preparing => "rollout.prepare",
        Phase::Shadowing | Phase::Progressing => "rollout.step",
        Phase::Paused => "rollout.pause",
        Phase::Promoted => "rollout.promote",
        Phase::Aborting => "rollout.abort",
        Phase::Degraded => "rollout.degrade",
        Phase::Aborted | Phase::RolledBack => "rollout.end",
    }
}

pub(super) fn log(what: &'static str, key: &RolloutKey, moved: &Moved) {
    tracing::info!(
        slot = subject(&key.model, &key.slot),
        rollout = %moved.id,
        phase = %moved.record.rollout.phase,
        step = moved.record.rollout.step,
        generation = moved.slot.generation.0,
        moved_by = moved.record.moved_by,
        why = moved.record.rollout.why,
        "{what}"
    );
}
