//! What is counted elsewhere, and read when somebody asks. The callbacks hold nothing: a scorer that was stopped tells nothing
//! more, and a version that has left is not told of.

use std::collections::BTreeMap;
use std::sync::Weak;

use decant_model::Arm;
use decant_model::rollout::evidence::Evidence;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{AsyncInstrument, Meter};

use super::{Inner, Refusal, model, slot};
use crate::servable::bundles::CacheWatch;
use crate::servable::{Place, State};
use crate::service::{Service, WeakService};

/// Requests of each version in memory, by part.
pub(super) fn requests(meter: &Meter, inner: &Weak<Inner>) {
    let of = Weak::clone(inner);
    meter
        .u64_observable_counter("decant.scorer.requests")
        .with_description("Requests of a version, by gRPC's code for what became of them.")
        .with_callback(move |told| {
            let Some(inner) = of.upgrade() else {
                return;
            };
            for arm in inner.arms().values().filter_map(Weak::upgrade) {
                for (code, count) in arm.codes() {
                    let [model, slot, version, part] = arm.labels().clone();
                    told.observe(
                        count,
                        &[model, slot, version, part, KeyValue::new("code", code)],
                    );
                }
            }
        })
        .build();
    let of = Weak::clone(inner);
    meter
        .u64_observable_counter("decant.scorer.rows")
        .with_description("Rows that were scored for requests.")
        .with_callback(move |told| {
            let Some(inner) = of.upgrade() else {
                return;
            };
            for arm in inner.arms().values().filter_map(Weak::upgrade) {
                told.observe(arm.rows(), arm.labels());
            }
        })
        .build();
}

/// All else that is read of a running scorer, and of its cache if it has one.
pub(crate) fn observe(meter: &Meter, service: &Service, cache: Option<CacheWatch>) {
    let service = service.downgrade();
    pressure(meter, &service);
    versions(meter, &service);
    comparisons(meter, &service);
    store(meter, &service);
    memory(meter, &service);
    if let Some(cache) = cache {
        self::cache(meter, cache);
    }
}

/// A callback that reads a scorer as long as there is one.
fn reading<T: 'static>(
    service: &WeakService,
    read: impl Fn(&Service, &dyn AsyncInstrument<T>) + Send + Sync + 'static,
) -> impl Fn(&dyn AsyncInstrument<T>) + Send + Sync + 'static {
    let service = service.clone();
    move |told: &dyn AsyncInstrument<T>| {
        if let Some(service) = service.upgrade() {
            read(&service, told);
        }
    }
}

fn pressure(meter: &Meter, service: &WeakService) {
    meter
        .u64_observable_gauge("decant.scorer.in_flight")
        .with_description("Requests that are being answered.")
        .with_callback(reading(service, |service, told| {
            told.observe(service.in_flight() as u64, &[]);
        }))
        .build();
    meter
        .u64_observable_gauge("decant.scorer.queue_rows")
        .with_description("Rows that wait.")
        .with_callback(reading(service, |service, told| {
            told.observe(service.pool().pressure().0 as u64, &[]);
        }))
        .build();
    meter
        .f64_observable_gauge("decant.scorer.load")
        .with_description("How busy the runners are, 0 to 1, plus what waits in units of the longest wait allowed.")
        .with_callback(reading(service, |service, told| {
            told.observe(f64::from(service.pool().pressure().1), &[]);
        }))
        .build();
    meter
        .u64_observable_counter("decant.scorer.rejected")
        .with_description("Requests that were turned away, by why.")
        .with_callback(reading(service, |service, told| {
            for refusal in Refusal::ALL {
                let reason = KeyValue::new("reason", refusal.as_str());
                told.observe(service.refusals().of(refusal), &[reason]);
            }
        }))
        .build();
}

fn versions(meter: &Meter, service: &WeakService) {
    meter
        .u64_observable_gauge("decant.scorer.servable_info")
        .with_description("1 for each version that is here, is wanted, or failed to load.")
        .with_callback(reading(service, |service, told| {
            for status in service.manager().statuses() {
                let version = status.prepared.version.get().to_string();
                // A version that was only prepared plays no part.
                let arm = status.arm.map_or("none", Arm::name);
                let labels = [
                    model(&status.place),
                    slot(&status.place),
                    KeyValue::new("version", version),
                    KeyValue::new("arm", arm),
                    KeyValue::new("state", state_name(status.state)),
                ];
                told.observe(1, &labels);
            }
        }))
        .build();
    meter
        .u64_observable_gauge("decant.scorer.generation_wanted")
        .with_description("The slot's newest generation that was taken in.")
        .with_callback(reading(service, |service, told| {
            let observed = service.manager().observed();
            for (place, seen) in &observed.borrow().places {
                told.observe(seen.generation.0, &[model(place), slot(place)]);
            }
        }))
        .build();
    meter
        .u64_observable_gauge("decant.scorer.generation_observed")
        .with_description("The slot's generation that answers; 0 while none does.")
        .with_callback(reading(service, |service, told| {
            let observed = service.manager().observed();
            for (place, seen) in &observed.borrow().places {
                told.observe(seen.serving.0, &[model(place), slot(place)]);
            }
        }))
        .build();
}

fn comparisons(meter: &Meter, service: &WeakService) {
    meter
        .f64_observable_gauge("decant.scorer.agreement")
        .with_description("Spearman's rank correlation of the released version's scores, a mean over compared requests.")
        .with_callback(reading(service, |service, told| {
            for (place, entry) in service.manager().table().iter() {
                if entry.counters().is_some() {
                    agreement(place, &entry.evidence(), told);
                }
            }
        }))
        .build();
    meter
        .u64_observable_counter("decant.scorer.compared_rows")
        .with_description(
            "Rows that versions were compared on, since the slot's generation came into service.",
        )
        .with_callback(reading(service, |service, told| {
            for (place, entry) in service.manager().table().iter() {
                if let Some(counters) = entry.counters() {
                    told.observe(counters.compared_rows(), &[model(place), slot(place)]);
                }
            }
        }))
        .build();
    meter
        .u64_observable_counter("decant.scorer.comparisons_skipped")
        .with_description("Requests that were to be compared, and there was no time for it.")
        .with_callback(reading(service, |service, told| {
            for (place, entry) in service.manager().table().iter() {
                if let Some(counters) = entry.counters() {
                    told.observe(counters.skipped(), &[model(place), slot(place)]);
                }
            }
        }))
        .build();
}

/// How the versions that are released agree with the others, over all that were compared.
fn agreement(place: &Place, evidence: &Evidence, told: &dyn AsyncInstrument<f64>) {
    let mut sums: BTreeMap<&str, (f64, u64)> = BTreeMap::new();
    for comparison in &evidence.comparisons {
        let against = match comparison.arm {
            Arm::Stable | Arm::Canary | Arm::Shadow => "stable",
            Arm::Teacher => "teacher",
        };
        let (sum, count) = sums.entry(against).or_default();
        *sum += comparison.spearman.sum;
        *count += comparison.spearman.count;
    }
    for (against, (sum, count)) in sums {
        if count > 0 {
            let labels = [model(place), slot(place), KeyValue::new("against", against)];
            told.observe(sum / count as f64, &labels);
        }
    }
}

fn store(meter: &Meter, service: &WeakService) {
    meter
        .u64_observable_counter("decant.scorer.watch_divergences")
        .with_description("How often the store's listing showed what its watch did not tell.")
        .with_callback(reading(service, |service, told| {
            told.observe(service.watched().divergences(), &[]);
        }))
        .build();
    meter
        .f64_observable_gauge("decant.scorer.store.age")
        .with_description("How long ago the store was last heard of.")
        .with_unit("s")
        .with_callback(reading(service, |service, told| {
            if let Some(silence) = service.watched().silence() {
                told.observe(silence.as_secs_f64(), &[]);
            }
        }))
        .build();
}

fn memory(meter: &Meter, service: &WeakService) {
    meter
        .u64_observable_gauge("decant.scorer.memory.promised")
        .with_description("Memory that versions take, or will when they are loaded.")
        .with_unit("By")
        .with_callback(reading(service, |service, told| {
            told.observe(service.manager().promised(), &[]);
        }))
        .build();
    meter
        .u64_observable_gauge("decant.scorer.memory.budget")
        .with_description("Memory that all versions together may take.")
        .with_unit("By")
        .with_callback(reading(service, |service, told| {
            told.observe(service.manager().budget(), &[]);
        }))
        .build();
}

fn cache(meter: &Meter, cache: CacheWatch) {
    let of = cache.clone();
    meter
        .u64_observable_gauge("decant.scorer.cache")
        .with_description("What bundles take on this scorer's disk.")
        .with_unit("By")
        .with_callback(move |told| {
            if let Some(bytes) = of.bytes() {
                told.observe(bytes, &[]);
            }
        })
        .build();
    meter
        .u64_observable_counter("decant.scorer.cache_lookups")
        .with_description("Bundles that were asked for, by whether they were on the disk.")
        .with_callback(move |told| {
            if let Some((hits, misses)) = cache.lookups() {
                told.observe(hits, &[KeyValue::new("outcome", "hit")]);
                told.observe(misses, &[KeyValue::new("outcome", "miss")]);
            }
        })
        .build();
}

fn state_name(state: State) -> &'static str {
    match state {
        State::Start => "start",
        State::Loading => "loading",
        State::Available => "available",
        State::Unloading => "unloading",
        State::End => "end",
    }
}
