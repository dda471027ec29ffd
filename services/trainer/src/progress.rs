//! What a running job tells, and how it is told to stop.

use std::fmt;

use serde::Serialize;

/// Whoever started a job. Networks train side by side, so calls come from several threads.
pub trait Observer: Send + Sync {
    /// Something happened.
    fn event(&self, event: Event);
    /// Whether the job should end; asked after every few batches.
    fn cancelled(&self) -> bool {
        false
    }
}

/// Looks away.
impl Observer for () {
    fn event(&self, _: Event) {}
}

/// One piece of progress.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The job enters a stage.
    Stage {
        /// Which.
        stage: Stage,
        /// Networks to fit in it; 0 where it fits none.
        networks: usize,
    },
    /// A network has seen its training data once more.
    Epoch(Epoch),
    /// A network is trained.
    Fitted {
        /// Which.
        network: String,
        /// The epoch whose weights it keeps.
        best_epoch: usize,
        /// AUC on the validation examples.
        validation_auc: f64,
        /// How long it took.
        seconds: f64,
    },
}

/// One epoch of one network.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Epoch {
    /// Which network.
    pub network: String,
    /// The epoch just done, from 1.
    pub epoch: usize,
    /// The most epochs it may take; early stopping usually needs fewer.
    pub epochs: usize,
    /// Mean training loss over the epoch.
    pub loss: f64,
    /// AUC on the validation examples.
    pub validation_auc: f64,
    /// At most so many seconds remain for this network.
    pub seconds_left: f64,
}

/// The learning stations, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// The baseline and the teachers learn, whole and once for each fold.
    Teachers,
    /// Students learn from labels only, for comparison.
    Baselines,
    /// Students learn from labels and teachers.
    Students,
    /// All become ONNX, held to the networks they come from.
    Export,
    /// All are compared on the test examples.
    Evaluation,
}

impl Stage {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Stage::Teachers => "teachers",
            Stage::Baselines => "baselines",
            Stage::Students => "students",
            Stage::Export => "export",
            Stage::Evaluation => "evaluation",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}
