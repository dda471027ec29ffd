//! What was measured of a version in its job.

use std::collections::BTreeMap;

use decant_model::rollout::Metric;
use decant_model::{Gate, GateResult};

use super::{Found, Subject};

/// Metrics whose names begin so are about how well a version agrees with its teacher.
const OF_THE_TEACHER: [&str; 3] = ["fidelity", "agreement", "teacher"];
/// Metrics whose names begin so are times; less is better.
const OF_TIME: &str = "latency";
/// How much slower than the stable version a version may be, if the plan has no gate that says it.
const SLOWER: f64 = 2.0;

/// The gates on quality.
pub(super) fn evaluation(subject: &Subject<'_>) -> Found {
    judged(subject, |gate| !is_of_the_teacher(&gate.metric))
        .unwrap_or_else(|| Ok("the model has no gate on metrics".to_owned()))
}

/// The gates on agreement with the teacher.
pub(super) fn fidelity(subject: &Subject<'_>) -> Found {
    judged(subject, |gate| is_of_the_teacher(&gate.metric)).unwrap_or_else(|| {
        Ok("the model has no gate on a version's agreement with its teacher".to_owned())
    })
}

/// Times, where both versions have the same ones.
pub(super) fn latency(subject: &Subject<'_>) -> Found {
    let bounds = subject
        .plan
        .gates
        .iter()
        .filter(|gate| matches!(gate.metric, Metric::LatencyP50 | Metric::LatencyP99));
    let bound = bounds
        .filter_map(|gate| gate.max)
        .reduce(f64::min)
        .unwrap_or(SLOWER);
    slower(
        &subject.candidate.record.manifest.metrics,
        &subject.stable.record.manifest.metrics,
        bound,
    )
}

fn is_of_the_teacher(metric: &str) -> bool {
    OF_THE_TEACHER
        .into_iter()
        .any(|prefix| metric.starts_with(prefix))
}

/// What some of the gates say, as recorded and as they are now; `None` when there are none of them.
fn judged(subject: &Subject<'_>, counts: impl Fn(&Gate) -> bool) -> Option<Found> {
    let metrics = &subject.candidate.record.manifest.metrics;
    let recorded = subject.candidate.state.gates.iter();
    let recorded: Vec<GateResult> = recorded
        .filter(|result| counts(&result.gate))
        .cloned()
        .collect();
    let now = subject.gates.iter().filter(|gate| counts(gate));
    let now: Vec<GateResult> = now
        // A gate that did not change since is told once.
        .filter(|gate| !recorded.iter().any(|result| result.gate == **gate))
        .map(|gate| gate.judge(metrics))
        .collect();
    let all: Vec<GateResult> = recorded.into_iter().chain(now).collect();
    if all.is_empty() {
        return None;
    }
    let failed: Vec<String> = all
        .iter()
        .filter(|result| !result.passed)
        .map(words)
        .collect();
    Some(match failed.is_empty() {
        true => Ok(all.iter().map(words).collect::<Vec<_>>().join(", ")),
        false => Err(failed.join(", ")),
    })
}

fn words(result: &GateResult) -> String {
    let Gate { metric, min, max } = &result.gate;
    let value = result
        .value
        .map_or_else(|| "not measured".to_owned(), |value| value.to_string());
    let least = min.map(|min| format!("at least {min}"));
    let most = max.map(|max| format!("at most {max}"));
    let wanted: Vec<String> = least.into_iter().chain(most).collect();
    format!("{metric} is {value}, {} is wanted", wanted.join(" and "))
}

fn slower(candidate: &BTreeMap<String, f64>, stable: &BTreeMap<String, f64>, bound: f64) -> Found {
    let times = candidate
        .iter()
        .filter(|(name, _)| name.starts_with(OF_TIME))
        .filter_map(|(name, time)| Some((name, *time, *stable.get(name)?)))
        .filter(|(_, _, before)| *before > 0.0);
    let (mut fine, mut late) = (Vec::new(), Vec::new());
    for (name, time, before) in times {
        let words = format!("{name} is {time}, beside {before} of the stable version");
        match time / before <= bound {
            true => fine.push(words),
            false => late.push(words),
        }
    }
    if !late.is_empty() {
        return Err(format!(
            "{}: at most {bound} times as much is wanted",
            late.join(", ")
        ));
    }
    match fine.is_empty() {
        true => Ok("no job measured the times of both versions".to_owned()),
        false => Ok(fine.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics(named: &[(&str, f64)]) -> BTreeMap<String, f64> {
        let named = named
            .iter()
            .map(|(name, value)| ((*name).to_owned(), *value));
        named.collect()
    }

    #[test]
    fn only_times_that_both_versions_have_are_compared() {
        let stable = metrics(&[("latency_p99_micros", 100.0), ("auc", 0.5)]);
        let of = |named: &[(&str, f64)]| slower(&metrics(named), &stable, 2.0);
        assert!(of(&[("latency_p99_micros", 200.0)]).is_ok());
        let late = of(&[("latency_p99_micros", 201.0)]).unwrap_err();
        assert!(late.contains("201") && late.contains("100"), "{late}");
        assert!(of(&[("auc", 99.0), ("latency_p50_micros", 9.0)]).is_ok());
    }
}
