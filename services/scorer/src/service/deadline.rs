//! When the caller stops waiting.

use std::time::{Duration, Instant};

use decant_chassis::server;
use tonic::metadata::MetadataMap;

/// How much sooner than the caller we stop, so that an answer that says why still finds it waiting: so long, but never more than
/// this part of what the caller leaves.
const AHEAD: Duration = Duration::from_millis(2);
const PART_AHEAD: u32 = 10;

/// The deadline in the `grpc-timeout` header; `None` without one, or with one that does not parse.
pub(crate) fn deadline(metadata: &MetadataMap) -> Option<Instant> {
    let timeout = server::timeout(metadata.as_ref())?;
    Instant::now().checked_add(timeout - AHEAD.min(timeout / PART_AHEAD))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_is_taken_of_what_a_caller_leaves() {
        for (timeout, left) in [("1S", 998_000), ("2m", 1_800), ("100u", 90), ("0m", 0)] {
            let mut metadata = MetadataMap::new();
            metadata.insert("grpc-timeout", timeout.parse().unwrap());
            let before = Instant::now();
            let deadline = deadline(&metadata).unwrap();
            let (earliest, latest) = (before, Instant::now());
            let left = Duration::from_micros(left);
            assert!(
                (earliest + left..=latest + left).contains(&deadline),
                "{timeout}"
            );
        }
        assert_eq!(deadline(&MetadataMap::new()), None);
    }
}
