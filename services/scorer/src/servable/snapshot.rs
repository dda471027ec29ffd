//! What was fully in service last, in a file beside the cached bundles: with it a scorer starts when the store is away.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use decant_coordination::Revision;
use decant_model::{DesiredSlot, Generation};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Place;
use super::trust::{Cluster, Seen};

/// The newest format that this build reads, and the one that it writes.
const FORMAT: u64 = 1;
/// How long to wait before a snapshot that could not be written is written again.
const TRY_AGAIN: Duration = Duration::from_secs(5);
/// The file's name in the cache's folder.
const FILE: &str = "desired.json";

/// Where a scorer starts from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Snapshot {
    /// How far the store had come.
    pub(crate) seen: Seen,
    /// What was fully in service in each slot.
    pub(crate) slots: BTreeMap<Place, DesiredSlot>,
}

/// Why there is no snapshot although there is a file.
#[derive(Debug, Error)]
pub(crate) enum SnapshotError {
    #[error("cannot {action} the snapshot {}: {source}", .path.display())]
    File {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("the snapshot {} does not parse: {reason}", .path.display())]
    Corrupt { path: PathBuf, reason: String },
    #[error("the snapshot {} has format {format}, but this build reads up to format {FORMAT}", .path.display())]
    Newer { path: PathBuf, format: u64 },
}

/// The file as it is stored.
#[derive(Serialize, Deserialize)]
struct Stored {
    format: u64,
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

#[derive(Deserialize)]
struct Format {
    format: u64,
}

/// Reads the snapshot of a folder; `None` when there is none.
///
/// # Errors
/// When there is one that cannot be used.
pub(crate) fn load(folder: &Path) -> Result<Option<Snapshot>, SnapshotError> {
    let path = folder.join(FILE);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(SnapshotError::File {
                action: "read",
                path,
                source,
            });
        }
    };
    let corrupt = |error: serde_json::Error| SnapshotError::Corrupt {
        path: path.clone(),
        reason: error.to_string(),
    };
    let Format { format } = serde_json::from_slice(&bytes).map_err(corrupt)?;
    if format > FORMAT {
        return Err(SnapshotError::Newer { path, format });
    }
    serde_json::from_slice::<Stored>(&bytes)
        .map(|stored| Some(stored.into()))
        .map_err(corrupt)
}

/// Writes the snapshot of a folder: whole, or not at all. Blocks.
///
/// # Errors
/// Names the file and what could not be done.
pub(crate) fn save(folder: &Path, snapshot: Snapshot) -> Result<(), SnapshotError> {
    let (path, written) = (folder.join(FILE), folder.join(format!("{FILE}.new")));
    let at = |action, path: &Path| {
        let path = path.to_owned();
        move |source| SnapshotError::File {
            action,
            path,
            source,
        }
    };
    let stored = serde_json::to_vec_pretty(&Stored::from(snapshot))
        .map_err(|error| at("write", &written)(error.into()))?;
    // A scorer that has fetched nothing yet has no cache folder either.
    fs::create_dir_all(folder).map_err(at("make", folder))?;
    let mut file = File::create(&written).map_err(at("make", &written))?;
    file.write_all(&stored).map_err(at("write", &written))?;
    file.sync_all().map_err(at("write", &written))?;
    fs::rename(&written, &path).map_err(at("replace", &path))?;
    // Without this the folder may still name the old file after a loss of power.
    let folder = File::open(folder).map_err(at("replace", &path))?;
    folder.sync_all().map_err(at("replace", &path))
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
            format: FORMAT,
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
