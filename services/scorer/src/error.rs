//! Why a call is not answered.

use std::time::Duration;

use decant_model::access::Denied;
use decant_model::{ModelName, ModelVersion, SlotName};
use thiserror::Error;

use crate::metrics::Refusal;

/// Something wrong with a part of the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    /// The part, such as `columns[age]`.
    pub(crate) field: String,
    /// What is wrong with it.
    pub(crate) reason: String,
}

impl Violation {
    pub(crate) fn new(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            field: field.into(),
            reason: reason.into(),
        }
    }
}

/// Why a call is not answered. [`status`](crate::service) says which gRPC code each becomes.
#[derive(Debug, Error)]
pub(crate) enum CallError {
    #[error("{} parts of the request are wrong", .0.len())]
    Invalid(Vec<Violation>),
    /// The caller may not ask this.
    #[error(transparent)]
    Denied(#[from] Denied),
    #[error("this scorer has no slot `{slot}` of a model `{model}`")]
    UnknownSlot { model: ModelName, slot: SlotName },
    #[error("this scorer has not yet learnt what it is to serve")]
    NotLearnt,
    #[error("version {} is not in service in slot `{slot}` of model `{model}`; in service: {}", .version.get(), numbers(in_service))]
    UnknownVersion {
        model: ModelName,
        slot: SlotName,
        version: ModelVersion,
        in_service: Vec<ModelVersion>,
    },
    #[error("no version is ready in slot `{slot}` of model `{model}`: {reason}")]
    NotReady {
        model: ModelName,
        slot: SlotName,
        reason: String,
    },
    #[error("items that the version's catalog does not hold: {}{}", .shown.join(", "), and_more(*.more))]
    UnknownItems { shown: Vec<String>, more: usize },
    #[error("the version has no catalog, so items cannot be named by id")]
    NoCatalog,
    #[error(
        "what scorers serve is decided at the registry, for all of them at once: `decant rollout start {0}` brings a version in step by step, `decant slot set {0}` at once, and either takes out the one before"
    )]
    NotDecidedHere(String),
    #[error("{reason}")]
    Busy {
        reason: String,
        retry_after: Duration,
        limit: Refusal,
    },
    #[error("the deadline is too near, or has passed, for the work to be done")]
    Expired,
    #[error("the scorer is going away")]
    Draining,
    #[error("{0}")]
    Model(#[from] decant_inference::Error),
    #[error("scoring broke off; the scorer's log says where")]
    Broken,
}

fn numbers(versions: &[ModelVersion]) -> String {
    if versions.is_empty() {
        return "none".to_owned();
    }
    let numbers = versions.iter().map(|version| version.get().to_string());
    numbers.collect::<Vec<_>>().join(", ")
}

fn and_more(more: usize) -> String {
    if more == 0 {
        String::new()
    } else {
        format!(", and {more} more")
    }
}
