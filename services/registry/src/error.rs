//! Why a call fails, in the words that the caller is told.

use std::time::Duration;

use decant_artifact::{ReadError, Rejection, SweepError, WriteError};
use decant_coordination::StoreError;
use decant_coordination::keys::{CheckRecord, RecordError, VersionState};
use decant_model::access::Denied;
use decant_model::rollout::{NotNow, Phase, RolloutId};
use decant_model::{
    Digest, Freeze, Generation, ModelName, ModelVersion, NameError, PrincipalName, PublicKey,
    ScorerName, SlotName,
};
use thiserror::Error;

use crate::catalog::Version;

/// A failed call.
#[derive(Debug, Error)]
pub(crate) enum CallError {
    /// A field of the request is wrong.
    #[error("{field}: {reason}")]
    Field { field: String, reason: String },
    /// An uploaded bundle is wrong.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// The caller may not do this.
    #[error(transparent)]
    Denied(#[from] Denied),
    #[error("there is no principal `{0}`")]
    UnknownPrincipal(PrincipalName),
    #[error(
        "principal `{name}` exists already with {difference}: remove it first, or add one of another name beside it"
    )]
    PrincipalDiffers {
        name: PrincipalName,
        difference: String,
    },
    #[error("{credential} is that of principal `{of}` already")]
    CredentialTaken {
        credential: String,
        of: PrincipalName,
    },
    #[error("you are `{0}`: whoever removes themselves could not take it back")]
    RemovesSelf(PrincipalName),
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
    #[error("slot `{slot}` of model `{model}` has no rollout {rollout}")]
    UnknownRollout {
        model: ModelName,
        slot: SlotName,
        rollout: RolloutId,
    },
    #[error("slot `{slot}` of model `{model}` had no rollout yet")]
    NoRollout { model: ModelName, slot: SlotName },
    #[error("model `{model}` has no plan `{plan}`")]
    UnknownPlan { model: ModelName, plan: SlotName },
    #[error("model `{model}` exists already with {difference}")]
    ModelDiffers {
        model: ModelName,
        difference: String,
    },
    #[error("version {version} of model `{model}` has digest {digest} already")]
    DuplicateVersion {
        model: ModelName,
        version: ModelVersion,
        digest: Digest,
    },
    #[error("version {version} of model `{model}` is {state}{}", because(.reason))]
    NotApproved {
        model: ModelName,
        version: ModelVersion,
        state: &'static str,
        /// Which gates do not hold, or what else is in the way; empty when the state says it all.
        reason: String,
    },
    #[error(
        "version {version} of model `{model}` is held by slot `{slot}`: set another version there first"
    )]
    Held {
        model: ModelName,
        version: ModelVersion,
        slot: SlotName,
    },
    #[error("request `{0}` was made before with another content: give this one another id")]
    OtherRequest(String),
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
        "slot `{slot}` of model `{model}` has rollout {rollout}, which alone changes it: `decant rollout abort` ends that"
    )]
    RolloutActive {
        model: ModelName,
        slot: SlotName,
        rollout: RolloutId,
    },
    #[error(
        "slot `{slot}` of model `{model}` is frozen by `{}`: {}; only a rollback or an abort changes it", .freeze.by, .freeze.reason
    )]
    Frozen {
        model: ModelName,
        slot: SlotName,
        freeze: Freeze,
    },
    #[error(
        "slot `{slot}` of model `{model}` has a change pending since generation {}, set by `{issued_by}`: wait for it, or set the slot to what it serves",
        .generation.0
    )]
    ChangePending {
        model: ModelName,
        slot: SlotName,
        generation: Generation,
        issued_by: String,
    },
    #[error(
        "slot `{slot}` of model `{model}` serves no stable version that a rollout could begin from: set one first"
    )]
    NoStable { model: ModelName, slot: SlotName },
    #[error("slot `{slot}` of model `{model}` serves {version} already")]
    StableAlready {
        model: ModelName,
        slot: SlotName,
        version: ModelVersion,
    },
    #[error(
        "slot `{slot}` of model `{model}` has served no other version before: name the one to go back to"
    )]
    NothingBefore { model: ModelName, slot: SlotName },
    /// A version cannot be compared with its teacher.
    #[error(
        "the plan's gate on {metric} needs a teacher of {version} of model `{model}`: {reason}"
    )]
    NoTeacher {
        model: ModelName,
        version: ModelVersion,
        metric: &'static str,
        reason: String,
    },
    /// What must hold before any traffic does not; only what does not is listed.
    #[error("these checks do not hold of {version} of model `{model}`: {}", check_words(.failed))]
    ChecksFailed {
        model: ModelName,
        version: ModelVersion,
        failed: Vec<CheckRecord>,
    },
    #[error(transparent)]
    NotNow(#[from] NotNow),
    #[error(
        "rollout {rollout} was changed meanwhile: it is {phase} by `{moved_by}`, at generation {} of its slot",
        .winner.0
    )]
    RolloutConflict {
        rollout: RolloutId,
        phase: Phase,
        moved_by: String,
        winner: Generation,
    },
    /// What the slot says and what the rollout says do not belong together: somebody put one of them back.
    #[error(
        "slot `{slot}` of model `{model}` is at generation {}, which is not that of rollout {rollout}: `decant rollback` ends it",
        .found.0
    )]
    Astray {
        model: ModelName,
        slot: SlotName,
        rollout: RolloutId,
        found: Generation,
    },
    #[error(
        "scorer `{scorer}` has seen generation {} of slot `{slot}` of model `{model}`, which is at {} here: if an older backup was restored, say so with `decant admin adopt`",
        .seen.0, .found.0
    )]
    ScorerAhead {
        model: ModelName,
        slot: SlotName,
        scorer: ScorerName,
        seen: Generation,
        found: Generation,
    },
    #[error(
        "the store looks like an older copy or another one: {0}; if it is the truth from now on, say so with `decant admin adopt`"
    )]
    StoreOlder(String),
    #[error("the cluster is not empty: {0}; import into an empty one")]
    NotEmpty(String),
    #[error(
        "the import stopped after {written} records: {reason}; empty the store before it is tried again"
    )]
    ImportCut { written: u64, reason: String },
    #[error("others were faster {attempts} times ({conflict}); nothing was done, try again")]
    Contended { attempts: usize, conflict: String },
    #[error("another replica leads by now")]
    Deposed,
    /// A transaction that ended without an answer, and was not made as far as can be seen.
    #[error("{0}; it was not done as far as can be seen: ask again with the same request id")]
    NotDone(#[source] StoreError),
    /// A transaction that ended without an answer, and nobody knows.
    #[error(
        "{0}; whether it was done is not known: ask again with the same request id, or look before you repeat it"
    )]
    Unresolved(#[source] StoreError),
    #[error("the audit log is broken: {0}")]
    AuditBroken(String),
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
    /// Garbage cannot be collected.
    #[error(transparent)]
    Sweep(#[from] SweepError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A fault of ours.
    #[error("{0}")]
    Broken(&'static str),
}

fn because(reason: &str) -> String {
    match reason {
        "" => String::new(),
        reason => format!(": {reason}"),
    }
}

fn check_words(failed: &[CheckRecord]) -> String {
    let words = failed
        .iter()
        .map(|check| format!("{}: {}", check.name, check.found));
    words.collect::<Vec<_>>().join("; ")
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

    /// That a version is in the wrong state to be served.
    pub(crate) fn not_approved(version: &Version) -> Self {
        let failed = version.state.gates.iter().filter(|judged| !judged.passed);
        let failed = failed.map(|judged| match judged.value {
            Some(value) => format!("gate on `{}` does not hold at {value}", judged.gate.metric),
            None => format!("gate on `{}` has no value to judge", judged.gate.metric),
        });
        let given = Some(version.state.reason.clone()).filter(|given| !given.is_empty());
        let reasons: Vec<_> = failed.chain(given).collect();
        CallError::NotApproved {
            model: version.model.clone(),
            version: version.version,
            state: match version.state.state {
                VersionState::Staged => "staged, and not verified yet",
                VersionState::Validated => "validated, and not judged yet",
                VersionState::Approved => "approved",
                VersionState::Retired => "retired",
                VersionState::Rejected => "rejected",
            },
            reason: reasons.join(", "),
        }
    }

    /// Refuses a version that was approved under keys which its model does not let sign any more.
    pub(crate) fn check_signed(version: &Version, signers: &[PublicKey]) -> Result<(), Self> {
        let key = version.record.signature.map(|signature| signature.key);
        if signers.is_empty() || key.is_some_and(|key| signers.contains(&key)) {
            return Ok(());
        }
        Err(CallError::NotApproved {
            model: version.model.clone(),
            version: version.version,
            state: "approved, but not by a key that may sign now",
            reason: key.map_or_else(
                || "it is not signed".to_owned(),
                |key| format!("it is signed by {key}"),
            ),
        })
    }

    /// For the names in a request.
    pub(crate) fn name(field: &'static str) -> impl FnOnce(NameError) -> Self {
        move |error| CallError::field(field, error)
    }
}

/// In words, in what something that exists differs from what is wanted; none when it is just that.
pub(crate) fn difference<const N: usize>(parts: [(&str, bool); N]) -> Option<String> {
    let differing = parts.into_iter().filter(|(_, differs)| *differs);
    let words: Vec<&str> = differing.map(|(words, _)| words).collect();
    (!words.is_empty()).then(|| words.join(" and "))
}

impl From<WriteError> for CallError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Rejected(rejection) => CallError::Rejected(rejection),
            WriteError::Storage(error) => CallError::Storage(error),
        }
    }
}
