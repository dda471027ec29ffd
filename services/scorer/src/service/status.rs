//! Errors as gRPC statuses.

use decant_proto::status::{ErrorCode, bad_request, busy};
use tonic::Status;

use crate::error::CallError;

impl CallError {
    /// Which code a caller is told.
    pub(crate) fn code(&self) -> ErrorCode {
        match self {
            CallError::Invalid(_) => ErrorCode::Invalid,
            CallError::Denied(_) => ErrorCode::Denied,
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
}

impl From<CallError> for Status {
    fn from(error: CallError) -> Status {
        let code = error.code();
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
