//! What a place tells the outside: operators, the registry, and the next start of this scorer.

use decant_coordination::keys::{ObservedState, ObservedVersion};
use decant_model::{DesiredSlot, Generation};

use super::{Phase, PlaceState, Version};
use crate::servable::manager::{ObservedPlace, State, Status};
use crate::servable::{LoadTimes, Place};

impl PlaceState {
    /// What is fully in service; none before anything was.
    pub(in crate::servable) fn applied(&self) -> Option<&DesiredSlot> {
        self.applied.as_ref()
    }

    /// What the registry is told.
    pub(in crate::servable) fn observed(&self) -> ObservedPlace {
        let generation = |desired: &Option<DesiredSlot>| {
            desired
                .as_ref()
                .map_or(Generation::default(), |desired| desired.generation)
        };
        let mut versions: Vec<ObservedVersion> =
            self.versions.values().filter_map(observed).collect();
        versions.sort_by_key(|version| (version.version, version.digest));
        ObservedPlace {
            generation: generation(&self.desired),
            serving: if self.entry.is_ready() {
                generation(&self.applied)
            } else {
                Generation::default()
            },
            versions,
        }
    }

    pub(in crate::servable) fn statuses(&self, place: &Place) -> impl Iterator<Item = Status> {
        self.versions
            .values()
            .map(|version| version.status(place.clone()))
    }
}

/// A version that is leaving is nobody's concern any more.
fn observed(version: &Version) -> Option<ObservedVersion> {
    let (state, error) = match &version.phase {
        Phase::Available(_) => (ObservedState::Ready, String::new()),
        Phase::Unloading { .. } => return None,
        // While it is tried again it still is the version that failed: a retry is no news.
        _ if version.failures > 0 => (ObservedState::Failed, version.last_error.clone()),
        _ => (ObservedState::Loading, String::new()),
    };
    Some(ObservedVersion {
        digest: version.prepared.digest,
        version: version.prepared.version,
        state,
        error,
    })
}

impl Version {
    fn status(&self, place: Place) -> Status {
        let (state, error, answered, load_times) = match &self.phase {
            Phase::Start => (State::Start, None, 0, LoadTimes::default()),
            Phase::Loading(_) => (State::Loading, None, 0, LoadTimes::default()),
            Phase::Available(servable) => (
                State::Available,
                None,
                servable.answered(),
                servable.load_times(),
            ),
            Phase::Unloading {
                answered,
                load_times,
            } => (State::Unloading, None, *answered, *load_times),
            Phase::Failed { .. } => {
                let error = Some(self.last_error.clone());
                (State::End, error, 0, LoadTimes::default())
            }
        };
        Status {
            place,
            prepared: self.prepared,
            arm: self.arm,
            generation: self.generation,
            state,
            since: self.since,
            error,
            answered,
            totals: self
                .servable()
                .map(|servable| servable.statistics().totals()),
            load_times,
        }
    }
}
