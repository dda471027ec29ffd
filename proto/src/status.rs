//! Errors as gRPC statuses. Each constructor says what the code means to a caller; nothing else in Decant picks codes.

use std::collections::HashMap;
use std::time::Duration;

use prost::Message as _;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt, pb};

/// gRPC's codes by their numbers, as they are written in protocols.
pub const CODE_NAMES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// What a status tells beside its code and its message, for answers that carry statuses within them.
pub fn details(status: &Status) -> Vec<prost_types::Any> {
    // What does not decode was not made here.
    let status = pb::Status::decode(status.details());
    status.map(|status| status.details).unwrap_or_default()
}

/// A code as it is written in protocols.
pub fn code_name(code: Code) -> &'static str {
    CODE_NAMES[code as usize]
}

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
    /// Nobody knows who calls.
    Unauthenticated,
    /// The caller is known, and may not do this.
    Denied,
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
            ErrorCode::Unauthenticated => Code::Unauthenticated,
            ErrorCode::Denied => Code::PermissionDenied,
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

/// What words may take of an answer's headers. Clients that are built on gRPC's C core, such as Python's, refuse answers
/// with more than 8 KiB of headers, and call that RESOURCE_EXHAUSTED, as if the caller should come again.
const HEADER_BYTES: usize = 7 << 10;

/// INVALID_ARGUMENT with every violation, as (field, reason), in the message and in `google.rpc.BadRequest`; those that find
/// no room in an answer's headers, some thirty in, are only counted, in the message.
pub fn bad_request(violations: impl IntoIterator<Item = (String, String)>) -> Status {
    let mut details = ErrorDetails::new();
    let message = listed(violations, HEADER_BYTES, |field, reason| {
        details.add_bad_request_violation(field, reason);
    });
    Status::with_error_details(ErrorCode::Invalid.into(), message, details)
}

/// Why a call was refused, for programs that have to tell it from other refusals of the same code: the reason of
/// `google.rpc.ErrorInfo`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Something that must hold of a version does not.
    GateFailed,
    /// A rollout has the slot.
    RolloutActive,
    /// The rollout is not where it could do what it was told.
    RolloutPhase,
    /// The slot is kept as it is.
    SlotFrozen,
    /// The slot is not at the generation that the caller expects.
    OtherGeneration,
    /// Another writer was first.
    Conflict,
}

/// Where the reasons belong.
const DOMAIN: &str = "decant";

/// What the details of a reason take besides its words.
const REASON_BYTES: usize = 512;

impl Reason {
    /// All of them.
    pub const ALL: [Reason; 6] = [
        Self::GateFailed,
        Self::RolloutActive,
        Self::RolloutPhase,
        Self::SlotFrozen,
        Self::OtherGeneration,
        Self::Conflict,
    ];

    /// The reason as it is sent.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::GateFailed => "GATE_FAILED",
            Self::RolloutActive => "ROLLOUT_ACTIVE",
            Self::RolloutPhase => "ROLLOUT_PHASE",
            Self::SlotFrozen => "SLOT_FROZEN",
            Self::OtherGeneration => "OTHER_GENERATION",
            Self::Conflict => "CONFLICT",
        }
    }

    /// The reason that a status gives, if it gives one of these.
    pub fn of(status: &Status) -> Option<Self> {
        let info = status.get_details_error_info()?;
        let mut all = Self::ALL.into_iter();
        all.find(|reason| info.domain == DOMAIN && info.reason == reason.as_str())
    }

    fn code(self) -> ErrorCode {
        match self {
            Self::Conflict => ErrorCode::Conflict,
            Self::GateFailed
            | Self::RolloutActive
            | Self::RolloutPhase
            | Self::SlotFrozen
            | Self::OtherGeneration => ErrorCode::Precondition,
        }
    }

    fn details(self) -> ErrorDetails {
        ErrorDetails::with_error_info(self.as_str(), DOMAIN, HashMap::<String, String>::new())
    }

    /// A status with this reason; a message that finds no room is cut short.
    pub fn status(self, message: impl Into<String>) -> Status {
        let mut message: String = message.into();
        if header_bytes(&message) > HEADER_BYTES - REASON_BYTES {
            // Each byte may take three as the message, and two thirds of four in the details and in the copy there.
            message.truncate(message.floor_char_boundary((HEADER_BYTES - REASON_BYTES) / 6));
            message.push_str("...");
        }
        Status::with_error_details(self.code().into(), message, self.details())
    }
}

/// FAILED_PRECONDITION with [`Reason::GateFailed`], and with every check that does not hold, as (name, what was found), in the
/// message and in `google.rpc.PreconditionFailure`.
pub fn checks_failed(checks: impl IntoIterator<Item = (String, String)>) -> Status {
    let mut details = Reason::GateFailed.details();
    let room = HEADER_BYTES - REASON_BYTES;
    let message = listed(checks, room, |name, found| {
        details.add_precondition_failure_violation("", name, found);
    });
    Status::with_error_details(Reason::GateFailed.code().into(), message, details)
}

/// Words on several things, each as (name, words), as far as they find room. Those that are listed are given to `add` too;
/// the rest is counted.
fn listed(
    things: impl IntoIterator<Item = (String, String)>,
    mut room: usize,
    mut add: impl FnMut(String, String),
) -> String {
    let (mut message, mut left_out) = (String::new(), 0_usize);
    for (name, words) in things {
        let Some(rest) = room.checked_sub(header_bytes(&name) + header_bytes(&words)) else {
            left_out += 1;
            continue;
        };
        room = rest;
        if !message.is_empty() {
            message.push_str("; ");
        }
        message.push_str(&name);
        message.push_str(": ");
        message.push_str(&words);
        add(name, words);
    }
    if left_out > 0 {
        let words = if message.is_empty() { "" } else { "; and " };
        message.push_str(&format!("{words}{left_out} more that find no room here"));
    }
    message
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

    #[test]
    fn codes_have_their_numbers_names() {
        for (number, name) in CODE_NAMES.iter().enumerate() {
            let code = Code::from_i32(i32::try_from(number).unwrap());
            assert_eq!(code_name(code), *name);
            let words = format!("{code:?}").to_uppercase();
            assert_eq!(words, name.replace('_', ""));
        }
    }

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

    #[test]
    fn a_reason_is_read_back_and_long_words_leave_it_room() {
        for reason in Reason::ALL {
            for words in ["short", &"é".repeat(7 << 10)] {
                let status = reason.status(words);
                assert_eq!(Reason::of(&status), Some(reason));
                assert!(headers(&status) <= 8 << 10, "{}", headers(&status));
            }
        }
        assert_eq!(Reason::of(&ErrorCode::Precondition.status("x")), None);
    }

    #[test]
    fn checks_that_failed_are_listed_by_name() {
        let checks = |count: usize| (0..count).map(|at| (format!("check-{at}"), "no".to_owned()));
        let status = checks_failed(checks(2));
        assert_eq!(status.message(), "check-0: no; check-1: no");
        assert_eq!(Reason::of(&status), Some(Reason::GateFailed));
        let failure = status.get_details_precondition_failure().unwrap();
        assert_eq!(failure.violations[1].subject, "check-1");
        let many = checks_failed(checks(1_000));
        assert!(headers(&many) <= 8 << 10, "{}", headers(&many));
    }
}
