//! What goes to a collector, over OTLP. Connections have a thread and a runtime of their own: they are needed before and after
//! the process's runtime, and a busy server must not keep its own metrics from leaving.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{ExporterBuildError, MetricExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::{PeriodicReader, Temporality};
use opentelemetry_sdk::trace::{
    SdkTracer, SdkTracerProvider, ShouldSample, SpanData, SpanExporter,
};
use tokio::runtime::Runtime;

use super::sampling::Roots;
use super::{SCOPE, TelemetryError};

/// How long the collector may take for one batch.
const PATIENCE: Duration = Duration::from_secs(10);

/// What sends metrics.
pub(super) type MetricsExporter = Watched<MetricExporter>;

/// The collector that a service sends to.
pub(super) struct Exporting {
    traces: SdkTracerProvider,
    collector: Collector,
}

impl Exporting {
    /// Connects with the first batch; a collector that is not there yet is waited for.
    pub(super) fn new(
        endpoint: &str,
        sample_ratio: f64,
        resource: &Resource,
    ) -> Result<Self, TelemetryError> {
        let collector = Collector::new(endpoint, PATIENCE)?;
        let spans = Watched::new("traces", collector.spans()?);
        let traces = provider(spans, Roots::new(sample_ratio), resource.clone());
        Ok(Self { traces, collector })
    }

    /// What spans are made with.
    pub(super) fn tracer(&self) -> SdkTracer {
        self.traces.tracer(SCOPE)
    }

    /// Where spans are kept until they are sent.
    pub(super) fn traces(&self) -> SdkTracerProvider {
        self.traces.clone()
    }

    /// What sends metrics from time to time.
    pub(super) fn metrics(
        &self,
        interval: Duration,
    ) -> Result<PeriodicReader<MetricsExporter>, TelemetryError> {
        let exporter = Watched::new("metrics", self.collector.metrics()?);
        let reader = PeriodicReader::builder(exporter).with_interval(interval);
        Ok(reader.build())
    }
}

/// Keeps spans that end, and sends them by the hundreds.
pub(super) fn provider(
    exporter: impl SpanExporter + 'static,
    sampler: impl ShouldSample + 'static,
    resource: Resource,
) -> SdkTracerProvider {
    SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_sampler(sampler)
        .with_resource(resource)
        .build()
}

/// Where telemetry is sent, and the thread that does it.
pub(super) struct Collector {
    endpoint: String,
    patience: Duration,
    /// Taken out when the collector is dropped.
    runtime: Option<Runtime>,
}

impl Collector {
    /// An address and a thread; nothing is connected.
    pub(super) fn new(endpoint: &str, patience: Duration) -> Result<Self, TelemetryError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("telemetry")
            .enable_all()
            .build()?;
        Ok(Self {
            endpoint: endpoint.to_owned(),
            patience,
            runtime: Some(runtime),
        })
    }

    /// What sends spans.
    pub(super) fn spans(&self) -> Result<opentelemetry_otlp::SpanExporter, TelemetryError> {
        // A channel's task runs where the channel is made.
        let _entered = self.runtime.as_ref().map(Runtime::enter);
        opentelemetry_otlp::SpanExporter::builder()
            .with_tonic()
            .with_endpoint(&self.endpoint)
            .with_timeout(self.patience)
            .build()
            .map_err(refused)
    }

    /// What sends metrics.
    fn metrics(&self) -> Result<MetricExporter, TelemetryError> {
        let _entered = self.runtime.as_ref().map(Runtime::enter);
        MetricExporter::builder()
            .with_tonic()
            .with_endpoint(&self.endpoint)
            .with_timeout(self.patience)
            .build()
            .map_err(refused)
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        // A runtime that waits for its threads must not be dropped inside of another one.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn refused(error: ExporterBuildError) -> TelemetryError {
    TelemetryError::Setting {
        key: "otlp_endpoint",
        reason: error.to_string(),
    }
}

/// Does something that may hang, and waits so long for it; says whether it was done.
pub(super) fn within(patience: Duration, work: impl FnOnce() + Send + 'static) -> bool {
    let (done, is_done) = mpsc::channel();
    let worker = thread::Builder::new()
        .name("telemetry-end".to_owned())
        .spawn(move || {
            work();
            // Nobody waits any longer.
            let _ = done.send(());
        });
    worker.is_ok() && is_done.recv_timeout(patience).is_ok()
}

/// An exporter that says when it begins to fail, and when it works again; not each time, as there is a batch every few
/// seconds.
#[derive(Debug)]
pub(super) struct Watched<E> {
    signal: &'static str,
    exporter: E,
    is_failing: AtomicBool,
}

impl<E> Watched<E> {
    fn new(signal: &'static str, exporter: E) -> Self {
        Self {
            signal,
            exporter,
            is_failing: AtomicBool::new(false),
        }
    }

    fn note(&self, outcome: OTelSdkResult) -> OTelSdkResult {
        let was_failing = self.is_failing.swap(outcome.is_err(), Ordering::Relaxed);
        match &outcome {
            Err(error) if !was_failing => {
                tracing::warn!(signal = self.signal, %error, "the collector takes no telemetry");
            }
            Ok(()) if was_failing => {
                tracing::info!(signal = self.signal, "the collector takes telemetry again");
            }
            _ => {}
        }
        outcome
    }
}

impl<E: SpanExporter> SpanExporter for Watched<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.note(self.exporter.export(batch).await)
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

impl<E: PushMetricExporter> PushMetricExporter for Watched<E> {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        self.note(self.exporter.export(metrics).await)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn temporality(&self) -> Temporality {
        self.exporter.temporality()
    }
}
