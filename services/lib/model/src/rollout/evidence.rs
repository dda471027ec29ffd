//! What scorers count while a version is released. Counts belong to one generation of a slot: they begin at nothing when a
//! scorer puts the generation into service, so that a step is judged by what happened in it alone, whoever leads.

mod agreement;
mod histogram;
mod moments;
mod scores;

use std::collections::BTreeMap;

use crate::{Arm, Digest, Generation, ModelVersion};

pub use agreement::Agreement;
pub use histogram::Histogram;
pub use moments::Moments;
pub use scores::Scores;

/// What was counted in one generation, by one scorer or by all of them together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evidence {
    /// The generation.
    pub generation: Generation,
    /// What each version did in its part.
    pub arms: Vec<ArmEvidence>,
    /// How versions agree, off the request path.
    pub comparisons: Vec<Comparison>,
    /// Requests that were to be compared and were not, because no time was left for them.
    pub skipped: u64,
}

/// What a version did in its part.
#[derive(Clone, Debug, PartialEq)]
pub struct ArmEvidence {
    /// Its manifest digest.
    pub digest: Digest,
    /// Its number.
    pub version: ModelVersion,
    /// Its part. What a shadow or a teacher did, it did off the request path.
    pub arm: Arm,
    /// Requests answered.
    pub succeeded: u64,
    /// Requests that failed, by gRPC code.
    pub failed: BTreeMap<i32, u64>,
    /// How long answered requests took, from read to answered.
    pub latency: Histogram,
    /// One score of each answer: the first row's, or the best item's.
    pub scores: Scores,
}

/// How two versions agree on the same requests, row by row.
#[derive(Clone, Debug, PartialEq)]
pub struct Comparison {
    /// The version under judgement.
    pub candidate: Digest,
    /// The one that it is compared with.
    pub reference: Digest,
    /// That one's part: stable or teacher.
    pub arm: Arm,
    /// Of each request, the mean over its rows of the Kullback-Leibler divergence of the candidate's Bernoulli distribution
    /// from the reference's, in nats.
    pub kl: Moments,
    /// Of each request of at least two rows, the share of the reference's ten best that are among the candidate's ten best;
    /// of all but one, when there are fewer than eleven.
    pub top_k: Moments,
    /// Of each request of at least two rows, Spearman's rank correlation.
    pub spearman: Moments,
}

impl Evidence {
    /// Adds what another scorer counted in the same generation; what it counted in another one is left out.
    pub fn merge(&mut self, other: &Evidence) {
        if other.generation != self.generation {
            return;
        }
        for arm in &other.arms {
            let same = |mine: &&mut ArmEvidence| mine.digest == arm.digest && mine.arm == arm.arm;
            match self.arms.iter_mut().find(same) {
                Some(mine) => mine.merge(arm),
                None => self.arms.push(arm.clone()),
            }
        }
        for comparison in &other.comparisons {
            let same = |mine: &&mut Comparison| {
                mine.candidate == comparison.candidate
                    && mine.reference == comparison.reference
                    && mine.arm == comparison.arm
            };
            match self.comparisons.iter_mut().find(same) {
                Some(mine) => mine.merge(comparison),
                None => self.comparisons.push(comparison.clone()),
            }
        }
        self.skipped += other.skipped;
    }

    /// What a version did, if it is in the slot.
    pub fn of(&self, digest: Digest) -> Option<&ArmEvidence> {
        self.arms.iter().find(|arm| arm.digest == digest)
    }

    /// What the version in a part did.
    pub fn in_arm(&self, arm: Arm) -> Option<&ArmEvidence> {
        self.arms.iter().find(|evidence| evidence.arm == arm)
    }

    /// How a version agrees with the one in a part.
    pub fn agreement(&self, candidate: Digest, arm: Arm) -> Option<&Comparison> {
        self.comparisons
            .iter()
            .find(|comparison| comparison.candidate == candidate && comparison.arm == arm)
    }
}

impl ArmEvidence {
    /// A version that has done nothing yet.
    pub fn new(digest: Digest, version: ModelVersion, arm: Arm) -> Self {
        Self {
            digest,
            version,
            arm,
            succeeded: 0,
            failed: BTreeMap::new(),
            latency: Histogram::default(),
            scores: Scores::default(),
        }
    }

    /// Requests that failed.
    pub fn failures(&self) -> u64 {
        self.failed.values().sum()
    }

    /// Requests that ended, one way or the other.
    pub fn requests(&self) -> u64 {
        self.succeeded + self.failures()
    }

    fn merge(&mut self, other: &ArmEvidence) {
        self.succeeded += other.succeeded;
        for (code, count) in &other.failed {
            *self.failed.entry(*code).or_default() += count;
        }
        self.latency.merge(&other.latency);
        self.scores.merge(&other.scores);
    }
}

impl Comparison {
    /// Nothing compared yet.
    pub fn new(candidate: Digest, reference: Digest, arm: Arm) -> Self {
        Self {
            candidate,
            reference,
            arm,
            kl: Moments::default(),
            top_k: Moments::default(),
            spearman: Moments::default(),
        }
    }

    fn merge(&mut self, other: &Comparison) {
        self.kl.merge(&other.kl);
        self.top_k.merge(&other.top_k);
        self.spearman.merge(&other.spearman);
    }
}

#[cfg(test)]
mod tests;
