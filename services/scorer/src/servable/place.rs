//! One place's versions: which are wanted, which are here, which answer.

mod report;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use decant_chassis::telemetry::propagation::continued;
use decant_model::{Active, Arm, DesiredSlot, Digest, Generation, Prepared};
use tracing::field::Empty;

use super::handle::Entry;
use super::load::LoadError;
use super::manager::{Load, Superseded};
use super::{LoadTimes, Place, Servable};
use crate::config::Retry;

/// What is known of one place. Pure bookkeeping: no clock of its own, no I/O, no lock.
#[derive(Default)]
pub(super) struct PlaceState {
    /// The newest that was taken in.
    desired: Option<DesiredSlot>,
    /// The newest whose active versions were all here: what requests are answered by.
    applied: Option<DesiredSlot>,
    entry: Entry,
    /// Digests in service, and those that were before: the latter stay resident, so that going back is a pointer move.
    current: Vec<Digest>,
    previous: Vec<Digest>,
    versions: BTreeMap<Digest, Version>,
}

struct Version {
    prepared: Prepared,
    /// The part that it plays or played last; none when it only was prepared.
    arm: Option<Arm>,
    /// The last generation that wanted it.
    generation: Generation,
    /// Memory that it takes while it is available.
    bytes: u64,
    phase: Phase,
    since: SystemTime,
    /// Since it was asked for last.
    failures: u32,
    last_error: String,
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
        retry_at: Instant,
    },
}

/// Bytes of memory that a place's versions take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Held {
    /// By those that serve or are wanted.
    pub(super) needed: u64,
    /// By those that are kept only for going back.
    pub(super) spare: u64,
}

/// Which loads come first: those of versions that are to answer, in all places, before those that are to be ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Urgency {
    Answers,
    Prepared,
}

/// A version that went out of service and waits to be freed.
pub(super) struct Retired {
    pub(super) place: Place,
    pub(super) servable: Arc<Servable>,
    /// Memory that it takes.
    pub(super) bytes: u64,
}

impl Retired {
    pub(super) fn new(place: &Place, servable: Arc<Servable>, bytes: u64) -> Self {
        Self {
            place: place.clone(),
            servable,
            bytes,
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
    /// Whatever is wanted next is newer than what is known.
    pub(super) fn forget_generation(&mut self) {
        if let Some(desired) = &mut self.desired {
            desired.generation = Generation::default();
        }
    }

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
        tracing::info!(
            %place,
            generation = generation.0,
            active = desired.active.len(),
            prepare = desired.prepare.len(),
            pending = desired.pending.is_some(),
            "slot changed"
        );
        let other_signers = self
            .desired
            .as_ref()
            .is_some_and(|known| known.signers != desired.signers);
        let arms = desired
            .active
            .iter()
            .map(|active| (active.digest, active.arm));
        let arms: BTreeMap<Digest, Arm> = arms.collect();
        let wanted = wanted(&desired);
        for prepared in &wanted {
            let fresh = || Version {
                prepared: *prepared,
                arm: None,
                generation,
                bytes: 0,
                phase: Phase::Start,
                since: SystemTime::now(),
                failures: 0,
                last_error: String::new(),
            };
            let version = self.versions.entry(prepared.digest).or_insert_with(fresh);
            version.prepared = *prepared;
            version.arm = arms.get(&prepared.digest).copied();
            version.generation = generation;
            match &version.phase {
                // Asked for anew: tried at once, not when its last failure would have it.
                Phase::Failed { .. } | Phase::Unloading { .. } => {
                    version.failures = 0;
                    version.enter(Phase::Start);
                }
                // Begun under other rules; what comes of it is given up, and it begins again.
                Phase::Loading(superseded) if other_signers => superseded.set(),
                _ => {}
            }
        }
        let wanted: BTreeSet<Digest> = wanted.iter().map(|prepared| prepared.digest).collect();
        self.versions.retain(|digest, version| {
            let wanted = wanted.contains(digest);
            if let (false, Phase::Loading(superseded)) = (wanted, &version.phase) {
                superseded.set();
            }
            wanted || !matches!(version.phase, Phase::Start | Phase::Failed { .. })
        });
        self.desired = Some(desired);
    }

    /// Puts what is wanted into service once all of it is here, and takes out what is neither wanted nor kept for going
    /// back.
    #[must_use]
    pub(super) fn settle(&mut self, place: &Place) -> Vec<Retired> {
        self.activate(place);
        let keep: BTreeSet<Digest> = self.pinned().collect();
        self.retire(place, &keep)
    }

    /// Moves the pointer, if all of the active versions are here; if not, what answers goes on. A generation that is in
    /// service already keeps its entry, and so what was counted of it.
    fn activate(&mut self, place: &Place) {
        let Some(desired) = &self.desired else {
            return;
        };
        let resident = |active: &Active| self.versions.get(&active.digest)?.servable().cloned();
        let servables: Option<Vec<Arc<Servable>>> = desired.active.iter().map(resident).collect();
        let Some(servables) = servables else {
            if self.current.is_empty() {
                self.entry = Entry::not_ready("it is being loaded, or failed to load".to_owned());
            }
            return;
        };
        if self.applied.as_ref() == Some(desired) {
            return;
        }
        let swap = continued(desired.trace.as_deref(), || {
            let generation = desired.generation.0;
            tracing::info_span!("swap", %place, generation, trace_id = Empty, span_id = Empty)
        });
        let _swapping = swap.enter();
        self.entry = if !servables.is_empty() {
            Entry::ready(place, desired, servables)
        } else if desired.pending.is_some() {
            Entry::not_ready("its first version is being prepared".to_owned())
        } else {
            Entry::not_ready("the slot is empty".to_owned())
        };
        let next: Vec<Digest> = desired.active.iter().map(|active| active.digest).collect();
        if next != self.current {
            let generation = desired.generation.0;
            tracing::info!(%place, generation, versions = ?next, "in service");
            self.previous = std::mem::replace(&mut self.current, next);
        }
        self.applied = Some(desired.clone());
    }

    /// Versions that must stay: those in service, those that were before, and those that are wanted.
    pub(super) fn pinned(&self) -> impl Iterator<Item = Digest> {
        self.needed().chain(self.previous.iter().copied())
    }

    /// Those in service, and those that are wanted.
    fn needed(&self) -> impl Iterator<Item = Digest> {
        let wanted = self.desired.iter().flat_map(wanted);
        let wanted = wanted.map(|prepared| prepared.digest);
        wanted.chain(self.current.iter().copied())
    }

    /// What the versions here take.
    pub(super) fn held(&self) -> Held {
        let needed: BTreeSet<Digest> = self.needed().collect();
        let mut held = Held::default();
        for (digest, version) in &self.versions {
            if version.servable().is_some() {
                let share = match needed.contains(digest) {
                    true => &mut held.needed,
                    false => &mut held.spare,
                };
                *share += version.bytes;
            }
        }
        held
    }

    /// Frees what is kept only for going back.
    #[must_use]
    pub(super) fn give_up_previous(&mut self, place: &Place) -> Vec<Retired> {
        tracing::info!(%place, "the previous version is freed: its memory is needed");
        self.previous.clear();
        let keep: BTreeSet<Digest> = self.needed().collect();
        self.retire(place, &keep)
    }

    /// Takes everything out of service.
    #[must_use]
    pub(super) fn retire_all(&mut self, place: &Place) -> Vec<Retired> {
        self.supersede_loads();
        self.retire(place, &BTreeSet::new())
    }

    fn retire(&mut self, place: &Place, keep: &BTreeSet<Digest>) -> Vec<Retired> {
        let mut retired = Vec::new();
        for (digest, version) in &mut self.versions {
            if let (false, Phase::Available(servable)) = (keep.contains(digest), &version.phase) {
                let servable = Arc::clone(servable);
                version.enter(Phase::Unloading {
                    answered: servable.answered(),
                    load_times: servable.load_times(),
                });
                retired.push(Retired::new(place, servable, version.bytes));
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

    /// A version that is due to be loaded; marks it as loading. What is only prepared may wait for other places' turn.
    pub(super) fn next_load(
        &mut self,
        place: &Place,
        urgency: Urgency,
        now: Instant,
    ) -> Option<Load> {
        let prepared = self.due(urgency, now)?;
        let desired = self.desired.as_ref()?;
        let superseded = Superseded::default();
        self.versions
            .get_mut(&prepared.digest)?
            .enter(Phase::Loading(superseded.clone()));
        Some(Load {
            place: place.clone(),
            prepared,
            signers: desired.signers.clone(),
            trace: desired.trace.clone(),
            superseded,
        })
    }

    /// Whether a version is due to be loaded.
    pub(super) fn is_due(&self, urgency: Urgency, now: Instant) -> bool {
        self.due(urgency, now).is_some()
    }

    fn due(&self, urgency: Urgency, now: Instant) -> Option<Prepared> {
        let desired = self.desired.as_ref()?;
        let is_due = |version: &Version| match version.phase {
            Phase::Start => true,
            Phase::Failed { retry_at } => retry_at <= now,
            _ => false,
        };
        let candidates = match urgency {
            Urgency::Answers => desired.active.iter().map(prepared).collect(),
            Urgency::Prepared => wanted(desired),
        };
        candidates
            .into_iter()
            .find(|prepared| self.versions.get(&prepared.digest).is_some_and(is_due))
    }

    /// When the first failed version is to be tried again.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        let due = self
            .versions
            .values()
            .filter_map(|version| match version.phase {
                Phase::Failed { retry_at } => Some(retry_at),
                _ => None,
            });
        due.min()
    }

    /// Takes in what became of a load, for which so much memory was reserved.
    #[must_use]
    pub(super) fn loaded(
        &mut self,
        load: &Load,
        outcome: Result<Servable, LoadError>,
        bytes: u64,
        retry: Retry,
    ) -> Option<Retired> {
        let (place, digest) = (&load.place, load.prepared.digest);
        let wanted = !load.superseded.is_set();
        let Some(version) = self.versions.get_mut(&digest) else {
            return outcome
                .ok()
                .map(|servable| Retired::new(place, Arc::new(servable), bytes));
        };
        match outcome {
            Ok(servable) if wanted => {
                tracing::info!(%place, version = %version.prepared.version, %digest, times = ?servable.load_times(), "loaded");
                version.failures = 0;
                version.bytes = bytes;
                version.enter(Phase::Available(Arc::new(servable)));
                None
            }
            Err(error) if wanted => {
                version.failures += 1;
                let wait = retry.after(version.failures, error.lasts());
                tracing::warn!(%place, version = %version.prepared.version, %digest, %error, ?wait, "not loaded");
                version.last_error = error.to_string();
                version.enter(Phase::Failed {
                    retry_at: Instant::now() + wait,
                });
                None
            }
            unwanted => {
                self.forget(digest);
                unwanted
                    .ok()
                    .map(|servable| Retired::new(place, Arc::new(servable), bytes))
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
        let mut wanted = self.desired.iter().flat_map(wanted);
        let wanted = wanted.any(|prepared| prepared.digest == digest);
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
}

fn prepared(active: &Active) -> Prepared {
    Prepared {
        digest: active.digest,
        version: active.version,
    }
}

/// What a slot wants to be here: what answers, then what is to answer next, then what is to be ready.
fn wanted(desired: &DesiredSlot) -> Vec<Prepared> {
    let pending = desired.pending.iter().flat_map(|pending| &pending.active);
    let parts = desired.active.iter().chain(pending).map(prepared);
    let mut wanted: Vec<Prepared> = Vec::new();
    for prepared in parts.chain(desired.prepare.iter().copied()) {
        if !wanted.iter().any(|known| known.digest == prepared.digest) {
            wanted.push(prepared);
        }
    }
    wanted
}

#[cfg(test)]
mod tests;
