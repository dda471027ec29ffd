use std::time::Duration;

use super::*;
use crate::ModelVersion;

/// How often a good version may fail in these tests.
const ALPHA: f64 = 0.05;

/// The versions' places among the arms.
const STABLE: usize = 0;
const CANDIDATE: usize = 1;

/// The comparisons' places.
const BESIDE_STABLE: usize = 0;
const BESIDE_TEACHER: usize = 1;

fn candidate() -> Digest {
    Digest::of(b"candidate")
}

/// Both versions, and the comparisons with the stable one and with the teacher; nothing counted yet.
fn nothing() -> Evidence {
    let (stable, teacher) = (Digest::of(b"stable"), Digest::of(b"teacher"));
    let arm = |digest, arm| ArmEvidence::new(digest, ModelVersion::FIRST, arm);
    Evidence {
        arms: vec![arm(stable, Arm::Stable), arm(candidate(), Arm::Canary)],
        comparisons: vec![
            Comparison::new(candidate(), stable, Arm::Stable),
            Comparison::new(candidate(), teacher, Arm::Teacher),
        ],
        ..Evidence::default()
    }
}

fn gate(metric: Metric, bound: f64) -> Gate {
    Gate {
        metric,
        min: metric.takes_min().then_some(bound),
        max: (!metric.takes_min()).then_some(bound),
        min_count: 100,
        on_fail: OnFail::Abort,
    }
}

fn plan(gates: Vec<Gate>, false_alarm: f64) -> Plan {
    Plan {
        gates,
        false_alarm,
        ..Plan::blue_green()
    }
}

fn read(gate: &Gate, alpha: f64, evidence: &Evidence) -> Reading {
    let mut judgement = judge(&plan(vec![gate.clone()], alpha), candidate(), evidence);
    judgement.readings.remove(0)
}

impl ArmEvidence {
    fn answer(&mut self, micros: u64, score: f64) {
        let bucket = Histogram::bucket(Duration::from_micros(micros));
        self.succeeded += 1;
        self.latency.add(bucket, 1);
        self.scores.add(score);
    }

    fn fail(&mut self) {
        *self.failed.entry(14).or_default() += 1;
    }

    fn end(&mut self, fails: bool) {
        if fails {
            self.fail();
        } else {
            self.answer(1_000, 0.5);
        }
    }
}

/// Both versions answered so many requests, in these times.
fn answered(count: u64, stable_micros: u64, candidate_micros: u64) -> Evidence {
    let mut evidence = nothing();
    for _ in 0..count {
        evidence.arms[STABLE].answer(stable_micros, 0.5);
        evidence.arms[CANDIDATE].answer(candidate_micros, 0.5);
    }
    evidence
}

fn assert_interval(reading: &Reading, (low, high): (f64, f64)) {
    let interval = reading.interval.unwrap();
    let is_near = (interval.0 - low).abs() < 1e-9 && (interval.1 - high).abs() < 1e-9;
    assert!(is_near, "{interval:?} is not {:?}", (low, high));
}

fn some_bound(metric: Metric) -> f64 {
    match metric {
        Metric::LatencyP50 | Metric::LatencyP99 => 1.5,
        _ => 0.5,
    }
}

#[test]
fn without_data_nothing_passes_and_nothing_fails() {
    let gates: Vec<Gate> = Metric::ALL
        .iter()
        .map(|metric| Gate {
            min_count: 0,
            ..gate(*metric, some_bound(*metric))
        })
        .collect();
    let only_stable = {
        let mut evidence = answered(1_000, 1_000, 1_000);
        evidence.arms.truncate(1);
        evidence
    };
    for evidence in [Evidence::default(), nothing(), only_stable] {
        let judgement = judge(&plan(gates.clone(), ALPHA), candidate(), &evidence);
        assert_eq!(judgement.readings.len(), Metric::ALL.len());
        for reading in &judgement.readings {
            assert_eq!(
                reading.verdict,
                Verdict::Inconclusive,
                "{}",
                reading.words()
            );
            assert_eq!(reading.count, 0);
        }
        assert!(!judgement.has_passed(&[]));
        assert!(judgement.aborts().is_none());
    }
}

/// At 100 % the stable version answers nothing: what is measured beside it says nothing either.
#[test]
fn without_a_stable_version_to_measure_by_nothing_is_decided() {
    let mut evidence = nothing();
    for _ in 0..1_000 {
        evidence.arms[CANDIDATE].answer(1_000, 0.9);
        evidence.arms[CANDIDATE].fail();
    }
    for metric in Metric::ALL
        .into_iter()
        .filter(|metric| metric.needs_stable())
    {
        let reading = read(&gate(metric, some_bound(metric)), ALPHA, &evidence);
        assert_eq!(reading.verdict, Verdict::Inconclusive, "{metric}");
        assert!(reading.count >= 1_000, "{metric}");
        assert_eq!(reading.value, None, "{metric}");
    }

    // Nor is a version its own measure.
    evidence.arms.remove(STABLE);
    evidence.arms[0].arm = Arm::Stable;
    let reading = read(&gate(Metric::ErrorRate, 0.5), ALPHA, &evidence);
    assert_eq!(reading.verdict, Verdict::Inconclusive);
}

#[test]
fn requests_pass_once_there_are_enough_and_never_fail() {
    let wanted = gate(Metric::Requests, 30.0);
    for (count, verdict) in [
        (1, Verdict::Inconclusive),
        (29, Verdict::Inconclusive),
        (30, Verdict::Pass),
    ] {
        let reading = read(&wanted, ALPHA, &answered(count, 1_000, 1_000));
        assert_eq!(reading.verdict, verdict, "{count}");
        assert_eq!(
            (reading.value, reading.interval),
            (Some(count as f64), None)
        );
    }
}

#[test]
fn error_rates_are_compared_with_both_in_doubt() {
    let mut evidence = nothing();
    for number in 0..1_000 {
        evidence.arms[STABLE].end(false);
        if number < 100 {
            evidence.arms[CANDIDATE].end(number < 5);
        }
    }
    // Each side has half of the chance: the bounds of `sequential`'s tests, one less the other.
    let (low, high) = (
        0.007_149_478_932_597 - 0.006_997_502_521_426,
        0.155_794_443_540_606,
    );
    for (max, verdict) in [
        (0.0001, Verdict::Fail),
        (0.0002, Verdict::Inconclusive),
        (0.15, Verdict::Inconclusive),
        (0.16, Verdict::Pass),
    ] {
        let reading = read(&gate(Metric::ErrorRate, max), 0.1, &evidence);
        assert_eq!(reading.verdict, verdict, "{max}");
        assert_eq!((reading.value, reading.count), (Some(0.05), 100));
        assert_interval(&reading, (low, high));
    }
}

#[test]
fn nothing_is_decided_before_enough_requests_of_both() {
    let mut evidence = answered(99, 1_000, 1_000);
    let generous = gate(Metric::LatencyP50, 100.0);
    assert_eq!(
        read(&generous, ALPHA, &evidence).verdict,
        Verdict::Inconclusive
    );
    evidence.arms[CANDIDATE].answer(1_000, 0.5);
    assert_eq!(
        read(&generous, ALPHA, &evidence).verdict,
        Verdict::Inconclusive
    );
    evidence.arms[STABLE].answer(1_000, 0.5);
    assert_eq!(read(&generous, ALPHA, &evidence).verdict, Verdict::Pass);
}

#[test]
fn latency_is_in_units_of_the_stable_versions() {
    let slow = answered(100, 1_000, 3_000);
    let reading = read(&gate(Metric::LatencyP50, 2.0), 0.1, &slow);
    assert_eq!((reading.verdict, reading.value), (Verdict::Fail, Some(3.0)));
    // 1 ms lies in the bucket of 992 to 1024 us, 3 ms in that of 2944 to 3072.
    assert_interval(&reading, (2_944.0 / 1_024.0, 3_072.0 / 992.0));
    let reading = read(&gate(Metric::LatencyP50, 3.0), 0.1, &slow);
    assert_eq!(reading.verdict, Verdict::Inconclusive);
    let reading = read(&gate(Metric::LatencyP50, 3.2), 0.1, &slow);
    assert_eq!(reading.verdict, Verdict::Pass);

    // Of the slowest hundredth a hundred requests say too little, whatever they say.
    for max in [1.5, 100.0] {
        let reading = read(&gate(Metric::LatencyP99, max), 0.1, &slow);
        assert_eq!(reading.verdict, Verdict::Inconclusive);
        assert_eq!((reading.value, reading.interval), (Some(3.0), None));
    }
    let slow = answered(600, 1_000, 3_000);
    let reading = read(&gate(Metric::LatencyP99, 2.0), 0.1, &slow);
    assert_eq!(reading.verdict, Verdict::Fail);
}

/// A shadow scores when nothing else is to be done, and so takes longer.
#[test]
fn the_latency_of_a_shadow_is_shown_and_nothing_follows() {
    let mut evidence = answered(100, 1_000, 3_000);
    evidence.arms[CANDIDATE].arm = Arm::Shadow;
    let gates = vec![gate(Metric::LatencyP50, 2.0), gate(Metric::ErrorRate, 0.5)];
    let judgement = judge(&plan(gates, ALPHA), candidate(), &evidence);
    assert_eq!(judgement.readings[0].verdict, Verdict::Fail);
    assert_eq!(judgement.readings[0].gate.on_fail, OnFail::Warn);
    assert_eq!(judgement.readings[1].gate.on_fail, OnFail::Abort);
    assert!(judgement.aborts().is_none());
    assert!(judgement.has_passed(&[]));
}

#[test]
fn agreement_is_judged_by_what_was_compared() {
    let mut evidence = nothing();
    for number in 0..100 {
        let share = f64::from(number % 2);
        evidence.comparisons[BESIDE_STABLE].top_k.add(share);
        evidence.comparisons[BESIDE_TEACHER].spearman.add(1.0);
    }
    let reading = read(&gate(Metric::StableTopK, 0.7), 0.05, &evidence);
    assert_eq!((reading.verdict, reading.count), (Verdict::Fail, 100));
    let radius = 0.151_760_449_518_813;
    assert_interval(&reading, (0.5 - radius, 0.5 + radius));
    let reading = read(&gate(Metric::StableTopK, 0.3), 0.05, &evidence);
    assert_eq!(reading.verdict, Verdict::Pass);
    let reading = read(&gate(Metric::TeacherSpearman, 0.9), 0.05, &evidence);
    assert_eq!((reading.verdict, reading.value), (Verdict::Pass, Some(1.0)));
    for silent in [Metric::StableKl, Metric::TeacherKl, Metric::TeacherTopK] {
        let reading = read(&gate(silent, 0.5), 0.05, &evidence);
        assert_eq!((reading.verdict, reading.count), (Verdict::Inconclusive, 0));
    }
}

#[test]
fn stability_waits_until_chance_adds_little() {
    let spread = |evidence: &mut Evidence| {
        for score in 1..=10 {
            let score = f64::from(score) / 11.0;
            evidence.arms[STABLE].answer(1_000, score);
            evidence.arms[CANDIDATE].answer(1_000, score);
        }
    };
    let mut evidence = nothing();
    let allowed = gate(Metric::ScorePsi, 0.2);
    // Nine degrees of freedom: 9 (1/n + 1/n) is a quarter of 0.2 at n = 360.
    for _ in 0..35 {
        spread(&mut evidence);
    }
    assert_eq!(
        read(&allowed, ALPHA, &evidence).verdict,
        Verdict::Inconclusive
    );
    spread(&mut evidence);
    spread(&mut evidence);
    let reading = read(&allowed, ALPHA, &evidence);
    assert_eq!(reading.verdict, Verdict::Pass);
    assert_eq!((reading.value, reading.interval), (Some(0.0), None));
}

#[test]
fn what_is_no_number_decides_nothing() {
    let mut evidence = answered(1_000, 1_000, 1_000);
    evidence.arms[CANDIDATE].scores.moments.sum = f64::NAN;
    evidence.comparisons[BESIDE_STABLE].kl.add(f64::INFINITY);
    evidence.comparisons[BESIDE_TEACHER].spearman.add(f64::NAN);
    for metric in [Metric::ScoreMean, Metric::StableKl, Metric::TeacherSpearman] {
        let bound = Gate {
            min_count: 1,
            ..gate(metric, 0.5)
        };
        let reading = read(&bound, ALPHA, &evidence);
        assert_eq!(reading.verdict, Verdict::Inconclusive, "{metric}");
        assert_eq!((reading.value, reading.interval), (None, None), "{metric}");
    }
    for metric in Metric::ALL {
        // Nor does a bound or a chance that is none.
        let reading = read(&gate(metric, f64::NAN), ALPHA, &evidence);
        assert_eq!(reading.verdict, Verdict::Inconclusive, "{metric}");
        for alpha in [0.0, 1.0, -1.0, f64::NAN] {
            let reading = read(&gate(metric, some_bound(metric)), alpha, &evidence);
            assert_eq!(reading.verdict, Verdict::Inconclusive, "{metric}");
        }
    }
}

#[test]
fn readings_are_stored_and_read_back() {
    let gates = Metric::ALL.iter();
    let gates = gates.map(|metric| gate(*metric, some_bound(*metric)));
    let judgement = judge(
        &plan(gates.collect(), ALPHA),
        candidate(),
        &answered(1_000, 1_000, 1_100),
    );
    let json = serde_json::to_string(&judgement).unwrap();
    assert_eq!(serde_json::from_str::<Judgement>(&json).unwrap(), judgement);
}

mod runs;
