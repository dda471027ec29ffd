//! Gates of a rollout as people type them: `error-rate<=0.001`, `stable-spearman>=0.9,hold,min-count=5000`.

use decant_model::rollout::{Gate, Metric, OnFail};
use serde_json::json;

use super::gate;

/// Reads a gate: a bound, then what follows when it does not hold, and how many requests it needs.
pub(crate) fn parse(text: &str) -> Result<Gate, String> {
    let mut parts = text.split(',').map(str::trim);
    let mut gate = bounded(parts.next().unwrap_or_default())?;
    for part in parts {
        match part
            .split_once('=')
            .map_or((part, None), |(key, value)| (key.trim(), Some(value)))
        {
            ("abort", None) => gate.on_fail = OnFail::Abort,
            ("hold", None) => gate.on_fail = OnFail::Hold,
            ("warn", None) => gate.on_fail = OnFail::Warn,
            ("min-count", Some(count)) => {
                gate.min_count = count.trim().parse().map_err(|_| {
                    format!("min-count: `{}` is no number of requests", count.trim())
                })?;
            }
            _ => {
                return Err(format!(
                    "`{part}` is nothing that a gate has; there are `abort`, `hold`, `warn` and `min-count=N`"
                ));
            }
        }
    }
    Ok(gate)
}

/// The bound alone, with what gates have unless they say otherwise.
fn bounded(text: &str) -> Result<Gate, String> {
    let expected = "METRIC<=VALUE or METRIC>=VALUE is expected, such as error-rate<=0.001";
    let at = text.find(['<', '>']).ok_or(expected)?;
    let (name, condition) = text.split_at(at);
    let (metric, is_minimum) = (metric(name.trim())?, condition.starts_with('>'));
    let (bound, value) = gate::bound(condition)?;
    if metric.takes_min() != is_minimum {
        let (wanted, more_or_less) = if metric.takes_min() {
            (">=", "more")
        } else {
            ("<=", "less")
        };
        return Err(format!(
            "of {metric} {more_or_less} is better: write {metric}{wanted}{bound}"
        ));
    }
    let side = if is_minimum { "min" } else { "max" };
    // Read as from a plan's file, so that what is not said is the same here and there.
    serde_json::from_value(json!({ "metric": metric.as_str(), (side): value }))
        .map_err(|error| error.to_string())
}

fn metric(name: &str) -> Result<Metric, String> {
    let found = Metric::ALL
        .into_iter()
        .find(|metric| metric.as_str() == name);
    found.ok_or_else(|| {
        let names = Metric::ALL.map(Metric::as_str).join(", ");
        format!("`{name}` is nothing that a gate judges; there are {names}")
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_bound_is_enough() {
        assert_eq!(
            parse("error-rate<=0.001").unwrap(),
            Gate {
                metric: Metric::ErrorRate,
                min: None,
                max: Some(0.001),
                min_count: 100,
                on_fail: OnFail::Abort,
            }
        );
    }

    #[test]
    fn what_follows_and_how_many_requests_can_be_said() {
        assert_eq!(
            parse(" stable-spearman >= .9 , hold, min-count = 5000").unwrap(),
            Gate {
                metric: Metric::StableSpearman,
                min: Some(0.9),
                max: None,
                min_count: 5000,
                on_fail: OnFail::Hold,
            }
        );
        assert_eq!(parse("score-psi<=0.2,warn").unwrap().on_fail, OnFail::Warn);
    }

    #[test]
    fn mistakes_are_named() {
        let reason = |text: &str| parse(text).unwrap_err();
        assert_eq!(
            reason("error-rate<0.1"),
            "a bound is inclusive: write >= or <="
        );
        assert_eq!(reason("error-rate<=low"), "`low` is no number");
        assert_eq!(reason("error-rate<=inf"), "`inf` must be finite");
        assert_eq!(
            reason("error-rate>=0.1"),
            "of error-rate less is better: write error-rate<=0.1"
        );
        assert_eq!(
            reason("requests<=5"),
            "of requests more is better: write requests>=5"
        );
        assert!(
            reason("errors<=0.1")
                .starts_with("`errors` is nothing that a gate judges; there are requests, ")
        );
        assert_eq!(
            reason("error-rate<=0.1,min-count=many"),
            "min-count: `many` is no number of requests"
        );
        for bad in [
            "error-rate<=0.1,stop",
            "error-rate<=0.1,hold=1",
            "error-rate<=0.1,",
            "error-rate<=0.1,min-count",
        ] {
            assert!(reason(bad).contains("is nothing that a gate has"), "{bad}");
        }
        for bad in [
            "",
            "error-rate",
            "error-rate=0.1",
            "<=0.1",
            "0<=error-rate<=1",
        ] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            at in 0..Metric::ALL.len(),
            bound in -1e9..1e9f64,
            min_count: u64,
            on_fail in prop::sample::select(vec![OnFail::Abort, OnFail::Hold, OnFail::Warn]),
        ) {
            let metric = Metric::ALL[at];
            let takes_min = metric.takes_min();
            let gate = Gate {
                metric,
                min: takes_min.then_some(bound),
                max: (!takes_min).then_some(bound),
                min_count,
                on_fail,
            };
            let side = if takes_min { ">=" } else { "<=" };
            let follows = match on_fail {
                OnFail::Abort => "abort",
                OnFail::Hold => "hold",
                OnFail::Warn => "warn",
            };
            let text = format!("{metric}{side}{bound},{follows},min-count={min_count}");
            prop_assert_eq!(parse(&text).unwrap(), gate);
        }

        #[test]
        fn no_text_panics(text in ".*") {
            let _ = parse(&text);
        }
    }
}
