use std::collections::BTreeMap;
use std::time::Duration;

use decant_model::rollout::evidence::Histogram;
use decant_model::{BASIS_POINTS, ModelVersion};
use tonic::Code;

use super::*;

fn active(name: &[u8], arm: Arm) -> Active {
    Active {
        digest: Digest::of(name),
        version: ModelVersion::FIRST,
        arm,
        weight_basis_points: 0,
    }
}

fn counters(arms: &[Arm]) -> Counters {
    let active = arms
        .iter()
        .enumerate()
        .map(|(number, arm)| active(&[number as u8], *arm));
    Counters::new(&DesiredSlot {
        generation: Generation(7),
        active: active.collect(),
        compare_basis_points: BASIS_POINTS / 2,
        ..DesiredSlot::default()
    })
}

#[test]
fn what_each_version_does_is_counted_apart() {
    let counters = counters(&[Arm::Stable, Arm::Canary]);
    let stable = counters.arm(0).unwrap();
    let [short, long] = [3, 70_000].map(Duration::from_micros);
    stable.succeed(short, Some(0.25));
    stable.succeed(long, Some(0.75));
    stable.succeed(long, None);
    stable.fail(Code::ResourceExhausted);
    stable.fail(Code::ResourceExhausted);
    stable.fail(Code::Unauthenticated);
    assert!(counters.arm(2).is_none());

    let evidence = counters.evidence();
    assert_eq!(evidence.generation, Generation(7));
    let [stable, canary] = &evidence.arms[..] else {
        panic!("{evidence:?}")
    };
    assert_eq!(stable.succeeded, 3);
    assert_eq!(stable.failed, BTreeMap::from([(8, 2), (16, 1)]));
    let latency: Vec<_> = stable.latency.buckets().collect();
    assert_eq!(latency, [(3, 1), (Histogram::bucket(long), 2)]);
    let moments = stable.scores.moments;
    assert_eq!(
        (moments.count, moments.sum, moments.squares),
        (2, 1.0, 0.625)
    );
    assert_eq!(stable.scores.bins().iter().sum::<u64>(), 2);
    assert_eq!(
        *canary,
        decant_model::rollout::evidence::ArmEvidence::new(
            Digest::of(&[1]),
            ModelVersion::FIRST,
            Arm::Canary
        )
    );
}

#[test]
fn scores_that_are_none_spoil_no_sum() {
    let counters = counters(&[Arm::Stable]);
    let stable = counters.arm(0).unwrap();
    for score in [f32::NAN, f32::NEG_INFINITY, f32::INFINITY] {
        stable.succeed(Duration::ZERO, Some(score));
    }
    let moments = counters.evidence().arms[0].scores.moments;
    assert_eq!((moments.count, moments.sum), (3, 1.0));
}

#[test]
fn comparisons_are_summed_by_candidate_and_reference() {
    let counters = counters(&[Arm::Stable, Arm::Shadow, Arm::Teacher]);
    let (candidate, stable) = (Digest::of(&[1]), active(&[0], Arm::Stable));
    let teacher = active(&[2], Arm::Teacher);
    let agreement = |kl, top_k, spearman| Agreement {
        kl,
        top_k,
        spearman,
    };
    counters.compare(candidate, &stable, &agreement(0.5, Some(1.0), Some(0.25)));
    counters.compare(candidate, &stable, &agreement(0.25, Some(0.5), None));
    counters.compare(candidate, &teacher, &agreement(0.125, None, None));
    counters.skip();

    let evidence = counters.evidence();
    assert_eq!(evidence.skipped, 1);
    assert_eq!(evidence.comparisons.len(), 2);
    let with_stable = evidence.agreement(candidate, Arm::Stable).unwrap();
    assert_eq!((with_stable.kl.count, with_stable.kl.sum), (2, 0.75));
    assert_eq!((with_stable.top_k.count, with_stable.top_k.sum), (2, 1.5));
    assert_eq!(with_stable.spearman.count, 1);
    let with_teacher = evidence.agreement(candidate, Arm::Teacher).unwrap();
    assert_eq!((with_teacher.kl.count, with_teacher.top_k.count), (1, 0));
}

#[test]
fn requests_are_compared_by_share_and_only_where_there_is_another_version() {
    let split = counters(&[Arm::Stable, Arm::Canary]);
    assert!(split.is_compared(u64::MAX / 2 - 1));
    assert!(!split.is_compared(u64::MAX / 2 + 1));
    for alone in [&[Arm::Stable][..], &[Arm::Stable, Arm::Teacher], &[]] {
        assert!(!counters(alone).is_compared(0), "{alone:?}");
    }
}
