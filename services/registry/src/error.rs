//! Why a call fails, in the words that the caller is told.

use std::time::Duration;

use decant_artifact::{ReadError, Rejection, WriteError};
use decant_coordination::StoreError;
use decant_coordination::keys::RecordError;
use decant_model::{Digest, Generation, ModelName, ModelVersion, NameError, SlotName};
use thiserror::Error;

/// A failed call.
#[derive(Debug, Error)]
pub(crate) enum CallError {
    /// A field of the request is wrong.
    #[error("{field}: {reason}")]
    Field { field: String, reason: String },
    /// An uploaded bundle is wrong.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    #[error("there is no model `{0}`")]
    UnknownModel(ModelName),
    #[error("model `{model}` has no version {version}")]
    UnknownVersion {
        model: ModelName,
        version: ModelVersion,
    },
    #[error("model `{0}` has no version yet")]
    NoVersion(ModelName),
    #[error("slot `{slot}` of model `{model}` was never set")]
    UnknownSlot { model: ModelName, slot: SlotName },
    #[error("model `{model}` exists already with {difference}")]
    ModelDiffers {
        model: ModelName,
        difference: &'static str,
    },
    #[error("version {version} of model `{model}` has digest {digest} already")]
    DuplicateVersion {
        model: ModelName,
        version: ModelVersion,
        digest: Digest,
    },
    #[error("version {version} of model `{model}` is rejected: {failed_gates}")]
    NotApproved {
        model: ModelName,
        version: ModelVersion,
        failed_gates: String,
    },
    #[error(
        "slot `{slot}` of model `{model}` is at generation {}, not {}{}",
        .found.0, .expected.0, set_by(.issued_by.as_deref())
    )]
    OtherGeneration {
        model: ModelName,
        slot: SlotName,
        expected: Generation,
        found: Generation,
        /// Who set the generation found; nobody when the slot was never set.
        issued_by: Option<String>,
    },
    #[error("slot `{slot}` of model `{model}` was changed meanwhile: generation {} was set by `{issued_by}`", .winner.0)]
    SlotConflict {
        model: ModelName,
        slot: SlotName,
        winner: Generation,
        issued_by: String,
    },
    #[error(
        "model `{model}` changed {attempts} times while the version was being added; push again"
    )]
    Contended { model: ModelName, attempts: usize },
    #[error("{limit} pushes are at work already")]
    Busy { limit: usize, retry_after: Duration },
    #[error("the push sent nothing for {0:?}")]
    Idle(Duration),
    #[error("the registry is going away; call again")]
    Draining,
    /// Stored bytes are missing or corrupt, or cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Bytes cannot be stored.
    #[error(transparent)]
    Storage(decant_artifact::StorageError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A fault of ours.
    #[error("{0}")]
    Broken(&'static str),
}

fn set_by(issued_by: Option<&str>) -> String {
    issued_by.map_or_else(String::new, |issued_by| {
        format!("; it was set by `{issued_by}`")
    })
}

impl CallError {
    pub(crate) fn field(field: impl Into<String>, reason: impl ToString) -> Self {
        CallError::Field {
            field: field.into(),
            reason: reason.to_string(),
        }
    }

    /// For the names in a request.
    pub(crate) fn name(field: &'static str) -> impl FnOnce(NameError) -> Self {
        move |error| CallError::field(field, error)
    }
}

impl From<WriteError> for CallError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Rejected(rejection) => CallError::Rejected(rejection),
            WriteError::Storage(error) => CallError::Storage(error),
        }
    }
}
