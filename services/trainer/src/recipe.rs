//! The learning part of a job file: teachers, students, and how the ones learn from the others.
//!
//! [`Recipe::parse`] reads the tables as they stand, then checks them; every problem found is reported by its key.

mod check;

use serde::Deserialize;
use toml::{Table, Value};

pub use crate::distill::Loss;
use crate::network::{Architecture, FitOptions};
use crate::spec::section::section;
use crate::spec::{SpecError, Violation};

/// What is to be learnt, validated.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipe {
    /// The large models; their weighted mean teaches.
    pub teachers: Vec<TeacherSpec>,
    /// The small models that will serve.
    pub students: Vec<StudentSpec>,
    /// How students learn from teachers; none where there are no teachers.
    pub distill: Option<DistillSpec>,
    /// What becomes a version beside the students.
    pub publish: PublishSpec,
}

/// A large model.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TeacherSpec {
    /// Its name, unique in the job.
    pub name: String,
    /// What it computes.
    pub kind: TeacherKind,
    /// Width of a field's vector.
    #[serde(default = "defaults::teacher_embedding")]
    pub embedding: usize,
    /// Widths of the hidden layers.
    #[serde(default = "defaults::teacher_hidden")]
    pub hidden: Vec<usize>,
    /// Cross layers of a `dcn`; 2 when not given.
    pub cross: Option<usize>,
    /// Its share in the ensemble, relative to the other teachers'.
    #[serde(default = "defaults::weight")]
    pub weight: f32,
    /// The most passes over the training examples.
    #[serde(default = "defaults::epochs")]
    pub epochs: usize,
    /// Passes without a better validation AUC after which to stop.
    #[serde(default = "defaults::patience")]
    pub patience: usize,
    /// Examples in a step.
    #[serde(default = "defaults::batch_size")]
    pub batch_size: usize,
    /// Adam's step size.
    #[serde(default = "defaults::learning_rate")]
    pub learning_rate: f32,
    /// Weight decay of matrices.
    #[serde(default = "defaults::l2")]
    pub l2: f32,
    /// Weight decay of embeddings.
    #[serde(default)]
    pub embedding_l2: f32,
    /// Decay of the moving average that the final weights are; 0 for none.
    #[serde(default = "defaults::averaging")]
    pub averaging: f32,
    /// The share of hidden units that sit out each step.
    #[serde(default = "defaults::teacher_dropout")]
    pub dropout: f32,
}

/// What a teacher computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TeacherKind {
    /// Hidden layers over the fields' vectors.
    Mlp,
    /// A factorisation machine and hidden layers over the same vectors (Guo et al. 2017).
    DeepFm,
    /// Cross layers beside hidden layers (DCN-v2, Wang et al. 2021).
    Dcn,
    /// A DeepFM that also reads what the user liked and disliked in training (after SVD++, Koren 2008).
    History,
}

/// A small model.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StudentSpec {
    /// Its name, unique in the job.
    pub name: String,
    /// Width of a field's vector.
    #[serde(default = "defaults::student_embedding")]
    pub embedding: usize,
    /// Widths of the hidden layers.
    #[serde(default = "defaults::student_hidden")]
    pub hidden: Vec<usize>,
    /// The most passes over the training examples.
    #[serde(default = "defaults::epochs")]
    pub epochs: usize,
    /// Passes without a better validation AUC after which to stop.
    #[serde(default = "defaults::patience")]
    pub patience: usize,
    /// Examples in a step.
    #[serde(default = "defaults::batch_size")]
    pub batch_size: usize,
    /// Adam's step size.
    #[serde(default = "defaults::learning_rate")]
    pub learning_rate: f32,
    /// Weight decays of matrices to try; the one with the best validation AUC is kept. The student that learns from labels only
    /// tries the same.
    #[serde(default = "defaults::student_l2")]
    pub l2: Vec<f32>,
    /// Weight decay of embeddings.
    #[serde(default)]
    pub embedding_l2: f32,
    /// Decay of the moving average that the final weights are; 0 for none.
    #[serde(default = "defaults::averaging")]
    pub averaging: f32,
    /// The share of hidden units that sit out each step.
    #[serde(default)]
    pub dropout: f32,
}

/// How students learn from teachers.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DistillSpec {
    /// How a student is held to its teachers.
    pub loss: Loss,
    /// Softens both sides of the `kl` loss; 1 leaves them as they are.
    pub temperature: f32,
    /// Weight of the label, in 0..=1; the teachers have the rest.
    pub alpha: f32,
    /// Parts of the training examples. Each part is labelled by teachers that have not seen it, because a teacher that
    /// has remembers the label and passes on nothing else. 0 or 1: by teachers that have seen it.
    pub folds: usize,
    /// Pairs that nobody has rated, labelled by the teachers, for each training example.
    pub unlabelled: f32,
}

/// What a job pushes beside its students.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PublishSpec {
    /// The teachers' mean, or a lone teacher, as a version of the same model: it is pushed before the students, and they
    /// name it as their teacher, so that a rollout can compare them with it on live requests.
    pub teacher: bool,
}

impl Default for DistillSpec {
    fn default() -> Self {
        Self {
            loss: Loss::CrossEntropy,
            temperature: 1.0,
            alpha: 0.5,
            folds: 4,
            unlabelled: 1.0,
        }
    }
}

impl Recipe {
    /// Reads the tables `teachers`, `students`, `distill` and `publish` of a job file.
    ///
    /// # Errors
    /// Every key whose value is missing, unknown or impossible.
    pub fn parse(mut table: Table) -> Result<Self, SpecError> {
        let mut violations = Vec::new();
        let teachers: Vec<TeacherSpec> =
            array("teachers", table.remove("teachers"), &mut violations);
        let students: Vec<StudentSpec> =
            array("students", table.remove("students"), &mut violations);
        let given: Option<DistillSpec> =
            optional("distill", table.remove("distill"), &mut violations);
        let publish: Option<PublishSpec> =
            optional("publish", table.remove("publish"), &mut violations);
        for key in table.keys() {
            violations.push(Violation::of_key(
                key,
                "unknown key, expected `teachers`, `students`, `distill` or `publish`",
            ));
        }
        // What a teacher teaches has defaults; that there is one has not.
        let distill = given.or_else(|| (!teachers.is_empty()).then(DistillSpec::default));
        let recipe = Self {
            teachers,
            students,
            distill,
            publish: publish.unwrap_or_default(),
        };
        if violations.is_empty() {
            check::check(&recipe, &mut violations);
        }
        if violations.is_empty() {
            Ok(recipe)
        } else {
            Err(SpecError::Invalid(violations))
        }
    }
}

impl TeacherSpec {
    /// What its network computes.
    pub fn architecture(&self) -> Architecture {
        match self.kind {
            TeacherKind::Mlp => Architecture::mlp(self.embedding, &self.hidden),
            TeacherKind::DeepFm | TeacherKind::History => {
                Architecture::deepfm(self.embedding, &self.hidden)
            }
            TeacherKind::Dcn => Architecture::dcn(
                self.embedding,
                self.cross.unwrap_or(defaults::CROSS),
                &self.hidden,
            ),
        }
    }

    /// How it is fitted.
    pub fn fit_options(&self) -> FitOptions {
        FitOptions {
            epochs: self.epochs,
            patience: self.patience,
            batch_size: self.batch_size,
            learning_rate: self.learning_rate,
            l2: self.l2,
            embedding_l2: self.embedding_l2,
            averaging: self.averaging,
            dropout: self.dropout,
        }
    }
}

impl StudentSpec {
    /// What its network computes.
    pub fn architecture(&self) -> Architecture {
        Architecture::mlp(self.embedding, &self.hidden)
    }

    /// How it is fitted, once for each weight decay to try.
    pub fn fit_options(&self) -> Vec<FitOptions> {
        let options = |&l2: &f32| FitOptions {
            epochs: self.epochs,
            patience: self.patience,
            batch_size: self.batch_size,
            learning_rate: self.learning_rate,
            l2,
            embedding_l2: self.embedding_l2,
            averaging: self.averaging,
            dropout: self.dropout,
        };
        self.l2.iter().map(options).collect()
    }
}

fn optional<T: serde::de::DeserializeOwned>(
    key: &str,
    value: Option<Value>,
    violations: &mut Vec<Violation>,
) -> Option<T> {
    match value? {
        Value::Table(table) => section(key, table)
            .map_err(|violation| violations.push(violation))
            .ok(),
        value => {
            let reason = format!("must be a table: write [{key}]");
            violations.push(Violation::new(key, value, reason));
            None
        }
    }
}

fn array<T: serde::de::DeserializeOwned>(
    key: &str,
    value: Option<Value>,
    violations: &mut Vec<Violation>,
) -> Vec<T> {
    let values = match value {
        None => return Vec::new(),
        Some(Value::Array(values)) => values,
        Some(value) => {
            violations.push(Violation::new(
                key,
                value,
                format!("must be a list of tables: write [[{key}]]"),
            ));
            return Vec::new();
        }
    };
    let mut read = Vec::with_capacity(values.len());
    for (position, value) in values.into_iter().enumerate() {
        let key = format!("{key}[{position}]");
        match value {
            Value::Table(table) => match section(&key, table) {
                Ok(entry) => read.push(entry),
                Err(violation) => violations.push(violation),
            },
            value => violations.push(Violation::new(key, value, "must be a table")),
        }
    }
    read
}

/// What worked on MovieLens and is a fair start elsewhere.
mod defaults {
    pub(super) const CROSS: usize = 2;

    pub(super) fn teacher_embedding() -> usize {
        16
    }
    pub(super) fn teacher_hidden() -> Vec<usize> {
        vec![256, 128]
    }
    pub(super) fn teacher_dropout() -> f32 {
        0.2
    }
    pub(super) fn student_embedding() -> usize {
        8
    }
    pub(super) fn student_hidden() -> Vec<usize> {
        vec![32, 16]
    }
    pub(super) fn student_l2() -> Vec<f32> {
        vec![1e-4, 1e-3]
    }
    pub(super) fn averaging() -> f32 {
        0.998
    }
    pub(super) fn weight() -> f32 {
        1.0
    }
    pub(super) fn epochs() -> usize {
        60
    }
    pub(super) fn patience() -> usize {
        4
    }
    pub(super) fn batch_size() -> usize {
        1024
    }
    pub(super) fn learning_rate() -> f32 {
        2e-3
    }
    pub(super) fn l2() -> f32 {
        1e-3
    }
}

#[cfg(test)]
mod tests;
