//! The time, for people and for the log: nothing is decided by it.

use std::time::SystemTime;

/// Milliseconds since 1970.
pub(crate) fn now_millis() -> u64 {
    let since_1970 = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX)
}
