//! What a version in memory counts. The hot path: everything here was looked up before.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use decant_model::{Arm, ModelVersion};
use decant_proto::status::CODE_NAMES;
use opentelemetry::KeyValue;
use opentelemetry::metrics::BoundHistogram;
use tonic::Code;

use super::{ArmKey, Inner, Meters, model, seconds, slot};
use crate::scoring::Scored;
use crate::servable::Place;

/// The parts that there are.
const ARMS: usize = 4;

/// One request of so many has its score looked at.
const SCORE_EVERY: u64 = 64;

/// A version's meters: one for each part that it has played. They go when the version does.
pub(crate) struct VersionMeter {
    meters: Meters,
    place: Place,
    version: ModelVersion,
    batch_rows: BoundHistogram<f64>,
    arms: [OnceLock<Arc<ArmMeter>>; ARMS],
}

/// What a version does in one part.
pub(crate) struct ArmMeter {
    labels: [KeyValue; 4],
    codes: [AtomicU64; CODE_NAMES.len()],
    rows: AtomicU64,
    queue: BoundHistogram<f64>,
    compute: BoundHistogram<f64>,
    score: BoundHistogram<f64>,
}

impl VersionMeter {
    pub(super) fn new(meters: &Meters, place: &Place, version: ModelVersion) -> Self {
        let labels = [model(place), number(version)];
        Self {
            meters: meters.clone(),
            place: place.clone(),
            version,
            batch_rows: meters.inner.batch_rows.bind(&labels),
            arms: [const { OnceLock::new() }; ARMS],
        }
    }

    /// Whose version it is.
    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// The meter of a part.
    pub(crate) fn arm(&self, arm: Arm) -> &ArmMeter {
        let make = || self.meters.arm(&self.place, self.version, arm);
        self.arms[arm as usize].get_or_init(make)
    }

    /// So many rows were computed at once.
    pub(crate) fn batch(&self, rows: usize) {
        self.batch_rows.record(rows as f64);
    }
}

impl ArmMeter {
    pub(super) fn new(inner: &Inner, (place, version, arm): &ArmKey) -> Self {
        let labels = [
            model(place),
            slot(place),
            number(*version),
            KeyValue::new("arm", arm.name()),
        ];
        Self {
            codes: [const { AtomicU64::new(0) }; CODE_NAMES.len()],
            rows: AtomicU64::new(0),
            queue: inner.queue.bind(&labels),
            compute: inner.compute.bind(&labels),
            score: inner.score.bind(&labels),
            labels,
        }
    }

    /// A request of so many rows was answered.
    pub(crate) fn succeed(&self, rows: usize, scored: &Scored) {
        let before = self.count(Code::Ok);
        self.rows.fetch_add(rows as u64, Ordering::Relaxed);
        let compute = scored.compute;
        self.queue.record(seconds(scored.queue));
        self.compute
            .record(seconds(compute.input + compute.infer + compute.output));
        if before.is_multiple_of(SCORE_EVERY)
            && let Some(score) = scored.first()
        {
            self.score.record(f64::from(score));
        }
    }

    /// A request was not.
    pub(crate) fn fail(&self, code: Code) {
        self.count(code);
    }

    /// How many there were before this one.
    fn count(&self, code: Code) -> u64 {
        let counter = self.codes.get(code as usize);
        counter.map_or(0, |counter| counter.fetch_add(1, Ordering::Relaxed))
    }

    /// Rows that were scored.
    pub(super) fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    pub(super) fn labels(&self) -> &[KeyValue; 4] {
        &self.labels
    }

    /// The codes that occurred and how often; that nothing has failed or succeeded yet is told of the latter, so that a rate
    /// has a beginning.
    pub(super) fn codes(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let counts = self.codes.iter().map(|count| count.load(Ordering::Relaxed));
        let named = CODE_NAMES.into_iter().zip(counts);
        named.filter(|(code, count)| *count > 0 || *code == "OK")
    }
}

fn number(version: ModelVersion) -> KeyValue {
    KeyValue::new("version", version.get().to_string())
}
