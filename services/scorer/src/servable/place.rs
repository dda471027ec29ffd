//! One place's versions: which are wanted, which are here, which answer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use decant_model::{Active, DesiredSlot, Digest, Generation};

use super::handle::{Entry, Handle, Part};
use super::load::LoadError;
use super::manager::{Load, State, Status, Superseded};
use super::{LoadTimes, Place, Servable};
use crate::config::Retry;

/// What is known of one place. Pure bookkeeping: no clock of its own, no I/O, no lock.
#[derive(Default)]
pub(super) struct PlaceState {
    desired: Option<DesiredSlot>,
    entry: Entry,
    /// Digests in service, and those that were before: the latter stay resident, so that going back is a pointer move.
    current: Vec<Digest>,
    previous: Vec<Digest>,
    versions: BTreeMap<Digest, Version>,
}

struct Version {
    active: Active,
    generation: Generation,
    phase: Phase,
    since: SystemTime,
    failures: u32,
}

enum Phase {
    Start,
    Loading(Superseded),
    Available(Arc<Servable>),
    Unloading {
        answered: u64,
        load_times: LoadTimes,
    },
    Failed {
        error: String,
        retry_at: Instant,
    },
}

/// A version that went out of service and waits to be freed.
pub(super) struct Retired {
    pub(super) place: Place,
    pub(super) servable: Arc<Servable>,
}

impl Retired {
    pub(super) fn new(place: &Place, servable: Arc<Servable>) -> Self {
        Self {
            place: place.clone(),
            servable,
        }
    }
}

impl Version {
    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.since = SystemTime::now();
    }

    fn servable(&self) -> Option<&Arc<Servable>> {
        match &self.phase {
            Phase::Available(servable) => Some(servable),
            _ => None,
        }
    }
}

impl PlaceState {
    /// Takes in what is wanted here.
    pub(super) fn aspire(&mut self, place: &Place, desired: DesiredSlot) {
        if let Some(known) = &self.desired {
            if desired.generation < known.generation {
                // A restored backup, or a fault: what is verified and in service goes on.
                let (found, known) = (desired.generation.0, known.generation.0);
                tracing::error!(%place, found, known, "slot's generation went backwards; ignored");
                return;
            }
            if desired == *known {
                return;
            }
        }
        let generation = desired.generation;
        tracing::info!(%place, generation = generation.0, versions = desired.active.len(), "slot changed");
        for active in &desired.active {
            let fresh = || Version {
                active: active.clone(),
                generation,
                phase: Phase::Start,
                since: SystemTime::now(),
                failures: 0,
            };
            let version = self.versions.entry(active.digest).or_insert_with(fresh);
            version.active = active.clone();
            version.generation = generation;
            match version.phase {
                // Asked for anew: tried at once, not when its last failure would have it.
                Phase::Failed { .. } | Phase::Unloading { .. } => {
                    version.failures = 0;
                    version.enter(Phase::Start);
                }
                _ => {}
            }
        }
        let wanted = |digest: &Digest| desired.active.iter().any(|active| active.digest == *digest);
        self.versions.retain(|digest, version| {
            if let (false, Phase::Loading(superseded)) = (wanted(digest), &version.phase) {
                superseded.set();
            }
            wanted(digest) || !matches!(version.phase, Phase::Start | Phase::Failed { .. })
        });
        self.desired = Some(desired);
    }

    /// Puts what is wanted into service once all of it is here, and takes out what is neither wanted nor kept for going
    /// back.
    #[must_use]
    pub(super) fn settle(&mut self, place: &Place) -> Vec<Retired> {
        let Some(desired) = &self.desired else {
            return Vec::new();
        };
        let resident = |active: &Active| {
            Some((
                active.clone(),
                Arc::clone(self.versions.get(&active.digest)?.servable()?),
            ))
        };
        let here: Vec<(Active, Arc<Servable>)> =
            desired.active.iter().filter_map(resident).collect();
        if here.len() < desired.active.len() {
            if self.current.is_empty() {
                self.entry = Entry::not_ready("it is being loaded, or failed to load".to_owned());
            }
            return Vec::new();
        }
        let generation = desired.generation;
        let next: Vec<Digest> = here.iter().map(|(active, _)| active.digest).collect();
        self.entry = if here.is_empty() {
            Entry::not_ready("the slot is empty".to_owned())
        } else {
            let part = |active| Part {
                place: place.clone(),
                active,
                generation,
            };
            Entry::ready(
                here.into_iter()
                    .map(|(active, servable)| Handle::new(servable, part(active)))
                    .collect(),
            )
        };
        if next != self.current {
            tracing::info!(%place, generation = generation.0, versions = ?next, "in service");
            self.previous = std::mem::replace(&mut self.current, next);
        }
        self.retire(place, |place, digest| {
            place.current.contains(digest) || place.previous.contains(digest)
        })
    }

    /// Takes everything out of service.
    #[must_use]
    pub(super) fn retire_all(&mut self, place: &Place) -> Vec<Retired> {
        self.supersede_loads();
        self.retire(place, |_, _| false)
    }

    fn retire(&mut self, place: &Place, keep: impl Fn(&Self, &Digest) -> bool) -> Vec<Retired> {
        let leaving: Vec<Digest> = self
            .versions
            .keys()
            .filter(|digest| !keep(self, digest))
            .copied()
            .collect();
        let mut retired = Vec::new();
        for digest in leaving {
            let Some(version) = self.versions.get_mut(&digest) else {
                continue;
            };
            if let Phase::Available(servable) = &version.phase {
                let servable = Arc::clone(servable);
                version.enter(Phase::Unloading {
                    answered: servable.answered(),
                    load_times: servable.load_times(),
                });
                retired.push(Retired::new(place, servable));
            }
        }
        retired
    }

    /// Tells the loader that what it loads here is not wanted.
    pub(super) fn supersede_loads(&self) {
        for version in self.versions.values() {
            if let Phase::Loading(superseded) = &version.phase {
                superseded.set();
            }
        }
    }

    /// A wanted version that is due to be loaded; marks it as loading.
    pub(super) fn next_load(&mut self, place: &Place, now: Instant) -> Option<Load> {
        let desired = self.desired.as_ref()?;
        let due = |version: &Version| match version.phase {
            Phase::Start => true,
            Phase::Failed { retry_at, .. } => retry_at <= now,
            _ => false,
        };
        let active = desired
            .active
            .iter()
            .find(|active| self.versions.get(&active.digest).is_some_and(due))?
            .clone();
        let superseded = Superseded::default();
        self.versions
            .get_mut(&active.digest)?
            .enter(Phase::Loading(superseded.clone()));
        Some(Load {
            place: place.clone(),
            active,
            superseded,
        })
    }

    /// When the first failed version is to be tried again.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        let due = self
            .versions
            .values()
            .filter_map(|version| match version.phase {
                Phase::Failed { retry_at, .. } => Some(retry_at),
                _ => None,
            });
        due.min()
    }

    /// Takes in what became of a load.
    #[must_use]
    pub(super) fn loaded(
        &mut self,
        load: &Load,
        outcome: Result<Servable, LoadError>,
        retry: Retry,
    ) -> Option<Retired> {
        let (place, digest) = (&load.place, load.active.digest);
        let wanted = !load.superseded.is_set();
        let Some(version) = self.versions.get_mut(&digest) else {
            return outcome
                .ok()
                .map(|servable| Retired::new(place, Arc::new(servable)));
        };
        match outcome {
            Ok(servable) if wanted => {
                tracing::info!(%place, version = %version.active.version, %digest, times = ?servable.load_times(), "loaded");
                version.failures = 0;
                version.enter(Phase::Available(Arc::new(servable)));
                None
            }
            Err(error) if wanted => {
                version.failures += 1;
                let wait = retry.after(version.failures);
                tracing::warn!(%place, version = %version.active.version, %digest, %error, ?wait, "not loaded");
                version.enter(Phase::Failed {
                    error: error.to_string(),
                    retry_at: Instant::now() + wait,
                });
                None
            }
            unwanted => {
                self.forget(digest);
                unwanted
                    .ok()
                    .map(|servable| Retired::new(place, Arc::new(servable)))
            }
        }
    }

    /// A version has been freed.
    pub(super) fn ended(&mut self, digest: Digest) {
        let unloading = |version: &Version| matches!(version.phase, Phase::Unloading { .. });
        if self.versions.get(&digest).is_some_and(unloading) {
            self.versions.remove(&digest);
        }
    }

    /// Drops a version whose load was superseded, or begins it anew if it is wanted after all.
    fn forget(&mut self, digest: Digest) {
        let wanted = self
            .desired
            .iter()
            .flat_map(|desired| &desired.active)
            .any(|active| active.digest == digest);
        match self.versions.get_mut(&digest) {
            Some(version) if wanted => version.enter(Phase::Start),
            _ => {
                self.versions.remove(&digest);
            }
        }
    }

    /// What requests see.
    pub(super) fn entry(&self) -> Entry {
        self.entry.clone()
    }

    /// Whether something answers here, or all that could has failed.
    pub(super) fn is_settled(&self) -> bool {
        let pending = |version: &Version| {
            version.failures == 0 && matches!(version.phase, Phase::Start | Phase::Loading(_))
        };
        self.entry.is_ready() || !self.versions.values().any(pending)
    }

    pub(super) fn statuses(&self, place: &Place) -> impl Iterator<Item = Status> {
        self.versions.values().map(|version| {
            let (state, error, answered, load_times) = match &version.phase {
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
                Phase::Failed { error, .. } => {
                    (State::End, Some(error.clone()), 0, LoadTimes::default())
                }
            };
            Status {
                place: place.clone(),
                active: version.active.clone(),
                generation: version.generation,
                state,
                since: version.since,
                error,
                answered,
                load_times,
            }
        })
    }
}
