//! Errors as gRPC statuses. Each constructor says what the code means to a caller; nothing else in Decant picks codes.

use std::collections::HashMap;
use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// What a caller is told, apart from the words. Whether to retry follows from the code: only
/// [`Busy`](ErrorCode::Busy) and [`NotReady`](ErrorCode::NotReady) are worth another try as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorCode {
    /// The request itself is wrong.
    Invalid,
    /// What the request names is not there.
    NotFound,
    /// It is there already, and is something else.
    Exists,
    /// The request is sound, but the system's state forbids it.
    Precondition,
    /// Another writer won.
    Conflict,
    /// Too much at once; try again later.
    Busy,
    /// The deadline passed before the work began.
    Expired,
    /// Known, but not ready, or going away.
    NotReady,
    /// The stored bytes are not what was promised.
    Corrupt,
    /// A fault of ours.
    Internal,
}

impl From<ErrorCode> for Code {
    fn from(code: ErrorCode) -> Code {
        match code {
            ErrorCode::Invalid => Code::InvalidArgument,
            ErrorCode::NotFound => Code::NotFound,
            ErrorCode::Exists => Code::AlreadyExists,
            ErrorCode::Precondition => Code::FailedPrecondition,
            ErrorCode::Conflict => Code::Aborted,
            ErrorCode::Busy => Code::ResourceExhausted,
            ErrorCode::Expired => Code::DeadlineExceeded,
            ErrorCode::NotReady => Code::Unavailable,
            ErrorCode::Corrupt => Code::DataLoss,
            ErrorCode::Internal => Code::Internal,
        }
    }
}

impl ErrorCode {
    /// A status with this code. A message that finds no room in an answer's headers is cut short: parts of it may be the
    /// caller's, and of any length.
    pub fn status(self, message: impl Into<String>) -> Status {
        let mut message: String = message.into();
        if percent_encoded(&message) > HEADER_BYTES {
            // Each byte may take three.
            message.truncate(message.floor_char_boundary(HEADER_BYTES / 3));
            message.push_str("...");
        }
        Status::new(self.into(), message)
    }
}

/// The reason, in `google.rpc.ErrorInfo`, of a call that expects another generation of a slot than it has.
pub const OTHER_GENERATION: &str = "OTHER_GENERATION";
/// Who names the reasons.
const DOMAIN: &str = "decant";

/// FAILED_PRECONDITION with the reason [`OTHER_GENERATION`], so that programs tell it from other states that forbid a call.
pub fn other_generation(message: impl Into<String>) -> Status {
    let mut message: String = message.into();
    // The message travels twice: as itself and, in base 64, in the details.
    message.truncate(message.floor_char_boundary(HEADER_BYTES / 5));
    Status::with_error_details(
        ErrorCode::Precondition.into(),
        message,
        ErrorDetails::with_error_info(OTHER_GENERATION, DOMAIN, HashMap::new()),
    )
}

/// What words may take of an answer's headers. Clients that are built on gRPC's C core, such as Python's, refuse answers
/// with more than 8 KiB of headers, and call that RESOURCE_EXHAUSTED, as if the caller should come again.
const HEADER_BYTES: usize = 7 << 10;

/// INVALID_ARGUMENT with every violation, as (field, reason), in the message and in `google.rpc.BadRequest`; those that find
/// no room in an answer's headers, some thirty in, are only counted, in the message.
pub fn bad_request(violations: impl IntoIterator<Item = (String, String)>) -> Status {
    let mut details = ErrorDetails::new();
    let mut message = String::new();
    let (mut room, mut left_out) = (HEADER_BYTES, 0_usize);
    for (field, reason) in violations {
        let Some(rest) = room.checked_sub(header_bytes(&field) + header_bytes(&reason)) else {
            left_out += 1;
            continue;
        };
        room = rest;
        if !message.is_empty() {
            message.push_str("; ");
        }
        message.push_str(&field);
        message.push_str(": ");
        message.push_str(&reason);
        details.add_bad_request_violation(field, reason);
    }
    if left_out > 0 {
        let words = if message.is_empty() { "" } else { "; and " };
        message.push_str(&format!("{words}{left_out} more that find no room here"));
    }
    Status::with_error_details(ErrorCode::Invalid.into(), message, details)
}

/// What a text takes at most: percent-encoded as the message, in base 64 in the details and in their copy of the message,
/// and what goes around it.
fn header_bytes(text: &str) -> usize {
    percent_encoded(text) + (2 * text.len()).div_ceil(3) * 4 + 16
}

/// What a text takes at most as a message.
fn percent_encoded(text: &str) -> usize {
    let taken = |byte: u8| if byte.is_ascii_alphanumeric() { 1 } else { 3 };
    text.bytes().map(taken).sum()
}

/// RESOURCE_EXHAUSTED with `google.rpc.RetryInfo`.
pub fn busy(message: impl Into<String>, retry_after: Duration) -> Status {
    Status::with_error_details(
        ErrorCode::Busy.into(),
        message,
        ErrorDetails::with_retry_info(Some(retry_after)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a transport would send besides the code.
    fn headers(status: &Status) -> usize {
        let answer = status.clone().into_http::<()>();
        let sizes = answer
            .headers()
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len() + 32);
        sizes.sum()
    }

    fn violations(count: usize, reason: &str) -> Status {
        let violations = (0..count).map(|place| (format!("columns[c{place}]"), reason.to_owned()));
        bad_request(violations)
    }

    #[test]
    fn violations_are_listed_as_long_as_there_is_room() {
        let few = violations(3, "missing");
        assert_eq!(
            few.message(),
            "columns[c0]: missing; columns[c1]: missing; columns[c2]: missing"
        );
        for (count, reason) in [
            (1_000, "no feature of the model reads it"),
            (1_000, "%%%%%% `é` \u{1F3AC}"),
            (20, &"long ".repeat(1_000)),
            (300, ""),
        ] {
            let many = violations(count, reason);
            assert_eq!(many.code(), Code::InvalidArgument);
            assert!(headers(&many) <= 8 << 10, "{}: {reason}", headers(&many));
            let details = many.get_details_bad_request();
            let listed = details.map_or(0, |details| details.field_violations.len());
            let rest = format!("{} more that find no room here", count - listed);
            assert!(many.message().ends_with(&rest), "{}", many.message());
        }
    }

    #[test]
    fn a_message_that_finds_no_room_is_cut_short() {
        for (word, kept) in [("x", 7 << 10), ("é", 1194)] {
            let status = ErrorCode::NotFound.status(word.repeat(7 << 10));
            assert_eq!(status.message().matches(word).count(), kept);
            let long = ErrorCode::NotFound.status(word.repeat(1 << 20));
            assert!(long.message().ends_with("..."));
            assert!(headers(&long) <= 8 << 10, "{}", headers(&long));
        }
    }

    #[test]
    fn another_generation_has_a_reason_and_fits_into_headers() {
        for message in [
            "slot `main` is at generation 5, not 3".to_owned(),
            "é".repeat(1 << 20),
        ] {
            let status = other_generation(message);
            assert_eq!(status.code(), Code::FailedPrecondition);
            let details = status.get_details_error_info();
            assert_eq!(
                details.map(|info| info.reason).as_deref(),
                Some(OTHER_GENERATION)
            );
            assert!(headers(&status) <= 8 << 10, "{}", headers(&status));
        }
    }

    #[test]
    fn a_violation_that_is_too_long_leaves_room_for_the_others() {
        let status = bad_request([
            ("a".to_owned(), "x".repeat(10_000)),
            ("b".to_owned(), "missing".to_owned()),
        ]);
        assert_eq!(
            status.message(),
            "b: missing; and 1 more that find no room here"
        );
    }
}
