//! Whole steps, request by request, looked at after each hundred requests.

use super::*;

/// A step of twenty thousand requests.
const LOOKS: usize = 200;

const RUNS: u64 = 60;

/// SplitMix64: small, and the same for ever.
struct Random(u64);

impl Random {
    fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Evenly from 0..1.
    fn share(&mut self) -> f64 {
        (self.number() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn happens(&mut self, chance: f64) -> bool {
        self.share() < chance
    }

    /// With a mean of one, and now and then far above it.
    fn exponential(&mut self) -> f64 {
        -(1.0 - self.share()).ln()
    }

    /// A time as requests take it: never below a millisecond, half another one more on average.
    fn time(&mut self) -> f64 {
        1_000.0 + 500.0 * self.exponential()
    }
}

/// One request of each version, or one that was compared.
type Request = fn(&mut Evidence, &mut Random);

/// At which look, of so many, the gate first says so.
fn first(gate: &Gate, wanted: Verdict, looks: usize, seed: u64, request: Request) -> Option<usize> {
    let (mut evidence, mut random) = (nothing(), Random(seed));
    (1..=looks).find(|_| {
        for _ in 0..100 {
            request(&mut evidence, &mut random);
        }
        read(gate, ALPHA, &evidence).verdict == wanted
    })
}

/// The version is as bad as the gate just allows, so that a fail is a false alarm.
fn assert_few_false_alarms(gate: &Gate, request: Request) {
    let failed =
        (0..RUNS).filter(|seed| first(gate, Verdict::Fail, LOOKS, *seed, request).is_some());
    let (failed, allowed) = (failed.count() as f64, ALPHA * RUNS as f64);
    assert!(failed <= allowed, "{} failed in {failed} runs", gate.metric);
}

/// The gate sees soon that the version is bad, and never says that it is good.
fn assert_found_out(gate: &Gate, requests: usize, request: Request) {
    for seed in 0..5 {
        let looks = requests / 100;
        let failed = first(gate, Verdict::Fail, looks, seed, request);
        assert!(failed.is_some(), "{} was not found out", gate.metric);
        let passed = first(gate, Verdict::Pass, looks, seed, request);
        assert_eq!(passed, None, "{} passed", gate.metric);
    }
}

fn assert_passes(gate: &Gate, requests: usize, request: Request) {
    for seed in 0..5 {
        let passed = first(gate, Verdict::Pass, requests / 100, seed, request);
        assert!(passed.is_some(), "{} did not pass", gate.metric);
    }
}

fn ends(evidence: &mut Evidence, random: &mut Random, stable_rate: f64, candidate_rate: f64) {
    evidence.arms[STABLE].end(random.happens(stable_rate));
    evidence.arms[CANDIDATE].end(random.happens(candidate_rate));
}

/// The version takes so many times as long.
fn takes(evidence: &mut Evidence, random: &mut Random, times: f64) {
    evidence.arms[STABLE].answer(random.time() as u64, 0.5);
    evidence.arms[CANDIDATE].answer((times * random.time()) as u64, 0.5);
}

/// Scores of the stable version are 0.2 or 0.6, half of the time each; the version's are so much higher, and the lower one so
/// often.
fn scores(evidence: &mut Evidence, random: &mut Random, higher: f64, lower_one: f64) {
    let score = |is_lower: bool| if is_lower { 0.2 } else { 0.6 };
    let stable = score(random.happens(0.5));
    let candidate = score(random.happens(lower_one)) + higher;
    evidence.arms[STABLE].answer(1_000, stable);
    evidence.arms[CANDIDATE].answer(1_000, candidate);
}

/// Scores of all sizes; the version's are so much higher, in the logit.
fn spread(evidence: &mut Evidence, random: &mut Random, higher: f64) {
    let logit = |random: &mut Random| {
        let share = random.share().clamp(1e-9, 1.0 - 1e-9);
        (share / (1.0 - share)).ln() - 3.0
    };
    let score = |logit: f64| 1.0 / (1.0 + (-logit).exp());
    let (stable, candidate) = (logit(random), logit(random) + higher);
    evidence.arms[STABLE].answer(1_000, score(stable));
    evidence.arms[CANDIDATE].answer(1_000, score(candidate));
}

#[test]
fn errors_just_allowed_raise_few_alarms() {
    let gate = gate(Metric::ErrorRate, 0.02);
    assert_few_false_alarms(&gate, |evidence, random| ends(evidence, random, 0.01, 0.03));
}

#[test]
fn latency_just_allowed_raises_few_alarms() {
    let median = gate(Metric::LatencyP50, 2.0);
    assert_few_false_alarms(&median, |evidence, random| takes(evidence, random, 2.0));
    let slowest = gate(Metric::LatencyP99, 2.0);
    assert_few_false_alarms(&slowest, |evidence, random| takes(evidence, random, 2.0));
}

#[test]
fn scores_just_allowed_raise_few_alarms() {
    let mean = gate(Metric::ScoreMean, 0.05);
    assert_few_false_alarms(&mean, |evidence, random| {
        scores(evidence, random, 0.05, 0.5)
    });
    let distance = gate(Metric::ScoreKs, 0.1);
    assert_few_false_alarms(&distance, |evidence, random| {
        scores(evidence, random, 0.0, 0.6)
    });
    let stability = gate(Metric::ScorePsi, 0.1);
    assert_few_false_alarms(&stability, |evidence, random| spread(evidence, random, 0.0));
}

#[test]
fn agreement_just_allowed_raises_few_alarms() {
    let top = gate(Metric::StableTopK, 0.9);
    assert_few_false_alarms(&top, |evidence, random| {
        let share = if random.happens(0.9) { 1.0 } else { 0.0 };
        evidence.comparisons[BESIDE_STABLE].top_k.add(share);
    });
    let divergence = gate(Metric::TeacherKl, 0.01);
    assert_few_false_alarms(&divergence, |evidence, random| {
        let nats = 0.01 * random.exponential();
        evidence.comparisons[BESIDE_TEACHER].kl.add(nats);
    });
    let correlation = gate(Metric::StableSpearman, 0.5);
    assert_few_false_alarms(&correlation, |evidence, random| {
        let correlation = random.share();
        evidence.comparisons[BESIDE_STABLE]
            .spearman
            .add(correlation);
    });
}

#[test]
fn a_version_that_fails_more_is_found_out() {
    let gate = gate(Metric::ErrorRate, 0.005);
    assert_found_out(&gate, 5_000, |evidence, random| {
        ends(evidence, random, 0.001, 0.02)
    });
}

#[test]
fn a_version_that_is_slow_is_found_out() {
    let median = gate(Metric::LatencyP50, 1.5);
    assert_found_out(&median, 1_000, |evidence, random| {
        takes(evidence, random, 3.0)
    });
    let slowest = gate(Metric::LatencyP99, 2.0);
    assert_found_out(&slowest, 5_000, |evidence, random| {
        takes(evidence, random, 3.0)
    });
}

#[test]
fn a_version_with_other_scores_is_found_out() {
    let mean = gate(Metric::ScoreMean, 0.05);
    assert_found_out(&mean, 2_000, |evidence, random| {
        scores(evidence, random, 0.2, 0.5)
    });
    let distance = gate(Metric::ScoreKs, 0.1);
    assert_found_out(&distance, 5_000, |evidence, random| {
        spread(evidence, random, 1.0)
    });
    let stability = gate(Metric::ScorePsi, 0.2);
    assert_found_out(&stability, 2_000, |evidence, random| {
        spread(evidence, random, 2.0)
    });
}

/// Ranks drawn at random have nothing in common: of ten best of a hundred, one by chance.
#[test]
fn a_version_that_guesses_is_found_out() {
    let guesses: Request = |evidence, random| {
        let share = (0..10).filter(|_| random.happens(0.1)).count() as f64 / 10.0;
        let correlation = 0.2 * (random.share() - 0.5);
        let nats = random.exponential();
        for comparison in &mut evidence.comparisons {
            comparison.top_k.add(share);
            comparison.spearman.add(correlation);
            comparison.kl.add(nats);
        }
    };
    for (metric, bound) in [
        (Metric::StableTopK, 0.8),
        (Metric::TeacherTopK, 0.8),
        (Metric::StableSpearman, 0.8),
        (Metric::TeacherSpearman, 0.8),
        (Metric::StableKl, 0.1),
        (Metric::TeacherKl, 0.1),
    ] {
        assert_found_out(&gate(metric, bound), 1_000, guesses);
    }
}

#[test]
fn a_good_version_passes_all_gates() {
    let alike: Request = |evidence, random| {
        if random.happens(0.001) {
            evidence.arms[STABLE].fail();
        }
        if random.happens(0.001) {
            evidence.arms[CANDIDATE].fail();
        }
        for place in [STABLE, CANDIDATE] {
            let time = random.time() as u64;
            let logit = 4.0 * random.share() - 2.0;
            evidence.arms[place].answer(time, 1.0 / (1.0 + (-logit).exp()));
        }
        for comparison in &mut evidence.comparisons {
            comparison.top_k.add(1.0 - 0.1 * random.share());
            comparison.spearman.add(1.0 - 0.1 * random.share());
            comparison.kl.add(0.01 * random.exponential());
        }
    };
    for (metric, bound) in [
        (Metric::Requests, 1_000.0),
        (Metric::ErrorRate, 0.005),
        (Metric::LatencyP50, 1.5),
        (Metric::LatencyP99, 2.0),
        (Metric::ScoreMean, 0.05),
        (Metric::ScorePsi, 0.1),
        (Metric::ScoreKs, 0.1),
        (Metric::StableKl, 0.05),
        (Metric::StableTopK, 0.8),
        (Metric::StableSpearman, 0.8),
        (Metric::TeacherKl, 0.05),
        (Metric::TeacherTopK, 0.8),
        (Metric::TeacherSpearman, 0.8),
    ] {
        assert_passes(&gate(metric, bound), 10_000, alike);
    }
}
