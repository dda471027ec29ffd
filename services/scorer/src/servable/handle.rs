//! What requests see: an immutable table of versions in service, and a pin on one of them.

use std::collections::HashMap;
use std::sync::Arc;

use decant_model::{Active, Arm, Generation, ModelVersion};

use super::release::Release;
use super::{Place, Servable};
use crate::error::CallError;
use crate::service::caller::Routing;

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
    /// The release under way, if there is one.
    release: Option<Arc<Release>>,
    /// Why there is none, for callers.
    reason: Arc<str>,
}

/// A version in the part that it plays. Whoever holds one keeps the version in memory.
#[derive(Clone)]
pub(crate) struct Handle {
    servable: Arc<Servable>,
    part: Arc<Part>,
}

/// The part that a version plays.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) place: Place,
    pub(crate) active: Active,
    pub(crate) generation: Generation,
    /// The release that the version is in, if it is in one.
    pub(crate) release: Option<Arc<Release>>,
}

impl Table {
    pub(super) fn new(entries: HashMap<Place, Entry>, synced: bool) -> Self {
        Self { entries, synced }
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
    pub(super) fn ready(handles: Vec<Handle>, release: Option<Arc<Release>>) -> Self {
        Self {
            handles: handles.into(),
            release,
            reason: "none of its versions is the stable one".into(),
        }
    }

    pub(super) fn not_ready(reason: String) -> Self {
        Self {
            handles: Arc::default(),
            release: None,
            reason: reason.into(),
        }
    }

    /// The version that answers a request that is routed like this: the stable one, unless a release gives a share of the
    /// traffic to another.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) fn route(&self, routing: &Routing) -> Result<&Handle, &str> {
        let split = self.release.as_ref().filter(|release| release.is_split());
        let routed = match split {
            Some(release) => release.route(routing).and_then(|at| self.handles.get(at)),
            None => self.in_arm(Arm::Stable),
        };
        routed.ok_or(&self.reason)
    }

    /// The version that plays a part.
    pub(crate) fn in_arm(&self, arm: Arm) -> Option<&Handle> {
        let mut handles = self.handles.iter();
        handles.find(|handle| handle.part.active.arm == arm)
    }

    /// The release under way.
    pub(crate) fn release(&self) -> Option<&Arc<Release>> {
        self.release.as_ref()
    }

    /// The generation that answers; none while nothing does.
    pub(crate) fn generation(&self) -> Option<Generation> {
        Some(self.handles.first()?.part.generation)
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

    pub(super) fn is_ready(&self) -> bool {
        self.in_arm(Arm::Stable).is_some()
    }
}

impl Handle {
    pub(super) fn new(servable: Arc<Servable>, part: Part) -> Self {
        Self {
            servable,
            part: Arc::new(part),
        }
    }

    pub(crate) fn servable(&self) -> &Servable {
        &self.servable
    }

    pub(crate) fn part(&self) -> &Part {
        &self.part
    }

    /// Counts a call that the version did not answer, if it is being released.
    pub(crate) fn count_failure(&self, error: &CallError) {
        if let Some(release) = &self.part.release {
            release
                .tally()
                .failed(self.part.active.digest, error.code());
        }
    }
}

#[cfg(test)]
impl Handle {
    /// The fixture's version with one session.
    pub(crate) fn for_tests() -> Self {
        let digest = decant_model::Digest::of(b"films");
        let schema = crate::fixture::schema();
        let sessions = vec![crate::fixture::session(0.0)];
        let cost = crate::scoring::Cost::measured(1, std::time::Duration::from_micros(10));
        let times = super::LoadTimes::default();
        let servable = Servable::new(digest, schema, None, sessions, cost, times);
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
        Self::new(
            Arc::new(servable),
            Part {
                place,
                active,
                generation: Generation(1),
                release: None,
            },
        )
    }
}
