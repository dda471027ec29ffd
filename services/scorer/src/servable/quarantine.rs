//! Versions that have ended the process while they were opened.
//!
//! Native code opens a graph, and a graph can have it take all memory, or worse. The process that starts again is told of
//! the same version, and would end again: as every scorer prepares what is wanted, one bad version would take down all of
//! them, again and again. So each opening is put down in a file before it begins and crossed out when it is over, and a version
//! that is found there too often is left alone.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use decant_model::Digest;
use serde::{Deserialize, Serialize};

use crate::kept::Kept;

const FILE: Kept = Kept {
    what: "list of versions being opened",
    file: "opening.json",
    format: 1,
    mode: 0o666,
};
/// After so many ends in a row a version is left alone. One or two may have been somebody's who ended the process at that
/// moment.
const ENDS: u32 = 3;
/// How long it is left alone before it is tried once more.
const REST: Duration = Duration::from_secs(60 * 60);
/// What is older is forgotten.
const MEMORY: Duration = Duration::from_secs(24 * 60 * 60);

/// The openings that are not over, and those that never will be because the process ended.
#[derive(Debug, Default)]
pub(crate) struct Quarantine {
    /// None where nothing is kept: then nothing is known of the process before.
    folder: Option<PathBuf>,
    openings: Mutex<Openings>,
}

type Openings = BTreeMap<Digest, Opening>;

/// The file as it is stored.
#[derive(Default, Serialize, Deserialize)]
struct Stored {
    openings: Openings,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Opening {
    /// How often it began without coming to an end.
    times: u32,
    /// When it began last, in milliseconds since 1970.
    began_millis: u64,
}

/// An opening that goes on; it is over when this is dropped.
pub(super) struct Guard<'a> {
    quarantine: &'a Quarantine,
    digest: Digest,
}

impl Quarantine {
    /// Knows what the process before left in this folder.
    pub(crate) fn load(folder: Option<PathBuf>) -> Self {
        let stored = folder.as_deref().map(|folder| FILE.load::<Stored>(folder));
        let stored = stored.transpose().unwrap_or_else(|error| {
            tracing::warn!(%error, "whether a version ended the process before is not known");
            None
        });
        let openings = stored.flatten().unwrap_or_default().openings;
        for (digest, opening) in &openings {
            tracing::warn!(%digest, times = opening.times, "the process ended while this version was opened");
        }
        Self {
            folder,
            openings: Mutex::new(openings),
        }
    }

    /// Puts down that the opening of a version begins. Blocks.
    ///
    /// # Errors
    /// Why it is left alone.
    pub(super) fn enter(&self, digest: Digest, now: SystemTime) -> Result<Guard<'_>, String> {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        // Whichever way the clock was set meanwhile.
        let age = |opening: &Opening| now.abs_diff(Duration::from_millis(opening.began_millis));
        let mut openings = self.lock();
        openings.retain(|_, opening| age(opening) < MEMORY);
        let before = openings.get(&digest);
        if let Some(opening) = before
            && opening.times >= ENDS
            && age(opening) < REST
        {
            let minutes = (REST - age(opening)).as_secs().div_ceil(60);
            return Err(format!(
                "the process ended {} times while this version was opened; it is tried again in {minutes} min, or when the \
                 scorer starts without the file `{}` of its cache",
                opening.times, FILE.file,
            ));
        }
        let opening = Opening {
            times: before.map_or(0, |opening| opening.times) + 1,
            began_millis: now.as_millis() as u64,
        };
        openings.insert(digest, opening);
        self.save(&openings);
        Ok(Guard {
            quarantine: self,
            digest,
        })
    }

    /// A file that cannot be written keeps no version out.
    fn save(&self, openings: &Openings) {
        let Some(folder) = &self.folder else { return };
        let stored = Stored {
            openings: openings.clone(),
        };
        if let Err(error) = FILE.save(folder, &stored) {
            tracing::warn!(%error, "should this version end the process, that will not be known");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Openings> {
        self.openings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        let mut openings = self.quarantine.lock();
        openings.remove(&self.digest);
        self.quarantine.save(&openings);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn digest(of: &str) -> Digest {
        Digest::of(of.as_bytes())
    }

    /// The process ends while it opens this.
    fn ends(folder: &Path, of: &str, now: SystemTime) {
        let quarantine = Quarantine::load(Some(folder.to_owned()));
        std::mem::forget(quarantine.enter(digest(of), now).unwrap());
    }

    fn is_left_alone(folder: &Path, of: &str, now: SystemTime) -> bool {
        let quarantine = Quarantine::load(Some(folder.to_owned()));
        quarantine.enter(digest(of), now).is_err()
    }

    #[test]
    fn who_ended_the_process_three_times_is_left_alone_for_an_hour() {
        let folder = tempfile::tempdir().unwrap();
        let (folder, now) = (folder.path(), SystemTime::now());
        for _ in 0..ENDS {
            ends(folder, "bad", now);
            // Whatever else is opened meanwhile changes nothing.
            assert!(!is_left_alone(folder, "good", now));
        }
        let refused = Quarantine::load(Some(folder.to_owned()));
        let reason = refused.enter(digest("bad"), now).err().unwrap();
        assert!(reason.contains("ended 3 times"), "{reason}");
        assert!(reason.contains("in 60 min"), "{reason}");
        assert!(!is_left_alone(folder, "good", now));

        let later = now + REST;
        ends(folder, "bad", later);
        assert!(
            is_left_alone(folder, "bad", later),
            "once more, and no further"
        );
        assert!(!is_left_alone(folder, "bad", later + MEMORY));
    }

    #[test]
    fn an_opening_that_comes_to_an_end_is_forgotten_whatever_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let (folder, now) = (folder.path(), SystemTime::now());
        for _ in 0..2 {
            ends(folder, "unlucky", now);
            ends(folder, "unlucky", now);
            let quarantine = Quarantine::load(Some(folder.to_owned()));
            let panicked = std::panic::catch_unwind(|| {
                let _guard = quarantine.enter(digest("unlucky"), now).unwrap();
                panic!("a parser's fault");
            });
            assert!(panicked.is_err());
        }
        assert!(!is_left_alone(folder, "unlucky", now));
    }

    #[test]
    fn nothing_is_left_alone_where_nothing_can_be_kept() {
        let folder = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        std::fs::write(folder.path().join(FILE.file), "no JSON").unwrap();
        assert!(!is_left_alone(folder.path(), "version", now));
        // A file where a folder is to be.
        let nowhere = folder.path().join(FILE.file).join("cache");
        for _ in 0..=ENDS {
            ends(&nowhere, "version", now);
        }
    }
}
