//! Errors as gRPC statuses.

use decant_artifact::{ReadError, SweepError};
use decant_coordination::StoreError;
use decant_coordination::keys::RecordError;
use decant_proto::status::{ErrorCode, Reason, bad_request, busy, checks_failed};
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
            CallError::ChecksFailed { failed, .. } => {
                checks_failed(failed.into_iter().map(|check| (check.name, check.found)))
            }
            error => match reason(&error) {
                Some(reason) => reason.status(message),
                None => code.status(message),
            },
        }
    }
}

/// What programs have to tell from other refusals.
fn reason(error: &CallError) -> Option<Reason> {
    match error {
        CallError::RolloutActive { .. } => Some(Reason::RolloutActive),
        CallError::Frozen { .. } => Some(Reason::SlotFrozen),
        CallError::NotNow(_) => Some(Reason::RolloutPhase),
        CallError::OtherGeneration { .. } => Some(Reason::OtherGeneration),
        CallError::SlotConflict { .. } | CallError::RolloutConflict { .. } => {
            Some(Reason::Conflict)
        }
        _ => None,
    }
}

fn code(error: &CallError) -> ErrorCode {
    match error {
        CallError::Field { .. } | CallError::Rejected(_) | CallError::OtherRequest(_) => {
            ErrorCode::Invalid
        }
        CallError::Denied(_) => ErrorCode::Denied,
        CallError::UnknownModel(_)
        | CallError::UnknownPrincipal(_)
        | CallError::UnknownVersion { .. }
        | CallError::NoVersion(_)
        | CallError::UnknownSlot { .. }
        | CallError::UnknownRollout { .. }
        | CallError::NoRollout { .. }
        | CallError::UnknownPlan { .. } => ErrorCode::NotFound,
        CallError::ModelDiffers { .. }
        | CallError::PrincipalDiffers { .. }
        | CallError::CredentialTaken { .. }
        | CallError::DuplicateVersion { .. } => ErrorCode::Exists,
        CallError::NotApproved { .. }
        | CallError::RemovesSelf(_)
        | CallError::Held { .. }
        | CallError::OtherGeneration { .. }
        | CallError::RolloutActive { .. }
        | CallError::Frozen { .. }
        | CallError::ChangePending { .. }
        | CallError::NoStable { .. }
        | CallError::StableAlready { .. }
        | CallError::NothingBefore { .. }
        | CallError::NoTeacher { .. }
        | CallError::ChecksFailed { .. }
        | CallError::NotNow(_)
        | CallError::Astray { .. }
        | CallError::ScorerAhead { .. }
        | CallError::StoreOlder(_)
        | CallError::NotEmpty(_) => ErrorCode::Precondition,
        CallError::SlotConflict { .. }
        | CallError::RolloutConflict { .. }
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
