//! What a process tells of itself: logs on standard error, metrics to be fetched, and both metrics and traces to a collector
//! where one is named. OpenTelemetry's SDK is seen by this module alone; services use its API and `tracing`.

mod logs;
mod metrics;
mod process;
mod export;
mod sampling;
pub mod propagation;
pub mod rpc;
pub mod endpoint;
pub mod ops;
pub mod command;

pub use logs::LogControl;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Meter, MeterProvider as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::SdkMeterProvider;
use opentelemetry_sdk::trace::{IdGenerator as _, RandomIdGenerator};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use self::export::Exporting;

/// The name under which instruments and spans are made.
const SCOPE: &str = "decant";
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// How long a process that ends waits for the collector to take the rest.
const LAST_EXPORT: Duration = Duration::from_secs(3);

/// How logs look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// What is logged, and how.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Text or JSON.
    pub format: Format,
    /// Levels by module, in the syntax of `tracing`'s `EnvFilter`, such as `info,decant_scorer=debug`.
    pub filter: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            format: Format::Text,
            filter: "info".to_owned(),
        }
    }
}

/// Where metrics and traces go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Export {
    /// Where metrics can be fetched, such as `127.0.0.1:9430`. Empty: nowhere.
    pub metrics_listen: String,
    /// A collector that takes OTLP over gRPC, such as `http://collector:4317`. Empty: nothing is sent.
    pub otlp_endpoint: String,
    /// Of the calls that bring no decision of their own, the share that is traced, from 0 to 1.
    pub sample_ratio: f64,
    /// How often metrics are sent to the collector.
    pub metrics_interval_millis: u64,
}

impl Default for Export {
    fn default() -> Self {
        Self {
            metrics_listen: String::new(),
            otlp_endpoint: String::new(),
            sample_ratio: 0.0,
            metrics_interval_millis: 15_000,
        }
    }
}

impl Export {
    /// Where metrics can be fetched, if anywhere.
    ///
    /// # Errors
    /// When it is no address.
    pub fn metrics_address(&self) -> Result<Option<SocketAddr>, TelemetryError> {
        if self.metrics_listen.is_empty() {
            return Ok(None);
        }
        match self.metrics_listen.parse() {
            Ok(address) => Ok(Some(address)),
            Err(_) => Err(TelemetryError::Setting {
                key: "metrics_listen",
                reason: format!(
                    "`{}` is no address such as 127.0.0.1:9430",
                    self.metrics_listen
                ),
            }),
        }
    }

    fn check(&self) -> Result<(), TelemetryError> {
        self.metrics_address()?;
        if !(0.0..=1.0).contains(&self.sample_ratio) {
            return Err(TelemetryError::Setting {
                key: "sample_ratio",
                reason: format!("{} is not between 0 and 1", self.sample_ratio),
            });
        }
        if self.metrics_interval_millis == 0 {
            return Err(TelemetryError::Setting {
                key: "metrics_interval_millis",
                reason: "it must be at least 1".to_owned(),
            });
        }
        Ok(())
    }
}

/// Why telemetry could not be set up, or changed.
#[derive(Debug, Error)]
pub enum TelemetryError {
    /// The filter does not parse.
    #[error("log filter `{filter}`: {reason}")]
    Filter {
        /// The filter.
        filter: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Logging was set up before.
    #[error("logging is set up already: {0}")]
    Twice(String),
    /// What is logged is not decided here: the process that embeds the service decides.
    #[error("this process does not let its log filter be changed")]
    Foreign,
    /// A setting makes no sense.
    #[error("telemetry.{key}: {reason}")]
    Setting {
        /// The setting's key in its section.
        key: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The metrics cannot be made.
    #[error("metrics: {0}")]
    Metrics(String),
    /// There is no thread for the exporters.
    #[error("exporting telemetry: {0}")]
    Threads(#[from] std::io::Error),
}

/// A process's telemetry. Clones are the same.
#[derive(Clone)]
pub struct Telemetry(Arc<Parts>);

struct Parts {
    meters: SdkMeterProvider,
    prometheus: prometheus::Registry,
    logs: LogControl,
    sample_ratio: f64,
    /// Dropped after what sends through it.
    exporting: Option<Exporting>,
}

/// Sets telemetry up for the whole process. What sends to the collector has a thread of its own, so that this works before
/// there is a Tokio runtime, and also after.
///
/// # Errors
/// When a setting is wrong, or logging is set up already.
pub fn init(
    service: &'static str,
    log: &Config,
    export: &Export,
) -> Result<Telemetry, TelemetryError> {
    export.check()?;
    let filter = logs::parse(&log.filter)?;
    let resource = resource(service);
    let exporting = match export.otlp_endpoint.as_str() {
        "" => None,
        endpoint => Some(Exporting::new(endpoint, export.sample_ratio, &resource)?),
    };
    let pushed = match &exporting {
        Some(exporting) => {
            let interval = Duration::from_millis(export.metrics_interval_millis);
            Some(exporting.metrics(interval)?)
        }
        None => None,
    };
    let (meters, prometheus) = metrics::provider(resource, pushed)?;
    let tracer = exporting.as_ref().map(Exporting::tracer);
    let logs = logs::install(log.format, filter, tracer)?;
    let telemetry = Telemetry(Arc::new(Parts {
        meters,
        prometheus,
        logs,
        // A span that goes nowhere is not worth being made.
        sample_ratio: exporting.as_ref().map_or(0.0, |_| export.sample_ratio),
        exporting,
    }));
    process::observe(&telemetry.meter(), service);
    Ok(telemetry)
}

impl Telemetry {
    /// Metrics that are counted and can be fetched, and nothing else: for tests, and for programs that log in their own way.
    ///
    /// # Panics
    /// Never: an empty registry takes the first collector.
    pub fn none() -> Self {
        let (meters, prometheus) = metrics::provider(Resource::builder_empty().build(), None)
            .unwrap_or_else(|error| unreachable!("{error}"));
        Self(Arc::new(Parts {
            meters,
            prometheus,
            logs: LogControl::foreign(),
            sample_ratio: 0.0,
            exporting: None,
        }))
    }

    /// Where instruments are made.
    pub fn meter(&self) -> Meter {
        self.0.meters.meter(SCOPE)
    }

    /// The metrics as Prometheus reads them.
    pub fn prometheus(&self) -> prometheus::Registry {
        self.0.prometheus.clone()
    }

    /// What is logged.
    pub fn logs(&self) -> LogControl {
        self.0.logs.clone()
    }

    /// What a server's calls go through to be counted and traced.
    pub fn observe(&self) -> rpc::ObserveLayer {
        rpc::ObserveLayer::new(&self.meter()).sampling(self.0.sample_ratio)
    }

    /// Sends what was not sent yet, within three seconds. Nothing is sent or counted afterwards. It blocks.
    pub fn shutdown(&self) {
        let Some(exporting) = &self.0.exporting else {
            return;
        };
        let (meters, traces) = (self.0.meters.clone(), exporting.traces());
        let is_done = export::within(LAST_EXPORT, move || {
            // Whoever fails here has said so before, and is not heard again.
            let _ = traces.shutdown_with_timeout(LAST_EXPORT);
            let _ = meters.shutdown();
        });
        if !is_done {
            tracing::warn!("the collector did not take the last of the telemetry in time");
        }
    }
}

/// Who tells: the service, its build and this very process.
fn resource(service: &str) -> Resource {
    let instance = RandomIdGenerator::default().new_trace_id().to_string();
    Resource::builder()
        .with_service_name(format!("decant-{service}"))
        .with_attributes([
            KeyValue::new("service.version", VERSION),
            KeyValue::new("service.instance.id", instance),
        ])
        .build()
}

#[cfg(test)]
pub(crate) mod tests;
