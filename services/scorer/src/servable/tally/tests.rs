use decant_model::{Active, BASIS_POINTS, ModelVersion};

use super::*;

fn desired() -> DesiredSlot {
    let version = |name: &[u8], arm, weight_basis_points| Active {
        digest: Digest::of(name),
        version: ModelVersion::FIRST,
        arm,
        weight_basis_points,
    };
    DesiredSlot {
        generation: Generation(7),
        active: vec![
            version(b"stable", Arm::Stable, BASIS_POINTS),
            version(b"shadow", Arm::Shadow, 0),
        ],
        ..DesiredSlot::default()
    }
}

#[test]
fn what_each_version_did_is_counted_apart() {
    let tally = Tally::new(&desired());
    let [stable, shadow] = [b"stable" as &[u8], b"shadow"].map(Digest::of);
    for _ in 0..3 {
        tally.succeeded(stable, Duration::from_micros(100), Some(0.25));
    }
    tally.failed(stable, 13);
    tally.succeeded(shadow, Duration::from_micros(200), None);
    tally.failed(Digest::of(b"nobody"), 13);
    tally.skipped();

    let evidence = tally.evidence();
    assert_eq!((evidence.generation, evidence.skipped), (Generation(7), 1));
    let counted = evidence.of(stable).unwrap();
    assert_eq!((counted.succeeded, counted.failures()), (3, 1));
    assert_eq!(counted.failed[&13], 1);
    assert_eq!(counted.latency.count(), 3);
    assert_eq!(counted.scores.moments.mean(), Some(0.25));
    let counted = evidence.in_arm(Arm::Shadow).unwrap();
    assert_eq!((counted.requests(), counted.scores.moments.count), (1, 0));
}

#[test]
fn comparisons_add_up_by_the_part_of_the_other_version() {
    let tally = Tally::new(&desired());
    let [stable, shadow] = [b"stable" as &[u8], b"shadow"].map(Digest::of);
    for kl in [0.1, 0.3] {
        tally.compared((shadow, stable), Arm::Stable, |one| one.kl.add(kl));
    }
    tally.compared((shadow, stable), Arm::Teacher, |one| one.kl.add(1.0));
    let evidence = tally.evidence();
    let with_stable = evidence.agreement(shadow, Arm::Stable).unwrap();
    assert_eq!((with_stable.kl.count, with_stable.kl.sum), (2, 0.4));
    let with_teacher = evidence.agreement(shadow, Arm::Teacher).unwrap();
    assert_eq!(with_teacher.kl.count, 1);
}
