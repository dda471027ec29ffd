//! One job through its stations: spec, dataset, teachers and students, bundles, versions.

mod progress;
mod stages;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use decant_chassis::telemetry::propagation;
use decant_chassis::threads::{self, AtWork};
use decant_inference::{Golden, Runtime};
use decant_model::rollout::evidence::Agreement;
use decant_model::{Digest, Lineage, LineageRole, TeacherRef, file};
use decant_proto::registry::v1::{Version, VersionState};
use thiserror::Error;
use tokio::sync::oneshot;
use tracing::Instrument;
use tracing::field::Empty;

use crate::dataset::{self, Dataset, DatasetError};
use crate::job::{JobResult, Progress, Pushed, Quality};
use crate::jobs::Turn;
use crate::metrics::Metrics;
use crate::pipeline::{self, Outcome, QualityRow, Role, Split};
use crate::publish::{self, PublishError, Publisher};
use crate::spec::{Spec, SpecError};
use progress::Reporter;
use stages::Stages;

/// Runs jobs.
pub struct Runner {
    datasets: PathBuf,
    publisher: Publisher,
    runtime: Runtime,
    metrics: Metrics,
    abandoned: AtomicBool,
}

/// Why a job failed.
#[derive(Debug, Error)]
pub enum RunError {
    /// The job file was accepted by an earlier build, but this one refuses it.
    #[error("the job file is not accepted any more: {0}")]
    Spec(#[from] SpecError),
    /// The data cannot be learnt from.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// Learning failed.
    #[error(transparent)]
    Pipeline(#[from] pipeline::Error),
    /// A part of the bundle cannot be written.
    #[error("{file} cannot be written: {reason}")]
    Bundle {
        /// The file.
        file: &'static str,
        /// Why.
        reason: String,
    },
    /// A version was not pushed.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// Asked to stop.
    #[error("cancelled")]
    Cancelled,
    /// The operating system gives no thread.
    #[error("no thread for the job: {0}")]
    Thread(#[source] std::io::Error),
    /// A fault of ours.
    #[error("the job panicked; the trainer's log says where")]
    Panicked,
}

impl Runner {
    /// Jobs read their data below `datasets` and push what they make.
    pub(crate) fn new(
        datasets: PathBuf,
        publisher: Publisher,
        runtime: Runtime,
        metrics: Metrics,
    ) -> Self {
        Self {
            datasets,
            publisher,
            runtime,
            metrics,
            abandoned: AtomicBool::new(false),
        }
    }

    /// The job that runs ends without a word about its end: the process is stopping.
    pub fn abandon(&self) {
        self.abandoned.store(true, Ordering::Relaxed);
    }

    /// Runs a job to its end, in a span that continues the trace of who submitted it.
    pub async fn run(&self, turn: Turn) {
        let span = tracing::info_span!("job", job = turn.id, trace_id = Empty, span_id = Empty);
        match &turn.trace {
            Some(trace) => propagation::set_parent(&span, trace),
            None => propagation::identify(&span),
        }
        self.run_in_span(turn).instrument(span).await;
    }

    async fn run_in_span(&self, turn: Turn) {
        let turn = Arc::new(turn);
        tracing::info!(job = turn.id, "job begins");
        let outcome = self.attempt(&turn).await;
        if self.abandoned.load(Ordering::Relaxed) {
            return;
        }
        match &outcome {
            Ok(result) => tracing::info!(
                job = turn.id,
                versions = result.versions.len(),
                "job succeeded"
            ),
            Err(_) if turn.is_cancelled() => tracing::info!(job = turn.id, "job cancelled"),
            Err(error) => tracing::warn!(job = turn.id, %error, "job failed"),
        }
        turn.end(outcome.map_err(|error| error.to_string()));
    }

    async fn attempt(&self, turn: &Arc<Turn>) -> Result<JobResult, RunError> {
        let spec = Arc::new(Spec::parse(&turn.spec_toml)?);
        let stages = Arc::new(Stages::new(self.metrics.clone()));
        let (dataset, outcome) = self.learn(turn, &spec, &stages).await?;
        let push = stages.enter("push");
        let published = self.publish(turn, &spec, &dataset, &outcome);
        let versions = published.instrument(push).await?;
        stages.done();
        turn.report(Progress {
            stage: "done".to_owned(),
            fraction_done: 1.0,
            ..Progress::default()
        });
        Ok(JobResult {
            dataset: dataset.digest,
            dataset_report: dataset.report.to_string(),
            quality: outcome.quality.iter().map(quality).collect(),
            versions,
        })
    }

    /// Pushes what was learnt.
    async fn publish(
        &self,
        turn: &Turn,
        spec: &Spec,
        dataset: &Dataset,
        outcome: &Outcome,
    ) -> Result<Vec<Pushed>, RunError> {
        let publisher = self.publisher.until(turn.cancel_flag());
        publisher.ensure_model(&spec.model, &spec.gates).await?;
        let parent = publisher.parent(&spec.model).await?;
        let shared = Shared {
            spec,
            dataset,
            outcome,
            job: turn,
            parent,
        };
        shared.publish_all(&publisher).await
    }

    /// Reads the data and learns, on a thread that may be busy for minutes.
    async fn learn(
        &self,
        turn: &Arc<Turn>,
        spec: &Arc<Spec>,
        stages: &Arc<Stages>,
    ) -> Result<(Dataset, Outcome), RunError> {
        let (turn, spec, stages) = (Arc::clone(turn), Arc::clone(spec), Arc::clone(stages));
        let (datasets, runtime) = (self.datasets.clone(), self.runtime.clone());
        let learn = move || {
            let _in_job = stages.job().enter();
            let reporter = Reporter::new(&turn, &stages, &spec.recipe);
            reporter.dataset("reading, cleaning and splitting the data".to_owned());
            let loading = stages.enter("dataset");
            let dataset = loading.in_scope(|| dataset::load(&spec, &datasets))?;
            drop(loading);
            let (train, validation, test) = (&dataset.train, &dataset.validation, &dataset.test);
            reporter.dataset(format!(
                "{} training, {} validation and {} test examples",
                train.len(),
                validation.len(),
                test.len()
            ));
            if turn.is_cancelled() {
                return Err(RunError::Cancelled);
            }
            let job = pipeline::Job {
                recipe: &spec.recipe,
                user_feature: spec.user_feature(),
                seed: spec.seed,
                threads: spec.threads,
                runtime: &runtime,
                observer: &reporter,
            };
            let split = Split {
                train,
                validation,
                test,
            };
            let outcome = pipeline::run(&job, &split)?;
            Ok((dataset, outcome))
        };
        // A thread of its own, whose low priority its children inherit: what serves beside it goes first.
        let (done, outcome) = oneshot::channel();
        let run = move || {
            threads::lower_priority();
            let _at_work = AtWork::begin();
            // An error means that the job's owner has gone.
            let _ = done.send(learn());
        };
        std::thread::Builder::new()
            .name("training job".to_owned())
            .spawn(run)
            .map_err(RunError::Thread)?;
        outcome.await.map_err(|_| RunError::Panicked)?
    }
}

/// What all versions of a job have in common.
struct Shared<'a> {
    spec: &'a Spec,
    dataset: &'a Dataset,
    outcome: &'a Outcome,
    job: &'a Turn,
    parent: Option<Digest>,
}

/// A model of the job that becomes a version.
struct Candidate<'a> {
    role: LineageRole,
    name: &'a str,
    onnx: &'a [u8],
    golden: &'a Golden,
    quality: &'a QualityRow,
}

impl Shared<'_> {
    /// Pushes the teacher, if it is to be pushed, and then the students: they name its version by digest, and the newest
    /// version of the model is to be one that is made to serve.
    async fn publish_all(&self, publisher: &Publisher) -> Result<Vec<Pushed>, RunError> {
        let mut versions = Vec::new();
        let mut teachers = self.teachers();
        if let Some(teacher) = &self.outcome.teacher {
            let candidate = Candidate {
                role: LineageRole::Teacher,
                name: &teacher.name,
                onnx: &teacher.onnx,
                golden: &teacher.golden,
                quality: &teacher.quality,
            };
            let (digest, pushed) = self
                .publish(publisher, &candidate, Vec::new(), versions.len())
                .await?;
            if !pushed.approved {
                tracing::warn!(
                    job = self.job.id,
                    version = pushed.version,
                    "the model's gates reject the teacher, so no rollout can compare students with it"
                );
            }
            versions.push(pushed);
            teachers = vec![TeacherRef {
                name: teacher.name.clone(),
                digest,
                weight: 1.0,
            }];
        }
        for student in &self.outcome.students {
            let candidate = Candidate {
                role: LineageRole::Student,
                name: &student.name,
                onnx: &student.onnx,
                golden: &student.golden,
                quality: &student.quality,
            };
            let (_, pushed) = self
                .publish(publisher, &candidate, teachers.clone(), versions.len())
                .await?;
            versions.push(pushed);
        }
        Ok(versions)
    }

    /// Pushes one version, after `done` others.
    async fn publish(
        &self,
        publisher: &Publisher,
        candidate: &Candidate<'_>,
        teachers: Vec<TeacherRef>,
        done: usize,
    ) -> Result<(Digest, Pushed), RunError> {
        if self.job.is_cancelled() {
            return Err(RunError::Cancelled);
        }
        let all = usize::from(self.outcome.teacher.is_some()) + self.outcome.students.len();
        let what = match candidate.role {
            LineageRole::Student => "student",
            LineageRole::Teacher => "teacher",
        };
        self.job.report(Progress {
            stage: "push".to_owned(),
            message: format!("{what} {}", candidate.name),
            fraction_done: progress::PUSH + (1.0 - progress::PUSH) * done as f64 / all as f64,
            ..Progress::default()
        });
        let golden = candidate
            .golden
            .to_json()
            .map_err(unwritable(file::GOLDEN))?;
        let evaluation = serde_json::to_vec_pretty(&self.outcome.quality)
            .map_err(unwritable(file::EVALUATION))?;
        let catalog = self
            .dataset
            .catalog
            .to_arrow()
            .map_err(unwritable(file::CATALOG))?;
        let files = publish::files([
            (file::MODEL, candidate.onnx.to_vec()),
            (file::FEATURES, self.dataset.schema.to_json()),
            (file::CATALOG, catalog),
            (file::GOLDEN, golden),
            (file::EVALUATION, evaluation),
        ])
        .map_err(PublishError::Manifest)?;
        let metrics = metrics(candidate, self.teacher_beside(candidate));
        let lineage = self.lineage(candidate, teachers);
        let (digest, version) = publisher
            .publish(&self.spec.model, files, metrics, lineage)
            .await?;
        Ok((digest, pushed_version(candidate.name, &version)))
    }

    /// The teachers by their files, which is how students name them where no version is theirs.
    fn teachers(&self) -> Vec<TeacherRef> {
        let teachers = self.spec.recipe.teachers.iter().filter_map(|teacher| {
            let row = self
                .outcome
                .quality
                .iter()
                .find(|row| row.role == Role::Teacher && row.name == teacher.name)?;
            let weight = f64::from(teacher.weight);
            Some(TeacherRef {
                name: teacher.name.clone(),
                digest: row.digest,
                weight,
            })
        });
        teachers.collect()
    }

    /// What the teachers, or a lone one, make of the test examples; none beside itself.
    fn teacher_beside(&self, candidate: &Candidate<'_>) -> Option<&QualityRow> {
        let mut rows = self.outcome.quality.iter().rev();
        let teacher = rows.find(|row| matches!(row.role, Role::Teacher | Role::Ensemble));
        teacher.filter(|_| candidate.role == LineageRole::Student)
    }

    fn lineage(&self, candidate: &Candidate<'_>, teachers: Vec<TeacherRef>) -> Lineage {
        Lineage {
            role: candidate.role,
            student: candidate.name.to_owned(),
            teachers,
            dataset: self.dataset.digest,
            job: self.job.id.clone(),
            spec: Digest::of(self.job.spec_toml.as_bytes()),
            code_revision: format!("decant {}", env!("CARGO_PKG_VERSION")),
            parent: self.parent,
        }
    }
}

fn unwritable<E: ToString>(file: &'static str) -> impl FnOnce(E) -> RunError {
    move |error| RunError::Bundle {
        file,
        reason: error.to_string(),
    }
}

/// What gates can be set on. Those that begin with `teacher` say how a student agrees with its teacher on the test examples.
/// A published teacher's file is not the one that was timed.
fn metrics(candidate: &Candidate<'_>, teacher: Option<&QualityRow>) -> BTreeMap<String, f64> {
    let (row, metrics) = (candidate.quality, &candidate.quality.metrics);
    let latency = [
        ("latency_micros_1", row.latency.micros_1),
        ("latency_micros_500", row.latency.micros_500),
    ];
    let latency = latency
        .into_iter()
        .filter(|_| candidate.role == LineageRole::Student);
    let agreement = teacher.and_then(|teacher| Agreement::of(&row.scores, &teacher.scores));
    let agreement = agreement.into_iter().flat_map(|agreement| {
        let spearman = agreement.spearman.map(|value| ("teacher_spearman", value));
        [("teacher_kl", agreement.kl)].into_iter().chain(spearman)
    });
    let named = [
        ("auc", metrics.auc),
        ("gauc", metrics.group_auc),
        ("logloss", metrics.log_loss),
        ("calibration_error", metrics.calibration_error),
        ("accuracy", metrics.accuracy),
        ("precision", metrics.precision),
        ("recall", metrics.recall),
        ("f1", metrics.f1),
    ];
    named
        .into_iter()
        .chain(latency)
        .chain(agreement)
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

fn quality(row: &QualityRow) -> Quality {
    Quality {
        name: row.name.clone(),
        role: row.role.to_string(),
        auc: row.metrics.auc,
        logloss: row.metrics.log_loss,
        accuracy: row.metrics.accuracy,
        precision: row.metrics.precision,
        recall: row.metrics.recall,
        f1: row.metrics.f1,
        parameters: row.parameters as u64,
        bytes: row.bytes as u64,
        micros_1: row.latency.micros_1,
        micros_500: row.latency.micros_500,
    }
}

fn pushed_version(name: &str, version: &Version) -> Pushed {
    Pushed {
        student: name.to_owned(),
        model: version.model.clone(),
        version: version.version,
        digest: version.digest.clone(),
        approved: version.state() == VersionState::Approved,
    }
}
