//! Each phase, and what leads out of it.

use Verdict::{Fail, Inconclusive, Pass};

use super::*;

fn share(percent: u32) -> Share {
    Share::from_basis_points(100 * percent).unwrap()
}

/// The way of a good version, with what scorers are to serve on it.
#[test]
fn a_good_version_goes_all_the_way() {
    let steps = [
        "1%",
        "analysis 30m",
        "10%",
        "pause 5m",
        "50%",
        "analysis 30m",
        "100%",
    ];
    let rollout = Rollout::new(plan(&steps));
    assert_eq!(rollout.phase, Phase::Pending);
    let (rollout, intent) = rollout.after_look(&waiting(Duration::ZERO));
    assert_eq!(
        (rollout.phase, intent),
        (Phase::Preparing, Some(Intent::Prepare))
    );
    assert_eq!(rollout.look(&waiting(SECOND)), None);

    let (rollout, intent) = rollout.after_look(&ready());
    assert_eq!((rollout.phase, rollout.step), (Phase::Progressing, 0));
    assert_eq!(intent, Some(Intent::Split(share(1))));
    assert_eq!(rollout.setting, Setting::Weight(share(1)));
    assert_eq!(rollout.look(&ready()), None, "not all have taken it in");

    let unknown = rollout.verdicts([Inconclusive; 2]);
    let (rollout, intent) = rollout.after_look(&converged(unknown.clone()));
    assert_eq!((rollout.step, intent), (1, None));
    assert_eq!(rollout.look(&converged(unknown)), None);
    let one = rollout.verdicts([Pass, Inconclusive]);
    assert_eq!(rollout.look(&converged(one)), None);

    let passed = rollout.verdicts([Pass; 2]);
    let (rollout, intent) = rollout.after_look(&converged(passed.clone()));
    assert_eq!((rollout.step, intent), (2, Some(Intent::Split(share(10)))));

    let (rollout, intent) = rollout.after_look(&converged(Judgement::default()));
    assert_eq!(
        (rollout.phase, rollout.step, intent),
        (Phase::Paused, 3, None)
    );
    assert_eq!(rollout.setting, Setting::Weight(share(10)));
    assert_eq!(rollout.look(&waiting(5 * MINUTE - SECOND)), None);
    let (rollout, intent) = rollout.after_look(&waiting(5 * MINUTE));
    assert_eq!((rollout.phase, rollout.step), (Phase::Progressing, 4));
    assert_eq!(intent, Some(Intent::Split(share(50))));

    let (rollout, _) = rollout.after_look(&converged(Judgement::default()));
    let (rollout, intent) = rollout.after_look(&converged(passed));
    assert_eq!((rollout.step, intent), (6, Some(Intent::Split(Share::ALL))));
    let (rollout, intent) = rollout.after_look(&converged(Judgement::default()));
    assert_eq!(
        (rollout.phase, intent),
        (Phase::Promoted, Some(Intent::Promote))
    );
    assert_eq!(rollout.step, steps.len());
    assert!(rollout.phase.is_over() && !rollout.phase.holds_slot());
    assert_eq!(rollout.look(&waiting(MINUTE)), None);
}

#[test]
fn without_steps_all_of_the_traffic_moves_once_the_version_is_ready() {
    let (rollout, _) = Rollout::new(Plan::blue_green()).after_look(&waiting(SECOND));
    let (rollout, intent) = rollout.after_look(&ready());
    assert_eq!(
        (rollout.phase, intent),
        (Phase::Promoted, Some(Intent::Promote))
    );
}

#[test]
fn a_shadow_is_judged_before_it_answers_anything() {
    let rollout = Rollout::begun(&["shadow", "analysis 10m", "1%"]);
    assert_eq!(
        (rollout.phase, rollout.setting),
        (Phase::Shadowing, Setting::Shadow)
    );
    let (rollout, intent) = rollout.after_look(&converged(Judgement::default()));
    assert_eq!(
        (rollout.phase, rollout.step, intent),
        (Phase::Shadowing, 1, None)
    );
    let passed = rollout.verdicts([Pass; 2]);
    let (rollout, intent) = rollout.after_look(&converged(passed));
    assert_eq!(
        (rollout.phase, intent),
        (Phase::Progressing, Some(Intent::Split(share(1))))
    );
}

/// A pause of the plan may come before any traffic.
#[test]
fn a_pause_can_be_the_first_step() {
    let rollout = Rollout::begun(&["pause", "1%"]);
    assert_eq!(
        (rollout.phase, rollout.setting),
        (Phase::Paused, Setting::Idle)
    );
    assert_eq!(rollout.look(&waiting(Duration::MAX)), None);
    let (rollout, intent) = rollout.after(Verb::Resume);
    assert_eq!((rollout.step, intent), (1, Some(Intent::Split(share(1)))));
}

#[track_caller]
fn assert_aborted(outcome: (Rollout, Option<Intent>), why: &str) {
    let (rollout, intent) = outcome;
    assert_eq!(
        (rollout.phase, intent),
        (Phase::Aborting, Some(Intent::Restore))
    );
    assert_eq!(
        (rollout.setting, rollout.why.as_str()),
        (Setting::Idle, why)
    );
    assert!(rollout.pause.is_none() && rollout.held.is_empty());
}

#[test]
fn what_scorers_do_not_get_ready_is_aborted() {
    let (rollout, _) = Rollout::new(plan(&["1%"])).after_look(&waiting(SECOND));
    assert_eq!(rollout.look(&waiting(15 * MINUTE - SECOND)), None);
    assert_aborted(
        rollout.after_look(&waiting(15 * MINUTE)),
        "too few scorers had the version ready within 15m",
    );
    let impossible = Sight {
        preparation: Preparation::Impossible("two of three cannot load it".into()),
        ..waiting(SECOND)
    };
    assert_aborted(
        rollout.after_look(&impossible),
        "two of three cannot load it",
    );
}

#[test]
fn a_step_that_is_not_taken_in_is_aborted() {
    for steps in [["shadow"], ["1%"]] {
        let rollout = Rollout::begun(&steps);
        assert_eq!(rollout.look(&waiting(15 * MINUTE - SECOND)), None);
        assert_aborted(
            rollout.after_look(&waiting(15 * MINUTE)),
            "some scorers did not take the step in within 15m",
        );
    }
}

/// Missing data holds a rollout where it is, and ends it at the limit.
#[test]
fn an_analysis_without_an_answer_is_aborted_at_its_limit() {
    let rollout = Rollout::begun(&["1%", "analysis 30m"]);
    let (rollout, _) = rollout.after_look(&converged(Judgement::default()));
    assert_eq!(rollout.look(&waiting(30 * MINUTE - SECOND)), None);
    assert_aborted(
        rollout.after_look(&waiting(30 * MINUTE)),
        "within 30m nothing was measured",
    );
    let late = Sight {
        judgement: rollout.verdicts([Inconclusive, Pass]),
        ..waiting(30 * MINUTE)
    };
    assert_aborted(
        rollout.after_look(&late),
        "within 30m these gates did not pass: \
         stable-top-k cannot tell yet: 0.2500 of 1000 requests, at least 0.5 is wanted",
    );
}

/// In every phase in which the version sees traffic.
#[test]
fn a_gate_that_fails_ends_the_rollout_wherever_it_is() {
    let working = Rollout::begun(&["1%", "pause", "10%"]);
    let (paused, _) = working.after(Verb::Pause);
    let (planned, _) = working.after_look(&converged(Judgement::default()));
    let (held, _) = working.after_look(&converged(working.verdicts([Pass, Fail])));
    let shadowing = Rollout::begun(&["shadow"]);
    for rollout in [working, paused, planned, held, shadowing] {
        let failed = Sight {
            judgement: rollout.verdicts([Fail, Pass]),
            ..waiting(SECOND)
        };
        assert_aborted(
            rollout.after_look(&failed),
            "stable-top-k fails: 0.2500 of 1000 requests, at least 0.5 is wanted",
        );
    }
}

#[test]
fn a_gate_that_holds_waits_for_an_operator() {
    let rollout = Rollout::begun(&["1%", "analysis 30m", "10%"]);
    let (rollout, _) = rollout.after_look(&converged(Judgement::default()));
    let failed = converged(rollout.verdicts([Pass, Fail]));
    let (held, intent) = rollout.after_look(&failed);
    assert_eq!((held.phase, held.step, intent), (Phase::Paused, 1, None));
    assert_eq!(held.pause, Some(Pause::Gate(Phase::Progressing)));
    assert_eq!(held.held, [Metric::StableKl]);
    assert_eq!(
        held.why,
        "stable-kl fails: 0.2500 of 1000 requests, at most 0.5 is wanted"
    );
    // However long it takes, and whatever the gate says meanwhile.
    assert_eq!(held.look(&failed), None);
    assert_eq!(held.look(&waiting(Duration::MAX)), None);
    let recovered = converged(rollout.verdicts([Pass; 2]));
    assert_eq!(held.look(&recovered), None);

    // Whoever goes on lets it pass for this step alone.
    let (resumed, intent) = held.after(Verb::Resume);
    assert_eq!(
        (resumed.phase, resumed.step, intent),
        (Phase::Progressing, 1, None)
    );
    assert_eq!(resumed.waived, [Metric::StableKl]);
    let (next, intent) = resumed.after_look(&failed);
    assert_eq!(intent, Some(Intent::Split(share(10))));
    assert!(next.waived.is_empty());
    let (again, _) = next.after_look(&failed);
    assert_eq!(again.pause, Some(Pause::Gate(Phase::Progressing)));
}

/// A pause by hand, while a gate holds it, changes nothing of what going on means.
#[test]
fn a_held_rollout_that_is_paused_by_hand_goes_on_at_the_first_word() {
    let rollout = Rollout::begun(&["1%", "analysis 30m"]);
    let failed = Sight {
        judgement: rollout.verdicts([Pass, Fail]),
        ..waiting(SECOND)
    };
    let (held, _) = rollout.after_look(&failed);
    let (paused, _) = held.after(Verb::Pause);
    assert_eq!(paused.pause, Some(Pause::Operator(Phase::Progressing)));
    let (resumed, _) = paused.after(Verb::Resume);
    assert_eq!(resumed, held.after(Verb::Resume).0);
    assert_eq!(resumed.look(&failed), None);
}

/// Of two gates on one metric, the one that was let pass leaves the other as it is.
#[test]
fn letting_one_gate_pass_leaves_the_stricter_one() {
    let mut rollout = Rollout::begun(&["1%", "analysis 30m"]);
    rollout.plan.gates[0] = gate(Metric::StableKl, OnFail::Abort);
    let held = Sight {
        judgement: rollout.verdicts([Inconclusive, Fail]),
        ..waiting(SECOND)
    };
    let (rollout, _) = rollout.after_look(&held);
    let (rollout, _) = rollout.after(Verb::Resume);
    assert_eq!(rollout.look(&held), None);
    let worse = Sight {
        judgement: rollout.verdicts([Fail, Fail]),
        ..waiting(SECOND)
    };
    assert_eq!(rollout.after_look(&worse).0.phase, Phase::Aborting);
}

#[test]
fn a_gate_that_holds_during_a_planned_pause_outlasts_it() {
    let rollout = Rollout::begun(&["1%", "pause 5m", "10%"]);
    let (pausing, _) = rollout.after_look(&converged(Judgement::default()));
    let failed = Sight {
        judgement: rollout.verdicts([Pass, Fail]),
        ..waiting(SECOND)
    };
    let (held, _) = pausing.after_look(&failed);
    assert_eq!(held.look(&waiting(Duration::MAX)), None);
    // Who goes on has seen what the pause was for, too.
    let (resumed, _) = held.after(Verb::Resume);
    let (next, intent) = resumed.after_look(&failed);
    assert_eq!((next.step, intent), (2, Some(Intent::Split(share(10)))));
}

#[test]
fn a_pause_by_hand_holds_whatever_happens_and_goes_on_where_it_was() {
    let working = Rollout::begun(&["1%", "analysis 30m"]);
    let pending = Rollout::new(plan(&["1%"]));
    let (preparing, _) = pending.after_look(&waiting(SECOND));
    for rollout in [working, pending, preparing] {
        let (paused, intent) = rollout.after(Verb::Pause);
        assert_eq!((paused.phase, intent), (Phase::Paused, None));
        assert_eq!(paused.why, "because");
        assert_eq!(paused.look(&converged(Judgement::default())), None);
        assert_eq!(paused.look(&waiting(Duration::MAX)), None);
        assert!(paused.told(Verb::Pause, "again").is_err());
        let (resumed, intent) = paused.after(Verb::Resume);
        assert_eq!((resumed, intent), (rollout, None));
    }
}

#[test]
fn a_planned_pause_that_is_paused_by_hand_goes_on_as_planned() {
    let rollout = Rollout::begun(&["pause 5m", "1%"]);
    let (paused, _) = rollout.after(Verb::Pause);
    assert_eq!(paused.look(&waiting(Duration::MAX)), None);
    let (resumed, _) = paused.after(Verb::Resume);
    assert_eq!(resumed, rollout);
    let (next, _) = resumed.after_look(&waiting(5 * MINUTE));
    assert_eq!((next.phase, next.step), (Phase::Progressing, 1));
}

#[test]
fn an_operator_can_take_the_next_step_or_all_of_them() {
    let rollout = Rollout::begun(&["1%", "analysis 30m", "10%"]);
    let (next, intent) = rollout.after(Verb::Promote);
    assert_eq!((next.step, intent), (1, None));
    let (next, intent) = next.after(Verb::Promote);
    assert_eq!((next.step, intent), (2, Some(Intent::Split(share(10)))));
    let (last, intent) = next.after(Verb::Promote);
    assert_eq!(
        (last.phase, intent),
        (Phase::Promoted, Some(Intent::Promote))
    );
    let (last, intent) = rollout.after(Verb::PromoteFully);
    assert_eq!(
        (last.phase, intent),
        (Phase::Promoted, Some(Intent::Promote))
    );
    assert_eq!(last.why, "because");
}

#[test]
fn what_cannot_be_done_says_why() {
    let pending = Rollout::new(plan(&["1%"]));
    let (preparing, _) = pending.after_look(&waiting(SECOND));
    let (paused, _) = preparing.after(Verb::Pause);
    let (promoted, _) = Rollout::begun(&["1%"]).after(Verb::PromoteFully);
    let (aborting, _) = pending.after(Verb::Abort);
    let (rolled_back, _) = pending.after(Verb::RollBack);
    for (rollout, verb, says) in [
        (
            &pending,
            Verb::Promote,
            "a rollout that is pending cannot be promoted: no scorer has the version ready yet",
        ),
        (
            &preparing,
            Verb::Resume,
            "a rollout that is preparing cannot be resumed: it is not paused",
        ),
        (
            &paused,
            Verb::PromoteFully,
            "a rollout that is paused cannot be promoted: too few scorers have the version ready",
        ),
        (
            &promoted,
            Verb::Abort,
            "a rollout that is promoted cannot be aborted: `decant rollback` brings back the version of before",
        ),
        (
            &aborting,
            Verb::Pause,
            "a rollout that is aborting cannot be paused: all traffic is the stable version's already",
        ),
        (
            &rolled_back,
            Verb::Resume,
            "a rollout that is rolled back cannot be resumed: it is over; `decant rollout retry` begins it anew",
        ),
    ] {
        assert_eq!(rollout.told(verb, "").unwrap_err().to_string(), says);
    }
}

#[test]
fn a_promoted_version_can_be_rolled_back() {
    let (promoted, _) = Rollout::begun(&["1%"]).after(Verb::PromoteFully);
    let (rollout, intent) = promoted.after(Verb::RollBack);
    assert_eq!(
        (rollout.phase, intent),
        (Phase::RolledBack, Some(Intent::Restore))
    );
    assert!(rollout.phase.is_over());
}

#[test]
fn an_abort_is_over_once_all_have_taken_it_in_and_degraded_until_then() {
    let (aborting, _) = Rollout::begun(&["1%"]).after(Verb::Abort);
    assert!(!aborting.phase.holds_slot() && !aborting.phase.is_over());
    assert_eq!(aborting.why, "because");
    assert_eq!(aborting.look(&waiting(SECOND)), None);
    let taken_in = converged(Judgement::default());
    let (aborted, intent) = aborting.after_look(&taken_in);
    assert_eq!((aborted.phase, intent), (Phase::Aborted, None));

    let (degraded, intent) = aborting.after_look(&waiting(RESTORE_WITHIN));
    assert_eq!((degraded.phase, intent), (Phase::Degraded, None));
    assert_eq!(degraded.look(&waiting(Duration::MAX)), None);
    let (aborted, _) = degraded.after_look(&taken_in);
    assert_eq!(
        (aborted.phase, aborted.why.as_str()),
        (Phase::Aborted, "because")
    );
}

/// A plan that never was checked, with an analysis before any traffic: it is passed by, not looked at for ever.
#[test]
fn an_analysis_of_nothing_is_passed_by() {
    let unchecked = Plan {
        steps: vec!["analysis 1m".parse().unwrap(), "1%".parse().unwrap()],
        ..Plan::default()
    };
    let (preparing, _) = Rollout::new(unchecked).after_look(&waiting(SECOND));
    let (rollout, intent) = preparing.after_look(&ready());
    assert_eq!((rollout.step, intent), (1, Some(Intent::Split(share(1)))));
}
