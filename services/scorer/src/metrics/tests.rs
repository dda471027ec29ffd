use std::time::Duration;

use super::*;
use crate::error::CallError;
use crate::scoring::{Answer, Scored};
use crate::servable::statistics::ComputeTimes;
use tonic::Code;

fn place() -> Place {
    Place {
        model: "films".parse().unwrap(),
        slot: Default::default(),
    }
}

fn scored() -> Scored {
    Scored {
        answer: Answer::Scores(vec![0.5]),
        queue: Duration::from_micros(3),
        compute: ComputeTimes::default(),
        load: 0.0,
    }
}

#[test]
fn a_part_of_a_version_counts_in_one_place_however_often_it_is_loaded() {
    let meters = Meters::unread();
    let [first, second] = [(); 2].map(|()| meters.version(&place(), ModelVersion::FIRST));
    first.arm(Arm::Stable).succeed(2, &scored());
    second.arm(Arm::Stable).succeed(3, &scored());
    second.arm(Arm::Stable).fail(Code::Internal);
    second.arm(Arm::Canary).succeed(1, &scored());
    let codes: Vec<_> = first.arm(Arm::Stable).codes().collect();
    assert_eq!(codes, [("OK", 2), ("INTERNAL", 1)]);
    assert_eq!(first.arm(Arm::Stable).rows(), 5);
    let told = |meters: &Meters| {
        let arms = meters.inner.arms();
        arms.values().filter(|arm| arm.strong_count() > 0).count()
    };
    assert_eq!(told(&meters), 2);
    drop(second);
    assert_eq!(told(&meters), 1, "the canary has left");
    drop(first);
    assert_eq!(told(&meters), 0);
}

#[test]
fn what_has_not_happened_is_told_of_success_alone() {
    let version = Meters::unread().version(&place(), ModelVersion::FIRST);
    let codes: Vec<_> = version.arm(Arm::Shadow).codes().collect();
    assert_eq!(codes, [("OK", 0)]);
}

#[test]
fn only_who_was_turned_away_is_counted_as_that() {
    let refusals = Refusals::default();
    let busy = |limit| CallError::Busy {
        reason: String::new(),
        retry_after: Duration::ZERO,
        limit,
    };
    for error in [
        busy(Refusal::QueueFull),
        busy(Refusal::ClientLimit),
        busy(Refusal::Deadline),
        CallError::Expired,
        CallError::Draining,
        CallError::NotLearnt,
        CallError::NoCatalog,
        CallError::Broken,
    ] {
        refusals.note(&error);
    }
    let counts = Refusal::ALL.map(|refusal| (refusal.as_str(), refusals.of(refusal)));
    let expected = [
        ("queue_full", 1),
        ("deadline", 2),
        ("client_limit", 1),
        ("draining", 1),
        ("not_ready", 1),
        ("early", 0),
    ];
    assert_eq!(counts, expected);
}
