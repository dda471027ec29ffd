//! What this scorer measures of itself. Eighty thousand requests a second go past here on one core, so that nothing is looked up
//! for one of them: a version carries its own counters and histograms, made when it was loaded, and all else is read from
//! what is counted anyway, when somebody asks for it.
//!
//! Labels are names that the store holds, numbers of versions, and words of ours; never what a caller says. What is
//! [observed](observed) of a version goes with the version. The SDK keeps the series of histograms as long as the
//! process lives: there is one for each version and part that was served since the start.
//!
//! Reading order: [`Meters`] makes what a version carries; [`version`] is that; [`refusals`] counts those who are not
//! answered by any version; [`observed`] reads what is counted elsewhere.

mod version;
mod refusals;
mod observed;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use decant_model::{Arm, ModelVersion};
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram, Meter};

pub(crate) use self::observed::observe;
pub(crate) use self::refusals::{Refusal, Refusals};
pub(crate) use self::version::{ArmMeter, VersionMeter};
use crate::servable::{LoadTimes, Place};

/// Makes the meters of versions. Clones share it.
#[derive(Clone)]
pub(crate) struct Meters {
    inner: Arc<Inner>,
}

struct Inner {
    queue: Histogram<f64>,
    compute: Histogram<f64>,
    batch_rows: Histogram<f64>,
    score: Histogram<f64>,
    load: Histogram<f64>,
    loads: Counter<u64>,
    /// Those of versions that are in memory. The same version twice, as when it is loaded again while somebody still holds
    /// it, counts in one place.
    arms: Mutex<HashMap<ArmKey, Weak<ArmMeter>>>,
}

/// A version in a part of a slot.
type ArmKey = (Place, ModelVersion, Arm);

impl Meters {
    pub(crate) fn new(meter: &Meter) -> Self {
        // Whoever collects them gives seconds the buckets that suit them.
        let durations = |name: &'static str, description: &'static str| {
            meter
                .f64_histogram(name)
                .with_description(description)
                .with_unit("s")
                .build()
        };
        let queue = durations(
            "decant.scorer.queue.duration",
            "How long requests that were answered waited before work began.",
        );
        let compute = durations(
            "decant.scorer.compute.duration",
            "How long the batches took that requests were part of.",
        );
        let load = durations(
            "decant.scorer.load.duration",
            "How long versions took to load, by phase.",
        );
        let batch_rows = meter
            .f64_histogram("decant.scorer.batch.rows")
            .with_description("Rows that were computed at once.")
            .with_boundaries((0..=12).map(|power| f64::from(1_u32 << power)).collect())
            .build();
        let score = meter
            .f64_histogram("decant.scorer.score")
            .with_description(
                "Scores of the first row, or of the best item, of a sample of the requests.",
            )
            .with_boundaries(
                (1..=20_u32)
                    .map(|twentieth| f64::from(twentieth) / 20.0)
                    .collect(),
            )
            .build();
        let loads = meter
            .u64_counter("decant.scorer.loads")
            .with_description("Loads of versions that came to an end, by how.")
            .build();
        let inner = Arc::new(Inner {
            queue,
            compute,
            batch_rows,
            score,
            load,
            loads,
            arms: Mutex::default(),
        });
        observed::requests(meter, &Arc::downgrade(&inner));
        Self { inner }
    }

    /// What a version that was loaded counts with.
    pub(crate) fn version(&self, place: &Place, version: ModelVersion) -> VersionMeter {
        VersionMeter::new(self, place, version)
    }

    /// A version was loaded.
    pub(crate) fn loaded(&self, place: &Place, times: LoadTimes) {
        let phases = [
            ("fetch", times.fetch),
            ("open", times.open),
            ("replay", times.replay),
            ("warm_up", times.warm_up),
        ];
        for (phase, took) in phases {
            let labels = [model(place), KeyValue::new("phase", phase)];
            self.inner.load.record(seconds(took), &labels);
        }
        self.ended(place, "ready");
    }

    /// A version could not be loaded.
    pub(crate) fn not_loaded(&self, place: &Place) {
        self.ended(place, "failed");
    }

    fn ended(&self, place: &Place, outcome: &'static str) {
        let labels = [model(place), KeyValue::new("outcome", outcome)];
        self.inner.loads.add(1, &labels);
    }

    /// The meter of a version in a part; the one that is there already, if there is one.
    fn arm(&self, place: &Place, version: ModelVersion, arm: Arm) -> Arc<ArmMeter> {
        let mut arms = self.inner.arms();
        arms.retain(|_, meter| meter.strong_count() > 0);
        let key = (place.clone(), version, arm);
        if let Some(meter) = arms.get(&key).and_then(Weak::upgrade) {
            return meter;
        }
        let meter = Arc::new(ArmMeter::new(&self.inner, &key));
        arms.insert(key, Arc::downgrade(&meter));
        meter
    }
}

impl Inner {
    /// Held for moments: when a version comes into a part, and when somebody reads.
    fn arms(&self) -> MutexGuard<'_, HashMap<ArmKey, Weak<ArmMeter>>> {
        self.arms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn model(place: &Place) -> KeyValue {
    KeyValue::new("model", place.model.to_string())
}

fn slot(place: &Place) -> KeyValue {
    KeyValue::new("slot", place.slot.to_string())
}

fn seconds(time: Duration) -> f64 {
    time.as_secs_f64()
}

#[cfg(test)]
impl Meters {
    /// Of whom nobody reads.
    pub(crate) fn unread() -> Self {
        use opentelemetry::metrics::MeterProvider;
        let nobody = opentelemetry::metrics::NoopMeterProvider::new();
        Self::new(&nobody.meter("test"))
    }
}

#[cfg(test)]
impl VersionMeter {
    /// Of which nobody reads.
    pub(crate) fn unread() -> Self {
        let place = Place {
            model: "films".parse().unwrap(),
            slot: Default::default(),
        };
        Meters::unread().version(&place, ModelVersion::FIRST)
    }
}
