//! Errors as gRPC statuses.

use decant_proto::status::{ErrorCode, bad_request, busy};
use tonic::{Code, Status};

use crate::error::CallError;

impl CallError {
    /// The number of the gRPC code that callers get.
    pub(crate) fn code(&self) -> i32 {
        Code::from(code(self)).into()
    }
}

fn code(error: &CallError) -> ErrorCode {
    match error {
        CallError::Invalid(_) => ErrorCode::Invalid,
        CallError::UnknownSlot { .. }
        | CallError::UnknownVersion { .. }
        | CallError::UnknownItems { .. } => ErrorCode::NotFound,
        CallError::NoCatalog | CallError::NotDecidedHere(_) => ErrorCode::Precondition,
        CallError::NotLearnt | CallError::NotReady { .. } | CallError::Draining => {
            ErrorCode::NotReady
        }
        CallError::Busy { .. } => ErrorCode::Busy,
        CallError::Expired => ErrorCode::Expired,
        CallError::Model(_) | CallError::Broken => ErrorCode::Internal,
    }
}

impl From<CallError> for Status {
    fn from(error: CallError) -> Status {
        let code = code(&error);
        let message = error.to_string();
        match error {
            CallError::Invalid(violations) => bad_request(
                violations
                    .into_iter()
                    .map(|violation| (violation.field, violation.reason)),
            ),
            CallError::Busy { retry_after, .. } => busy(message, retry_after),
            _ => {
                if code == ErrorCode::Internal {
                    tracing::error!(%message, "call failed");
                }
                code.status(message)
            }
        }
    }
}
