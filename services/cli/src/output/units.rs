//! Quantities as people read them.

use prost_types::Timestamp;

/// Three digits that count, and a prefix: `987`, `1.23 k`, `45.6 M`.
fn prefixed(value: f64) -> (String, &'static str) {
    let prefixes = ["", "k", "M", "G", "T", "P", "E"];
    let (mut scaled, mut prefix) = (value, 0);
    // 999.6 would be printed as 1000: the next prefix is due a little early.
    while scaled >= 999.5 && prefix + 1 < prefixes.len() {
        scaled /= 1000.0;
        prefix += 1;
    }
    let digits = match scaled {
        _ if prefix == 0 => format!("{scaled:.0}"),
        small if small < 9.995 => format!("{small:.2}"),
        middle if middle < 99.95 => format!("{middle:.1}"),
        large => format!("{large:.0}"),
    };
    (digits, prefixes[prefix])
}

/// A size in bytes: `512 B`, `4.80 MB` (decimal).
pub(crate) fn bytes(value: u64) -> String {
    let (digits, prefix) = prefixed(value as f64);
    format!("{digits} {prefix}B")
}

/// A count: `987`, `80.1 k`.
pub(crate) fn count(value: u64) -> String {
    let (digits, prefix) = prefixed(value as f64);
    if prefix.is_empty() {
        digits
    } else {
        format!("{digits} {prefix}")
    }
}

/// A time that a machine took, given in microseconds: `850 µs`, `12.3 ms`, `1.20 s`.
pub(crate) fn micros(value: u64) -> String {
    let value = value as f64;
    match value {
        _ if value < 999.5 => format!("{value:.0} µs"),
        _ if value < 99_950.0 => format!("{:.1} ms", value / 1e3),
        _ if value < 999_500.0 => format!("{:.0} ms", value / 1e3),
        _ => format!("{:.2} s", value / 1e6),
    }
}

/// A time that people wait, in seconds: `0.8 s`, `42 s`, `3 min 05 s`, `1 h 02 min`.
pub(crate) fn wait(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return "?".to_owned();
    }
    if seconds < 9.95 {
        return format!("{seconds:.1} s");
    }
    // Saturates at a few hundred billion years.
    let whole = seconds.round() as u64;
    match whole {
        0..60 => format!("{whole} s"),
        60..3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole % 3600 / 60),
    }
}

/// A share of a whole, without ever claiming completion too early: `99 %` up to, not including, 1.
pub(crate) fn share(fraction: f64) -> String {
    // A float that is no number becomes 0.
    format!("{} %", (fraction.clamp(0.0, 1.0) * 100.0 + 1e-9) as u32)
}

/// A metric: `0.8012`.
pub(crate) fn metric(value: f64) -> String {
    if value.is_finite() {
        format!("{value:.4}")
    } else {
        String::new()
    }
}

/// A point in time, to the second, in UTC: `2026-05-01 12:00:03`; empty when it is not set.
pub(crate) fn time(timestamp: Option<&Timestamp>) -> String {
    let Some(timestamp) = timestamp else {
        return String::new();
    };
    let to_the_second = Timestamp {
        seconds: timestamp.seconds,
        nanos: 0,
    };
    to_the_second
        .to_string()
        .trim_end_matches('Z')
        .replace('T', " ")
}

/// Seconds from one point in time to another; `None` while one is not set.
pub(crate) fn seconds_between(from: Option<&Timestamp>, to: Option<&Timestamp>) -> Option<f64> {
    let (from, to) = (from?, to?);
    Some(
        to.seconds.saturating_sub(from.seconds) as f64
            + f64::from(to.nanos.saturating_sub(from.nanos)) / 1e9,
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_and_counts_have_three_digits() {
        let sizes = [0, 999, 1000, 4_800_000, 999_499, 999_500, u64::MAX].map(bytes);
        assert_eq!(
            sizes,
            [
                "0 B", "999 B", "1.00 kB", "4.80 MB", "999 kB", "1.00 MB", "18.4 EB"
            ]
        );
        assert_eq!([7, 80_123, 1_234_567].map(count), ["7", "80.1 k", "1.23 M"]);
    }

    #[test]
    fn durations_are_readable() {
        assert_eq!(
            [0, 850, 1_000, 12_345, 250_000, 1_200_000].map(micros),
            ["0 µs", "850 µs", "1.0 ms", "12.3 ms", "250 ms", "1.20 s"]
        );
        assert_eq!(
            [0.0, 0.84, 9.99, 42.4, 59.6, 185.0, 3720.0].map(wait),
            [
                "0.0 s",
                "0.8 s",
                "10 s",
                "42 s",
                "1 min 00 s",
                "3 min 05 s",
                "1 h 02 min"
            ]
        );
        assert_eq!([f64::NAN, -1.0, f64::INFINITY].map(wait), ["?", "?", "?"]);
    }

    #[test]
    fn a_share_is_whole_only_at_the_end() {
        assert_eq!(
            [0.0, 0.29, 0.999, 1.0, 7.0, f64::NAN].map(share),
            ["0 %", "29 %", "99 %", "100 %", "100 %", "0 %"]
        );
    }

    #[test]
    fn times_are_in_utc() {
        let timestamp = Timestamp {
            seconds: 1_777_636_803,
            nanos: 250_000_000,
        };
        assert_eq!(time(Some(&timestamp)), "2026-05-01 12:00:03");
        assert_eq!(timestamp.to_string(), "2026-05-01T12:00:03.250Z");
        assert_eq!(time(None), "");
        let later = Timestamp {
            seconds: 1_777_636_805,
            nanos: 0,
        };
        assert_eq!(seconds_between(Some(&timestamp), Some(&later)), Some(1.75));
    }

    proptest! {
        #[test]
        fn nothing_panics_and_nothing_is_long(value: u64, seconds: f64, stamp: i64, nanos: i32) {
            prop_assert!(bytes(value).len() <= 8);
            prop_assert!(count(value).len() <= 7);
            let (micros, waited, shared) = (micros(value), wait(seconds), share(seconds));
            prop_assert!(!micros.is_empty() && !waited.is_empty() && !shared.is_empty());
            let timestamp = Timestamp { seconds: stamp, nanos };
            let _ = time(Some(&timestamp));
            let _ = seconds_between(Some(&timestamp), Some(&Timestamp { seconds: 0, nanos: 0 }));
        }
    }
}
