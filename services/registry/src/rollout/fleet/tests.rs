use decant_coordination::keys::ObservedVersion;
use decant_model::{Arm, BASIS_POINTS, Digest, ModelVersion, Pending};

use super::*;

fn name(text: &str) -> ScorerName {
    text.parse().unwrap()
}

pub(in crate::rollout) fn scorer(text: &str) -> (ScorerName, ScorerRecord) {
    let record = ScorerRecord {
        address: "localhost:1".into(),
        zone: String::new(),
        boot_id: "boot".into(),
        build: "test".into(),
        started_at_millis: 0,
    };
    (name(text), record)
}

pub(in crate::rollout) fn wanted() -> Vec<Active> {
    vec![Active {
        digest: Digest::of(b"two"),
        version: ModelVersion::FIRST.next(),
        arm: Arm::Stable,
        weight_basis_points: BASIS_POINTS,
    }]
}

pub(in crate::rollout) fn observed(
    text: &str,
    state: ObservedState,
    generation: u64,
) -> (ScorerName, ObservedRecord) {
    let record = ObservedRecord {
        boot_id: "boot".into(),
        generation: Generation(generation),
        serving: Generation(generation),
        versions: vec![ObservedVersion {
            digest: Digest::of(b"two"),
            version: ModelVersion::FIRST.next(),
            state,
            error: "no room".into(),
        }],
        frozen: None,
    };
    (name(text), record)
}

fn pending(percent: u8) -> DesiredSlot {
    DesiredSlot {
        generation: Generation(2),
        pending: Some(Pending {
            active: wanted(),
            min_ready_percent: percent,
        }),
        ..DesiredSlot::default()
    }
}

#[test]
fn what_an_earlier_process_said_does_not_count() {
    let (name, mut record) = observed("a", ObservedState::Ready, 2);
    record.boot_id = "earlier".into();
    let fleet = Fleet::new([scorer("a")], [(name, record)]);
    assert!(!fleet.readiness(&wanted()).is_enough(1));
    let gone = Fleet::new([], [observed("a", ObservedState::Ready, 2)]);
    assert!(
        gone.readiness(&wanted()).is_enough(100),
        "nobody to wait for"
    );
}

#[test]
fn a_share_of_the_live_scorers_is_enough() {
    let states = [
        ObservedState::Ready,
        ObservedState::Loading,
        ObservedState::Failed,
    ];
    let names = ["a", "b", "c"];
    let observed = names
        .into_iter()
        .zip(states)
        .map(|(name, state)| observed(name, state, 2));
    let fleet = Fleet::new(names.map(scorer), observed);
    let readiness = fleet.readiness(&wanted());
    assert!(readiness.is_enough(33) && !readiness.is_enough(34));
    assert_eq!(
        readiness.words(),
        "1 of 3 scorers have it ready; waiting for b; scorer `c` failed to load v2: no room"
    );
    assert_eq!(fleet.blocked(&pending(66)), "", "the loading one would do");
    assert!(
        fleet
            .blocked(&pending(67))
            .contains("scorer `c` failed to load v2: no room")
    );
}

#[test]
fn a_scorer_that_is_further_than_the_slot_blocks_it() {
    let fleet = Fleet::new([scorer("a")], [observed("a", ObservedState::Ready, 3)]);
    assert!(fleet.blocked(&pending(100)).contains("decant admin adopt"));
    assert_eq!(fleet.latest(), Some(Generation(3)));
}

#[test]
fn a_slot_has_converged_when_all_live_scorers_serve_it() {
    let mut slot = pending(100);
    let fleet = Fleet::new([scorer("a")], [observed("a", ObservedState::Ready, 2)]);
    assert!(!fleet.converged(&slot));
    slot.pending = None;
    assert!(fleet.converged(&slot));
    slot.generation = Generation(3);
    assert!(!fleet.converged(&slot));
    let silent = Fleet::new(
        [scorer("a"), scorer("b")],
        [observed("a", ObservedState::Ready, 3)],
    );
    assert!(!silent.converged(&slot));
    assert!(Fleet::default().converged(&slot));
}
