//! What must hold while a version is released.
//!
//! Gates are looked at about once a second, for as long as a step lasts. A test of the usual kind, asked that often, fails a
//! good version sooner or later; these are sequential: see [`judge()`] and `sequential.rs`.

mod judge;
mod drift;
mod sequential;
mod gamma;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use judge::judge;

/// A condition on one metric. It passes or fails when the data says so beyond doubt; until then it is inconclusive.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gate {
    /// What is judged.
    pub metric: Metric,
    /// It must be at least this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// It must be at most this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// Nothing is decided before so many requests of the version were counted, and as many of the stable version where it is
    /// measured beside that one's answers. `requests` has its `min` alone.
    #[serde(default = "Gate::default_min_count")]
    pub min_count: u64,
    /// What follows when it fails.
    #[serde(default)]
    pub on_fail: OnFail,
}

/// What a gate judges: the version beside the stable one, in the same time and in the same scorers; or beside its teacher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Metric {
    /// Requests of the version; takes `min`. It passes, or is yet to pass; it never fails.
    Requests,
    /// The share of the version's requests that fail, less the stable version's share; takes `max`.
    ErrorRate,
    /// The version's median time from read to answered, in units of the stable version's; takes `max`. While the version is
    /// in shadow this is shown and nothing follows: off the request path it takes other times.
    LatencyP50,
    /// The same of the 99th percentile. It cannot pass before some six hundred requests of each version: with fewer, the
    /// slowest ones say nothing of what lies above them.
    LatencyP99,
    /// The distance between the mean scores; takes `max`.
    ScoreMean,
    /// The population stability index of the scores, over tenths of the stable version's, less what chance adds to it; takes
    /// `max`. An estimate without an interval, and not sequential: it decides once what chance adds is at most a quarter of
    /// `max`.
    ScorePsi,
    /// The Kolmogorov-Smirnov distance between the scores, over the bins of their counts; takes `max`.
    ScoreKs,
    /// The mean Kullback-Leibler divergence from the stable version's scores, in nats; takes `max`.
    StableKl,
    /// The mean share of the stable version's ten best that are among the version's; takes `min`.
    StableTopK,
    /// The mean rank correlation with the stable version; takes `min`.
    StableSpearman,
    /// The mean Kullback-Leibler divergence from the teacher's scores, in nats; takes `max`.
    TeacherKl,
    /// The mean share of the teacher's ten best that are among the version's; takes `min`.
    TeacherTopK,
    /// The mean rank correlation with the teacher; takes `min`.
    TeacherSpearman,
}

/// What follows when a gate fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFail {
    /// The rollout is aborted.
    #[default]
    Abort,
    /// The rollout is paused, and an operator decides.
    Hold,
    /// It is shown, and nothing follows.
    Warn,
}

/// What a gate says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The condition holds.
    Pass,
    /// It does not.
    Fail,
    /// The data does not say yet.
    Inconclusive,
}

/// What a gate says, and from what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// The gate.
    pub gate: Gate,
    /// What it says.
    pub verdict: Verdict,
    /// The metric's value; none without data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// Bounds between which the true value lies, at any time of the step, but for the plan's chance of a false alarm; none
    /// while it is unbounded on one side, or is an estimate alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<(f64, f64)>,
    /// How many requests of the version it is from; of the compared ones, where it is about those.
    pub count: u64,
}

/// What all gates of a plan say.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Judgement {
    /// Each gate's reading, in the plan's order; none before anything was looked at.
    pub readings: Vec<Reading>,
}

impl Gate {
    const fn default_min_count() -> u64 {
        100
    }

    /// What is held to when neither the operator nor the model says anything.
    pub(super) fn usual() -> Vec<Self> {
        let gate = |metric, max| Self {
            metric,
            min: None,
            max: Some(max),
            min_count: Self::default_min_count(),
            on_fail: OnFail::Abort,
        };
        vec![
            gate(Metric::ErrorRate, 0.005),
            gate(Metric::LatencyP50, 1.5),
            gate(Metric::LatencyP99, 2.0),
            gate(Metric::ScoreMean, 0.05),
        ]
    }

    /// Whether it can decide anything.
    pub(super) fn check(&self) -> Result<(), String> {
        let (wanted, given, other) = if self.metric.takes_min() {
            ("min", self.min, self.max)
        } else {
            ("max", self.max, self.min)
        };
        if other.is_some() {
            return Err(format!("it takes `{wanted}` alone"));
        }
        let Some(bound) = given else {
            return Err(format!("say `{wanted}`"));
        };
        let (low, high) = self.metric.range();
        if !(low..=high).contains(&bound) {
            return Err(format!("{wanted} = {bound} must be {low} to {high}"));
        }
        Ok(())
    }

    /// The bound, whichever side it is on.
    pub fn bound(&self) -> f64 {
        self.min.or(self.max).unwrap_or(f64::NAN)
    }
}

impl Metric {
    /// All of them.
    pub const ALL: [Metric; 13] = [
        Self::Requests,
        Self::ErrorRate,
        Self::LatencyP50,
        Self::LatencyP99,
        Self::ScoreMean,
        Self::ScorePsi,
        Self::ScoreKs,
        Self::StableKl,
        Self::StableTopK,
        Self::StableSpearman,
        Self::TeacherKl,
        Self::TeacherTopK,
        Self::TeacherSpearman,
    ];

    /// Whether more is better.
    pub fn takes_min(self) -> bool {
        matches!(
            self,
            Self::Requests
                | Self::StableTopK
                | Self::StableSpearman
                | Self::TeacherTopK
                | Self::TeacherSpearman
        )
    }

    /// Whether it is about times, which are other ones off the request path.
    pub(super) fn needs_answers(self) -> bool {
        matches!(self, Self::LatencyP50 | Self::LatencyP99)
    }

    /// Whether it is measured beside answers of the stable version.
    pub(super) fn needs_stable(self) -> bool {
        matches!(
            self,
            Self::ErrorRate
                | Self::LatencyP50
                | Self::LatencyP99
                | Self::ScoreMean
                | Self::ScorePsi
                | Self::ScoreKs
        )
    }

    /// Whether it is about requests that several versions scored.
    pub(super) fn needs_comparison(self) -> bool {
        self != Self::Requests && !self.needs_stable()
    }

    /// Whether a teacher must score a sample of the requests.
    pub fn needs_teacher(self) -> bool {
        matches!(
            self,
            Self::TeacherKl | Self::TeacherTopK | Self::TeacherSpearman
        )
    }

    /// Bounds that make sense.
    fn range(self) -> (f64, f64) {
        match self {
            Self::Requests => (1.0, 1e12),
            Self::LatencyP50 | Self::LatencyP99 => (1.0, 1e6),
            Self::StableSpearman | Self::TeacherSpearman => (-1.0, 1.0),
            Self::ErrorRate | Self::ScoreMean | Self::ScoreKs => (0.0, 1.0),
            Self::StableTopK | Self::TeacherTopK => (0.0, 1.0),
            Self::ScorePsi | Self::StableKl | Self::TeacherKl => (0.0, 1e6),
        }
    }

    /// Its name, as plans spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::ErrorRate => "error-rate",
            Self::LatencyP50 => "latency-p50",
            Self::LatencyP99 => "latency-p99",
            Self::ScoreMean => "score-mean",
            Self::ScorePsi => "score-psi",
            Self::ScoreKs => "score-ks",
            Self::StableKl => "stable-kl",
            Self::StableTopK => "stable-top-k",
            Self::StableSpearman => "stable-spearman",
            Self::TeacherKl => "teacher-kl",
            Self::TeacherTopK => "teacher-top-k",
            Self::TeacherSpearman => "teacher-spearman",
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl Judgement {
    /// A gate that failed and ends the rollout. Nobody lets such a one pass, whatever else they let pass of its metric.
    pub(super) fn aborts(&self) -> Option<&Reading> {
        self.failed(OnFail::Abort).next()
    }

    /// The gates that failed and pause the rollout.
    pub(super) fn holds<'a>(&'a self, waived: &'a [Metric]) -> impl Iterator<Item = &'a Reading> {
        self.failed(OnFail::Hold)
            .filter(move |reading| !reading.is_waived(waived))
    }

    fn failed(&self, on_fail: OnFail) -> impl Iterator<Item = &Reading> {
        self.readings.iter().filter(move |reading| {
            reading.verdict == Verdict::Fail && reading.gate.on_fail == on_fail
        })
    }

    /// Whether every gate that counts has passed, or was let pass. Without a gate that counts nothing has.
    pub(super) fn has_passed(&self, waived: &[Metric]) -> bool {
        let counts = |reading: &Reading| reading.gate.on_fail != OnFail::Warn;
        self.readings.iter().any(counts) && self.open(waived).next().is_none()
    }

    /// The gates that keep a step from ending.
    fn open<'a>(&'a self, waived: &'a [Metric]) -> impl Iterator<Item = &'a Reading> {
        self.readings.iter().filter(move |reading| {
            reading.verdict != Verdict::Pass
                && reading.gate.on_fail != OnFail::Warn
                && !reading.is_waived(waived)
        })
    }

    /// Which gates did not decide, in words.
    pub(super) fn undecided(&self, waived: &[Metric]) -> String {
        let open: Vec<String> = self.open(waived).map(Reading::words).collect();
        if open.is_empty() {
            "nothing was measured".to_owned()
        } else {
            format!("these gates did not pass: {}", open.join("; "))
        }
    }
}

impl Reading {
    /// Whether an operator let it pass. That is for the gates that pause: another one of the same metric still ends the
    /// rollout.
    fn is_waived(&self, waived: &[Metric]) -> bool {
        self.gate.on_fail == OnFail::Hold && waived.contains(&self.gate.metric)
    }

    /// What it says, in words.
    pub fn words(&self) -> String {
        let (metric, count) = (self.gate.metric, self.count);
        let side = if self.gate.metric.takes_min() {
            "at least"
        } else {
            "at most"
        };
        let bound = self.gate.bound();
        let value = match (self.value, self.interval) {
            (None, _) => "no data".to_owned(),
            (Some(value), None) => format!("{value:.4}"),
            (Some(value), Some((low, high))) => {
                format!("{value:.4} (between {low:.4} and {high:.4})")
            }
        };
        let verdict = match self.verdict {
            Verdict::Pass => "passes",
            Verdict::Fail => "fails",
            Verdict::Inconclusive => "cannot tell yet",
        };
        format!("{metric} {verdict}: {value} of {count} requests, {side} {bound} is wanted")
    }
}

#[cfg(test)]
mod tests;
