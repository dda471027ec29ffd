//! Whatever happens, in whatever order.

use proptest::prelude::*;

use super::*;

/// Something that happens to a rollout of a plan that is not known yet.
#[derive(Clone, Debug)]
enum Draw {
    Look(Sight, Option<Vec<Verdict>>),
    Told(Verb),
}

impl Draw {
    fn event(self, plan: &Plan) -> Event {
        match self {
            Self::Told(verb) => Event::Told(verb, "because".to_owned()),
            Self::Look(sight, verdicts) => Event::Look(Sight {
                judgement: judgement(plan, &verdicts.unwrap_or_default()),
                ..sight
            }),
        }
    }
}

fn draws() -> impl Strategy<Value = Draw> {
    let preparation = prop_oneof![
        1 => Just(Preparation::Waiting),
        6 => Just(Preparation::Ready),
        1 => Just(Preparation::Impossible("it does not load".to_owned())),
    ];
    let elapsed = prop_oneof![
        4 => (0..60_u64).prop_map(Duration::from_secs),
        1 => (0..800 * 86_400_u64).prop_map(Duration::from_secs),
    ];
    let verdict = prop_oneof![
        8 => Just(Verdict::Pass),
        1 => Just(Verdict::Inconclusive),
        1 => Just(Verdict::Fail),
    ];
    // As many as the most gates of a plan.
    let verdicts = prop::option::of(prop::collection::vec(verdict, 4));
    let sight = (preparation, any::<bool>(), elapsed);
    let look = (sight, verdicts).prop_map(|((preparation, converged, elapsed), verdicts)| {
        let sight = Sight {
            preparation,
            converged,
            elapsed,
            judgement: Judgement::default(),
        };
        Draw::Look(sight, verdicts)
    });
    let verb = prop_oneof![
        6 => Just(Verb::Pause),
        8 => Just(Verb::Resume),
        4 => Just(Verb::Promote),
        1 => Just(Verb::PromoteFully),
        1 => Just(Verb::Abort),
        1 => Just(Verb::RollBack),
    ];
    prop_oneof![
        10 => look,
        3 => verb.prop_map(Draw::Told),
    ]
}

fn storms() -> impl Strategy<Value = (Plan, Vec<Event>)> {
    let draws = prop::collection::vec(draws(), 0..60);
    (testing::plans(), draws).prop_map(|(plan, draws)| {
        let events = draws.into_iter().map(|draw| draw.event(&plan)).collect();
        (plan, events)
    })
}

/// What scorers were told last, as a number: more is more traffic.
fn traffic(setting: Setting) -> u32 {
    match setting {
        Setting::Idle => 0,
        Setting::Shadow => 1,
        Setting::Weight(share) => 1 + share.basis_points(),
    }
}

/// All that must hold of every rollout, wherever it is.
fn check_state(rollout: &Rollout) {
    let is_paused = rollout.phase == Phase::Paused;
    assert_eq!(rollout.pause.is_some(), is_paused);
    assert!(rollout.held.is_empty() || is_paused);
    assert!(rollout.step <= rollout.plan.steps.len());
    match rollout.phase {
        Phase::Shadowing => assert_eq!(rollout.setting, Setting::Shadow),
        Phase::Progressing => assert!(matches!(rollout.setting, Setting::Weight(_))),
        Phase::Promoted => assert_eq!(rollout.setting, Setting::Weight(Share::ALL)),
        Phase::Paused => {}
        _ => assert_eq!(rollout.setting, Setting::Idle),
    }
    if let Some(Pause::Gate(phase)) = rollout.pause {
        assert!(matches!(phase, Phase::Shadowing | Phase::Progressing));
        assert!(!rollout.held.is_empty());
    }
    let json = serde_json::to_string(rollout).unwrap();
    assert_eq!(&serde_json::from_str::<Rollout>(&json).unwrap(), rollout);
}

/// All that must hold of every change.
fn check_change(before: &Rollout, event: &Event, changed: &Changed) {
    let after = &changed.rollout;
    assert!(!before.phase.is_over() || matches!(event, Event::Told(Verb::RollBack, _)));
    assert_ne!(before.phase, Phase::RolledBack);
    let (was, is) = (traffic(before.setting), traffic(after.setting));
    match changed.intent {
        // What the version does is what scorers were told last.
        None => assert!(is == was || !before.phase.holds_slot()),
        Some(Intent::Prepare) => {
            assert_eq!(
                (before.phase, after.phase),
                (Phase::Pending, Phase::Preparing)
            );
        }
        Some(Intent::Shadow) => assert_eq!((was <= 1, is), (true, 1)),
        Some(Intent::Split(share)) => {
            assert!(is > was);
            assert_eq!(after.setting, Setting::Weight(share));
        }
        Some(Intent::Restore) => {
            assert!(before.phase.holds_slot() || before.phase == Phase::Promoted);
            assert!(matches!(after.phase, Phase::Aborting | Phase::RolledBack));
        }
        Some(Intent::Promote) => assert_eq!(after.phase, Phase::Promoted),
    }
    if !before.phase.holds_slot() {
        assert!(matches!(changed.intent, None | Some(Intent::Restore)));
    }
    if after.phase == Phase::Promoted && !matches!(event, Event::Told(Verb::PromoteFully, _)) {
        assert!(
            before.step + 1 >= before.plan.steps.len(),
            "a step was left out"
        );
        assert!(!matches!(before.phase, Phase::Pending));
    }
    if after.phase.holds_slot() && after.step != before.step {
        assert_eq!(after.step, before.step + 1);
    }
    if after.step != before.step && after.phase.holds_slot() {
        assert!(after.waived.is_empty());
    }
}

/// What a look must lead to, or must not.
fn check_look(before: &Rollout, sight: &Sight, changed: Option<&Changed>) {
    let sees_traffic = before.phase.holds_slot() && before.setting != Setting::Idle;
    if sees_traffic && sight.judgement.aborts().is_some() {
        assert_eq!(changed.unwrap().intent, Some(Intent::Restore));
    } else if sees_traffic && sight.judgement.holds(&before.waived).next().is_some() {
        let after = changed.map_or(before, |changed| &changed.rollout);
        assert_eq!((after.phase, after.step), (Phase::Paused, before.step));
        assert_eq!(changed.and_then(|changed| changed.intent), None);
    }
    // A look at the same thing again is a look at something else, or changes nothing.
    if let Some(changed) = changed {
        assert_ne!(&changed.rollout, before);
    }
}

fn check_verbs(rollout: &Rollout) {
    if rollout.phase.holds_slot() {
        for (verb, phase) in [
            (Verb::Abort, Phase::Aborting),
            (Verb::RollBack, Phase::RolledBack),
        ] {
            let (after, intent) = rollout.after(verb);
            assert_eq!((after.phase, intent), (phase, Some(Intent::Restore)));
        }
    }
    // Pausing and going on changes nothing. What a gate holds was let pass by going on.
    if let Ok(paused) = rollout.told(Verb::Pause, "because") {
        assert_eq!(paused.intent, None);
        let expected = match rollout.pause {
            Some(Pause::Gate(_)) => rollout.after(Verb::Resume).0,
            _ => Rollout {
                why: String::new(),
                ..rollout.clone()
            },
        };
        assert_eq!(paused.rollout.after(Verb::Resume), (expected, None));
    }
}

/// From wherever it is, a rollout that nobody helps and nothing happens to comes to an end, or waits for an operator.
fn check_end(rollout: &Rollout, verdict: Verdict) {
    let stuck = Sight {
        judgement: judgement(&rollout.plan, &[verdict; 4]),
        ..waiting(Duration::MAX)
    };
    let mut rollout = rollout.clone();
    let mut looks = 0;
    while let Some(changed) = rollout.look(&stuck) {
        rollout = changed.rollout;
        looks += 1;
        assert!(looks <= 2 * rollout.plan.steps.len() + 5, "{rollout:?}");
    }
    let waits_for_an_operator = matches!(
        rollout.pause,
        Some(Pause::Operator(_) | Pause::Gate(_) | Pause::Planned(None))
    );
    let waits_for_scorers = rollout.phase == Phase::Degraded;
    assert!(rollout.phase.is_over() || waits_for_an_operator || waits_for_scorers);
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 256,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn no_storm_breaks_a_rollout((plan, events) in storms()) {
        let mut rollout = Rollout::new(plan);
        check_state(&rollout);
        for event in &events {
            let changed = match rollout.on(event) {
                Ok(changed) => changed,
                Err(refused) => {
                    prop_assert!(matches!(event, Event::Told(..)));
                    prop_assert_eq!(refused.phase, rollout.phase);
                    None
                }
            };
            if let Event::Look(sight) = event {
                check_look(&rollout, sight, changed.as_ref());
            }
            if let Some(changed) = changed {
                check_change(&rollout, event, &changed);
                rollout = changed.rollout;
                check_state(&rollout);
            }
            check_verbs(&rollout);
        }
        for verdict in [Verdict::Pass, Verdict::Inconclusive, Verdict::Fail] {
            check_end(&rollout, verdict);
        }
    }

    /// Whoever goes on after a gate paused it is not stopped by the same gate at the same step.
    #[test]
    fn going_on_after_a_gate_leads_on((plan, events) in storms()) {
        let mut rollout = Rollout::new(plan);
        for event in &events {
            let Ok(Some(changed)) = rollout.on(event) else {
                continue;
            };
            rollout = changed.rollout;
            if let (Event::Look(sight), Some(Pause::Gate(_))) = (event, rollout.pause) {
                let (resumed, _) = rollout.after(Verb::Resume);
                let next = resumed.look(sight).map_or(resumed.clone(), |changed| changed.rollout);
                let is_held = matches!(next.pause, Some(Pause::Gate(_)));
                prop_assert!(!is_held || next.step > rollout.step);
                prop_assert!(next.phase != Phase::Promoted || rollout.step + 1 >= rollout.plan.steps.len());
            }
        }
    }
}
