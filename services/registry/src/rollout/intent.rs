//! What scorers are to serve where a rollout stands.

use decant_coordination::keys::RolloutRecord;
use decant_model::rollout::{Intent, RolloutId};
use decant_model::{Active, Arm, BASIS_POINTS, DesiredSlot, Prepared};

/// A slot's next generation as a rollout wants it. Who makes it and why is as in the present one.
pub(super) fn next(
    intent: Intent,
    id: &RolloutId,
    record: &RolloutRecord,
    current: &DesiredSlot,
) -> DesiredSlot {
    let stable = |weight| active(record.stable, Arm::Stable, weight);
    let candidate = |arm, weight| active(record.candidate, arm, weight);
    let teacher = record
        .teacher
        .map(|teacher| active(teacher, Arm::Teacher, 0));
    let with_teacher =
        |versions: [Active; 2]| -> Vec<Active> { versions.into_iter().chain(teacher).collect() };
    let (active, prepare) = match intent {
        Intent::Prepare => (
            current.active.clone(),
            [record.candidate]
                .into_iter()
                .chain(record.teacher)
                .collect(),
        ),
        Intent::Shadow => (
            with_teacher([stable(BASIS_POINTS), candidate(Arm::Shadow, 0)]),
            Vec::new(),
        ),
        Intent::Split(share) => {
            let share = share.basis_points();
            let versions = [stable(BASIS_POINTS - share), candidate(Arm::Canary, share)];
            (with_teacher(versions), Vec::new())
        }
        Intent::Restore => (vec![stable(BASIS_POINTS)], vec![record.candidate]),
        Intent::Promote => (
            vec![candidate(Arm::Stable, BASIS_POINTS)],
            vec![record.stable],
        ),
    };
    let next = DesiredSlot {
        generation: current.generation.next(),
        active,
        prepare,
        pending: None,
        ..current.clone()
    };
    if ends(intent) {
        return let_go(next);
    }
    DesiredSlot {
        salt: id.to_string(),
        compare_basis_points: record.rollout.plan.compare.basis_points(),
        rollout: Some(id.clone()),
        ..next
    }
}

/// Whether a rollout lets go of the slot with this.
fn ends(intent: Intent) -> bool {
    matches!(intent, Intent::Restore | Intent::Promote)
}

/// A slot that no rollout has.
pub(super) fn let_go(slot: DesiredSlot) -> DesiredSlot {
    DesiredSlot {
        salt: String::new(),
        compare_basis_points: 0,
        rollout: None,
        ..slot
    }
}

pub(super) fn active(version: Prepared, arm: Arm, weight_basis_points: u32) -> Active {
    Active {
        digest: version.digest,
        version: version.version,
        arm,
        weight_basis_points,
    }
}

#[cfg(test)]
mod tests {
    use decant_model::rollout::{Plan, Rollout, Share};
    use decant_model::{Digest, Freeze, Generation, ModelVersion};

    use super::*;

    fn version(number: u64) -> Prepared {
        Prepared {
            digest: Digest::of(&number.to_be_bytes()),
            version: ModelVersion::new(number).unwrap(),
        }
    }

    fn id() -> RolloutId {
        "01hv0000000000000000000000".parse().unwrap()
    }

    fn record(teacher: Option<Prepared>) -> RolloutRecord {
        RolloutRecord {
            rollout: Rollout::new(Plan::default()),
            candidate: version(2),
            stable: version(1),
            teacher,
            generation: Generation(7),
            checks: Vec::new(),
            retry_of: String::new(),
            issued_by: "ana".into(),
            reason: String::new(),
            started_at_millis: 0,
            moved_at_millis: 0,
            moved_by: "ana".into(),
            epoch: 0,
            trace: None,
        }
    }

    fn current() -> DesiredSlot {
        DesiredSlot {
            generation: Generation(7),
            active: vec![active(version(1), Arm::Stable, BASIS_POINTS)],
            rollout: Some(id()),
            frozen: Some(Freeze {
                by: "bob".into(),
                reason: "audit".into(),
                since_millis: 1,
            }),
            ..DesiredSlot::default()
        }
    }

    fn parts(slot: &DesiredSlot) -> Vec<(u64, Arm, u32)> {
        let part = |active: &Active| {
            let (version, arm) = (active.version.get(), active.arm);
            (version, arm, active.weight_basis_points)
        };
        slot.active.iter().map(part).collect()
    }

    #[test]
    fn each_intent_is_the_next_generation_and_shares_add_up() {
        let record = record(Some(version(9)));
        let share = Share::from_basis_points(1_250).unwrap();
        let of = |intent| next(intent, &id(), &record, &current());
        let teacher = (9, Arm::Teacher, 0);
        for (intent, expected) in [
            (Intent::Prepare, vec![(1, Arm::Stable, 10_000)]),
            (
                Intent::Shadow,
                vec![(1, Arm::Stable, 10_000), (2, Arm::Shadow, 0), teacher],
            ),
            (
                Intent::Split(share),
                vec![(1, Arm::Stable, 8_750), (2, Arm::Canary, 1_250), teacher],
            ),
        ] {
            let slot = of(intent);
            assert_eq!(parts(&slot), expected);
            assert_eq!((slot.generation.0, &slot.rollout), (8, &Some(id())));
            assert_eq!(
                (&*slot.salt, slot.compare_basis_points),
                (id().as_str(), 10_000)
            );
        }
        assert_eq!(of(Intent::Prepare).prepare, [version(2), version(9)]);
    }

    #[test]
    fn the_ends_leave_nothing_of_the_rollout_but_the_way_back() {
        let record = record(None);
        for (intent, serves, ready) in [(Intent::Restore, 1, 2), (Intent::Promote, 2, 1)] {
            let slot = next(intent, &id(), &record, &current());
            assert_eq!(parts(&slot), [(serves, Arm::Stable, 10_000)]);
            assert_eq!(slot.prepare, [version(ready)]);
            assert_eq!((&*slot.salt, slot.compare_basis_points), ("", 0));
            assert_eq!(slot.rollout, None);
            assert_eq!(slot.frozen, current().frozen, "frozen slots stay so");
        }
    }
}
