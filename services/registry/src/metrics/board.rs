//! What the leader sees, as of its last look.

use std::collections::BTreeMap;

use decant_model::rollout::{Judgement, Phase, Verdict};
use decant_model::{Arm, BASIS_POINTS, DesiredSlot, Generation, ModelName, SlotName};
use opentelemetry::KeyValue;

/// A slot of a model.
pub(crate) type Place = (ModelName, SlotName);

/// The figures of one term of leading.
#[derive(Debug, Default)]
pub(crate) struct Board {
    /// The slots that were ever set.
    pub(crate) slots: BTreeMap<Place, SlotSeen>,
    /// How many scorers are live; none before they were seen.
    pub(crate) scorers: Option<usize>,
    /// The rollouts that are not over: of a slot the newest, since one that is being aborted has let go of it.
    pub(crate) rollouts: BTreeMap<Place, RolloutSeen>,
    /// How many rollouts have ended in this term, and how.
    pub(crate) ended: BTreeMap<(Place, Ended), u64>,
}

/// A slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SlotSeen {
    pub(crate) generation: Generation,
    /// Whether nothing is pending and every live scorer answers with the slot as intended.
    pub(crate) converged: bool,
}

/// A rollout that is not over.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RolloutSeen {
    pub(crate) phase: Phase,
    /// From 1 on, as people count.
    pub(crate) step: usize,
    /// The share of the traffic that the version is to answer, between 0 and 1.
    pub(crate) share: f64,
    /// What the gates say, by metric: 1 for passed, 0 for not yet, -1 for failed.
    pub(crate) gates: BTreeMap<&'static str, i64>,
}

/// How a rollout ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ended {
    Promoted,
    Aborted,
    RolledBack,
}

impl Board {
    /// A rollout has come to an end.
    pub(crate) fn ended(&mut self, place: Place, ended: Ended) {
        *self.ended.entry((place, ended)).or_default() += 1;
    }
}

impl RolloutSeen {
    pub(crate) fn new(
        (phase, step): (Phase, usize),
        slot: &DesiredSlot,
        judgement: Option<&Judgement>,
    ) -> Self {
        let canaries = slot
            .active
            .iter()
            .filter(|active| active.arm == Arm::Canary);
        let share: u32 = canaries.map(|canary| canary.weight_basis_points).sum();
        let mut gates = BTreeMap::new();
        for reading in judgement.iter().flat_map(|judgement| &judgement.readings) {
            let verdict = match reading.verdict {
                Verdict::Pass => 1,
                Verdict::Inconclusive => 0,
                Verdict::Fail => -1,
            };
            // A plan may hold a metric to more than one gate: the worst of them counts.
            let worst = gates.entry(reading.gate.metric.as_str()).or_insert(verdict);
            *worst = verdict.min(*worst);
        }
        Self {
            phase,
            step: step + 1,
            share: f64::from(share) / f64::from(BASIS_POINTS),
            gates,
        }
    }
}

impl Ended {
    /// How a rollout in this phase has ended; none when it has not.
    pub(crate) fn of(phase: Phase) -> Option<Self> {
        match phase {
            Phase::Promoted => Some(Self::Promoted),
            Phase::Aborted => Some(Self::Aborted),
            Phase::RolledBack => Some(Self::RolledBack),
            Phase::Pending
            | Phase::Preparing
            | Phase::Shadowing
            | Phase::Progressing
            | Phase::Paused
            | Phase::Aborting
            | Phase::Degraded => None,
        }
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Promoted => "promoted",
            Self::Aborted => "aborted",
            Self::RolledBack => "rolled_back",
        }
    }
}

/// The labels of what is told of a slot.
pub(super) fn labels((model, slot): &Place) -> [KeyValue; 2] {
    [
        KeyValue::new("model", model.to_string()),
        KeyValue::new("slot", slot.to_string()),
    ]
}
