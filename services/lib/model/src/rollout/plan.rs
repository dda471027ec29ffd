//! What an operator asks for: steps, gates and limits.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::gate::{Gate, Metric, OnFail};
use super::span::Span;
use crate::BASIS_POINTS;

/// How a version is released. The steps are taken in order; after the last one the version is promoted.
///
/// As TOML:
/// ```toml
/// steps = ["shadow", "analysis 10m", "1%", "analysis 30m", "10%", "pause 5m", "50%", "analysis 30m"]
///
/// [[gates]]
/// metric = "error-rate"
/// max = 0.001
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Plan {
    /// What is done, in order. None at all is blue-green: prepared by all, then all of the traffic at once.
    pub steps: Vec<Step>,
    /// What must hold meanwhile.
    pub gates: Vec<Gate>,
    /// How many of each hundred live scorers must have the version ready before the first step.
    pub min_ready_percent: u8,
    /// How long scorers may take to have the version ready, before the rollout is aborted.
    pub prepare_within: Span,
    /// The share of requests whose answers are compared, off the request path, with what the other versions say.
    pub compare: Share,
    /// The chance, over a whole step, that a gate fails a version that is just good enough; each gate has all of it.
    pub false_alarm: f64,
}

/// One step of a plan: `shadow`, `10%`, `pause`, `pause 5m` or `analysis 30m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Step {
    /// The version scores a copy of the traffic and answers none of it.
    Shadow,
    /// The version answers this share of the traffic.
    Weight(Share),
    /// Nothing changes for this long; without a time, until an operator says so.
    Pause(Option<Span>),
    /// Every gate must have passed within this time, or the rollout is aborted.
    Analysis(Span),
}

/// A share of the traffic in basis points, written as per cent: `1%`, `12.5%`, `100%`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Share(u32);

/// Why a plan makes no sense.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum PlanError {
    /// A step cannot stand where it stands.
    #[error("steps[{at}] (`{step}`): {reason}")]
    Step {
        /// Its place, from 0.
        at: usize,
        /// The step.
        step: Step,
        /// What is wrong.
        reason: String,
    },
    /// A gate is incomplete or can never decide.
    #[error("gates[{at}] ({metric}): {reason}")]
    Gate {
        /// Its place, from 0.
        at: usize,
        /// What it judges.
        metric: Metric,
        /// What is wrong.
        reason: String,
    },
    /// A limit is out of range.
    #[error("{key} = {value}: {reason}")]
    Limit {
        /// The limit.
        key: &'static str,
        /// Its value.
        value: String,
        /// What is wrong.
        reason: &'static str,
    },
}

/// More steps would not fit a record with all that is written beside them.
const MOST_STEPS: usize = 50;

impl Default for Plan {
    /// What is done when neither the operator nor the model says anything: a hundredth, a tenth, a half, each held to
    /// errors, latency and the stable version's scores.
    fn default() -> Self {
        let steps = [
            "1%",
            "analysis 30m",
            "10%",
            "analysis 30m",
            "50%",
            "analysis 30m",
        ];
        Self {
            steps: steps.iter().filter_map(|step| step.parse().ok()).collect(),
            gates: Gate::usual(),
            ..Self::blue_green()
        }
    }
}

impl Plan {
    /// No steps and no gates: prepared by all scorers, then all of the traffic.
    pub fn blue_green() -> Self {
        Self {
            steps: Vec::new(),
            gates: Vec::new(),
            min_ready_percent: 100,
            prepare_within: Span::seconds(15 * 60),
            compare: Share::ALL,
            false_alarm: 0.01,
        }
    }

    /// Whether everything in it makes sense together.
    ///
    /// # Errors
    /// The first thing that does not, by its name, value and reason.
    pub fn check(&self) -> Result<(), PlanError> {
        let limit = |key, value: String, reason| Err(PlanError::Limit { key, value, reason });
        if self.steps.len() > MOST_STEPS {
            let steps = self.steps.len().to_string();
            return limit("steps", steps, "at most 50 are allowed");
        }
        if !(1..=100).contains(&self.min_ready_percent) {
            let percent = self.min_ready_percent.to_string();
            return limit("min_ready_percent", percent, "it must be 1 to 100");
        }
        if !(self.false_alarm > 0.0 && self.false_alarm < 0.5) {
            let chance = self.false_alarm.to_string();
            return limit("false_alarm", chance, "it must be above 0 and below 0.5");
        }
        self.check_steps()?;
        for (at, gate) in self.gates.iter().enumerate() {
            let metric = gate.metric;
            let wrong = |reason| PlanError::Gate { at, metric, reason };
            gate.check().map_err(wrong)?;
            if metric.needs_comparison() && self.compare == Share::NONE {
                return Err(wrong("with compare = 0% no answers are compared".into()));
            }
        }
        Ok(())
    }

    fn check_steps(&self) -> Result<(), PlanError> {
        let mut before: Option<Share> = None;
        let mut is_shadow = false;
        for (at, &step) in self.steps.iter().enumerate() {
            let wrong = |reason: String| Err(PlanError::Step { at, step, reason });
            match step {
                Step::Shadow if before.is_some() => {
                    return wrong("a version that answers already cannot go back to shadow".into());
                }
                Step::Weight(share) => {
                    if share == Share::NONE {
                        return wrong("a version that answers nothing is `shadow`".into());
                    }
                    if let Some(less) = before.filter(|before| *before >= share) {
                        return wrong(format!("the share must grow, and it was {less} already"));
                    }
                    before = Some(share);
                }
                Step::Analysis(_) => {
                    if let Some(reason) = self.undecidable(is_shadow, before) {
                        return wrong(reason);
                    }
                }
                Step::Shadow => is_shadow = true,
                Step::Pause(_) => {}
            }
        }
        Ok(())
    }

    /// Why an analysis could never pass where the version is in shadow or answers this share; `None` when it could.
    fn undecidable(&self, is_shadow: bool, share: Option<Share>) -> Option<String> {
        let gates = self.gates.iter();
        let waited_for: Vec<Metric> = gates
            .filter(|gate| gate.on_fail != OnFail::Warn)
            .map(|gate| gate.metric)
            .collect();
        if waited_for.is_empty() {
            return Some("there are no gates that it could wait for".into());
        }
        match share {
            None if !is_shadow => Some("the version sees no traffic yet".into()),
            None if waited_for.iter().all(|metric| metric.needs_answers()) => {
                Some("there are no gates that can be judged in shadow".into())
            }
            Some(Share::ALL) => {
                let metric = waited_for.iter().find(|metric| metric.needs_stable())?;
                Some(format!(
                    "at 100% no request is the stable version's, so that {metric} could never pass"
                ))
            }
            None | Some(_) => None,
        }
    }
}

impl Share {
    /// Nothing.
    pub const NONE: Share = Share(0);
    /// All of it.
    pub const ALL: Share = Share(BASIS_POINTS);

    /// So many basis points; `None` above 10000.
    pub fn from_basis_points(points: u32) -> Option<Self> {
        (points <= BASIS_POINTS).then_some(Self(points))
    }

    /// The share in basis points.
    pub fn basis_points(self) -> u32 {
        self.0
    }
}

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{text}` is no share; write it in per cent with at most two decimals, such as 1% or 12.5%"
            )
        };
        let number = text.strip_suffix('%').ok_or_else(wrong)?;
        let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
        let digits =
            |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(decimals) || decimals.len() > 2 {
            return Err(wrong());
        }
        let whole: u32 = whole.parse().map_err(|_| wrong())?;
        let decimals: u32 = format!("{decimals:0<2}").parse().map_err(|_| wrong())?;
        let points = whole
            .checked_mul(100)
            .and_then(|points| points.checked_add(decimals));
        points
            .and_then(Self::from_basis_points)
            .ok_or_else(|| format!("`{text}` must be at most 100%"))
    }
}

impl fmt::Display for Share {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, decimals) = (self.0 / 100, self.0 % 100);
        match (decimals, decimals % 10) {
            (0, _) => write!(formatter, "{whole}%"),
            (_, 0) => write!(formatter, "{whole}.{}%", decimals / 10),
            _ => write!(formatter, "{whole}.{decimals:02}%"),
        }
    }
}

impl FromStr for Step {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut words = text.split_whitespace();
        let step = match (words.next(), words.next()) {
            (Some("shadow"), None) => Ok(Self::Shadow),
            (Some("pause"), None) => Ok(Self::Pause(None)),
            (Some("pause"), Some(span)) => Ok(Self::Pause(Some(span.parse()?))),
            (Some("analysis"), Some(span)) => Ok(Self::Analysis(span.parse()?)),
            (Some("analysis"), None) => {
                Err("say how long an analysis may take: `analysis 30m`".to_owned())
            }
            (Some(share), None) if share.ends_with('%') => Ok(Self::Weight(share.parse()?)),
            _ => Err(format!(
                "`{text}` is no step; there are `shadow`, `10%`, `pause`, `pause 5m` and `analysis 30m`"
            )),
        };
        match words.next() {
            Some(more) => Err(format!("`{text}` is no step: `{more}` is too much")),
            None => step,
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shadow => formatter.write_str("shadow"),
            Self::Weight(share) => share.fmt(formatter),
            Self::Pause(None) => formatter.write_str("pause"),
            Self::Pause(Some(span)) => write!(formatter, "pause {span}"),
            Self::Analysis(span) => write!(formatter, "analysis {span}"),
        }
    }
}

macro_rules! as_text {
    ($($type:ty),*) => {$(
        impl TryFrom<String> for $type {
            type Error = String;

            fn try_from(text: String) -> Result<Self, String> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(value: $type) -> String {
                value.to_string()
            }
        }
    )*};
}
as_text!(Step, Share);

#[cfg(test)]
mod tests;
