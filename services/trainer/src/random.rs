//! Streams of random numbers that depend on a job's seed and on what they are for, and on nothing else: no thread, no
//! order of work, no clock.

use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;

/// One stream.
#[derive(Clone, Debug)]
pub(crate) struct Random(Pcg64Mcg);

impl Random {
    /// The stream of `seed` for one purpose. Different purposes give unrelated streams.
    pub(crate) fn new(seed: u64, purpose: &str) -> Self {
        Self(Pcg64Mcg::seed_from_u64(derive(seed, purpose)))
    }

    /// Uniform in 0..1.
    pub(crate) fn uniform(&mut self) -> f32 {
        // A float's 24 bits of precision, so that 1 is never reached.
        (self.0.next_u32() >> 8) as f32 / (1 << 24) as f32
    }

    /// Uniform in 0..bound, with a bias of at most `bound / 2^64`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.0.next_u64()) * bound as u128) >> 64) as usize
    }

    /// 32 random bits.
    pub(crate) fn bits(&mut self) -> u32 {
        self.0.next_u32()
    }

    /// A uniform permutation (Fisher-Yates).
    pub(crate) fn shuffle<T>(&mut self, values: &mut [T]) {
        for last in (1..values.len()).rev() {
            values.swap(last, self.below(last + 1));
        }
    }
}

/// The seed of a part of a job.
pub(crate) fn derive(seed: u64, purpose: &str) -> u64 {
    let start = 0xcbf2_9ce4_8422_2325_u64 ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    purpose.bytes().fold(start, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_depends_on_seed_and_purpose_only() {
        let draw = |seed, purpose| {
            (0..8)
                .map(|_| Random::new(seed, purpose).bits())
                .collect::<Vec<_>>()
        };
        assert_eq!(draw(1, "a"), draw(1, "a"));
        assert_ne!(draw(1, "a"), draw(2, "a"));
        assert_ne!(draw(1, "a"), draw(1, "b"));
    }

    #[test]
    fn draws_stay_in_range_and_shuffles_keep_every_value() {
        let mut random = Random::new(7, "range");
        assert!((0..1000).all(|_| (0.0..1.0).contains(&random.uniform())));
        assert!((0..1000).all(|_| random.below(3) < 3));
        let mut values: Vec<usize> = (0..100).collect();
        random.shuffle(&mut values);
        assert_ne!(values, (0..100).collect::<Vec<_>>());
        values.sort_unstable();
        assert_eq!(values, (0..100).collect::<Vec<_>>());
    }
}
