//! What requests see: an immutable table of versions in service, and a pin on one of them.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use decant_model::rollout::evidence::Evidence;
use decant_model::{Active, Arm, BASIS_POINTS, DesiredSlot, Generation, ModelVersion, split};
use foldhash::HashMap;

use super::{Place, Servable};
use crate::error::CallError;
use crate::evidence::{ArmCounters, Counters};
use crate::metrics::ArmMeter;
use crate::scoring::Scored;

/// Which versions are in service, by place. Replaced as a whole, never changed.
#[derive(Default)]
pub(crate) struct Table {
    entries: HashMap<Place, Entry>,
    /// Whether all that is wanted has an entry. Before anybody has said what is wanted, nothing is known to be unknown.
    synced: bool,
}

/// One place's versions in service: those of one generation, all or none.
#[derive(Clone, Default)]
pub(crate) struct Entry {
    handles: Arc<[Handle]>,
    answers: Answers,
    /// Why there is none, for callers.
    reason: Arc<str>,
}

/// Which of the versions answer.
#[derive(Clone, Default)]
enum Answers {
    #[default]
    None,
    /// The one in this position; nothing needs to be known of a request.
    One(usize),
    Split(Arc<Split>),
}

/// How several share the traffic.
struct Split {
    salt: String,
    active: Vec<Active>,
}

/// A version in the part that it plays. Whoever holds one keeps the version in memory.
#[derive(Clone)]
pub(crate) struct Handle {
    servable: Arc<Servable>,
    part: Arc<Part>,
    /// Where what it does is counted; nothing while no rollout has the slot.
    counters: Option<Arc<Counters>>,
    /// Whether it works for somebody who asked. What it does besides is not measured.
    is_asked: bool,
}

/// The part that a version plays.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) place: Place,
    pub(crate) active: Active,
    pub(crate) generation: Generation,
    /// What all of its answers to the Open Inference Protocol have in common, encoded once.
    pub(crate) same_for_all: OnceLock<Bytes>,
    /// Its position among the generation's versions.
    position: usize,
}

impl Table {
    pub(super) fn new(entries: HashMap<Place, Entry>, synced: bool) -> Self {
        Self { entries, synced }
    }

    /// All places that are known.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Place, &Entry)> {
        self.entries.iter()
    }

    pub(crate) fn get(&self, place: &Place) -> Option<&Entry> {
        self.entries.get(place)
    }

    /// The entry of a place that was asked for.
    ///
    /// # Errors
    /// When there is no such place, or it is too early to say so.
    pub(crate) fn find(&self, place: &Place) -> Result<&Entry, CallError> {
        self.get(place).ok_or_else(|| {
            if self.synced {
                CallError::UnknownSlot {
                    model: place.model.clone(),
                    slot: place.slot.clone(),
                }
            } else {
                CallError::NotLearnt
            }
        })
    }
}

impl Entry {
    /// Puts a generation into service. The versions are those that it names, in its order; what they do is counted from now
    /// on, if a rollout has the slot.
    pub(super) fn ready(
        place: &Place,
        desired: &DesiredSlot,
        servables: Vec<Arc<Servable>>,
    ) -> Self {
        let judged = desired.rollout.is_some();
        let counters = judged.then(|| Arc::new(Counters::new(desired)));
        let versions = desired.active.iter().zip(servables).enumerate();
        let handles = versions.map(|(position, (active, servable))| {
            // Told of from now on, and not from the first request on.
            servable.meter(active.arm);
            Handle {
                servable,
                part: Arc::new(Part {
                    place: place.clone(),
                    active: active.clone(),
                    generation: desired.generation,
                    same_for_all: OnceLock::new(),
                    position,
                }),
                counters: counters.clone(),
                is_asked: true,
            }
        });
        Self {
            handles: handles.collect(),
            answers: Answers::of(desired),
            reason: "none of its versions is the stable one".into(),
        }
    }

    pub(super) fn not_ready(reason: String) -> Self {
        Self {
            handles: Arc::default(),
            answers: Answers::None,
            reason: reason.into(),
        }
    }

    /// The version that answers a request. Its bucket under a salt is asked for only while several versions answer.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) fn route(&self, bucket: impl FnOnce(&str) -> u32) -> Result<&Handle, &str> {
        let position = match &self.answers {
            Answers::None => None,
            Answers::One(position) => Some(*position),
            Answers::Split(split) => split::route(&split.active, bucket(&split.salt)),
        };
        position
            .and_then(|position| self.handles.get(position))
            .ok_or(&self.reason)
    }

    /// The version of this number, whichever part it plays.
    pub(crate) fn numbered(&self, version: ModelVersion) -> Option<&Handle> {
        let mut handles = self.handles.iter();
        handles.find(|handle| handle.part.active.version == version)
    }

    /// The numbers of all versions in service.
    pub(crate) fn versions(&self) -> impl Iterator<Item = ModelVersion> {
        self.handles.iter().map(|handle| handle.part.active.version)
    }

    /// All versions in service.
    pub(crate) fn handles(&self) -> &[Handle] {
        &self.handles
    }

    /// Where what they do is counted; nowhere while no rollout has the slot.
    pub(crate) fn counters(&self) -> Option<&Arc<Counters>> {
        self.handles.first()?.counters.as_ref()
    }

    /// What was counted of them since they were put into service; nothing while no rollout has the slot.
    pub(crate) fn evidence(&self) -> Evidence {
        let Some(first) = self.handles.first() else {
            return Evidence::default();
        };
        match &first.counters {
            Some(counters) => counters.evidence(),
            None => Evidence {
                generation: first.part.generation,
                ..Evidence::default()
            },
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        let mut handles = self.handles.iter();
        handles.any(|handle| handle.part.active.arm == Arm::Stable)
    }
}

impl Answers {
    fn of(desired: &DesiredSlot) -> Self {
        let active = &desired.active;
        // Who answers changes only where a canary's share ends.
        let canaries = active.iter().filter(|active| active.arm == Arm::Canary);
        let ends = canaries.scan(0_u32, |end, canary| {
            *end = end.saturating_add(canary.weight_basis_points);
            Some(*end)
        });
        let buckets = std::iter::once(0).chain(ends.filter(|end| *end < BASIS_POINTS));
        let answering: BTreeSet<Option<usize>> =
            buckets.map(|bucket| split::route(active, bucket)).collect();
        match answering.first() {
            Some(None) if answering.len() == 1 => Self::None,
            Some(Some(position)) if answering.len() == 1 => Self::One(*position),
            _ => Self::Split(Arc::new(Split {
                salt: desired.salt.clone(),
                active: active.clone(),
            })),
        }
    }
}

impl Handle {
    pub(crate) fn servable(&self) -> &Servable {
        &self.servable
    }

    pub(crate) fn part(&self) -> &Part {
        &self.part
    }

    /// The counters of its generation; none while no rollout has the slot.
    pub(crate) fn counters(&self) -> Option<&Arc<Counters>> {
        self.counters.as_ref()
    }

    /// The counters of what it does.
    fn own_counters(&self) -> Option<&ArmCounters> {
        self.counters.as_ref()?.arm(self.part.position)
    }

    /// The same version for a request that counts for nothing.
    pub(crate) fn uncounted(&self) -> Self {
        Self {
            counters: None,
            ..self.clone()
        }
    }

    /// The same version for work of our own, which counts for nothing and is not measured.
    pub(crate) fn unasked(&self) -> Self {
        Self {
            is_asked: false,
            ..self.uncounted()
        }
    }

    /// Counts a request of so many rows that it answered after so much time.
    pub(crate) fn count_success(&self, rows: usize, total: Duration, scored: &Scored) {
        if self.is_asked {
            self.meter().succeed(rows, scored);
        }
        if let Some(counters) = self.own_counters() {
            counters.succeed(total, scored.first());
        }
    }

    /// Counts a request that it was to answer, and did not.
    pub(crate) fn count_failure(&self, error: &CallError) {
        if self.is_asked {
            self.meter().fail(error.code().into());
        }
        if let Some(counters) = self.own_counters() {
            counters.fail(error.code().into());
        }
    }

    fn meter(&self) -> &ArmMeter {
        self.servable.meter(self.part.active.arm)
    }
}

#[cfg(test)]
impl Handle {
    /// The fixture's version with one session.
    pub(crate) fn for_tests() -> Self {
        Self::of(crate::fixture::session(0.0))
    }

    pub(crate) fn of(session: decant_inference::Session) -> Self {
        let digest = decant_model::Digest::of(b"films");
        let schema = crate::fixture::schema();
        let sessions = vec![session];
        let cost = crate::scoring::Cost::measured(1, std::time::Duration::from_micros(10));
        let costs = crate::scoring::Costs::alike(cost);
        let times = super::LoadTimes::default();
        let meter = crate::metrics::VersionMeter::unread();
        let servable = Servable::new(digest, schema, None, sessions, costs, times, meter);
        let active = Active {
            digest,
            version: decant_model::ModelVersion::FIRST,
            arm: Arm::Stable,
            weight_basis_points: decant_model::BASIS_POINTS,
        };
        let place = Place {
            model: "films".parse().unwrap(),
            slot: Default::default(),
        };
        let part = Part {
            same_for_all: OnceLock::new(),
            place,
            active,
            generation: Generation(1),
            position: 0,
        };
        Self {
            servable: Arc::new(servable),
            part: Arc::new(part),
            counters: None,
            is_asked: true,
        }
    }
}

#[cfg(test)]
mod tests;
