//! Metrics: counted once, fetched by Prometheus and sent to the collector. Names have dots and units, from which Prometheus's
//! names follow: `rpc.server.call.duration` in `s` is `rpc_server_call_duration_seconds`.

use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::{
    Aggregation, Instrument, InstrumentKind, PeriodicReader, SdkMeterProvider, Stream,
};

use super::TelemetryError;
use super::export::MetricsExporter;

/// Buckets of what a call waits for, in seconds: a score takes a hundred microseconds or two, a push seconds.
const CALL_BUCKETS: [f64; 17] = [
    0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0,
    2.5, 5.0, 10.0,
];

/// Buckets of what nobody waits for with a call, in seconds: loading a version, a stage of a training.
const STAGE_BUCKETS: [f64; 14] = [
    0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 180.0, 600.0, 1800.0, 3600.0, 10_800.0, 36_000.0,
];

/// What counts, and what Prometheus reads of it.
pub(super) fn provider(
    resource: Resource,
    pushed: Option<PeriodicReader<MetricsExporter>>,
) -> Result<(SdkMeterProvider, prometheus::Registry), TelemetryError> {
    let registry = prometheus::Registry::new();
    let fetched = opentelemetry_prometheus::exporter()
        .with_registry(registry.clone())
        // There is one scope, and a label that says so on every line.
        .scope_info_enabled(false)
        .build()
        .map_err(|error| TelemetryError::Metrics(error.to_string()))?;
    let mut builder = SdkMeterProvider::builder()
        .with_resource(resource)
        .with_reader(fetched)
        .with_view(durations);
    if let Some(pushed) = pushed {
        builder = builder.with_reader(pushed);
    }
    Ok((builder.build(), registry))
}

/// Histograms of seconds get buckets that suit them, also where whoever made them has not thought of it: the usual ones
/// begin with five seconds.
fn durations(instrument: &Instrument) -> Option<Stream> {
    if instrument.kind() != InstrumentKind::Histogram || instrument.unit() != "s" {
        return None;
    }
    let boundaries = if is_stage(instrument.name()) {
        STAGE_BUCKETS.to_vec()
    } else {
        CALL_BUCKETS.to_vec()
    };
    let aggregation = Aggregation::ExplicitBucketHistogram {
        boundaries,
        record_min_max: false,
    };
    Stream::builder().with_aggregation(aggregation).build().ok()
}

/// Whether an instrument measures what takes long, by the words of its name.
fn is_stage(name: &str) -> bool {
    name.split(['.', '_'])
        .any(|word| matches!(word, "stage" | "load" | "job"))
}
