use proptest::prelude::*;

use super::super::testing::{plans, shares, steps};
use super::*;

fn plan(steps: &[&str]) -> Plan {
    Plan {
        steps: steps.iter().map(|step| step.parse().unwrap()).collect(),
        ..Plan::default()
    }
}

/// A gate that passes its check.
fn gate(metric: Metric, on_fail: OnFail) -> Gate {
    Gate {
        metric,
        min: metric.takes_min().then_some(1.0),
        max: (!metric.takes_min()).then_some(1.0),
        min_count: 100,
        on_fail,
    }
}

fn refusal(plan: &Plan) -> String {
    plan.check().unwrap_err().to_string()
}

#[test]
fn the_plans_that_come_with_decant_pass_their_check() {
    assert_eq!(Plan::default().check(), Ok(()));
    assert_eq!(Plan::default().steps.len(), 6);
    assert_eq!(Plan::blue_green().check(), Ok(()));
}

#[test]
fn steps_are_written_as_they_are_read() {
    for (text, step) in [
        ("shadow", Step::Shadow),
        ("12.5%", Step::Weight(Share(1_250))),
        ("0.01%", Step::Weight(Share(1))),
        ("100%", Step::Weight(Share::ALL)),
        ("pause", Step::Pause(None)),
        ("pause 5m", Step::Pause(Span::from_millis(300_000))),
        ("analysis 30m", Step::Analysis(Span::seconds(1_800))),
    ] {
        assert_eq!(text.parse::<Step>(), Ok(step));
        assert_eq!(step.to_string(), text);
    }
    assert_eq!("1.50%".parse::<Share>(), Ok(Share(150)));
    assert_eq!(Share(205).to_string(), "2.05%");
}

#[test]
fn steps_that_are_none_are_refused_with_their_text() {
    for (bad, says) in [
        ("", "`` is no step"),
        ("shadows", "`shadows` is no step"),
        ("analysis", "`analysis 30m`"),
        ("analysis soon", "`soon`"),
        ("pause 5m 6m", "`6m` is too much"),
        ("101%", "`101%` must be at most 100%"),
        ("1.234%", "`1.234%`"),
        ("-1%", "`-1%`"),
        ("+1%", "`+1%`"),
        (".5%", "`.5%`"),
        ("1.%", "`1.%`"),
        ("%", "`%`"),
    ] {
        let error = bad.parse::<Step>().unwrap_err();
        assert!(error.contains(says), "{bad}: {error}");
    }
}

/// Each says where, what and why.
#[test]
fn a_step_that_cannot_stand_where_it_stands_is_refused() {
    let cases: [(&[&str], &str); 5] = [
        (
            &["1%", "shadow"],
            "steps[1] (`shadow`): a version that answers already cannot go back to shadow",
        ),
        (
            &["0%"],
            "steps[0] (`0%`): a version that answers nothing is `shadow`",
        ),
        (
            &["10%", "analysis 1m", "10%"],
            "steps[2] (`10%`): the share must grow, and it was 10% already",
        ),
        (
            &["pause 1m", "analysis 1m", "1%"],
            "steps[1] (`analysis 1m`): the version sees no traffic yet",
        ),
        (
            &["100%", "analysis 1m"],
            "steps[1] (`analysis 1m`): at 100% no request is the stable version's, so that error-rate could never pass",
        ),
    ];
    for (steps, says) in cases {
        assert_eq!(refusal(&plan(steps)), says);
    }
}

#[test]
fn an_analysis_needs_a_gate_that_can_pass() {
    let analysis = |steps: &[&str], gates: Vec<Gate>| Plan {
        gates,
        ..plan(steps)
    };
    let canary = ["1%", "analysis 1m"];
    let nothing = "steps[1] (`analysis 1m`): there are no gates that it could wait for";
    assert_eq!(refusal(&analysis(&canary, Vec::new())), nothing);
    let shown = gate(Metric::ErrorRate, OnFail::Warn);
    assert_eq!(refusal(&analysis(&canary, vec![shown.clone()])), nothing);

    let latency = gate(Metric::LatencyP99, OnFail::Abort);
    let shadow = ["shadow", "analysis 1m"];
    assert_eq!(
        refusal(&analysis(&shadow, vec![latency.clone(), shown])),
        "steps[1] (`analysis 1m`): there are no gates that can be judged in shadow"
    );
    assert_eq!(analysis(&canary, vec![latency.clone()]).check(), Ok(()));
    let errors = gate(Metric::ErrorRate, OnFail::Hold);
    assert_eq!(analysis(&shadow, vec![latency, errors]).check(), Ok(()));

    // What is compared off the request path needs no share of the traffic.
    let all = ["100%", "analysis 1m"];
    let agreement = gate(Metric::StableTopK, OnFail::Abort);
    assert_eq!(analysis(&all, vec![agreement]).check(), Ok(()));
}

#[test]
fn a_gate_that_decides_nothing_is_refused() {
    let usual = gate(Metric::ErrorRate, OnFail::Abort);
    let with = |gate: Gate| Plan {
        gates: vec![gate],
        ..Plan::blue_green()
    };
    for (wrong, says) in [
        (
            Gate {
                max: None,
                ..usual.clone()
            },
            "say `max`",
        ),
        (
            Gate {
                min: Some(0.0),
                ..usual.clone()
            },
            "it takes `max` alone",
        ),
        (
            Gate {
                max: Some(1.5),
                ..usual.clone()
            },
            "max = 1.5 must be 0 to 1",
        ),
        (
            Gate {
                max: Some(f64::NAN),
                ..usual.clone()
            },
            "max = NaN must be 0 to 1",
        ),
    ] {
        assert_eq!(
            refusal(&with(wrong)),
            format!("gates[0] (error-rate): {says}")
        );
    }
    let requests = Gate {
        min: Some(0.0),
        ..gate(Metric::Requests, OnFail::Abort)
    };
    assert_eq!(
        refusal(&with(requests)),
        "gates[0] (requests): min = 0 must be 1 to 1000000000000"
    );
    let blind = Plan {
        compare: Share::NONE,
        ..with(gate(Metric::TeacherKl, OnFail::Warn))
    };
    assert_eq!(
        refusal(&blind),
        "gates[0] (teacher-kl): with compare = 0% no answers are compared"
    );
}

#[test]
fn a_limit_out_of_range_is_refused() {
    let usual = Plan::blue_green;
    for (plan, says) in [
        (
            Plan {
                min_ready_percent: 0,
                ..usual()
            },
            "min_ready_percent = 0: it must be 1 to 100",
        ),
        (
            Plan {
                min_ready_percent: 101,
                ..usual()
            },
            "min_ready_percent = 101: it must be 1 to 100",
        ),
        (
            Plan {
                false_alarm: 0.0,
                ..usual()
            },
            "false_alarm = 0: it must be above 0 and below 0.5",
        ),
        (
            Plan {
                false_alarm: f64::NAN,
                ..usual()
            },
            "false_alarm = NaN: it must be above 0 and below 0.5",
        ),
        (
            Plan {
                steps: vec![Step::Pause(None); 51],
                ..usual()
            },
            "steps = 51: at most 50 are allowed",
        ),
    ] {
        assert_eq!(refusal(&plan), says);
    }
}

#[test]
fn what_an_operator_writes_is_enough() {
    let text = r#"
        steps = ["shadow", "analysis 10m", "1%", "analysis 30m", "10%", "pause 5m", "50%", "analysis 30m"]

        [[gates]]
        metric = "error-rate"
        max = 0.001

        [[gates]]
        metric = "teacher-spearman"
        min = 0.9
        min_count = 500
        on_fail = "hold"
    "#;
    let read: Plan = toml::from_str(text).unwrap();
    assert_eq!(read.check(), Ok(()));
    assert_eq!(read.steps.len(), 8);
    assert_eq!(read.gates[0].min_count, 100);
    assert_eq!(read.gates[0].on_fail, OnFail::Abort);
    assert_eq!(read.gates[1].metric, Metric::TeacherSpearman);
    assert_eq!(read.gates[1].on_fail, OnFail::Hold);
    // What is not said is as it is by default.
    assert_eq!(read.prepare_within, Plan::default().prepare_within);
    assert_eq!(toml::from_str::<Plan>("").unwrap(), Plan::default());

    for unknown in [
        "stepz = []",
        "[[gates]]\nmetric = \"error-rate\"\nmaximum = 1.0",
    ] {
        assert!(toml::from_str::<Plan>(unknown).is_err(), "{unknown}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn steps_and_shares_go_round(step in steps(), share in shares()) {
        prop_assert_eq!(step.to_string().parse::<Step>(), Ok(step));
        prop_assert_eq!(share.to_string().parse::<Share>(), Ok(share));
    }

    #[test]
    fn plans_go_round_as_json_and_as_toml(plan in plans()) {
        prop_assert_eq!(plan.check(), Ok(()));
        let json = serde_json::to_string(&plan).unwrap();
        prop_assert_eq!(&serde_json::from_str::<Plan>(&json).unwrap(), &plan);
        let toml = toml::to_string(&plan).unwrap();
        prop_assert_eq!(&toml::from_str::<Plan>(&toml).unwrap(), &plan);
    }

    #[test]
    fn no_text_panics(text in ".*") {
        let _ = text.parse::<Step>();
        let _ = text.parse::<Share>();
    }
}

#[test]
fn the_example_is_a_plan_that_makes_sense() {
    let text = include_str!("../../../../../../deploy/examples/movielens/plan.toml");
    let plan: Plan = toml::from_str(text).unwrap();
    plan.check().unwrap();
    assert_eq!((plan.steps.len(), plan.gates.len()), (8, 4));
}
