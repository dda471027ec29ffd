//! Which version answers which request: a stable hash of the request's routing key and the rollout's salt.
//!
//! The same key gets the same version in every scorer, at any number of scorers. A canary answers the buckets from 0 up to
//! its weight, so that whoever had it at one weight has it at every larger one.

use crate::{Active, Arm, BASIS_POINTS, Hasher};

/// The bucket of a routing key, in 0..10000: the first eight bytes of the SHA-256 of the salt, a zero byte and the key, read
/// as a big-endian number and scaled. Any language can compute it.
pub fn bucket(salt: &str, routing_key: &[u8]) -> u32 {
    let mut hasher = Hasher::default();
    hasher.update(salt.as_bytes());
    hasher.update(&[0]);
    hasher.update(routing_key);
    let digest = hasher.finish();
    let mut first = [0; 8];
    first.copy_from_slice(&digest.bytes()[..8]);
    scaled(u64::from_be_bytes(first))
}

/// A number drawn evenly from all of its type, as a bucket.
pub fn scaled(number: u64) -> u32 {
    ((u128::from(number) * u128::from(BASIS_POINTS)) >> 64) as u32
}

/// The position of the version that answers a bucket; `None` when no version answers requests. Canaries take the lowest
/// buckets in their order, and the stable version what is left.
pub fn route(active: &[Active], bucket: u32) -> Option<usize> {
    let mut end = 0;
    for (position, version) in active.iter().enumerate() {
        if version.arm == Arm::Canary {
            end += version.weight_basis_points;
            if bucket < end {
                return Some(position);
            }
        }
    }
    active.iter().position(|version| version.arm == Arm::Stable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Digest, ModelVersion};

    fn split(canary: u32) -> Vec<Active> {
        let version = |digest: &[u8], version, arm, weight_basis_points| Active {
            digest: Digest::of(digest),
            version,
            arm,
            weight_basis_points,
        };
        let (first, second) = (ModelVersion::FIRST, ModelVersion::FIRST.next());
        vec![
            version(b"stable", first, Arm::Stable, BASIS_POINTS - canary),
            version(b"canary", second, Arm::Canary, canary),
            version(b"shadow", second.next(), Arm::Shadow, 0),
        ]
    }

    #[test]
    fn buckets_are_what_any_sha256_says() {
        // `printf 'salt\0user-1' | sha256sum` and so on, the first 16 digits scaled to 10000.
        assert_eq!(bucket("", b""), scaled(0x6e34_0b9c_ffb3_7a98));
        assert_eq!(scaled(0), 0);
        assert_eq!(scaled(u64::MAX), BASIS_POINTS - 1);
    }

    #[test]
    fn the_canary_has_the_lowest_buckets_and_the_shadow_none() {
        let active = split(100);
        assert_eq!(route(&active, 99), Some(1));
        assert_eq!(route(&active, 100), Some(0));
        assert_eq!(route(&split(0), 0), Some(0));
        assert_eq!(route(&split(BASIS_POINTS), BASIS_POINTS - 1), Some(1));
        assert_eq!(route(&[], 0), None);
    }

    /// The share lies within the binomial 99.9 % band, and who had the canary keeps it.
    #[test]
    fn shares_are_exact_and_cohorts_nested() {
        const KEYS: u32 = 100_000;
        let buckets: Vec<u32> = (0..KEYS)
            .map(|user| bucket("01hv", format!("user-{user}").as_bytes()))
            .collect();
        let mut before: Vec<bool> = vec![false; buckets.len()];
        for weight in [100, 1_000, 5_000, BASIS_POINTS] {
            let active = split(weight);
            let in_canary: Vec<bool> = buckets
                .iter()
                .map(|bucket| route(&active, *bucket) == Some(1))
                .collect();
            let share = f64::from(weight) / f64::from(BASIS_POINTS);
            let expected = f64::from(KEYS) * share;
            let deviation = (expected * (1.0 - share)).sqrt();
            let counted = in_canary.iter().filter(|is_in| **is_in).count() as f64;
            assert!(
                (counted - expected).abs() <= 3.29 * deviation,
                "{counted} of {expected}"
            );
            assert!(before.iter().zip(&in_canary).all(|(was, is)| !was || *is));
            before = in_canary;
        }
    }
}
