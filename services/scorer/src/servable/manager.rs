//! Compares what is wanted with what is there, says what to load next, and publishes what has been loaded.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::{ArcSwap, Guard};
use decant_coordination::keys::ObservedVersion;
use decant_model::{Arm, DesiredSlot, Digest, Generation, Prepared, PublicKey};
use foldhash::HashMap;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::handle::Entry;
use super::load::LoadError;
use super::memory::mebibytes;
use super::place::{PlaceState, Retired, Urgency};
use super::statistics::Totals;
use super::{LoadTimes, Place, Servable, Table};
use crate::config::Retry;

/// How long versions that nobody needs may take to be freed before a load that needs their memory is put off, and how often
/// to look.
const FREED_WITHIN: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(100);

/// The one owner of all servables. Requests read its table without a lock; the source, the loader and the reaper meet
/// at its state.
pub(crate) struct Manager {
    table: ArcSwap<Table>,
    readiness: watch::Sender<Readiness>,
    observed: watch::Sender<Observed>,
    applied: watch::Sender<BTreeMap<Place, DesiredSlot>>,
    retry: Retry,
    /// Bytes of memory that all versions together may take.
    budget: u64,
    state: Mutex<Shared>,
    /// Woken when there may be something to load, something to free, or an end.
    changed: Condvar,
}

#[derive(Default)]
struct Shared {
    places: BTreeMap<Place, PlaceState>,
    /// What the loader was given last, if it was only to be prepared.
    preparing: Option<Superseded>,
    /// What the version that is being loaded will take of memory: there is one loader.
    loading: u64,
    leaving: Leaving,
    /// Why nothing new is taken in, if it is not.
    frozen: Option<String>,
    /// Whether the source has spoken at all.
    synced: bool,
    stopped: bool,
}

/// Versions that are to be freed, in places that are still there or not.
#[derive(Default)]
struct Leaving {
    /// Those that the reaper has not taken yet.
    retired: Vec<Retired>,
    /// Memory of all that are not freed yet: somebody may hold them still.
    bytes: u64,
}

impl Leaving {
    fn extend(&mut self, retired: impl IntoIterator<Item = Retired>) {
        for retired in retired {
            self.bytes += retired.bytes;
            self.retired.push(retired);
        }
    }
}

/// Bytes of memory that versions take.
struct Memory {
    /// By those that serve, are wanted, or are being loaded.
    used: u64,
    /// By those that are kept only for going back.
    spare: u64,
    /// By those that are to be freed.
    leaving: u64,
}

impl Shared {
    /// What all versions take.
    fn memory(&self) -> Memory {
        let mut memory = Memory {
            used: self.loading,
            spare: 0,
            leaving: self.leaving.bytes,
        };
        for held in self.places.values().map(PlaceState::held) {
            memory.used += held.needed;
            memory.spare += held.spare;
        }
        memory
    }
}

/// What health checks are told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Readiness {
    /// Whether every version wanted at the start has been loaded or has failed once. Stays true.
    pub(crate) settled: bool,
    /// Whether a place has a version to answer.
    pub(crate) places: BTreeMap<Place, bool>,
}

/// What the registry is told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Observed {
    pub(crate) places: BTreeMap<Place, ObservedPlace>,
    /// Why nothing new is taken in, if it is not.
    pub(crate) frozen: Option<String>,
}

/// What the registry is told of one place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ObservedPlace {
    /// The newest generation that was taken in.
    pub(crate) generation: Generation,
    /// The generation whose active versions answer; 0 while none does.
    pub(crate) serving: Generation,
    /// By number.
    pub(crate) versions: Vec<ObservedVersion>,
}

/// The life of a version here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Start,
    Loading,
    Available,
    Unloading,
    End,
}

/// A version as operators see it.
pub(crate) struct Status {
    pub(crate) place: Place,
    pub(crate) prepared: Prepared,
    /// None when it only was prepared.
    pub(crate) arm: Option<Arm>,
    pub(crate) generation: Generation,
    pub(crate) state: State,
    pub(crate) since: SystemTime,
    pub(crate) error: Option<String>,
    pub(crate) answered: u64,
    /// None unless it is loaded.
    pub(crate) totals: Option<Totals>,
    pub(crate) load_times: LoadTimes,
}

/// A version that the loader is to load.
pub(crate) struct Load {
    pub(crate) place: Place,
    pub(crate) prepared: Prepared,
    /// Who may have signed it; anybody or nobody, when there are none.
    pub(crate) signers: Vec<PublicKey>,
    /// The trace of the generation that asks for it.
    pub(crate) trace: Option<String>,
    pub(crate) superseded: Superseded,
}

/// Says whether a load in progress is still wanted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Superseded(CancellationToken);

impl Superseded {
    pub(super) fn set(&self) {
        self.0.cancel();
    }

    pub(crate) fn is_set(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Waits until it is superseded.
    pub(super) async fn wait(&self) {
        self.0.cancelled().await;
    }
}

impl Manager {
    pub(crate) fn new(retry: Retry, budget: u64) -> Self {
        Self {
            table: ArcSwap::default(),
            readiness: watch::Sender::default(),
            observed: watch::Sender::default(),
            applied: watch::Sender::default(),
            retry,
            budget,
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// The versions in service now.
    pub(crate) fn table(&self) -> Guard<Arc<Table>> {
        self.table.load()
    }

    /// What health checks are told, and each change of it.
    pub(crate) fn readiness(&self) -> watch::Receiver<Readiness> {
        self.readiness.subscribe()
    }

    /// What the registry is told, and each change of it.
    pub(crate) fn observed(&self) -> watch::Receiver<Observed> {
        self.observed.subscribe()
    }

    /// What is fully in service, and each change of it.
    pub(crate) fn applied(&self) -> watch::Receiver<BTreeMap<Place, DesiredSlot>> {
        self.applied.subscribe()
    }

    /// Says why nothing new is taken in; nothing, when it is. Whoever calls [`aspire`](Self::aspire) keeps to it.
    pub(crate) fn set_frozen(&self, reason: Option<String>) {
        let mut shared = self.lock();
        shared.frozen = reason;
        self.publish(&shared);
    }

    /// Versions that may be needed at once, with or without the bundle store: in service, before that, or wanted.
    pub(super) fn pinned(&self) -> BTreeSet<Digest> {
        let shared = self.lock();
        shared
            .places
            .values()
            .flat_map(PlaceState::pinned)
            .collect()
    }

    /// What is taken in next counts, though its generations be lower: an operator said so.
    pub(crate) fn forget_generations(&self) {
        for state in self.lock().places.values_mut() {
            state.forget_generation();
        }
    }

    /// Takes in everything that is wanted; a place that is left out is not wanted any more. Versions that are
    /// resident, such as the previous one, are in service when this returns.
    pub(crate) fn aspire(&self, mut wanted: BTreeMap<Place, DesiredSlot>) {
        let mut shared = self.lock();
        let Shared {
            places,
            leaving,
            synced,
            preparing,
            ..
        } = &mut *shared;
        places.retain(|place, state| {
            let keep = wanted.contains_key(place);
            if !keep {
                tracing::info!(%place, "slot removed");
                leaving.extend(state.retire_all(place));
            }
            keep
        });
        while let Some((place, desired)) = wanted.pop_first() {
            let state = places.entry(place.clone()).or_default();
            state.aspire(&place, desired);
            leaving.extend(state.settle(&place));
        }
        // A version that is to answer does not wait for one that is only to be prepared: that one begins again later.
        let now = Instant::now();
        if places
            .values()
            .any(|state| state.is_due(Urgency::Answers, now))
            && let Some(preparing) = preparing.take()
        {
            preparing.set();
        }
        *synced = true;
        self.publish(&shared);
    }

    /// Waits for a version to load; `None` when the scorer stops.
    pub(crate) fn next_load(&self) -> Option<Load> {
        let mut shared = self.lock();
        loop {
            if shared.stopped {
                return None;
            }
            let now = Instant::now();
            let next = [Urgency::Answers, Urgency::Prepared]
                .into_iter()
                .find_map(|urgency| {
                    let mut places = shared.places.iter_mut();
                    let load =
                        places.find_map(|(place, state)| state.next_load(place, urgency, now))?;
                    Some((urgency, load))
                });
            if let Some((urgency, load)) = next {
                shared.preparing = (urgency == Urgency::Prepared).then(|| load.superseded.clone());
                return Some(load);
            }
            let retry_at = shared
                .places
                .values()
                .filter_map(PlaceState::retry_at)
                .min();
            shared = self.wait(shared, retry_at.map(|at| at.saturating_duration_since(now)));
        }
    }

    /// Whether a version that takes so much has room beside what must stay.
    ///
    /// # Errors
    /// When it has not.
    pub(super) fn check_room(&self, bytes: u64) -> Result<(), LoadError> {
        let memory = self.lock().memory();
        match memory.used.saturating_add(bytes) > self.budget {
            false => Ok(()),
            true => Err(self.no_room(bytes, memory.used + memory.leaving)),
        }
    }

    fn no_room(&self, bytes: u64, in_use: u64) -> LoadError {
        let reason = format!(
            "the version would take {}, but of the {} that versions may take {} are in use (scorer.memory_bytes)",
            mebibytes(bytes),
            mebibytes(self.budget),
            mebibytes(in_use),
        );
        LoadError::no_room(reason, bytes > self.budget)
    }

    /// Finds room for a version that is being loaded: so much in all, whatever was reserved for it before. Versions that are kept
    /// only for going back to make room if they must, the largest first; versions that are being freed are waited for.
    ///
    /// # Errors
    /// When there is no room for it beside what must stay.
    pub(super) fn reserve(&self, load: &Load, bytes: u64) -> Result<(), LoadError> {
        let budget = self.budget;
        let began = Instant::now();
        let mut shared = self.lock();
        loop {
            if shared.stopped || load.superseded.is_set() {
                return Err(LoadError::Superseded);
            }
            let Memory {
                used,
                spare,
                leaving,
            } = shared.memory();
            let used = used - shared.loading;
            if (used + spare + leaving).saturating_add(bytes) <= budget {
                shared.loading = bytes;
                return Ok(());
            }
            let stays = used.saturating_add(bytes) > budget;
            let waits_in_vain = spare == 0 && (leaving == 0 || began.elapsed() > FREED_WITHIN);
            if stays || waits_in_vain {
                return Err(self.no_room(bytes, used + leaving));
            }
            // What leaves anyway is worth a short wait; what is kept for going back cannot be had again as fast.
            let leaving_is_enough =
                (used + spare).saturating_add(bytes) <= budget && began.elapsed() <= FREED_WITHIN;
            if spare > 0 && !leaving_is_enough {
                let Shared {
                    places, leaving, ..
                } = &mut *shared;
                let largest = places
                    .iter_mut()
                    .max_by_key(|(_, state)| state.held().spare);
                if let Some((place, state)) = largest {
                    leaving.extend(state.give_up_previous(place));
                }
                self.changed.notify_all();
            }
            shared = self.wait(shared, Some(LOOK));
        }
    }

    /// Takes in what became of a load.
    pub(crate) fn loaded(&self, load: &Load, outcome: Result<Servable, LoadError>) {
        let mut shared = self.lock();
        let Shared {
            places,
            leaving,
            loading,
            ..
        } = &mut *shared;
        let bytes = std::mem::take(loading);
        match places.get_mut(&load.place) {
            Some(state) => {
                leaving.extend(state.loaded(load, outcome, bytes, self.retry));
                leaving.extend(state.settle(&load.place));
            }
            None => leaving.extend(
                outcome
                    .ok()
                    .map(|servable| Retired::new(&load.place, Arc::new(servable), bytes)),
            ),
        }
        self.publish(&shared);
    }

    /// Waits, at most so long if a limit is given, for versions that went out of service; `None` when the scorer stops.
    pub(super) fn take_retired(&self, patience: Option<Duration>) -> Option<Vec<Retired>> {
        let mut shared = self.lock();
        while shared.leaving.retired.is_empty() && !shared.stopped {
            shared = self.wait(shared, patience);
            if patience.is_some() {
                break;
            }
        }
        if shared.stopped {
            None
        } else {
            Some(std::mem::take(&mut shared.leaving.retired))
        }
    }

    /// A version has been freed, and with it so many bytes.
    pub(super) fn ended(&self, place: &Place, digest: Digest, bytes: u64) {
        let mut shared = self.lock();
        shared.leaving.bytes -= bytes;
        if let Some(state) = shared.places.get_mut(place) {
            state.ended(digest);
        }
        drop(shared);
        // Somebody may wait for its memory.
        self.changed.notify_all();
    }

    /// Ends the loader and the reaper; what is in service stays.
    pub(crate) fn stop(&self) {
        let mut shared = self.lock();
        shared.stopped = true;
        for state in shared.places.values() {
            state.supersede_loads();
        }
        drop(shared);
        self.changed.notify_all();
    }

    /// Every version that is here, is wanted, or failed.
    pub(crate) fn statuses(&self) -> Vec<Status> {
        self.lock()
            .places
            .iter()
            .flat_map(|(place, state)| state.statuses(place))
            .collect()
    }

    /// Bytes of memory that versions take, or will when they are loaded.
    pub(crate) fn promised(&self) -> u64 {
        let Memory {
            used,
            spare,
            leaving,
        } = self.lock().memory();
        used + spare + leaving
    }

    /// Bytes of memory that they may take.
    pub(crate) fn budget(&self) -> u64 {
        self.budget
    }

    /// Makes the state visible to requests and health checks, and wakes who may have something to do.
    fn publish(&self, shared: &Shared) {
        let entries: HashMap<Place, Entry> = shared
            .places
            .iter()
            .map(|(place, state)| (place.clone(), state.entry()))
            .collect();
        let places = entries
            .iter()
            .map(|(place, entry)| (place.clone(), entry.is_ready()))
            .collect();
        let table = Table::new(entries, shared.synced);
        self.table.store(Arc::new(table));
        self.report(shared);
        let settled = shared.synced && shared.places.values().all(PlaceState::is_settled);
        let settled = self.readiness.borrow().settled || settled;
        replace(&self.readiness, Readiness { settled, places });
        self.changed.notify_all();
    }

    /// Tells those who pass it on; only what changed wakes them.
    fn report(&self, shared: &Shared) {
        let places = shared.places.iter();
        let observed = Observed {
            places: places
                .clone()
                .map(|(place, state)| (place.clone(), state.observed()))
                .collect(),
            frozen: shared.frozen.clone(),
        };
        replace(&self.observed, observed);
        let applied =
            places.filter_map(|(place, state)| Some((place.clone(), state.applied()?.clone())));
        replace(&self.applied, applied.collect());
    }

    fn wait<'a>(
        &self,
        shared: MutexGuard<'a, Shared>,
        patience: Option<Duration>,
    ) -> MutexGuard<'a, Shared> {
        match patience {
            None => self
                .changed
                .wait(shared)
                .unwrap_or_else(PoisonError::into_inner),
            Some(patience) => {
                let waited = self.changed.wait_timeout(shared, patience);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
        }
    }

    /// A panic under this lock would be a fault of ours; going on with what is there beats answering nobody.
    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whoever watches is woken only by what differs.
fn replace<T: PartialEq>(watched: &watch::Sender<T>, next: T) {
    watched.send_if_modified(|known| {
        let differs = next != *known;
        *known = next;
        differs
    });
}

#[cfg(test)]
mod tests;
