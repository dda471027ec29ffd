//! What a trainer measures of itself: how many jobs there are and how they end, how long their stages take, and how good the
//! newest models are. Most of it is read from the jobs when somebody asks.
//!
//! Labels are the models of jobs that succeeded, as many as fit on a page, and words of ours; the names that a job file gives
//! its networks are not among them.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{AsyncInstrument, Histogram, Meter};

use crate::job::{JobResult, State};
use crate::jobs::{Ending, Jobs, WeakJobs};

/// Models that are told of, at most: those whose jobs succeeded last.
const MODELS: usize = 100;

/// What jobs measure while they run. Clones share it.
#[derive(Clone)]
pub(crate) struct Metrics {
    stages: Histogram<f64>,
}

/// How good the newest job of a model has made it.
#[derive(Debug, Default, PartialEq)]
struct Newest {
    /// When it ended, in milliseconds since 1970.
    ended_at: u64,
    /// The best AUC on the test examples, by what the network is in the job.
    auc: BTreeMap<&'static str, f64>,
}

impl Metrics {
    /// Tells the meter.
    pub(crate) fn new(meter: &Meter) -> Self {
        let stages = meter
            .f64_histogram("decant.trainer.stage.duration")
            .with_description("How long the stages of jobs took that went on to the next.")
            .with_unit("s")
            .build();
        Self { stages }
    }

    /// A stage is done.
    pub(crate) fn stage(&self, stage: &'static str, took: Duration) {
        let labels = [KeyValue::new("stage", stage)];
        self.stages.record(took.as_secs_f64(), &labels);
    }
}

/// Tells the meter of the jobs, as long as somebody has them.
pub(crate) fn observe(meter: &Meter, jobs: &Jobs) {
    let jobs = jobs.downgrade();
    meter
        .u64_observable_gauge("decant.trainer.jobs")
        .with_description("Jobs that wait or run.")
        .with_callback(reading(&jobs, |jobs, told| {
            let (mut queued, mut running) = (0, 0);
            jobs.visit(|job| match job.state {
                State::Queued => queued += 1,
                State::Running => running += 1,
                State::Succeeded { .. } | State::Failed { .. } | State::Cancelled => {}
            });
            told.observe(queued, &[KeyValue::new("state", "queued")]);
            told.observe(running, &[KeyValue::new("state", "running")]);
        }))
        .build();
    meter
        .u64_observable_counter("decant.trainer.jobs.ended")
        .with_description("Jobs that ended, by how.")
        .with_callback(reading(&jobs, |jobs, told| {
            for ending in Ending::ALL {
                let outcome = KeyValue::new("outcome", ending.as_str());
                told.observe(jobs.ended(ending), &[outcome]);
            }
        }))
        .build();
    meter
        .f64_observable_gauge("decant.trainer.test_auc")
        .with_description(
            "AUC on the test examples of a model's newest job: the best of each kind of network.",
        )
        .with_callback(reading(&jobs, |jobs, told| {
            for (model, newest) in newest(jobs) {
                for (network, auc) in newest.auc {
                    let model = KeyValue::new("model", model.clone());
                    told.observe(auc, &[model, KeyValue::new("network", network)]);
                }
            }
        }))
        .build();
    meter
        .f64_observable_gauge("decant.trainer.last_success_timestamp")
        .with_description("When a job of a model last succeeded, in seconds since 1970.")
        .with_unit("s")
        .with_callback(reading(&jobs, |jobs, told| {
            for (model, newest) in newest(jobs) {
                let seconds = Duration::from_millis(newest.ended_at).as_secs_f64();
                told.observe(seconds, &[KeyValue::new("model", model)]);
            }
        }))
        .build();
}

/// A callback that reads the jobs as long as there are any.
fn reading<T: 'static>(
    jobs: &WeakJobs,
    read: impl Fn(&Jobs, &dyn AsyncInstrument<T>) + Send + Sync + 'static,
) -> impl Fn(&dyn AsyncInstrument<T>) + Send + Sync + 'static {
    let jobs = jobs.clone();
    move |told: &dyn AsyncInstrument<T>| {
        if let Some(jobs) = jobs.upgrade() {
            read(&jobs, told);
        }
    }
}

/// The newest job that succeeded, of each of the models whose jobs did so last.
fn newest(jobs: &Jobs) -> BTreeMap<String, Newest> {
    let mut found: BTreeMap<String, Newest> = BTreeMap::new();
    jobs.visit(|job| {
        let (State::Succeeded { result }, Some(ended_at)) = (&job.state, job.ended_at) else {
            return;
        };
        let is_news = |known: &Newest| known.ended_at < ended_at;
        if found.get(&job.model).is_none_or(is_news) {
            let auc = auc(result);
            found.insert(job.model.clone(), Newest { ended_at, auc });
        }
    });
    while found.len() > MODELS {
        let oldest = found.iter().min_by_key(|(_, newest)| newest.ended_at);
        let Some(model) = oldest.map(|(model, _)| model.clone()) else {
            break;
        };
        found.remove(&model);
    }
    found
}

/// The best of each kind: a job file may name as many networks as it likes.
fn auc(result: &JobResult) -> BTreeMap<&'static str, f64> {
    let mut best: BTreeMap<&'static str, f64> = BTreeMap::new();
    for row in &result.quality {
        let kind = match row.role.as_str() {
            "baseline" => "baseline",
            "teacher" => "teacher",
            "ensemble" => "ensemble",
            "student, labels only" => "labels_only",
            "student, distilled" => "distilled",
            _ => continue,
        };
        let known = best.entry(kind).or_insert(row.auc);
        *known = known.max(row.auc);
    }
    best
}
