//! A job as the trainer knows and keeps it, and the states that it goes through.

use decant_model::Digest;
use serde::{Deserialize, Serialize};

/// Everything about a job; one JSON file each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Sorts by time.
    pub id: String,
    /// The job file, as submitted.
    pub spec_toml: String,
    /// The model that gets the versions.
    pub model: String,
    /// Where it stands.
    pub state: State,
    /// When it was submitted, began and ended, in milliseconds since 1970.
    pub created_at: u64,
    /// See `created_at`.
    pub started_at: Option<u64>,
    /// See `created_at`.
    pub ended_at: Option<u64>,
    /// The newest progress.
    pub progress: Progress,
    /// The trace of who submitted it, as a W3C `traceparent`: its run continues there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
}

/// Where a job stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum State {
    /// Waiting for its turn.
    Queued,
    /// At work.
    Running,
    /// Every student is pushed, and the teacher if it was to be.
    Succeeded {
        /// What came of it.
        result: JobResult,
    },
    /// Ended by an error.
    Failed {
        /// The error.
        error: String,
    },
    /// Ended on request.
    Cancelled,
}

impl State {
    /// Whether nothing more can happen to the job.
    pub fn has_ended(&self) -> bool {
        !matches!(self, State::Queued | State::Running)
    }
}

/// What a job is doing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// The step.
    pub stage: String,
    /// What it has to tell.
    pub message: String,
    /// The epoch that has just ended, from 1; 0 in steps without epochs.
    pub epoch: u32,
    /// The most epochs of the step.
    pub epochs: u32,
    /// Mean training loss of the epoch.
    pub loss: f64,
    /// Validation AUC after the epoch.
    pub validation_auc: f64,
    /// Estimated seconds until the step ends; 0 when unknown.
    pub step_seconds_left: f64,
    /// Share of the job that is done.
    pub fraction_done: f64,
    /// Milliseconds since 1970.
    pub at: u64,
}

/// What a job brought about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobResult {
    /// Identity of the cleaned, split data.
    pub dataset: Digest,
    /// How it was cleaned and split, for people.
    pub dataset_report: String,
    /// Every model of the job on the same test rows.
    pub quality: Vec<Quality>,
    /// The versions pushed.
    pub versions: Vec<Pushed>,
}

/// The quality of one model; the metrics are those of `decant.trainer.v1.QualityRow`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields are documented in the protocol")]
pub struct Quality {
    pub name: String,
    pub role: String,
    pub auc: f64,
    pub logloss: f64,
    pub accuracy: f64,
    pub precision: f64,
    pub recall: f64,
    pub f1: f64,
    pub parameters: u64,
    pub bytes: u64,
    pub micros_1: f64,
    pub micros_500: f64,
}

/// A version that a job pushed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pushed {
    /// The student's name in the job; the teacher's, where the version is one.
    pub student: String,
    /// The model.
    pub model: String,
    /// The version's number.
    pub version: u64,
    /// Its manifest digest.
    pub digest: String,
    /// Whether the model's gates approved it.
    pub approved: bool,
}
