//! The trace of a command: begun by whoever types it, where the environment says who collects traces, and continued by every
//! service that it calls. A command never fails, and hardly waits, for the sake of its trace.

use std::time::Duration;

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use tracing::{Instrument as _, Span, field, info_span};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::export::{Collector, provider, within};
use super::{SCOPE, TelemetryError, logs, resource};

/// Where traces go: OpenTelemetry's own variable.
const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
/// How long a command that has ended waits for the collector.
const PATIENCE: Duration = Duration::from_secs(2);

/// A command under way, with a span around it if somebody collects it.
pub struct Command {
    span: Span,
    sending: Option<Sending>,
}

struct Sending {
    traces: SdkTracerProvider,
    /// What the traces leave through.
    collector: Collector,
}

impl Command {
    /// A command whose trace nobody collects.
    pub fn untraced() -> Self {
        Self {
            span: Span::none(),
            sending: None,
        }
    }

    /// Begins a command's trace, named by `path`, the command's words without its arguments. Without a collector in the
    /// environment nothing is done. To be called once in a process.
    pub fn begin(program: &str, path: impl FnOnce() -> String) -> Self {
        let endpoint = std::env::var(ENDPOINT).unwrap_or_default();
        if endpoint.is_empty() {
            return Self::untraced();
        }
        // What is wrong with the collector is no business of the command's.
        let Ok(sending) = Sending::new(program, &endpoint) else {
            return Self::untraced();
        };
        let name = format!("decant {}", path());
        let span = info_span!(
            "command",
            otel.name = name.trim_end(),
            otel.status_code = field::Empty,
        );
        Self {
            span,
            sending: Some(sending),
        }
    }

    /// Does the command's work in its span.
    pub async fn follow<F: Future>(&self, work: F) -> F::Output {
        work.instrument(self.span.clone()).await
    }

    /// Ends the span, and sends it.
    pub fn end(self, is_done: bool) {
        let Self { span, sending } = self;
        if !is_done {
            span.record("otel.status_code", "error");
        }
        drop(span);
        if let Some(Sending { traces, collector }) = sending {
            within(PATIENCE, move || {
                // Who failed to collect it is not told of in a command's output.
                let _ = traces.shutdown_with_timeout(PATIENCE);
            });
            drop(collector);
        }
    }
}

impl Sending {
    fn new(program: &str, endpoint: &str) -> Result<Self, TelemetryError> {
        let collector = Collector::new(endpoint, PATIENCE)?;
        let traces = provider(collector.spans()?, Sampler::AlwaysOn, resource(program));
        tracing_subscriber::registry()
            .with(vec![logs::spans(traces.tracer(SCOPE))])
            .try_init()
            .map_err(|error| TelemetryError::Twice(error.to_string()))?;
        Ok(Self { traces, collector })
    }
}
