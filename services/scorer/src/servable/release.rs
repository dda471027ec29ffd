//! A version that is being released in a slot: how requests are split, and what is counted meanwhile.

use decant_model::{Active, Arm, DesiredSlot, split};

use super::tally::Tally;
use crate::service::caller::Routing;

/// A slot's generation while a rollout has the slot.
#[derive(Debug)]
pub(crate) struct Release {
    salt: String,
    /// In the order of the entry's handles.
    active: Vec<Active>,
    compare_basis_points: u32,
    tally: Tally,
}

impl Release {
    /// What a slot's generation says of a release; `None` when no rollout has the slot. Counts begin at nothing.
    pub(super) fn of(desired: &DesiredSlot) -> Option<Self> {
        desired.rollout.as_ref()?;
        Some(Self {
            salt: desired.salt.clone(),
            active: desired.active.clone(),
            compare_basis_points: desired.compare_basis_points,
            tally: Tally::new(desired),
        })
    }

    /// Whether more than one version answers.
    pub(super) fn is_split(&self) -> bool {
        self.active.iter().any(|active| active.arm == Arm::Canary)
    }

    /// The place, among the active versions, of the one that answers.
    pub(super) fn route(&self, routing: &Routing) -> Option<usize> {
        split::route(&self.active, routing.bucket(&self.salt))
    }

    /// Whether a request that was just taken in is one of those whose answers are compared.
    pub(crate) fn is_compared(&self) -> bool {
        let others = self.active.len() > 1;
        others && Routing::default().bucket("") < self.compare_basis_points
    }

    /// What is counted.
    pub(crate) fn tally(&self) -> &Tally {
        &self.tally
    }
}
