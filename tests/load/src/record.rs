//! What became of the calls, by the phase in which they were due.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};
use tonic::Code;

/// One finished call.
pub(crate) struct Answer {
    /// When it was due, from the start.
    pub(crate) due: Duration,
    /// How long the caller waited.
    pub(crate) waited: Duration,
    /// The version that answered, or the error.
    pub(crate) outcome: Result<u64, Code>,
}

/// The moment when the slot was changed, and the one when the scorer said that the new version serves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Swap {
    pub(crate) begun: Duration,
    pub(crate) serving: Duration,
}

/// Calls of one phase.
struct Phase {
    name: &'static str,
    latencies: Histogram<u64>,
    failed: u64,
}

/// All calls, counted.
pub(crate) struct Report {
    phases: Vec<Phase>,
    versions: BTreeMap<u64, u64>,
    errors: BTreeMap<String, u64>,
    swap: Option<Swap>,
}

/// Around a swap, calls due up to this long after it still count as during it: loading leaves cold caches behind.
const SETTLING: Duration = Duration::from_millis(500);

impl Report {
    pub(crate) fn new(answers: &[Answer], swap: Option<Swap>) -> anyhow::Result<Self> {
        let names: &[&'static str] = if swap.is_some() {
            &["before", "during", "after"]
        } else {
            &["all"]
        };
        let mut phases = Vec::new();
        for &name in names {
            // Microseconds up to a minute, to three digits.
            phases.push(Phase {
                name,
                latencies: Histogram::new_with_bounds(1, 60_000_000, 3)?,
                failed: 0,
            });
        }
        let mut report = Self {
            phases,
            versions: BTreeMap::new(),
            errors: BTreeMap::new(),
            swap,
        };
        for answer in answers {
            let phase = match swap {
                Some(swap) if answer.due >= swap.serving + SETTLING => 2,
                Some(swap) if answer.due >= swap.begun => 1,
                _ => 0,
            };
            let phase = &mut report.phases[phase];
            match answer.outcome {
                Ok(version) => {
                    phase
                        .latencies
                        .saturating_record(answer.waited.as_micros() as u64);
                    *report.versions.entry(version).or_default() += 1;
                }
                Err(code) => {
                    phase.failed += 1;
                    *report.errors.entry(format!("{code:?}")).or_default() += 1;
                }
            }
        }
        Ok(report)
    }

    pub(crate) fn failed(&self) -> u64 {
        self.phases.iter().map(|phase| phase.failed).sum()
    }

    pub(crate) fn table(&self) -> String {
        let mut lines = vec![format!(
            "{:8} {:>9} {:>7} {:>9} {:>9} {:>9}",
            "phase", "answered", "failed", "p50 ms", "p99 ms", "max ms"
        )];
        let millis = |micros: u64| format!("{:.2}", micros as f64 / 1000.0);
        for Phase {
            name,
            latencies,
            failed,
        } in &self.phases
        {
            let quantile = |quantile: f64| millis(latencies.value_at_quantile(quantile));
            let (median, tail, max) = (quantile(0.5), quantile(0.99), millis(latencies.max()));
            lines.push(format!(
                "{name:8} {:>9} {failed:>7} {median:>9} {tail:>9} {max:>9}",
                latencies.len()
            ));
        }
        lines.push(String::new());
        lines.extend(
            self.versions
                .iter()
                .map(|(version, count)| format!("version {version} answered {count}")),
        );
        lines.extend(
            self.errors
                .iter()
                .map(|(code, count)| format!("{code}: {count} calls")),
        );
        if let Some(swap) = self.swap {
            lines.push(format!(
                "the new version served {} ms after it was promoted",
                (swap.serving - swap.begun).as_millis()
            ));
        }
        lines.push(format!("failed: {}", self.failed()));
        lines.join("\n")
    }

    pub(crate) fn json(&self) -> Value {
        let phase = |phase: &Phase| {
            json!({
                "phase": phase.name,
                "answered": phase.latencies.len(),
                "failed": phase.failed,
                "p50_micros": phase.latencies.value_at_quantile(0.5),
                "p99_micros": phase.latencies.value_at_quantile(0.99),
                "max_micros": phase.latencies.max(),
            })
        };
        json!({
            "phases": self.phases.iter().map(phase).collect::<Vec<_>>(),
            "versions": self.versions.iter().map(|(version, count)| (version.to_string(), *count)).collect::<BTreeMap<_, _>>(),
            "errors": self.errors,
            "swap_millis": self.swap.map(|swap| (swap.serving - swap.begun).as_millis() as u64),
            "failed": self.failed(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_in_the_phase_in_which_they_were_due() {
        let answer = |due, waited, outcome| Answer {
            due: Duration::from_millis(due),
            waited: Duration::from_millis(waited),
            outcome,
        };
        let swap = Swap {
            begun: Duration::from_millis(1000),
            serving: Duration::from_millis(1200),
        };
        let answers = [
            answer(0, 2, Ok(1)),
            answer(999, 3, Ok(1)),
            answer(1000, 40, Ok(1)),
            answer(1699, 50, Ok(2)),
            answer(1700, 5, Ok(2)),
            answer(1800, 5, Err(Code::Unavailable)),
        ];
        let json = Report::new(&answers, Some(swap)).unwrap().json();
        let answered = |phase: usize| json["phases"][phase]["answered"].as_u64().unwrap();
        assert_eq!([answered(0), answered(1), answered(2)], [2, 2, 1]);
        assert_eq!(
            (json["failed"].as_u64(), json["versions"]["2"].as_u64()),
            (Some(1), Some(2))
        );
        assert_eq!(json["errors"]["Unavailable"], 1);
    }
}
