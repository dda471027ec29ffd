//! Changes of a slot that an operator asks for.

use decant_coordination::Conflict;
use decant_coordination::keys::{DesiredKey, HistoryKey, ModelKey, VersionState};
use decant_model::{
    Active, Arm, BASIS_POINTS, DesiredSlot, Generation, ModelName, ModelVersion, Pending, Prepared,
    SlotName,
};

use super::guard::{YieldsTo, check_free, check_generation, check_lost};
use super::{Fleet, Slots, subject};
use crate::catalog::Version;
use crate::clock::now_millis;
use crate::error::CallError;
use crate::ledger::{Ask, Plan, Planned, summary};
use crate::records::{Found, Records};

/// A slot that is asked to serve a version, or to have it ready.
pub(crate) struct Change {
    pub(crate) model: ModelName,
    pub(crate) slot: SlotName,
    pub(crate) version: ModelVersion,
    /// What the slot's generation must be; 0 when it must never have been set.
    pub(crate) expected: Option<Generation>,
    /// How many of each hundred live scorers must have the version ready.
    pub(crate) min_ready_percent: u8,
    pub(crate) ask: Ask,
}

impl Change {
    fn place(&self) -> DesiredKey {
        DesiredKey {
            model: self.model.clone(),
            slot: self.slot.clone(),
        }
    }
}

/// What a change is made from.
struct Before {
    model: Found<ModelKey>,
    version: Version,
    found: Option<Found<DesiredKey>>,
    fleet: Fleet,
    /// The slot after the change, with all but the versions filled in.
    next: DesiredSlot,
}

impl Slots {
    /// Points a slot at an approved version: at once when it is ready, else by way of a generation that prepares it. Of
    /// several writers at once, one wins.
    pub(crate) async fn set(&self, change: &Change) -> Result<DesiredSlot, CallError> {
        let set = self
            .ledger
            .mutate(&change.ask, |lost_to| self.plan_set(change, lost_to))
            .await?;
        log("set a slot", change, &set);
        Ok(set)
    }

    /// Has scorers make an approved version ready. What was pending is given up.
    pub(crate) async fn prepare(&self, change: &Change) -> Result<DesiredSlot, CallError> {
        let prepared = self
            .ledger
            .mutate(&change.ask, |lost_to| self.plan_prepare(change, lost_to))
            .await?;
        log("prepared a slot", change, &prepared);
        Ok(prepared)
    }

    async fn plan_set(
        &self,
        change: &Change,
        lost_to: Option<Box<Conflict>>,
    ) -> Result<Planned<DesiredSlot>, CallError> {
        let before = self.before(change, lost_to).await?;
        let active = vec![Active {
            digest: before.version.record.digest,
            version: before.version.version,
            arm: Arm::Stable,
            weight_basis_points: BASIS_POINTS,
        }];
        let (readiness, percent) = (before.fleet.readiness(&active), change.min_ready_percent);
        let refused = self.roll.refuses(&before.fleet, &readiness, percent);
        let current = before.found.as_ref().map(|found| &found.value);
        let in_service = current.map(|slot| slot.active.clone()).unwrap_or_default();
        let next = before.next.clone();
        let next = if readiness.is_enough(percent) && refused.is_none() {
            DesiredSlot {
                prepare: replaced(&in_service, &active),
                active,
                ..next
            }
        } else {
            DesiredSlot {
                active: in_service,
                prepare: active.iter().map(prepared).collect(),
                pending: Some(Pending {
                    active,
                    min_ready_percent: percent,
                }),
                ..next
            }
        };
        self.plan_change("slot.set", change, &before, next)
    }

    async fn plan_prepare(
        &self,
        change: &Change,
        lost_to: Option<Box<Conflict>>,
    ) -> Result<Planned<DesiredSlot>, CallError> {
        let before = self.before(change, lost_to).await?;
        let current = before.found.as_ref().map(|found| &found.value);
        let next = DesiredSlot {
            active: current.map(|slot| slot.active.clone()).unwrap_or_default(),
            prepare: vec![Prepared {
                digest: before.version.record.digest,
                version: before.version.version,
            }],
            ..before.next.clone()
        };
        self.plan_change("slot.prepare", change, &before, next)
    }

    /// Reads what a change depends on, and refuses one that must not be made.
    async fn before(
        &self,
        change: &Change,
        lost_to: Option<Box<Conflict>>,
    ) -> Result<Before, CallError> {
        let (model, slot) = (&change.model, &change.slot);
        let place = change.place();
        check_lost(&self.records, &place, lost_to, YieldsTo::Anybody)?;
        let version = self.catalog.version(model, Some(change.version)).await?;
        if version.state.state != VersionState::Approved {
            return Err(CallError::not_approved(&version));
        }
        let of = self.catalog.model_found(model).await?;
        CallError::check_signed(&version, &of.value.signers)?;
        // Before the slot itself: read the other way round, a change in between would look like scorers that are ahead.
        let fleet = self.fleet(model, slot).await?;
        let found = self.find(model, slot).await?;
        let current = found.as_ref().map(|found| &found.value);
        check_generation(&place, change.expected, current)?;
        if let Some(current) = current {
            check_free(&place, current)?;
        }
        let generation = current.map_or(Generation(0), |current| current.generation);
        self.cluster.check().await?;
        if let Some((scorer, seen)) = fleet.ahead_of(generation) {
            return Err(CallError::ScorerAhead {
                model: model.clone(),
                slot: slot.clone(),
                scorer: scorer.name.clone(),
                seen,
                found: generation,
            });
        }
        let next = DesiredSlot {
            generation: generation.next(),
            epoch: change.ask.epoch(),
            signers: of.value.signers.clone(),
            issued_by: change.ask.actor.clone(),
            reason: change.ask.reason.clone(),
            issued_at_millis: now_millis(),
            trace: change.ask.trace(),
            ..DesiredSlot::default()
        };
        Ok(Before {
            model: of,
            version,
            found,
            fleet,
            next,
        })
    }

    fn plan_change(
        &self,
        action: &'static str,
        change: &Change,
        before: &Before,
        next: DesiredSlot,
    ) -> Result<Planned<DesiredSlot>, CallError> {
        let plan = write(
            &self.records,
            action,
            (&change.model, &change.slot),
            before.found.as_ref(),
            next,
        )?
        .unchanged(&before.version.state_entry)
        // A key may be withdrawn meanwhile.
        .unchanged(&before.model.entry);
        Ok(Planned::Do(plan))
    }
}

/// Writes a slot's next generation, and its place in the history.
pub(super) fn write(
    records: &Records,
    action: &'static str,
    (model, slot): (&ModelName, &SlotName),
    found: Option<&Found<DesiredKey>>,
    next: DesiredSlot,
) -> Result<Plan<DesiredSlot>, CallError> {
    let key = DesiredKey {
        model: model.clone(),
        slot: slot.clone(),
    };
    let history = HistoryKey {
        model: model.clone(),
        slot: slot.clone(),
        generation: next.generation,
    };
    let before = found.map(|found| summary(&found.value)).unwrap_or_default();
    Plan::new(action, subject(model, slot), next.clone())
        .before(before)
        .after(summary(&next))
        .replace(records, &key, found.map(|found| &found.entry), &next)?
        .create(records, &history, &next)
}

pub(super) fn prepared(active: &Active) -> Prepared {
    Prepared {
        digest: active.digest,
        version: active.version,
    }
}

/// What goes out of service stays ready, so that the way back is short.
pub(super) fn replaced(before: &[Active], after: &[Active]) -> Vec<Prepared> {
    let stays = |old: &&Active| after.iter().any(|new| new.digest == old.digest);
    before
        .iter()
        .filter(|old| !stays(old))
        .map(prepared)
        .collect()
}

fn log(what: &'static str, change: &Change, slot: &DesiredSlot) {
    tracing::info!(
        model = %change.model,
        slot = %change.slot,
        generation = slot.generation.0,
        version = change.version.get(),
        pending = slot.pending.is_some(),
        issued_by = slot.issued_by,
        "{what}"
    );
}
