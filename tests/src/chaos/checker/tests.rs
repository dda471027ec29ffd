use decant_proto::scorer::v1::ServedBy;
use tonic::Code;

use super::*;
use crate::history::Question;

fn at(millis: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000) + Duration::from_millis(millis)
}

fn window(fault: Fault, from: u64, until: u64) -> Window {
    Window {
        fault,
        from: at(from),
        until: at(until),
    }
}

fn answer(scorer: usize, from: u64, until: u64, generation: Option<u64>) -> Answer {
    let served = |generation| {
        let served_by = ServedBy {
            digest: "sha256:1".to_owned(),
            generation,
            ..ServedBy::default()
        };
        (served_by, Vec::new())
    };
    Answer {
        question: Question::default(),
        scorer,
        asked: at(from),
        answered: at(until),
        outcome: generation
            .map(served)
            .ok_or((Code::Unavailable, "away".to_owned())),
    }
}

fn slot(generation: u64) -> rollout::Slot {
    rollout::Slot {
        generation,
        active: vec![rollout::SlotVersion {
            digest: "sha256:1".to_owned(),
            weight_basis_points: 10_000,
            ..rollout::SlotVersion::default()
        }],
        issue_time: Some(at(0).into()),
        reason: format!("{NAME}{generation}"),
        ..rollout::Slot::default()
    }
}

fn entry(generation: u64) -> AuditEntry {
    AuditEntry {
        request_id: format!("{NAME}{generation}"),
        ..AuditEntry::default()
    }
}

/// A run in which nothing was wrong, with two generations.
fn evidence() -> Evidence {
    Evidence {
        asked: History::default(),
        called: History::default(),
        windows: Vec::new(),
        deaths: Vec::new(),
        bundles: Vec::new(),
        slots: vec![slot(2), slot(1)],
        rollouts: Vec::new(),
        audit: vec![entry(2), entry(1)],
        audit_broken: String::new(),
        told: vec![(format!("{NAME}2"), Some(slot(2)))],
        calm: Vec::new(),
        failed: Vec::new(),
    }
}

#[test]
fn a_call_may_fail_only_at_a_moment_when_all_scorers_are_touched() {
    let fails = |windows: Vec<Window>| {
        let evidence = Evidence {
            called: History(vec![answer(0, 20_000, 21_000, None)]),
            windows,
            ..evidence()
        };
        (evidence.no_drop().is_err(), evidence.excused())
    };
    let stalled = |scorer, from, until| window(Fault::Stall(Host::Scorer(scorer)), from, until);
    let of_all = |from, until| {
        let scorers = 0..SCORERS;
        scorers
            .map(move |scorer| stalled(scorer, from, until))
            .collect::<Vec<_>>()
    };
    let settle = SETTLE.as_millis() as u64;
    assert_eq!(fails(Vec::new()), (true, 0));
    assert_eq!(fails(of_all(0, 30_000)), (false, 1));
    assert_eq!(
        fails(of_all(20_500, 30_000)),
        (false, 1),
        "it was under way"
    );
    assert_eq!(
        fails(of_all(5_000, 20_000 - settle / 2)),
        (false, 1),
        "they are not well yet"
    );
    assert_eq!(
        fails(of_all(0, 20_000 - 2 * settle)),
        (true, 0),
        "they have been well for long"
    );
    assert_eq!(fails(of_all(22_000, 30_000)), (true, 0), "it was over");
    assert_eq!(
        fails(vec![window(Fault::CutClients, 19_000, 20_500)]),
        (false, 1)
    );
    let mut three = of_all(0, 30_000);
    three.pop();
    assert_eq!(fails(three.clone()), (true, 0));
    three.push(window(Fault::Blind(SCORERS - 1), 0, 30_000));
    assert_eq!(fails(three), (true, 0), "one that is blind answers");
}

#[test]
fn a_scorer_fails_to_answer_only_when_a_fault_touches_it() {
    let fails = |fault: Fault| {
        let evidence = Evidence {
            asked: History(vec![answer(1, 20_000, 21_000, None)]),
            windows: vec![window(fault, 20_500, 22_000)],
            ..evidence()
        };
        evidence.static_stability().is_err()
    };
    assert!(!fails(Fault::Isolate(Host::Scorer(1))));
    assert!(!fails(Fault::BlindRestart(1)));
    assert!(fails(Fault::Isolate(Host::Scorer(2))));
    assert!(fails(Fault::Blind(1)));
    assert!(fails(Fault::Kill(Host::Etcd(1))));
}

#[test]
fn generations_go_back_only_with_a_new_life() {
    let follows = |deaths: Vec<(Host, SystemTime)>| {
        let answers = [(0, Some(2)), (1_000, Some(1))];
        let answers = answers.map(|(from, generation)| answer(0, from, from + 10, generation));
        let evidence = Evidence {
            asked: History(answers.to_vec()),
            deaths,
            ..evidence()
        };
        evidence.never_unpromoted().is_ok()
    };
    assert!(follows(vec![(Host::Scorer(0), at(500))]));
    assert!(!follows(Vec::new()));
    assert!(!follows(vec![(Host::Scorer(1), at(500))]));
    assert!(!follows(vec![(Host::Scorer(0), at(2_000))]));
}

#[test]
fn what_was_said_to_be_done_is_recorded_and_was_done_once() {
    let whole = |change: fn(&mut Evidence)| {
        let mut evidence = evidence();
        change(&mut evidence);
        evidence.audit_complete().is_ok()
    };
    assert!(whole(|_| {}));
    assert!(!whole(
        |evidence| evidence.audit_broken = "entry 7".to_owned()
    ));
    assert!(!whole(|evidence| drop(evidence.slots.remove(1))));
    assert!(!whole(|evidence| drop(evidence.audit.remove(0))));
    assert!(!whole(|evidence| evidence.audit.push(entry(2))));
    assert!(!whole(|evidence| {
        let told = (format!("{NAME}3"), Some(slot(3)));
        evidence.told.push(told);
    }));
    // Nothing had to be changed for it.
    assert!(whole(|evidence| evidence.told[0].0 = format!("{NAME}4")));
}

#[test]
fn an_earlier_leader_does_nothing_after_a_later_one() {
    let fenced = |epochs: [u64; 3]| {
        let slots = epochs.map(|epoch| rollout::Slot { epoch, ..slot(1) });
        let evidence = Evidence {
            slots: slots.to_vec(),
            ..evidence()
        };
        evidence.fenced().is_ok()
    };
    assert!(fenced([7, 0, 7]));
    assert!(fenced([9, 0, 7]));
    assert!(!fenced([7, 0, 9]));
}

#[test]
fn in_calm_times_a_generation_comes_to_all_scorers_soon() {
    let converges = |came: [u64; SCORERS]| {
        let answers = came.into_iter().enumerate().flat_map(|(scorer, came)| {
            let before = answer(scorer, 0, 10, Some(1));
            [before, answer(scorer, came, came + 10, Some(2))]
        });
        let evidence = Evidence {
            asked: History(answers.collect()),
            calm: vec![(2, at(0))],
            ..evidence()
        };
        evidence.converges().is_ok()
    };
    assert!(converges([100, 200, 300, 4_900]));
    assert!(!converges([100, 200, 300, 5_100]));
    let failed = Evidence {
        failed: vec!["scorer-1 ended unasked".to_owned()],
        ..evidence()
    };
    assert!(failed.converges().is_err());
}
