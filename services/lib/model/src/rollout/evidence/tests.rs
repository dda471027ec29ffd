use std::time::Duration;

use proptest::prelude::*;

use super::*;

const GENERATION: Generation = Generation(7);

fn arm(name: &[u8], arm: Arm) -> ArmEvidence {
    ArmEvidence::new(Digest::of(name), ModelVersion::FIRST, arm)
}

fn counted(arms: Vec<ArmEvidence>, comparisons: Vec<Comparison>, skipped: u64) -> Evidence {
    Evidence {
        generation: GENERATION,
        arms,
        comparisons,
        skipped,
    }
}

fn micros(number: u64) -> Duration {
    Duration::from_micros(number)
}

#[test]
fn buckets_are_exact_at_first_and_sixteenths_of_a_doubling_then() {
    let bounds = |time: u64| {
        let bucket = Histogram::bucket(micros(time));
        let lower = bucket.checked_sub(1).map(Histogram::upper_bound);
        let lower = lower.unwrap_or_default().as_micros();
        (lower, Histogram::upper_bound(bucket).as_micros())
    };
    assert_eq!(bounds(0), (0, 1));
    assert_eq!(bounds(15), (15, 16));
    assert_eq!(bounds(16), (16, 17));
    assert_eq!(bounds(31), (31, 32));
    assert_eq!(bounds(33), (32, 34));
    assert_eq!(bounds(1_000), (992, 1_024));
    let last = Histogram::BUCKETS - 1;
    assert_eq!(Histogram::bucket(Duration::MAX), last);
    assert_eq!(Histogram::upper_bound(last), micros(1 << 26));
}

#[test]
fn a_quantile_is_the_end_of_the_bucket_that_it_is_in() {
    let mut histogram = Histogram::default();
    assert_eq!(histogram.quantile(0.5), None);
    for time in 0..10 {
        histogram.add(Histogram::bucket(micros(time)), 1);
    }
    assert_eq!(histogram.count(), 10);
    assert_eq!(histogram.quantile(0.0), Some(micros(1)));
    assert_eq!(histogram.quantile(0.5), Some(micros(5)));
    assert_eq!(histogram.quantile(0.51), Some(micros(6)));
    assert_eq!(histogram.quantile(1.0), Some(micros(10)));
    let above = |histogram: &Histogram, time| -> u64 {
        let buckets = histogram.buckets();
        let above = buckets.filter(|(bucket, _)| *bucket > Histogram::bucket(time));
        above.map(|(_, count)| count).sum()
    };
    assert_eq!(above(&histogram, micros(4)), 5);
    assert_eq!(above(&histogram, micros(9)), 0);
    // A bucket that there is not is the last.
    histogram.add(usize::MAX, 3);
    assert_eq!(above(&histogram, micros(9)), 3);
}

#[test]
fn moments_give_mean_and_variance() {
    let mut moments = Moments::default();
    assert_eq!((moments.mean(), moments.variance()), (None, None));
    for value in [1.0, 2.0, 3.0, 4.0] {
        moments.add(value);
    }
    assert_eq!(moments.mean(), Some(2.5));
    assert_eq!(moments.variance(), Some(1.25));
}

#[test]
fn scores_are_binned_by_their_logit() {
    assert_eq!(Scores::bin(0.5), Scores::BINS / 2);
    for at_the_low_end in [0.0, 1e-9, -1.0, f64::NAN] {
        assert_eq!(Scores::bin(at_the_low_end), 0, "{at_the_low_end}");
    }
    for at_the_high_end in [1.0, 1.0 - 1e-9] {
        assert_eq!(Scores::bin(at_the_high_end), Scores::BINS - 1);
    }
    let mut scores = Scores::default();
    scores.add(0.5);
    scores.add(0.25);
    scores.add_to_bin(usize::MAX, 2);
    assert_eq!(scores.moments.mean(), Some(0.375));
    assert_eq!(scores.bins()[Scores::BINS / 2], 1);
    assert_eq!(scores.bins()[Scores::BINS - 1], 2);
}

#[test]
fn what_was_counted_elsewhere_is_added_to_the_same_version_and_part() {
    let mut stable = arm(b"one", Arm::Stable);
    stable.succeeded = 5;
    stable.failed.insert(14, 2);
    let mut same = arm(b"one", Arm::Stable);
    same.succeeded = 1;
    same.failed.insert(14, 1);
    same.failed.insert(4, 3);
    let canary = arm(b"two", Arm::Canary);
    let (candidate, reference) = (Digest::of(b"two"), Digest::of(b"one"));
    let mut comparison = Comparison::new(candidate, reference, Arm::Stable);
    comparison.kl.add(0.5);

    let mut all = counted(vec![stable], vec![comparison.clone()], 1);
    let other = counted(vec![same, canary], vec![comparison], 2);
    all.merge(&other);
    let stable = all.in_arm(Arm::Stable).unwrap();
    assert_eq!(
        (stable.succeeded, stable.failures(), stable.requests()),
        (6, 6, 12)
    );
    assert_eq!(all.of(candidate).unwrap().arm, Arm::Canary);
    let agreement = all.agreement(candidate, Arm::Stable).unwrap();
    assert_eq!(agreement.kl.count, 2);
    assert_eq!(all.agreement(candidate, Arm::Teacher), None);
    assert_eq!(all.skipped, 3);

    // Of another generation nothing is taken.
    let before = all.clone();
    all.merge(&Evidence {
        generation: GENERATION.next(),
        ..other
    });
    assert_eq!(all, before);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// A time lies within the bounds of its bucket, and these differ by a sixteenth at most.
    #[test]
    fn a_time_lies_in_its_bucket(exponent in 0_u32..27, part in 0.0..1.0_f64) {
        let time = ((1_u64 << exponent) as f64 * (1.0 + part)) as u64;
        let bucket = Histogram::bucket(micros(time));
        let lower = bucket.checked_sub(1).map(Histogram::upper_bound).unwrap_or_default();
        let upper = Histogram::upper_bound(bucket);
        prop_assert!(lower <= micros(time));
        if bucket + 1 < Histogram::BUCKETS {
            prop_assert!(micros(time) < upper, "{time} in {bucket}, to {upper:?}");
            prop_assert!((upper - lower).as_micros() <= lower.as_micros() / 16 + 1);
        }
        prop_assert_eq!(Histogram::bucket(lower), bucket);
    }

    #[test]
    fn buckets_grow_with_their_times(one in 0_u64..1 << 27, other in 0_u64..1 << 27) {
        let (less, more) = (one.min(other), one.max(other));
        prop_assert!(Histogram::bucket(micros(less)) <= Histogram::bucket(micros(more)));
    }

    /// A quantile is too large by a sixteenth at most.
    #[test]
    fn quantiles_are_those_of_the_sorted_times(
        mut times in prop::collection::vec(0_u64..10_000_000, 1..200),
        share in 0.0..=1.0_f64,
    ) {
        let mut histogram = Histogram::default();
        for time in &times {
            histogram.add(Histogram::bucket(micros(*time)), 1);
        }
        times.sort_unstable();
        let rank = ((times.len() as f64 * share).ceil() as usize).max(1);
        let exact = times[rank - 1];
        let quantile = histogram.quantile(share).unwrap();
        prop_assert!(quantile > micros(exact));
        prop_assert!(quantile <= micros(exact + exact / 16 + 1));
    }

    /// Whoever counted it, it is counted once.
    #[test]
    fn merged_counts_are_those_of_all_together(
        answers in prop::collection::vec((any::<bool>(), 0_u64..1_000_000, 0_u8..=16), 0..100),
    ) {
        let mut here = arm(b"one", Arm::Stable);
        let mut there = here.clone();
        let mut together = here.clone();
        for (is_here, number, code) in answers {
            for side in [if is_here { &mut here } else { &mut there }, &mut together] {
                if code == 0 {
                    side.succeeded += 1;
                    side.latency.add(Histogram::bucket(micros(number)), 1);
                    // Sixteenths, so that sums are exact in any order.
                    side.scores.add((number % 16) as f64 / 16.0);
                } else {
                    *side.failed.entry(i32::from(code)).or_default() += 1;
                }
            }
        }
        let mut merged = counted(vec![here], Vec::new(), 0);
        merged.merge(&counted(vec![there], Vec::new(), 0));
        prop_assert_eq!(merged, counted(vec![together], Vec::new(), 0));
    }
}
