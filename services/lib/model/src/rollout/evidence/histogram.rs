//! How often something took how long, to one part in sixteen.

use std::time::Duration;

/// Each doubling has so many buckets, so that a bucket's bounds differ by at most one part in sixteen.
const PER_DOUBLING: usize = 16;

/// From a microsecond on so many doublings, to a bit above a minute; what takes longer is counted in the last.
const DOUBLINGS: usize = 26;

/// Counts of times, in logarithmic buckets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    counts: Box<[u64]>,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: vec![0; Self::BUCKETS].into(),
        }
    }
}

impl Histogram {
    /// How many buckets there are: exact microseconds up to the first doubling's sixteen, then sixteen a doubling.
    pub const BUCKETS: usize = PER_DOUBLING * (DOUBLINGS - 3);

    /// The bucket that counts a time.
    pub fn bucket(time: Duration) -> usize {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        if micros < PER_DOUBLING as u64 {
            return micros as usize;
        }
        let doubling = micros.ilog2() as usize;
        // The four bits below the leading one.
        let within = (micros >> (doubling - 4)) as usize - PER_DOUBLING;
        (PER_DOUBLING * (doubling - 3) + within).min(Self::BUCKETS - 1)
    }

    /// The shortest time that a bucket does not count any more; what is below it took less.
    pub fn upper_bound(bucket: usize) -> Duration {
        let next = bucket + 1;
        if next < PER_DOUBLING {
            return Duration::from_micros(next as u64);
        }
        let (doubling, within) = (next / PER_DOUBLING + 3, next % PER_DOUBLING);
        Duration::from_micros(((PER_DOUBLING + within) as u64) << (doubling - 4))
    }

    /// Counts so many more times in a bucket; a bucket beyond the last is the last.
    pub fn add(&mut self, bucket: usize, count: u64) {
        self.counts[bucket.min(Self::BUCKETS - 1)] += count;
    }

    /// Adds what somebody else counted.
    pub fn merge(&mut self, other: &Histogram) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
    }

    /// The buckets that counted something.
    pub fn buckets(&self) -> impl Iterator<Item = (usize, u64)> + '_ {
        let counts = self.counts.iter().copied().enumerate();
        counts.filter(|(_, count)| *count > 0)
    }

    /// How many times were counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The time that this share of the counted ones did not exceed, as the upper bound of its bucket; `None` of nothing.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let rank = (self.count() as f64 * share).ceil().max(1.0) as u64;
        let mut below = 0;
        self.buckets()
            .find(|(_, count)| {
                below += count;
                below >= rank
            })
            .map(|(bucket, _)| Self::upper_bound(bucket))
    }
}
