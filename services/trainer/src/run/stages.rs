//! The stages of a job, one after the other: how long each takes, and its span within that of the job.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tracing::Span;

use crate::metrics::Metrics;

/// The stage that a job is in.
pub(super) struct Stages {
    metrics: Metrics,
    job: Span,
    current: Mutex<Option<Current>>,
}

struct Current {
    name: &'static str,
    began: Instant,
    /// It ends when this is dropped.
    span: Span,
}

impl Stages {
    /// Within the current span.
    pub(super) fn new(metrics: Metrics) -> Self {
        Self {
            metrics,
            job: Span::current(),
            current: Mutex::default(),
        }
    }

    /// The job's span.
    pub(super) fn job(&self) -> &Span {
        &self.job
    }

    /// The job enters a stage, and so has done the one before. The stage's span is returned, for what is done in it.
    pub(super) fn enter(&self, name: &'static str) -> Span {
        let span = tracing::info_span!(parent: &self.job, "stage", otel.name = name, stage = name);
        let next = Current {
            name,
            began: Instant::now(),
            span: span.clone(),
        };
        let done = self.current().replace(next);
        self.record(done);
        span
    }

    /// The job has done its last stage. One that it did not get through is not measured.
    pub(super) fn done(&self) {
        let done = self.current().take();
        self.record(done);
    }

    fn record(&self, done: Option<Current>) {
        if let Some(Current { name, began, span }) = done {
            self.metrics.stage(name, began.elapsed());
            drop(span);
        }
    }

    fn current(&self) -> MutexGuard<'_, Option<Current>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
