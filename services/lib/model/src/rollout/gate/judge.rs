//! What the gates of a plan say about what was counted.
//!
//! A gate passes when all of its interval is on the good side of its bound, and fails when all of it is on the bad side. The
//! intervals hold at all times of a step together but for `false_alarm`; where two versions are compared, each of them has
//! half of that. So a version that is just good enough fails with at most that chance, however often it is looked at.

use super::super::evidence::{ArmEvidence, Comparison, Evidence, Histogram, Moments};
use super::super::plan::Plan;
use super::{Gate, Judgement, Metric, OnFail, Reading, Verdict, drift, sequential};
use crate::{Arm, Digest};

/// What all gates of a plan say about a version, from what was counted in the slot's generation. Where nothing was counted,
/// they are inconclusive.
pub fn judge(plan: &Plan, candidate: Digest, evidence: &Evidence) -> Judgement {
    let stable = evidence.in_arm(Arm::Stable);
    let sides = Sides {
        candidate: evidence.of(candidate),
        // A version is not its own measure.
        stable: stable.filter(|stable| stable.digest != candidate),
        beside_stable: evidence.agreement(candidate, Arm::Stable),
        beside_teacher: evidence.agreement(candidate, Arm::Teacher),
    };
    let readings = plan.gates.iter();
    Judgement {
        readings: readings
            .map(|gate| sides.read(gate, plan.false_alarm))
            .collect(),
    }
}

/// What there is to judge by.
struct Sides<'a> {
    candidate: Option<&'a ArmEvidence>,
    stable: Option<&'a ArmEvidence>,
    beside_stable: Option<&'a Comparison>,
    beside_teacher: Option<&'a Comparison>,
}

/// What was measured of one metric.
struct Measured {
    /// The value.
    value: Option<f64>,
    /// Bounds of the true value, by which the gate decides; infinite where there is none.
    bounds: (f64, f64),
    /// Whether the bounds are the value itself.
    is_estimate: bool,
    /// How many requests of the version it is from.
    count: u64,
    /// Whether that are enough, on both sides.
    is_enough: bool,
}

impl Measured {
    /// Nothing is known but how many requests there were.
    fn nothing(count: u64) -> Self {
        Self {
            value: None,
            bounds: (f64::NEG_INFINITY, f64::INFINITY),
            is_estimate: false,
            count,
            is_enough: false,
        }
    }
}

impl Sides<'_> {
    fn read(&self, gate: &Gate, alpha: f64) -> Reading {
        let measured = self.measure(gate, alpha);
        let (low, high) = measured.bounds;
        let is_interval = low.is_finite() && high.is_finite() && !measured.is_estimate;
        // A chance that is none proves nothing.
        let can_decide = measured.is_enough && alpha > 0.0 && alpha < 1.0;
        let mut gate = gate.clone();
        let in_shadow = self.candidate.is_some_and(|side| side.arm == Arm::Shadow);
        if in_shadow && gate.metric.needs_answers() {
            gate.on_fail = OnFail::Warn;
        }
        Reading {
            verdict: if can_decide {
                verdict(&gate, low, high)
            } else {
                Verdict::Inconclusive
            },
            value: measured.value.filter(|value| value.is_finite()),
            interval: is_interval.then_some((low, high)),
            count: measured.count,
            gate,
        }
    }

    fn measure(&self, gate: &Gate, alpha: f64) -> Measured {
        let (stable, teacher) = (self.beside_stable, self.beside_teacher);
        match gate.metric {
            Metric::Requests => self.requests(),
            Metric::ErrorRate => self.errors(gate, alpha),
            Metric::LatencyP50 => self.latency(gate, alpha, 0.5),
            Metric::LatencyP99 => self.latency(gate, alpha, 0.99),
            Metric::ScoreMean => self.score_mean(gate, alpha),
            Metric::ScorePsi => self.score_stability(gate),
            Metric::ScoreKs => self.score_distance(gate, alpha),
            Metric::StableKl => divergence(gate, alpha, stable.map(|beside| &beside.kl)),
            Metric::TeacherKl => divergence(gate, alpha, teacher.map(|beside| &beside.kl)),
            Metric::StableTopK => share(gate, alpha, stable.map(|beside| &beside.top_k)),
            Metric::TeacherTopK => share(gate, alpha, teacher.map(|beside| &beside.top_k)),
            Metric::StableSpearman => {
                correlation(gate, alpha, stable.map(|beside| &beside.spearman))
            }
            Metric::TeacherSpearman => {
                correlation(gate, alpha, teacher.map(|beside| &beside.spearman))
            }
        }
    }

    /// Both sides, when both have counted something; else how much the version has.
    fn both(
        &self,
        count: impl Fn(&ArmEvidence) -> u64,
    ) -> Result<(&ArmEvidence, &ArmEvidence), Measured> {
        let of_candidate = self.candidate.map_or(0, &count);
        match (self.candidate, self.stable) {
            (Some(candidate), Some(stable)) if of_candidate > 0 && count(stable) > 0 => {
                Ok((candidate, stable))
            }
            _ => Err(Measured::nothing(of_candidate)),
        }
    }

    /// The count is what it is, and can only grow: there is no upper bound that it could fail by.
    fn requests(&self) -> Measured {
        let count = self.candidate.map_or(0, ArmEvidence::requests);
        Measured {
            value: Some(count as f64),
            bounds: (count as f64, f64::INFINITY),
            is_estimate: false,
            count,
            is_enough: count > 0,
        }
    }

    fn errors(&self, gate: &Gate, alpha: f64) -> Measured {
        let (candidate, stable) = match self.both(ArmEvidence::requests) {
            Ok(sides) => sides,
            Err(nothing) => return nothing,
        };
        let rate = |side: &ArmEvidence| side.failures() as f64 / side.requests() as f64;
        let bounds = |side: &ArmEvidence| {
            sequential::proportion(side.failures(), side.requests(), alpha / 2.0)
        };
        let ((low, high), (stable_low, stable_high)) = (bounds(candidate), bounds(stable));
        Measured {
            value: Some(rate(candidate) - rate(stable)),
            bounds: (low - stable_high, high - stable_low),
            is_estimate: false,
            count: candidate.requests(),
            is_enough: is_enough(gate, candidate.requests(), stable.requests()),
        }
    }

    /// The version's quantile by the stable version's, each with its confidence sequence: it is not enough that few of the
    /// version's requests take longer than `max` times the stable version's quantile, since that quantile is not known
    /// exactly either. All is as exact as the histogram's buckets, whose outer bounds are taken.
    fn latency(&self, gate: &Gate, alpha: f64, quantile: f64) -> Measured {
        let count = |side: &ArmEvidence| side.latency.count();
        let (candidate, stable) = match self.both(count) {
            Ok(sides) => sides,
            Err(nothing) => return nothing,
        };
        let bounds = |side: &ArmEvidence| {
            let of = side.latency.count();
            let (first, last) = sequential::places(of, quantile, alpha / 2.0, gate.min_count);
            (shortest(&side.latency, first), longest(&side.latency, last))
        };
        let ((low, high), (stable_low, stable_high)) = (bounds(candidate), bounds(stable));
        let measured = |side: &ArmEvidence| side.latency.quantile(quantile);
        let value = measured(candidate).zip(measured(stable));
        Measured {
            value: value.map(|(candidate, stable)| candidate.as_secs_f64() / stable.as_secs_f64()),
            bounds: (low / stable_high, high / stable_low),
            is_estimate: false,
            count: count(candidate),
            is_enough: is_enough(gate, count(candidate), count(stable)),
        }
    }

    fn score_mean(&self, gate: &Gate, alpha: f64) -> Measured {
        let count = |side: &ArmEvidence| side.scores.moments.count;
        let (candidate, stable) = match self.both(count) {
            Ok(sides) => sides,
            Err(nothing) => return nothing,
        };
        let bounds = |side: &ArmEvidence| {
            sequential::mean(&side.scores.moments, 1.0, alpha / 2.0, gate.min_count)
        };
        let value = |side: &ArmEvidence| side.scores.moments.mean();
        let (Some((low, high)), Some((stable_low, stable_high))) =
            (bounds(candidate), bounds(stable))
        else {
            return Measured::nothing(count(candidate));
        };
        let (low, high) = (low - stable_high, high - stable_low);
        // The difference may be either way; how far, is asked.
        let nearest = low.max(-high).max(0.0);
        let farthest = high.max(-low);
        Measured {
            value: value(candidate)
                .zip(value(stable))
                .map(|(mean, stable_mean)| (mean - stable_mean).abs()),
            bounds: (nearest, farthest),
            is_estimate: false,
            count: count(candidate),
            is_enough: is_enough(gate, count(candidate), count(stable)),
        }
    }

    fn score_stability(&self, gate: &Gate) -> Measured {
        let (candidate, stable) = match self.both(scored) {
            Ok(sides) => sides,
            Err(nothing) => return nothing,
        };
        let (candidate_bins, stable_bins) = (candidate.scores.bins(), stable.scores.bins());
        let Some(stability) = drift::stability(candidate_bins, stable_bins) else {
            return Measured::nothing(scored(candidate));
        };
        let value = (stability.index - stability.by_chance).max(0.0);
        let is_enough = is_enough(gate, scored(candidate), scored(stable));
        Measured {
            value: Some(value),
            bounds: (value, value),
            is_estimate: true,
            count: scored(candidate),
            is_enough: is_enough && stability.by_chance <= gate.bound() / 4.0,
        }
    }

    fn score_distance(&self, gate: &Gate, alpha: f64) -> Measured {
        let (candidate, stable) = match self.both(scored) {
            Ok(sides) => sides,
            Err(nothing) => return nothing,
        };
        let (candidate_bins, stable_bins) = (candidate.scores.bins(), stable.scores.bins());
        let Some(distance) = drift::distance(candidate_bins, stable_bins) else {
            return Measured::nothing(scored(candidate));
        };
        let radius = sequential::distribution(scored(candidate), alpha / 2.0)
            + sequential::distribution(scored(stable), alpha / 2.0);
        Measured {
            value: Some(distance),
            bounds: ((distance - radius).max(0.0), (distance + radius).min(1.0)),
            is_estimate: false,
            count: scored(candidate),
            is_enough: is_enough(gate, scored(candidate), scored(stable)),
        }
    }
}

/// Scores that were counted in bins.
fn scored(side: &ArmEvidence) -> u64 {
    side.scores.bins().iter().sum()
}

/// A mean divergence. It has no upper limit; a nat is about what scores of opposite opinion are apart.
fn divergence(gate: &Gate, alpha: f64, values: Option<&Moments>) -> Measured {
    mean(gate, alpha, values, 1.0, (0.0, f64::INFINITY))
}

/// A mean of values in 0..1.
fn share(gate: &Gate, alpha: f64, values: Option<&Moments>) -> Measured {
    mean(gate, alpha, values, 1.0, (0.0, 1.0))
}

/// A mean of values in -1..1.
fn correlation(gate: &Gate, alpha: f64, values: Option<&Moments>) -> Measured {
    mean(gate, alpha, values, 2.0, (-1.0, 1.0))
}

/// A mean over the requests that were compared, which lies within limits.
fn mean(
    gate: &Gate,
    alpha: f64,
    values: Option<&Moments>,
    range: f64,
    (least, greatest): (f64, f64),
) -> Measured {
    let Some(values) = values else {
        return Measured::nothing(0);
    };
    let bounds = sequential::mean(values, range, alpha, gate.min_count);
    let (Some(value), Some((low, high))) = (values.mean(), bounds) else {
        return Measured::nothing(values.count);
    };
    Measured {
        value: Some(value),
        bounds: (low.max(least), high.min(greatest)),
        is_estimate: false,
        count: values.count,
        is_enough: is_enough(gate, values.count, values.count),
    }
}

fn is_enough(gate: &Gate, candidate: u64, reference: u64) -> bool {
    candidate.min(reference) >= gate.min_count
}

/// What follows from bounds of the true value. What is no number is on no side.
fn verdict(gate: &Gate, low: f64, high: f64) -> Verdict {
    let bound = gate.bound();
    let (passes, fails) = if gate.metric.takes_min() {
        (low >= bound, high < bound)
    } else {
        (high <= bound, low > bound)
    };
    match (passes, fails) {
        (true, false) => Verdict::Pass,
        (false, true) => Verdict::Fail,
        _ => Verdict::Inconclusive,
    }
}

/// The shortest time that the value at a place can have, in seconds; at place 0, before the first one, no time at all.
fn shortest(latency: &Histogram, place: u64) -> f64 {
    match bucket_at(latency, place) {
        Some(bucket) if place > 0 && bucket > 0 => Histogram::upper_bound(bucket - 1).as_secs_f64(),
        _ => 0.0,
    }
}

/// The longest time that the value at a place can have, in seconds; after the last one, and in the last bucket, any time.
fn longest(latency: &Histogram, place: u64) -> f64 {
    match bucket_at(latency, place) {
        Some(bucket) if bucket + 1 < Histogram::BUCKETS => {
            Histogram::upper_bound(bucket).as_secs_f64()
        }
        _ => f64::INFINITY,
    }
}

/// The bucket of the value at a place, from 1; none after the last one.
fn bucket_at(latency: &Histogram, place: u64) -> Option<usize> {
    let mut below = 0;
    let mut buckets = latency.buckets();
    let found = buckets.find(|(_, count)| {
        below += count;
        below >= place
    });
    found.map(|(bucket, _)| bucket)
}

#[cfg(test)]
mod tests;
