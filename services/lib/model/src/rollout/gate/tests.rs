use super::*;

fn reading(metric: Metric, on_fail: OnFail, verdict: Verdict) -> Reading {
    Reading {
        gate: Gate {
            metric,
            min: metric.takes_min().then_some(0.5),
            max: (!metric.takes_min()).then_some(0.5),
            min_count: 100,
            on_fail,
        },
        verdict,
        value: Some(0.25),
        interval: Some((0.125, 0.375)),
        count: 1_000,
    }
}

fn judgement(readings: &[(OnFail, Verdict)]) -> Judgement {
    let readings = readings.iter();
    Judgement {
        readings: readings
            .map(|(on_fail, verdict)| reading(Metric::ErrorRate, *on_fail, *verdict))
            .collect(),
    }
}

const WAIVED: [Metric; 1] = [Metric::ErrorRate];

#[test]
fn metrics_are_spelt_alike_everywhere() {
    for metric in Metric::ALL {
        let json = serde_json::to_string(&metric).unwrap();
        assert_eq!(json, format!("\"{metric}\""));
    }
}

#[test]
fn all_gates_that_count_must_pass() {
    use OnFail::{Abort, Hold, Warn};
    use Verdict::{Fail, Inconclusive, Pass};
    for (readings, has_passed) in [
        (vec![], false),
        (vec![(Abort, Pass), (Hold, Pass)], true),
        (vec![(Abort, Pass), (Hold, Inconclusive)], false),
        (vec![(Abort, Pass), (Abort, Fail)], false),
        (vec![(Abort, Pass), (Warn, Fail)], true),
        (vec![(Warn, Pass)], false),
    ] {
        let judgement = judgement(&readings);
        assert_eq!(judgement.has_passed(&[]), has_passed, "{readings:?}");
    }
}

/// Whoever goes on although a gate paused the rollout, lets that one pass, and no other of the same metric that would have
/// ended it.
#[test]
fn a_gate_that_pauses_can_be_waived_and_one_that_ends_cannot() {
    let held = judgement(&[(OnFail::Hold, Verdict::Fail)]);
    assert_eq!(held.holds(&[]).count(), 1);
    assert_eq!(held.holds(&WAIVED).count(), 0);
    assert!(!held.has_passed(&[]) && held.has_passed(&WAIVED));
    assert!(held.aborts().is_none());

    let worse = judgement(&[
        (OnFail::Hold, Verdict::Fail),
        (OnFail::Abort, Verdict::Fail),
    ]);
    assert_eq!(worse.holds(&WAIVED).count(), 0);
    assert!(worse.aborts().is_some());
    assert!(!worse.has_passed(&WAIVED));

    let shown = judgement(&[(OnFail::Warn, Verdict::Fail)]);
    assert!(shown.aborts().is_none() && shown.holds(&[]).next().is_none());
}

#[test]
fn readings_say_what_they_are_from() {
    let mut errors = reading(Metric::ErrorRate, OnFail::Abort, Verdict::Pass);
    assert_eq!(
        errors.words(),
        "error-rate passes: 0.2500 (between 0.1250 and 0.3750) of 1000 requests, at most 0.5 is wanted"
    );
    errors.interval = None;
    errors.verdict = Verdict::Fail;
    assert_eq!(
        errors.words(),
        "error-rate fails: 0.2500 of 1000 requests, at most 0.5 is wanted"
    );
    let mut agreement = reading(Metric::StableTopK, OnFail::Abort, Verdict::Inconclusive);
    agreement.value = None;
    agreement.count = 0;
    assert_eq!(
        agreement.words(),
        "stable-top-k cannot tell yet: no data of 0 requests, at least 0.5 is wanted"
    );
}

#[test]
fn what_keeps_a_step_from_ending_is_named() {
    let nothing = Judgement::default();
    assert_eq!(nothing.undecided(&[]), "nothing was measured");
    let open = judgement(&[
        (OnFail::Abort, Verdict::Pass),
        (OnFail::Abort, Verdict::Inconclusive),
        (OnFail::Warn, Verdict::Fail),
    ]);
    let words = open.undecided(&[]);
    assert!(words.starts_with("these gates did not pass: error-rate cannot tell yet"));
    assert!(!words.contains(';'), "{words}");
}
