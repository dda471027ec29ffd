//! The learning part of a job from examples to verified models: teachers, students with and without them, export,
//! evaluation.
//!
//! Test examples are looked at once, at the end, and decide nothing. The result depends on the recipe, the seed and the
//! examples; threads change only how long it takes.

mod learn;
mod judge;

use std::fmt;

use decant_inference::{Golden, Runtime};
use decant_model::Digest;
use serde::Serialize;
use thiserror::Error;

pub use crate::progress::{Epoch, Event, Observer, Stage};

use crate::dataset::Examples;
use crate::distill::UnlabelledError;
use crate::eval::{Interval, Latency, LatencyError, Metrics};
use crate::export::{ParityError, Users, UsersError};
use crate::network::FitError;
use crate::recipe::{Recipe, TeacherKind};

/// What is to be learnt, and with what.
#[derive(Clone, Copy)]
pub struct Job<'a> {
    /// Teachers, students, and how the ones learn from the others.
    pub recipe: &'a Recipe,
    /// The feature that names users, if there is one.
    pub user_feature: Option<&'a str>,
    /// What all randomness begins with.
    pub seed: u64,
    /// Networks fitted side by side; 0 means one for each core.
    pub threads: usize,
    /// What models are verified and timed with.
    pub runtime: &'a Runtime,
    /// Who is told, and may cancel.
    pub observer: &'a dyn Observer,
}

/// Examples over the same tables.
#[derive(Clone, Copy)]
pub struct Split<'a> {
    /// What is learnt from.
    pub train: &'a Examples,
    /// What decides when to stop, which weight decay is best, and where the threshold lies.
    pub validation: &'a Examples,
    /// What is reported.
    pub test: &'a Examples,
}

/// What a job has brought about.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Every model on the same test examples, the simplest first.
    pub quality: Vec<QualityRow>,
    /// The teacher to publish, where the recipe asks for it.
    pub teacher: Option<Teacher>,
    /// The models to serve, in the order of the recipe's students.
    pub students: Vec<Student>,
}

/// One model on the test examples.
#[derive(Clone, Debug, Serialize)]
pub struct QualityRow {
    /// The model's name in the recipe.
    pub name: String,
    /// What it is in the job.
    pub role: Role,
    /// How good it is.
    #[serde(flatten)]
    pub metrics: Metrics,
    /// Numbers learnt.
    pub parameters: usize,
    /// Digest of its ONNX file.
    pub digest: Digest,
    /// Size of its ONNX file.
    pub bytes: usize,
    /// How long its ONNX file takes.
    #[serde(flatten)]
    pub latency: Latency,
    /// Its scores of the test examples, for comparisons.
    #[serde(skip)]
    pub scores: Vec<f32>,
}

/// What a model is in its job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Logistic regression.
    Baseline,
    /// A large model.
    Teacher,
    /// The teachers' mean.
    Ensemble,
    /// A small model that has learnt from labels only.
    LabelsOnly,
    /// A small model that has learnt from labels and teachers.
    Distilled,
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Role::Baseline => "baseline",
            Role::Teacher => "teacher",
            Role::Ensemble => "ensemble",
            Role::LabelsOnly => "student, labels only",
            Role::Distilled => "student, distilled",
        })
    }
}

/// The teachers' mean, or a lone teacher, as a model that takes the same requests as the students.
#[derive(Clone, Debug)]
pub struct Teacher {
    /// Its name in the table of quality.
    pub name: String,
    /// Standard ONNX, which scores as the networks did to within 1e-5.
    pub onnx: Vec<u8>,
    /// Inputs and scores to repeat that proof with.
    pub golden: Golden,
    /// Its row of the quality table. Its digest, size and times are of the graph that takes histories as inputs, where a
    /// teacher reads them.
    pub quality: QualityRow,
}

/// A model to serve.
#[derive(Clone, Debug)]
pub struct Student {
    /// Its name in the recipe.
    pub name: String,
    /// Standard ONNX, which scores as the network did to within 1e-5.
    pub onnx: Vec<u8>,
    /// Inputs and scores to repeat that proof with.
    pub golden: Golden,
    /// Its row of the quality table.
    pub quality: QualityRow,
    /// How much its AUC gains over the same student that has learnt from labels only, on these test examples; none
    /// without teachers.
    pub gain: Option<Interval>,
}

/// Why a job has brought about nothing.
#[derive(Debug, Error)]
pub enum Error {
    /// A network could not be fitted.
    #[error(transparent)]
    Fit(#[from] FitError),
    /// There are too few pairs that nobody has rated.
    #[error(transparent)]
    Unlabelled(#[from] UnlabelledError),
    /// An exported graph is not its network.
    #[error(transparent)]
    Parity(#[from] ParityError),
    /// A graph could not be timed.
    #[error(transparent)]
    Latency(#[from] LatencyError),
    /// The teacher to publish cannot tell whose history it is to read.
    #[error(transparent)]
    Users(#[from] UsersError),
    /// The examples cannot be learnt from.
    #[error("{0}")]
    Examples(&'static str),
}

impl Error {
    /// Whether the observer asked for it.
    pub fn is_cancelled(&self) -> bool {
        matches!(self, Error::Fit(FitError::Cancelled { .. }))
    }
}

/// Runs the learning part of a job.
///
/// # Errors
/// When there are no examples, a network diverges, a graph is not its network, users cannot be told apart for a teacher
/// that is to be published, or the observer cancels.
pub fn run(job: &Job<'_>, data: &Split<'_>) -> Result<Outcome, Error> {
    for (examples, reason) in [
        (data.train, "there are no training examples"),
        (
            data.validation,
            "there are no validation examples, which decide when to stop",
        ),
        (
            data.test,
            "there are no test examples, which tell how good the result is",
        ),
    ] {
        if examples.is_empty() {
            return Err(Error::Examples(reason));
        }
    }
    let item = &data.train.layout.item;
    if item.slots == 0 && item.dense.is_empty() {
        return Err(Error::Examples(
            "no feature describes items, so all of them would score the same",
        ));
    }
    let users = users(job, data)?;
    let learnt = learn::learn(job, data)?;
    judge::judge(job, data, learnt, users.as_ref())
}

/// Whose histories the published teacher reads. Looked for before anything is fitted, because it may be impossible to
/// tell.
fn users(job: &Job<'_>, data: &Split<'_>) -> Result<Option<Users>, Error> {
    let mut teachers = job.recipe.teachers.iter();
    if job.recipe.publish.teacher && teachers.any(|teacher| teacher.kind == TeacherKind::History) {
        Ok(Some(Users::new(job.user_feature, data.train)?))
    } else {
        Ok(None)
    }
}

#[cfg(test)]
mod tests;
