//! Errors as gRPC statuses.

use decant_artifact::{ReadError, SweepError};
use decant_coordination::StoreError;
use decant_coordination::keys::RecordError;
use decant_proto::status::{ErrorCode, bad_request, busy, other_generation};
use tonic::Status;

use crate::error::CallError;

impl From<CallError> for Status {
    fn from(error: CallError) -> Status {
        let code = code(&error);
        let message = error.to_string();
        if matches!(code, ErrorCode::Internal | ErrorCode::Corrupt) {
            tracing::error!(%message, "call failed");
        }
        match error {
            CallError::Field { field, reason } => bad_request([(field, reason)]),
            CallError::Busy { retry_after, .. } => busy(message, retry_after),
            CallError::OtherGeneration { .. } => other_generation(message),
            _ => code.status(message),
        }
    }
}

fn code(error: &CallError) -> ErrorCode {
    match error {
        CallError::Field { .. } | CallError::Rejected(_) | CallError::OtherRequest(_) => {
            ErrorCode::Invalid
        }
        CallError::UnknownModel(_)
        | CallError::UnknownVersion { .. }
        | CallError::NoVersion(_)
        | CallError::UnknownSlot { .. } => ErrorCode::NotFound,
        CallError::ModelDiffers { .. } | CallError::DuplicateVersion { .. } => ErrorCode::Exists,
        CallError::NotApproved { .. }
        | CallError::Held { .. }
        | CallError::OtherGeneration { .. }
        | CallError::ScorerAhead { .. }
        | CallError::StoreOlder(_)
        | CallError::NotEmpty(_) => ErrorCode::Precondition,
        CallError::SlotConflict { .. }
        | CallError::Contended { .. }
        | CallError::Store(StoreError::Conflict(_)) => ErrorCode::Conflict,
        CallError::Busy { .. } => ErrorCode::Busy,
        CallError::Idle(_) => ErrorCode::Expired,
        CallError::Draining
        | CallError::Deposed
        | CallError::NotDone(_)
        | CallError::Unresolved(_)
        | CallError::Store(StoreError::Unavailable { .. }) => ErrorCode::NotReady,
        CallError::Read(ReadError::Storage(error)) | CallError::Storage(error)
            if error.is_transient() =>
        {
            ErrorCode::NotReady
        }
        CallError::Read(ReadError::Storage(_)) => ErrorCode::Internal,
        // Of a newer Decant: this one has to be upgraded.
        CallError::Record(RecordError::Format { .. }) => ErrorCode::Precondition,
        // The catalog names the bundle, so one that is not there is lost.
        CallError::Read(_)
        | CallError::Record(_)
        | CallError::AuditBroken(_)
        | CallError::Sweep(SweepError::Unreadable(_)) => ErrorCode::Corrupt,
        CallError::Storage(_)
        | CallError::Sweep(_)
        | CallError::Store(_)
        | CallError::ImportCut { .. }
        | CallError::Broken(_) => ErrorCode::Internal,
    }
}
