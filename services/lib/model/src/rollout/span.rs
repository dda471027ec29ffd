//! Lengths of time as people write them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A length of time in whole milliseconds above zero, written as `500ms`, `90s`, `10m`, `2h` or `7d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span(Duration);

const UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// The longest: a year. What is longer is a mistake.
const LONGEST_MILLIS: u64 = 365 * 86_400_000;

impl Span {
    /// So many milliseconds; `None` for zero and for more than a year.
    pub const fn from_millis(millis: u64) -> Option<Self> {
        if millis == 0 || millis > LONGEST_MILLIS {
            None
        } else {
            Some(Self(Duration::from_millis(millis)))
        }
    }

    /// So many seconds, at least one.
    pub(super) const fn seconds(seconds: u32) -> Self {
        Self(Duration::from_secs(if seconds == 0 {
            1
        } else {
            seconds as u64
        }))
    }

    /// The same as a duration.
    pub const fn duration(self) -> Duration {
        self.0
    }

    /// The same in milliseconds.
    pub fn millis(self) -> u64 {
        u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX)
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("`{text}` is no length of time; write it as 500ms, 90s, 10m, 2h or 7d");
        let unit_at = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let (number, unit) = text.split_at(unit_at);
        let (_, millis) = UNITS
            .into_iter()
            .find(|(name, _)| *name == unit)
            .ok_or_else(wrong)?;
        let number: u64 = number.parse().map_err(|_| wrong())?;
        number
            .checked_mul(millis)
            .and_then(Self::from_millis)
            .ok_or_else(|| format!("`{text}` must be above zero and at most 365d"))
    }
}

impl TryFrom<String> for Span {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Span> for String {
    fn from(span: Span) -> String {
        span.to_string()
    }
}

impl fmt::Display for Span {
    /// In the largest unit that needs no fraction.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.millis();
        let (unit, size) = UNITS
            .into_iter()
            .find(|(_, size)| millis.is_multiple_of(*size))
            .unwrap_or(("ms", 1));
        write!(formatter, "{}{unit}", millis / size)
    }
}

#[cfg(test)]
mod tests;
