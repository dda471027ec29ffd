//! What keeps a change of a slot from being made.

use decant_coordination::Conflict;
use decant_coordination::keys::{self, DesiredKey, RolloutKey};
use decant_model::{DesiredSlot, Generation};

use crate::error::CallError;
use crate::records::Records;

/// Whom a change gives way to that was made from what another has changed since.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum YieldsTo {
    /// Whoever it was: who asked has to decide anew.
    Anybody,
    /// Other people. What the leader does by itself makes no difference to this change, and so it is planned anew.
    Operators,
    /// People who ended the rollout or gave the slot to something else. The way back does not wait for those who pause a
    /// rollout or have it take a step; and who was first on the same way has done it.
    WhoEnded,
}

/// Whether the slot's generation is the one that who asks for a change expects.
pub(super) fn check_generation(
    place: &DesiredKey,
    expected: Option<Generation>,
    current: Option<&DesiredSlot>,
) -> Result<(), CallError> {
    let found = current.map_or(Generation(0), |current| current.generation);
    match expected {
        Some(expected) if expected != found => Err(CallError::OtherGeneration {
            model: place.model.clone(),
            slot: place.slot.clone(),
            expected,
            found,
            issued_by: current.map(|current| current.issued_by.clone()),
        }),
        _ => Ok(()),
    }
}

/// Refuses to change a slot that a rollout has, or that is kept as it is.
pub(super) fn check_free(place: &DesiredKey, current: &DesiredSlot) -> Result<(), CallError> {
    if let Some(rollout) = &current.rollout {
        return Err(CallError::RolloutActive {
            model: place.model.clone(),
            slot: place.slot.clone(),
            rollout: rollout.clone(),
        });
    }
    check_thawed(place, current)
}

/// Refuses to change a slot that is kept as it is.
pub(super) fn check_thawed(place: &DesiredKey, current: &DesiredSlot) -> Result<(), CallError> {
    match &current.frozen {
        None => Ok(()),
        Some(freeze) => Err(CallError::Frozen {
            model: place.model.clone(),
            slot: place.slot.clone(),
            freeze: freeze.clone(),
        }),
    }
}

/// Tells who asked for a change that another one of the slot or of its rollout was first, and whose.
pub(super) fn check_lost(
    records: &Records,
    place: &DesiredKey,
    lost_to: Option<Box<Conflict>>,
    yields: YieldsTo,
) -> Result<(), CallError> {
    let Some(winner) = lost_to.and_then(|conflict| conflict.found) else {
        return Ok(());
    };
    let (epoch, goes_on, error) = if winner.key == records.key(place) {
        let slot = keys::value::<DesiredKey>(&winner)?;
        let error = CallError::SlotConflict {
            model: place.model.clone(),
            slot: place.slot.clone(),
            winner: slot.generation,
            issued_by: slot.issued_by,
        };
        (slot.epoch, slot.rollout.is_some(), error)
    } else if let Ok((key, record)) = records.keyspace.read::<RolloutKey>(&winner) {
        let error = CallError::RolloutConflict {
            rollout: key.rollout,
            phase: record.rollout.phase,
            moved_by: record.moved_by,
            winner: record.generation,
        };
        (record.epoch, record.rollout.phase.holds_slot(), error)
    } else {
        return Ok(());
    };
    match yields {
        YieldsTo::Operators | YieldsTo::WhoEnded if epoch > 0 => Ok(()),
        YieldsTo::WhoEnded if goes_on => Ok(()),
        _ => Err(error),
    }
}
