//! Errors as gRPC statuses. Each constructor says what the code means to a caller; nothing else in Decant picks codes.

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
    /// A status with this code.
    pub fn status(self, message: impl Into<String>) -> Status {
        Status::new(self.into(), message)
    }
}

/// INVALID_ARGUMENT with every violation, as (field, reason), in the message and in `google.rpc.BadRequest`.
pub fn bad_request(violations: impl IntoIterator<Item = (String, String)>) -> Status {
    let mut details = ErrorDetails::new();
    let mut message = String::new();
    for (field, reason) in violations {
        if !message.is_empty() {
            message.push_str("; ");
        }
        message.push_str(&field);
        message.push_str(": ");
        message.push_str(&reason);
        details.add_bad_request_violation(field, reason);
    }
    Status::with_error_details(ErrorCode::Invalid.into(), message, details)
}

/// RESOURCE_EXHAUSTED with `google.rpc.RetryInfo`.
pub fn busy(message: impl Into<String>, retry_after: Duration) -> Status {
    Status::with_error_details(
        ErrorCode::Busy.into(),
        message,
        ErrorDetails::with_retry_info(Some(retry_after)),
    )
}
