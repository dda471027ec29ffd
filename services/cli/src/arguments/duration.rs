//! Lengths of time, such as `500ms`, `10s`, `1.5m` or `2h`.

use std::time::Duration;

/// The longest that anything is waited for; longer ones do not fit a gRPC deadline and are mistakes anyway.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// Reads how long something is waited for; a number without a unit counts seconds.
pub(crate) fn deadline(text: &str) -> Result<Duration, String> {
    match span(text)? {
        duration if duration <= LONGEST => Ok(duration),
        _ => Err("it must be at most 24h".to_owned()),
    }
}

/// Reads a length of time above zero; a number without a unit counts seconds.
pub(crate) fn span(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let end_of_number = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end_of_number);
    let seconds_per_unit = match unit.trim() {
        "ms" => 0.001,
        "s" | "" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        other => {
            return Err(format!(
                "`{other}` is no unit of time; use ms, s, m, h or d"
            ));
        }
    };
    let number: f64 = number
        .parse()
        .map_err(|_| "a number and a unit are expected, such as 500ms, 10s or 2m")?;
    match Duration::try_from_secs_f64(number * seconds_per_unit) {
        Ok(Duration::ZERO) => Err("it must be above zero".to_owned()),
        Ok(duration) => Ok(duration),
        Err(_) => Err("it is too long".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn units_are_understood() {
        let millis = |text: &str| deadline(text).unwrap().as_millis();
        assert_eq!(millis("500ms"), 500);
        assert_eq!(millis("30s"), 30_000);
        assert_eq!(millis("30"), 30_000);
        assert_eq!(millis("1.5 m"), 90_000);
        assert_eq!(millis("24h"), 86_400_000);
        assert_eq!(span("7d").unwrap().as_secs(), 604_800);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for bad in [
            "",
            "s",
            "0s",
            "-1s",
            "2d",
            "1w",
            "1..5s",
            "25h",
            "1e9h",
            "nan",
            "inf",
            "0.00000000001ms",
        ] {
            assert!(deadline(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".*") {
            let _ = deadline(&text);
        }
    }
}
