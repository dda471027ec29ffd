//! What callers are told whose requests are not taken in.

use std::time::Duration;

use crate::error::CallError;
use crate::metrics::Refusal;
use crate::scoring::queue::Refused;

pub(super) fn refusal(refused: Refused, rows: usize) -> CallError {
    let (reason, retry_after, limit) = match refused {
        Refused::Full {
            waiting,
            retry_after,
        } => (
            format!("{waiting} rows wait already: {rows} more find no room"),
            retry_after,
            Refusal::QueueFull,
        ),
        Refused::Client {
            waiting,
            retry_after,
        } => (
            format!("{waiting} rows of this client wait already: {rows} more are not taken in"),
            retry_after,
            Refusal::ClientLimit,
        ),
        Refused::Slow {
            wait,
            retry_after,
            is_late,
        } => (
            format!(
                "the request would wait {} ms, which is too long",
                whole_millis(wait).as_millis()
            ),
            retry_after,
            if is_late {
                Refusal::Deadline
            } else {
                Refusal::QueueFull
            },
        ),
        Refused::Expired => return CallError::Expired,
        Refused::Closed => return CallError::Draining,
    };
    CallError::Busy {
        reason,
        retry_after: whole_millis(retry_after),
        limit,
    }
}

/// Rounded up: of refusals that are alike, HTTP/2 sends what tells them from the last ones, and under overload that is most
/// of what is sent.
fn whole_millis(time: Duration) -> Duration {
    Duration::from_millis(time.as_nanos().div_ceil(1_000_000) as u64)
}
