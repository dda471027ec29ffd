//! Gates as people type them: `auc>=0.78`, `logloss<=0.6`.

use decant_proto::registry::v1::Gate;

/// Reads a gate.
pub(crate) fn parse(text: &str) -> Result<Gate, String> {
    let expected = "METRIC>=VALUE or METRIC<=VALUE is expected, such as auc>=0.78";
    let at = text.find(['<', '>']).ok_or(expected)?;
    let (metric, condition) = text.split_at(at);
    let (metric, is_minimum) = (metric.trim(), condition.starts_with('>'));
    if metric.is_empty() || metric.contains(char::is_whitespace) || metric.contains(['=', '!']) {
        return Err(expected.to_owned());
    }
    let (_, value) = bound(condition)?;
    let (min, max) = if is_minimum {
        (Some(value), None)
    } else {
        (None, Some(value))
    };
    Ok(Gate {
        metric: metric.to_owned(),
        min,
        max,
    })
}

/// Reads a bound behind the metric's name, from its `<` or `>` on: as it is written, and as a number.
pub(super) fn bound(condition: &str) -> Result<(&str, f64), String> {
    let bound = condition[1..]
        .strip_prefix('=')
        .ok_or("a bound is inclusive: write >= or <=")?
        .trim();
    let value: f64 = bound
        .parse()
        .map_err(|_| format!("`{bound}` is no number"))?;
    if !value.is_finite() {
        return Err(format!("`{bound}` must be finite"));
    }
    Ok((bound, value))
}

/// A gate as [`parse`] reads it; one with both bounds as `0.7<=auc<=0.9`.
pub(crate) fn display(gate: &Gate) -> String {
    match (gate.min, gate.max) {
        (Some(min), Some(max)) => format!("{min}<={}<={max}", gate.metric),
        (Some(min), None) => format!("{}>={min}", gate.metric),
        (None, Some(max)) => format!("{}<={max}", gate.metric),
        (None, None) => format!("{} is measured", gate.metric),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn both_directions_are_understood() {
        assert_eq!(
            parse("auc>=0.78").unwrap(),
            Gate {
                metric: "auc".into(),
                min: Some(0.78),
                max: None
            }
        );
        assert_eq!(
            parse(" logloss <= .6 ").unwrap(),
            Gate {
                metric: "logloss".into(),
                min: None,
                max: Some(0.6)
            }
        );
    }

    #[test]
    fn mistakes_are_named() {
        let reason = |text: &str| parse(text).unwrap_err();
        assert_eq!(reason("auc>0.78"), "a bound is inclusive: write >= or <=");
        assert_eq!(reason("auc>=high"), "`high` is no number");
        assert_eq!(reason("auc>=nan"), "`nan` must be finite");
        for bad in [
            "",
            "auc",
            "auc=0.7",
            "auc==0.7",
            ">=0.7",
            "test auc>=0.7",
            "auc=>0.7",
            "0.7<=auc<=0.9",
        ] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_displayed_is_parsed_back(metric in "[a-z][a-z0-9_@.-]{0,20}", bound in -1e9..1e9f64, min: bool) {
            let gate = Gate { metric, min: min.then_some(bound), max: (!min).then_some(bound) };
            prop_assert_eq!(parse(&display(&gate)).unwrap(), gate);
        }

        #[test]
        fn no_text_panics(text in ".*") {
            let _ = parse(&text);
        }
    }
}
