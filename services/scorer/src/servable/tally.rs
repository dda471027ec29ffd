//! What the versions of a slot do while one of them is released. A tally belongs to one generation of the slot and begins at
//! nothing with it; without a release nothing is counted.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use decant_model::rollout::evidence::{ArmEvidence, Comparison, Evidence, Histogram};
use decant_model::{Arm, DesiredSlot, Digest, Generation};

/// Counts, to which requests add while others read. Each version has a lock of its own, held for some additions.
#[derive(Debug)]
pub(crate) struct Tally {
    generation: Generation,
    arms: Vec<Mutex<ArmEvidence>>,
    comparisons: Mutex<Vec<Comparison>>,
    skipped: AtomicU64,
}

impl Tally {
    pub(super) fn new(desired: &DesiredSlot) -> Self {
        let arms = desired.active.iter();
        let arms = arms.map(|one| ArmEvidence::new(one.digest, one.version, one.arm));
        Self {
            generation: desired.generation,
            arms: arms.map(Mutex::new).collect(),
            comparisons: Mutex::default(),
            skipped: AtomicU64::new(0),
        }
    }

    /// A version answered within this time, and said this score first.
    pub(crate) fn succeeded(&self, digest: Digest, took: Duration, score: Option<f32>) {
        self.count(digest, |arm| {
            arm.succeeded += 1;
            arm.latency.add(Histogram::bucket(took), 1);
            if let Some(score) = score {
                arm.scores.add(score.into());
            }
        });
    }

    /// A version did not answer, for which callers get this gRPC code.
    pub(crate) fn failed(&self, digest: Digest, code: i32) {
        self.count(digest, |arm| *arm.failed.entry(code).or_default() += 1);
    }

    /// Two versions were compared on one request.
    pub(crate) fn compared(
        &self,
        (candidate, reference): (Digest, Digest),
        arm: Arm,
        add: impl FnOnce(&mut Comparison),
    ) {
        let mut comparisons = lock(&self.comparisons);
        let known = comparisons
            .iter()
            .position(|known| known.candidate == candidate && known.arm == arm);
        let at = known.unwrap_or_else(|| {
            comparisons.push(Comparison::new(candidate, reference, arm));
            comparisons.len() - 1
        });
        add(&mut comparisons[at]);
    }

    /// A request was to be compared, and there was no time.
    pub(crate) fn skipped(&self) {
        self.skipped.fetch_add(1, Ordering::Relaxed);
    }

    /// All counts. Those of one version are of one moment.
    pub(crate) fn evidence(&self) -> Evidence {
        Evidence {
            generation: self.generation,
            arms: self.arms.iter().map(|arm| lock(arm).clone()).collect(),
            comparisons: lock(&self.comparisons).clone(),
            skipped: self.skipped.load(Ordering::Relaxed),
        }
    }

    fn count(&self, digest: Digest, add: impl FnOnce(&mut ArmEvidence)) {
        let mut arms = self.arms.iter().map(lock);
        if let Some(mut arm) = arms.find(|arm| arm.digest == digest) {
            add(&mut arm);
        }
    }
}

/// The counts are whole between any two statements under these locks, so a panic elsewhere does not spoil them.
fn lock<T>(counts: &Mutex<T>) -> MutexGuard<'_, T> {
    counts.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
