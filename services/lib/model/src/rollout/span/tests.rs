use proptest::prelude::*;

use super::super::testing::spans;
use super::*;

#[test]
fn units_are_understood_and_the_largest_is_written() {
    for (text, millis, written) in [
        ("500ms", 500, "500ms"),
        ("1000ms", 1_000, "1s"),
        ("90s", 90_000, "90s"),
        ("120s", 120_000, "2m"),
        ("10m", 600_000, "10m"),
        ("24h", 86_400_000, "1d"),
        ("365d", LONGEST_MILLIS, "365d"),
    ] {
        let span: Span = text.parse().unwrap();
        assert_eq!(span.millis(), millis, "{text}");
        assert_eq!(span.duration(), Duration::from_millis(millis), "{text}");
        assert_eq!(span.to_string(), written, "{text}");
    }
}

#[test]
fn what_makes_no_sense_is_refused_with_its_text() {
    for bad in [
        "",
        "5",
        "m",
        "-1m",
        "1.5m",
        "1 m",
        "1w",
        "0s",
        "366d",
        "99999999999999999999s",
        "18446744073709551615d",
    ] {
        let error = bad.parse::<Span>().unwrap_err();
        assert!(error.contains(&format!("`{bad}`")), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn text_and_value_go_round(span in spans()) {
        prop_assert_eq!(span.to_string().parse::<Span>(), Ok(span));
        let json = serde_json::to_string(&span).unwrap();
        prop_assert_eq!(serde_json::from_str::<Span>(&json).unwrap(), span);
    }

    #[test]
    fn no_text_panics(text in ".*") {
        let _ = text.parse::<Span>();
    }
}
