//! What is counted of a slot's versions while a rollout has the slot: from the time on at which a generation was put into
//! service, and for that generation alone. Requests add to the counters without waiting for each other.
//!
//! Reading order: [`arm`] counts what one version does; [`Counters`] are those of all versions, and how they compare.

mod arm;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use decant_model::rollout::evidence::{Agreement, Comparison, Evidence};
use decant_model::{Active, Arm, DesiredSlot, Digest, Generation, split};

pub(crate) use self::arm::ArmCounters;

/// The counters of one generation.
#[derive(Debug)]
pub(crate) struct Counters {
    generation: Generation,
    /// The share of requests, in basis points, that other versions score too; nothing when there are none to be compared.
    compared: u32,
    /// In the generation's order.
    arms: Box<[ArmCounters]>,
    /// Few, and added to off the request path.
    comparisons: Mutex<Vec<Comparison>>,
    skipped: AtomicU64,
    compared_rows: AtomicU64,
}

impl Counters {
    /// Nothing counted yet.
    pub(crate) fn new(desired: &DesiredSlot) -> Self {
        let active = desired.active.iter();
        let has = |arms: [Arm; 2]| active.clone().any(|active| arms.contains(&active.arm));
        let is_comparable = has(CANDIDATES) && has(REFERENCES);
        Self {
            generation: desired.generation,
            compared: if is_comparable {
                desired.compare_basis_points
            } else {
                0
            },
            arms: active.map(ArmCounters::new).collect(),
            comparisons: Mutex::default(),
            skipped: AtomicU64::new(0),
            compared_rows: AtomicU64::new(0),
        }
    }

    /// Those of the version in a place of the generation.
    pub(crate) fn arm(&self, position: usize) -> Option<&ArmCounters> {
        self.arms.get(position)
    }

    /// Whether a request for which this number was drawn is one of those that are compared.
    pub(crate) fn is_compared(&self, drawn: u64) -> bool {
        split::scaled(drawn) < self.compared
    }

    /// A request was to be compared, and there was no time for it.
    pub(crate) fn skip(&self) {
        self.skipped.fetch_add(1, Ordering::Relaxed);
    }

    /// Requests that there was no time for.
    pub(crate) fn skipped(&self) -> u64 {
        self.skipped.load(Ordering::Relaxed)
    }

    /// Two versions were compared on so many rows.
    pub(crate) fn add_compared_rows(&self, rows: usize) {
        self.compared_rows.fetch_add(rows as u64, Ordering::Relaxed);
    }

    /// Rows that two versions were compared on.
    pub(crate) fn compared_rows(&self) -> u64 {
        self.compared_rows.load(Ordering::Relaxed)
    }

    /// Takes in how a candidate agrees with the version in another part, on one request.
    pub(crate) fn compare(&self, candidate: Digest, reference: &Active, agreement: &Agreement) {
        let mut comparisons = self.lock();
        let is_this = |known: &Comparison| {
            (known.candidate, known.reference, known.arm)
                == (candidate, reference.digest, reference.arm)
        };
        let position = comparisons.iter().position(is_this).unwrap_or_else(|| {
            comparisons.push(Comparison::new(candidate, reference.digest, reference.arm));
            comparisons.len() - 1
        });
        let comparison = &mut comparisons[position];
        comparison.kl.add(agreement.kl);
        if let Some(top_k) = agreement.top_k {
            comparison.top_k.add(top_k);
        }
        if let Some(spearman) = agreement.spearman {
            comparison.spearman.add(spearman);
        }
    }

    /// What has been counted so far. Requests go on meanwhile, so that sums may differ by those that are being counted.
    pub(crate) fn evidence(&self) -> Evidence {
        Evidence {
            generation: self.generation,
            arms: self.arms.iter().map(ArmCounters::evidence).collect(),
            comparisons: self.lock().clone(),
            skipped: self.skipped(),
        }
    }

    /// A panic between two sums costs one request's part in them.
    fn lock(&self) -> MutexGuard<'_, Vec<Comparison>> {
        self.comparisons
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Parts of versions that are judged.
pub(crate) const CANDIDATES: [Arm; 2] = [Arm::Canary, Arm::Shadow];

/// Parts of versions that they are compared with.
pub(crate) const REFERENCES: [Arm; 2] = [Arm::Stable, Arm::Teacher];

#[cfg(test)]
mod tests;
