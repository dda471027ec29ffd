//! What was fully in service last, in a file beside the cached bundles: with it a scorer starts when the store is away.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use decant_coordination::Revision;
use decant_model::{DesiredSlot, Generation};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Place;
use super::trust::{Cluster, Seen};
use crate::kept::{Kept, KeptError};

/// How long to wait before a snapshot that could not be written is written again.
const TRY_AGAIN: Duration = Duration::from_secs(5);
const FILE: Kept = Kept {
    what: "snapshot",
    file: "desired.json",
    format: 1,
    mode: 0o666,
};

/// Where a scorer starts from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Snapshot {
    /// How far the store had come.
    pub(crate) seen: Seen,
    /// What was fully in service in each slot.
    pub(crate) slots: BTreeMap<Place, DesiredSlot>,
}

/// The file as it is stored.
#[derive(Serialize, Deserialize)]
struct Stored {
    store: u64,
    revision: u64,
    cluster: Option<Cluster>,
    slots: Vec<StoredSlot>,
}

#[derive(Serialize, Deserialize)]
struct StoredSlot {
    #[serde(flatten)]
    place: Place,
    /// The newest generation that was taken in.
    generation: Generation,
    /// What was in service; none when nothing was yet.
    in_service: Option<DesiredSlot>,
}

/// Reads the snapshot of a folder; `None` when there is none.
///
/// # Errors
/// When there is one that cannot be used.
pub(crate) fn load(folder: &Path) -> Result<Option<Snapshot>, KeptError> {
    let stored: Option<Stored> = FILE.load(folder)?;
    Ok(stored.map(Snapshot::from))
}

/// Writes the snapshot of a folder: whole, or not at all. Blocks.
///
/// # Errors
/// Names the file and what could not be done.
pub(crate) fn save(folder: &Path, snapshot: Snapshot) -> Result<(), KeptError> {
    FILE.save(folder, &Stored::from(snapshot))
}

impl From<Stored> for Snapshot {
    fn from(stored: Stored) -> Self {
        let generations = stored.slots.iter();
        let generations = generations.map(|slot| (slot.place.clone(), slot.generation));
        Self {
            seen: Seen {
                store: stored.store,
                cluster: stored.cluster,
                revision: Revision(stored.revision),
                generations: generations.collect(),
            },
            slots: stored
                .slots
                .into_iter()
                .filter_map(|slot| Some((slot.place, slot.in_service?)))
                .collect(),
        }
    }
}

impl From<Snapshot> for Stored {
    fn from(Snapshot { seen, mut slots }: Snapshot) -> Self {
        let slot = |(place, generation)| StoredSlot {
            in_service: slots.remove(&place),
            place,
            generation,
        };
        Self {
            store: seen.store,
            revision: seen.revision.0,
            cluster: seen.cluster,
            slots: seen.generations.into_iter().map(slot).collect(),
        }
    }
}

/// Writes a snapshot after each change that is fully in service, until it is told to stop. One that cannot be written is
/// tried again; serving does not depend on it.
pub(crate) async fn follow(
    folder: PathBuf,
    mut seen: watch::Receiver<Option<Seen>>,
    mut applied: watch::Receiver<BTreeMap<Place, DesiredSlot>>,
    stop: CancellationToken,
) -> Result<(), String> {
    let mut last: Option<Snapshot> = None;
    loop {
        let slots = applied.borrow_and_update().clone();
        let seen_now = seen.borrow_and_update().clone();
        if let Some(seen) = seen_now
            && last
                .as_ref()
                .is_none_or(|last| differs(last, &seen, &slots))
        {
            let (snapshot, folder) = (Snapshot { seen, slots }, folder.clone());
            last = Some(snapshot.clone());
            let saved = tokio::task::spawn_blocking(move || save(&folder, snapshot)).await;
            if let Err(error) = saved.map_err(|error| error.to_string())? {
                tracing::error!(%error, "a restart without the store would begin with an older state");
                last = None;
            }
        }
        let is_saved = last.is_some() || seen.borrow().is_none();
        let gone = |_| "the manager or the source is gone".to_owned();
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            changed = seen.changed() => changed.map_err(gone)?,
            changed = applied.changed() => changed.map_err(gone)?,
            () = tokio::time::sleep(TRY_AGAIN), if !is_saved => {}
        }
    }
}

/// The revision alone is no reason to write: it moves with every change of anything.
fn differs(last: &Snapshot, seen: &Seen, slots: &BTreeMap<Place, DesiredSlot>) -> bool {
    let Snapshot {
        seen: known,
        slots: known_slots,
    } = last;
    (known.store, &known.cluster, &known.generations)
        != (seen.store, &seen.cluster, &seen.generations)
        || known_slots != slots
}

#[cfg(test)]
mod tests;
