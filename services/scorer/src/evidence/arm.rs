//! What one version does.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use decant_model::rollout::evidence::{ArmEvidence, Histogram, Moments, Scores};
use decant_model::{Active, Arm, Digest, ModelVersion};
use tonic::Code;

/// gRPC has so many codes.
const CODES: usize = 17;

/// Sums of scores are kept in units of 2^-32, as numbers that can be added to without a lock: they hold four billion scores
/// of 1, and each score to ten digits.
const UNIT: f64 = (1_u64 << 32) as f64;

/// Counters of one version in its part.
#[derive(Debug)]
pub(crate) struct ArmCounters {
    digest: Digest,
    version: ModelVersion,
    arm: Arm,
    failed: [AtomicU64; CODES],
    latency: Box<[AtomicU64]>,
    score_bins: Box<[AtomicU64]>,
    score_sum: AtomicU64,
    score_squares: AtomicU64,
}

impl ArmCounters {
    pub(super) fn new(active: &Active) -> Self {
        let zeros = |count: usize| (0..count).map(|_| AtomicU64::new(0)).collect();
        Self {
            digest: active.digest,
            version: active.version,
            arm: active.arm,
            failed: [const { AtomicU64::new(0) }; CODES],
            latency: zeros(Histogram::BUCKETS),
            score_bins: zeros(Scores::BINS),
            score_sum: AtomicU64::new(0),
            score_squares: AtomicU64::new(0),
        }
    }

    /// A request was answered after so much time. `score` is one of its scores: the first row's or the best item's.
    pub(crate) fn succeed(&self, total: Duration, score: Option<f32>) {
        increment(&self.latency, Histogram::bucket(total));
        if let Some(score) = score {
            let score = f64::from(score).clamp(0.0, 1.0);
            increment(&self.score_bins, Scores::bin(score));
            add(&self.score_sum, score);
            add(&self.score_squares, score * score);
        }
    }

    /// A request failed.
    pub(crate) fn fail(&self, code: Code) {
        increment(&self.failed, code as usize);
    }

    pub(super) fn evidence(&self) -> ArmEvidence {
        let mut evidence = ArmEvidence::new(self.digest, self.version, self.arm);
        for (bucket, count) in counted(&self.latency) {
            evidence.latency.add(bucket, count);
        }
        evidence.succeeded = evidence.latency.count();
        for (bin, count) in counted(&self.score_bins) {
            evidence.scores.add_to_bin(bin, count);
        }
        let sum = |units: &AtomicU64| units.load(Ordering::Relaxed) as f64 / UNIT;
        evidence.scores.moments = Moments {
            count: evidence.scores.bins().iter().sum(),
            sum: sum(&self.score_sum),
            squares: sum(&self.score_squares),
        };
        // There are 17 codes.
        let failed = counted(&self.failed).map(|(code, count)| (code as i32, count));
        evidence.failed = failed.collect();
        evidence
    }
}

fn increment(counters: &[AtomicU64], position: usize) {
    if let Some(counter) = counters.get(position) {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

fn add(sum: &AtomicU64, value: f64) {
    sum.fetch_add((value * UNIT) as u64, Ordering::Relaxed);
}

/// The counters that counted something.
fn counted(counters: &[AtomicU64]) -> impl Iterator<Item = (usize, u64)> + '_ {
    let counts = counters
        .iter()
        .map(|counter| counter.load(Ordering::Relaxed));
    counts.enumerate().filter(|(_, count)| *count > 0)
}
