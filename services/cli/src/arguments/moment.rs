//! Points in time: in RFC 3339, or as how long ago.

use std::time::{Duration, SystemTime};

use prost_types::Timestamp;

use crate::arguments::duration;

/// A point in time as people name it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Moment {
    /// This one.
    At(Timestamp),
    /// So long before now.
    Ago(Duration),
}

impl Moment {
    /// The point in time that is meant now; the beginning of all time where that was longer ago.
    pub(crate) fn resolve(self, now: SystemTime) -> Timestamp {
        match self {
            Moment::At(timestamp) => timestamp,
            Moment::Ago(ago) => now
                .checked_sub(ago)
                .unwrap_or(SystemTime::UNIX_EPOCH)
                .into(),
        }
    }
}

/// Reads `2026-05-01T12:00:00Z`, `10m` or `10m ago`.
pub(crate) fn parse(text: &str) -> Result<Moment, String> {
    let text = text.trim();
    if let Ok(timestamp) = text.parse::<Timestamp>() {
        return Ok(Moment::At(timestamp));
    }
    let ago = text.strip_suffix("ago").unwrap_or(text);
    duration::span(ago).map(Moment::Ago).map_err(|_| {
        "a time such as 2026-05-01T12:00:00Z is expected, or how long ago, such as 10m".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_moment_is_a_time_or_how_long_ago() {
        let noon = Timestamp {
            seconds: 1_777_636_800,
            nanos: 0,
        };
        assert_eq!(parse("2026-05-01T12:00:00Z"), Ok(Moment::At(noon)));
        assert_eq!(parse("2026-05-01T14:00:00+02:00"), Ok(Moment::At(noon)));
        for ago in ["10m", "10 min ago", "600"] {
            assert_eq!(
                parse(ago),
                Ok(Moment::Ago(Duration::from_secs(600))),
                "{ago}"
            );
        }
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_777_637_400);
        assert_eq!(parse("10m").unwrap().resolve(now), noon);
        for bad in ["", "now", "noon", "-10m", "ago", "2026-13-01T12:00:00Z"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".*") {
            let _ = parse(&text).map(|moment| moment.resolve(SystemTime::UNIX_EPOCH));
        }
    }
}
