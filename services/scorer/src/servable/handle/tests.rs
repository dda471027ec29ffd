use decant_model::Digest;

use super::*;
use crate::metrics::VersionMeter;
use crate::scoring::{Cost, Costs};
use crate::servable::LoadTimes;

const SALT: &str = "01hv";

fn place() -> Place {
    Place {
        model: "films".parse().unwrap(),
        slot: Default::default(),
    }
}

/// An entry of versions in these parts, with these weights; routing needs no session.
fn entry(parts: &[(Arm, u32)], rollout: bool) -> Entry {
    let active = |(number, (arm, weight)): (usize, &(Arm, u32))| Active {
        digest: Digest::of(&[number as u8]),
        version: ModelVersion::new(number as u64 + 1).unwrap(),
        arm: *arm,
        weight_basis_points: *weight,
    };
    let active: Vec<Active> = parts.iter().enumerate().map(active).collect();
    let servable = |active: &Active| {
        let cost = Costs::alike(Cost::measured(1, Duration::from_micros(10)));
        let (schema, times) = (crate::fixture::schema(), LoadTimes::default());
        Arc::new(Servable::new(
            active.digest,
            schema,
            None,
            Vec::new(),
            cost,
            times,
            VersionMeter::unread(),
        ))
    };
    let servables = active.iter().map(servable).collect();
    let id = "01j9z3k4m5n6p7q8r9s0t1v2w3".parse().unwrap();
    let desired = DesiredSlot {
        generation: Generation(3),
        active,
        salt: SALT.to_owned(),
        rollout: rollout.then_some(id),
        ..DesiredSlot::default()
    };
    Entry::ready(&place(), &desired, servables)
}

fn split(canary: u32) -> Entry {
    let stable = (Arm::Stable, BASIS_POINTS - canary);
    let others = [(Arm::Canary, canary), (Arm::Shadow, 0), (Arm::Teacher, 0)];
    let parts: Vec<(Arm, u32)> = std::iter::once(stable).chain(others).collect();
    entry(&parts, true)
}

fn arm(entry: &Entry, bucket: impl FnOnce(&str) -> u32) -> Arm {
    entry.route(bucket).ok().unwrap().part().active.arm
}

#[test]
fn a_user_has_one_version_and_keeps_the_canary_when_its_share_grows() {
    let mut before = vec![false; 2_000];
    for weight in [0, 100, 1_000, 5_000, BASIS_POINTS] {
        let entry = split(weight);
        let has_canary = |user: usize| {
            let key = format!("user-{user}");
            let arms = [(); 2].map(|()| arm(&entry, |salt| split::bucket(salt, key.as_bytes())));
            assert_eq!(arms[0], arms[1]);
            arms[0] == Arm::Canary
        };
        let now: Vec<bool> = (0..before.len()).map(has_canary).collect();
        assert!(before.iter().zip(&now).all(|(was, is)| !was || *is));
        let (count, all) = (now.iter().filter(|is| **is).count(), before.len());
        assert_eq!(count == 0, weight == 0);
        assert_eq!(count == all, weight == BASIS_POINTS);
        before = now;
    }
}

#[test]
fn a_bucket_is_asked_for_only_where_several_versions_answer() {
    let unasked = |_: &str| -> u32 { panic!("nobody needs to know") };
    assert_eq!(
        arm(&entry(&[(Arm::Stable, BASIS_POINTS)], false), unasked),
        Arm::Stable
    );
    assert_eq!(arm(&split(0), unasked), Arm::Stable);
    assert_eq!(arm(&split(BASIS_POINTS), unasked), Arm::Canary);
    let asked = |salt: &str| {
        assert_eq!(salt, SALT);
        99
    };
    assert_eq!(arm(&split(100), asked), Arm::Canary);
    assert_eq!(arm(&split(99), asked), Arm::Stable);
}

#[test]
fn shadows_and_teachers_answer_nobody_and_are_reached_by_number() {
    let entry = split(2_500);
    for bucket in 0..BASIS_POINTS {
        let expected = if bucket < 2_500 {
            Arm::Canary
        } else {
            Arm::Stable
        };
        assert_eq!(arm(&entry, |_| bucket), expected);
    }
    let numbered = entry.numbered(ModelVersion::new(4).unwrap()).unwrap();
    assert_eq!(numbered.part().active.arm, Arm::Teacher);

    let alone = [(Arm::Shadow, 0), (Arm::Teacher, 0)].map(|part| self::entry(&[part], true));
    for entry in alone {
        assert!(!entry.is_ready());
        let reason = entry.route(|_| 0).err();
        assert_eq!(reason, Some("none of its versions is the stable one"));
    }
}

#[test]
fn what_a_version_does_is_counted_while_a_rollout_has_the_slot() {
    let error = CallError::Draining;
    let steady = entry(&[(Arm::Stable, BASIS_POINTS)], false);
    steady.route(|_| 0).ok().unwrap().count_failure(&error);
    let evidence = steady.evidence();
    assert_eq!(evidence.generation, Generation(3));
    assert!(evidence.arms.is_empty());

    let entry = split(2_500);
    let pinned = entry.route(|_| 0).ok().unwrap().clone();
    pinned.count_failure(&error);
    pinned.uncounted().count_failure(&error);
    // The table is made anew with each change of any slot.
    let evidence = entry.clone().evidence();
    let failures: Vec<u64> = evidence.arms.iter().map(|arm| arm.failures()).collect();
    assert_eq!(failures, [0, 1, 0, 0]);
    assert_eq!(Entry::default().evidence(), Evidence::default());
}
