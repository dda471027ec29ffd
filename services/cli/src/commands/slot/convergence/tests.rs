use decant_proto::rollout::v1::{ObservedVersion, Scorer, SlotVersion};

use super::*;

fn slot(generation: u64, active: u64, pending: Option<u64>) -> Slot {
    let version = |version| SlotVersion {
        version,
        ..SlotVersion::default()
    };
    Slot {
        model: "movies".into(),
        slot: "main".into(),
        generation,
        active: vec![version(active)],
        pending: pending.map(version).into_iter().collect(),
        issued_by: "ada".into(),
        ..Slot::default()
    }
}

/// A scorer that serves a generation and has v2 in a state.
fn scorer(name: &str, serving: u64, state: ObservedState, error: &str) -> ScorerStatus {
    ScorerStatus {
        scorer: Some(Scorer {
            name: name.into(),
            ..Scorer::default()
        }),
        generation: serving,
        serving,
        versions: vec![ObservedVersion {
            version: 2,
            state: state.into(),
            error: error.into(),
            ..ObservedVersion::default()
        }],
        frozen: String::new(),
    }
}

fn status(slot: Slot, scorers: &[ScorerStatus]) -> SlotStatus {
    SlotStatus {
        slot: Some(slot),
        scorers: scorers.to_vec(),
        ..SlotStatus::default()
    }
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

use ObservedState::{Failed, Loading, Ready};

#[test]
fn a_version_is_prepared_activated_and_served() {
    let mut change = Convergence::new(&slot(6, 1, Some(2)), 2);
    let observe = |change: &mut Convergence, status, millis| change.observe(&status, ms(millis));

    let loading = [
        scorer("scorer-1", 5, Loading, ""),
        scorer("scorer-2", 6, Ready, ""),
    ];
    let (lines, stage) = observe(&mut change, status(slot(6, 1, Some(2)), &loading), 40);
    assert_eq!(lines, ["scorer-2 has v2 ready after 40.0 ms"]);
    assert_eq!(stage, Stage::Waiting);
    assert_eq!(
        change.shortfall(),
        "it is not activated: 1 of 2 scorers have it ready"
    );
    assert_eq!(
        change.obstacles(),
        ["scorer-1: at generation 5, serves 5, v2 LOADING"]
    );

    let ready = [
        scorer("scorer-1", 6, Ready, ""),
        scorer("scorer-2", 6, Ready, ""),
    ];
    let (lines, _) = observe(&mut change, status(slot(6, 1, Some(2)), &ready), 1200);
    assert_eq!(lines, ["scorer-1 has v2 ready after 1.20 s"]);

    let first = [
        scorer("scorer-1", 6, Ready, ""),
        scorer("scorer-2", 7, Ready, ""),
    ];
    let (lines, stage) = observe(&mut change, status(slot(7, 2, None), &first), 1300);
    assert_eq!(
        lines,
        [
            "v2 is activated as generation 7 after 1.30 s",
            "scorer-2 serves generation 7 after 1.30 s"
        ]
    );
    assert_eq!(stage, Stage::Waiting);
    assert_eq!(
        change.shortfall(),
        "1 of 2 scorers do not serve generation 7"
    );

    let both = [
        scorer("scorer-1", 7, Ready, ""),
        scorer("scorer-2", 7, Ready, ""),
    ];
    let (lines, stage) = observe(&mut change, status(slot(7, 2, None), &both), 1350);
    assert_eq!(lines, ["scorer-1 serves generation 7 after 1.35 s"]);
    assert_eq!(stage, Stage::Done);
    assert_eq!(
        change.summary().unwrap(),
        "converged: 2/2 scorers serve generation 7 (slowest scorer-1, 1.35 s)"
    );
    assert_eq!(
        change.to_json()[0],
        json!({ "name": "scorer-1", "ready_after_seconds": 1.2, "serving_after_seconds": 1.35 })
    );
}

#[test]
fn a_prepared_version_is_served_at_once() {
    let mut change = Convergence::new(&slot(7, 2, None), 2);
    let scorers: Vec<ScorerStatus> = (1..=10)
        .map(|number| scorer(&format!("scorer-{number}"), 7, Ready, ""))
        .collect();
    // A replica that lags tells an earlier state: it counts for nothing.
    let stale = status(slot(6, 1, None), &scorers[..1]);
    assert_eq!(change.observe(&stale, ms(1)), (vec![], Stage::Waiting));
    assert_eq!(change.shortfall(), "nothing is known of the scorers");
    let (lines, stage) = change.observe(&status(slot(7, 2, None), &scorers), ms(182));
    assert_eq!((lines.len(), stage), (10, Stage::Done));
    assert_eq!(lines[2], "scorer-3 serves generation 7 after 182 ms");
}

#[test]
fn a_fleet_of_none_has_nothing_to_wait_for() {
    let mut change = Convergence::new(&slot(6, 1, Some(2)), 2);
    let (_, stage) = change.observe(&status(slot(6, 1, Some(2)), &[]), ms(1));
    assert_eq!(stage, Stage::Waiting, "the leader has yet to activate it");
    let (_, stage) = change.observe(&status(slot(7, 2, None), &[]), ms(2));
    assert_eq!((stage, change.summary()), (Stage::Done, None));
    assert_eq!(change.took(), None);
}

#[test]
fn a_scorer_that_leaves_is_not_waited_for() {
    let mut change = Convergence::new(&slot(7, 2, None), 2);
    let both = [
        scorer("scorer-1", 7, Ready, ""),
        scorer("scorer-2", 6, Ready, ""),
    ];
    let (_, stage) = change.observe(&status(slot(7, 2, None), &both), ms(10));
    assert_eq!(stage, Stage::Waiting);
    let (lines, stage) = change.observe(&status(slot(7, 2, None), &both[..1]), ms(20));
    assert_eq!((lines, stage), (vec![], Stage::Done));
    assert_eq!(
        change.summary().unwrap(),
        "converged: 1/1 scorers serve generation 7 (slowest scorer-1, 10.0 ms)"
    );
}

#[test]
fn what_keeps_scorers_back_is_told_once_and_named_at_the_end() {
    let mut change = Convergence::new(&slot(6, 1, Some(2)), 2);
    let frozen = ScorerStatus {
        frozen: "the store is an older copy".into(),
        versions: vec![],
        ..scorer("scorer-2", 5, Loading, "")
    };
    let seen = SlotStatus {
        blocked: "v2 failed on scorer-1".into(),
        ..status(
            slot(6, 1, Some(2)),
            &[scorer("scorer-1", 6, Failed, "golden vector 3"), frozen],
        )
    };
    let (lines, _) = change.observe(&seen, ms(10));
    assert_eq!(
        lines,
        [
            "scorer-1: v2: golden vector 3",
            "scorer-2: the store is an older copy",
            "blocked: v2 failed on scorer-1"
        ]
    );
    assert_eq!(change.observe(&seen, ms(20)), (vec![], Stage::Waiting));
    assert_eq!(
        change.obstacles(),
        [
            "blocked: v2 failed on scorer-1",
            "scorer-1: at generation 6, serves 6, v2 FAILED: golden vector 3",
            "scorer-2: at generation 5, serves 5, does not know of v2 yet, FROZEN: the store is an older copy",
        ]
    );
}

#[test]
fn another_change_ends_the_waiting() {
    let overtaken = |slot| {
        Convergence::new(&self::slot(6, 1, Some(2)), 2)
            .observe(&status(slot, &[]), ms(1))
            .1
    };
    assert_eq!(overtaken(slot(7, 3, None)), Stage::Overtaken);
    assert_eq!(overtaken(slot(7, 1, Some(3))), Stage::Overtaken);
    assert_eq!(overtaken(slot(7, 1, None)), Stage::Overtaken);
    // A version that somebody has prepared beside it is no other change.
    assert_eq!(overtaken(slot(7, 1, Some(2))), Stage::Waiting);
}
