//! How scores are spread.

use super::Moments;

/// Scores are probabilities, and those of rare events lie close together: bins are as wide in the logit as these bounds and
/// their number say.
const LOWEST_LOGIT: f64 = -10.0;
const HIGHEST_LOGIT: f64 = 10.0;

/// Scores, counted in bins of equal width in the logit.
#[derive(Clone, Debug, PartialEq)]
pub struct Scores {
    /// Mean and variance of the scores themselves.
    pub moments: Moments,
    bins: Box<[u64]>,
}

impl Default for Scores {
    fn default() -> Self {
        Self {
            moments: Moments::default(),
            bins: vec![0; Self::BINS].into(),
        }
    }
}

impl Scores {
    /// How many bins there are.
    pub const BINS: usize = 160;

    /// The bin that counts a score in 0..1.
    pub fn bin(score: f64) -> usize {
        let logit = (score / (1.0 - score)).ln();
        let width = (HIGHEST_LOGIT - LOWEST_LOGIT) / Self::BINS as f64;
        // What is no number, or infinite, ends in the first or the last bin.
        (((logit - LOWEST_LOGIT) / width) as usize).min(Self::BINS - 1)
    }

    /// Counts so many more scores in a bin; a bin beyond the last is the last.
    pub fn add_to_bin(&mut self, bin: usize, count: u64) {
        self.bins[bin.min(Self::BINS - 1)] += count;
    }

    /// Counts a score.
    pub fn add(&mut self, score: f64) {
        self.moments.add(score);
        self.add_to_bin(Self::bin(score), 1);
    }

    /// Adds what somebody else counted.
    pub fn merge(&mut self, other: &Scores) {
        self.moments.merge(&other.moments);
        for (mine, theirs) in self.bins.iter_mut().zip(&other.bins) {
            *mine += theirs;
        }
    }

    /// All bins, in the order of their scores.
    pub fn bins(&self) -> &[u64] {
        &self.bins
    }
}
