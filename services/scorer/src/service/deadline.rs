//! When the caller stops waiting.

use std::time::{Duration, Instant};

use tonic::metadata::MetadataMap;

/// How much sooner than the caller we stop. The transport watches the same header, and when it is first it says
/// CANCELLED, which is not what our contract says.
const AHEAD: Duration = Duration::from_millis(2);

/// The deadline in the `grpc-timeout` header; `None` without one, or with one that does not parse.
pub(crate) fn deadline(metadata: &MetadataMap) -> Option<Instant> {
    let timeout = timeout(metadata.get("grpc-timeout")?.to_str().ok()?)?;
    Instant::now().checked_add(timeout.saturating_sub(AHEAD))
}

/// At most eight digits and a unit.
fn timeout(header: &str) -> Option<Duration> {
    let (digits, unit) = header.split_at_checked(header.len().checked_sub(1)?)?;
    if !(1..=8).contains(&digits.len()) || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(amount * 3600)),
        "M" => Some(Duration::from_secs(amount * 60)),
        "S" => Some(Duration::from_secs(amount)),
        "m" => Some(Duration::from_millis(amount)),
        "u" => Some(Duration::from_micros(amount)),
        "n" => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_read_as_the_protocol_has_it() {
        assert_eq!(timeout("2H"), Some(Duration::from_secs(7200)));
        assert_eq!(timeout("99999999n"), Some(Duration::from_nanos(99_999_999)));
        assert_eq!(timeout("20m"), Some(Duration::from_millis(20)));
        for bad in ["", "m", "5", "-1m", "1.5S", "123456789m", "1h", "é", "1é"] {
            assert_eq!(timeout(bad), None, "{bad}");
        }
    }
}
