//! Logs: one line an event, on standard error, as text for people or JSON for collectors; and which events, while the process
//! runs. Spans go to the collector beside them, whatever the log filter says.

use std::io::IsTerminal as _;

use opentelemetry_sdk::trace::SdkTracer;
use tracing::Level;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, reload};

use super::{Format, TelemetryError};

/// A part of what happens to each span and event.
pub(super) type Part = Box<dyn Layer<Registry> + Send + Sync>;

/// Says and changes what is logged. Clones are the same.
#[derive(Clone)]
pub struct LogControl(Option<reload::Handle<EnvFilter, Registry>>);

impl LogControl {
    /// For a process whose logs are not set up here.
    pub(super) fn foreign() -> Self {
        Self(None)
    }

    /// The filter that holds; empty where logs are not set up here.
    pub fn get(&self) -> String {
        let current = self
            .0
            .as_ref()
            .and_then(|handle| handle.with_current(EnvFilter::to_string).ok());
        current.unwrap_or_default()
    }

    /// Puts another filter in its place, until the process ends or somebody else does the same.
    ///
    /// # Errors
    /// When the filter does not parse, or logs are not set up here.
    pub fn set(&self, filter: &str) -> Result<(), TelemetryError> {
        let parsed = parse(filter)?;
        let handle = self.0.as_ref().ok_or(TelemetryError::Foreign)?;
        handle.reload(parsed).map_err(|_| TelemetryError::Foreign)
    }
}

/// Reads a filter.
pub(super) fn parse(filter: &str) -> Result<EnvFilter, TelemetryError> {
    EnvFilter::try_new(filter).map_err(|error| TelemetryError::Filter {
        filter: filter.to_owned(),
        reason: error.to_string(),
    })
}

/// Sets the process's logs up, and its spans if there is somebody to send them to.
pub(super) fn install(
    format: Format,
    filter: EnvFilter,
    tracer: Option<SdkTracer>,
) -> Result<LogControl, TelemetryError> {
    // A log file is no place for colours.
    let is_coloured = std::io::stderr().is_terminal();
    let (lines, control) = lines(format, filter, is_coloured, std::io::stderr);
    let mut parts = vec![lines];
    parts.extend(tracer.map(spans));
    tracing_subscriber::registry()
        .with(parts)
        .try_init()
        .map_err(|error| TelemetryError::Twice(error.to_string()))?;
    Ok(control)
}

/// What writes the lines, and what says which.
pub(super) fn lines<W>(
    format: Format,
    filter: EnvFilter,
    is_coloured: bool,
    writer: W,
) -> (Part, LogControl)
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let (filter, handle) = reload::Layer::new(filter);
    let lines = fmt::layer::<Registry>()
        .with_ansi(is_coloured)
        .with_writer(writer);
    let part: Part = match format {
        Format::Text => lines.with_target(false).with_filter(filter).boxed(),
        Format::Json => lines.json().flatten_event(true).with_filter(filter).boxed(),
    };
    (part, LogControl(Some(handle)))
}

/// What makes spans of a trace of our own spans, and of events what happened in them. What the exporter's own connection
/// does is left out: sending it would be the reason to send more.
pub(super) fn spans(tracer: SdkTracer) -> Part {
    let ours = filter_fn(|metadata| {
        *metadata.level() <= Level::INFO && metadata.target().starts_with("decant")
    })
    // Without this hint, every event of every library would be asked about.
    .with_max_level_hint(Level::INFO);
    tracing_opentelemetry::layer::<Registry>()
        // The parent is the one that `tracing` knows; a context of each thread beside it would only cost time.
        .with_context_activation(false)
        .with_tracked_inactivity(false)
        .with_threads(false)
        .with_location(false)
        .with_tracer(tracer)
        .with_filter(ours)
        .boxed()
}

#[cfg(test)]
pub(super) mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    /// What was logged.
    #[derive(Clone, Default)]
    pub(crate) struct Written(Arc<Mutex<Vec<u8>>>);

    impl Written {
        pub(crate) fn writer(&self) -> impl Fn() -> Self + Send + Sync + use<> {
            let written = self.clone();
            move || written.clone()
        }

        pub(crate) fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn the_filter_is_changed_while_the_process_runs() {
        let written = Written::default();
        let filter = parse("info").unwrap();
        let (lines, control) = lines(Format::Text, filter, false, written.writer());
        let subscriber = tracing_subscriber::registry().with(vec![lines]);
        tracing::subscriber::with_default(subscriber, || {
            let log = |word: &str| tracing::debug!("{word}");
            log("before");
            assert_eq!(control.get(), "info");
            control.set("info,decant_chassis=debug").unwrap();
            log("between");
            assert!(control.get().contains("decant_chassis=debug"));
            let wrong = control.set("decant=loud").unwrap_err().to_string();
            assert!(wrong.starts_with("log filter `decant=loud`: "), "{wrong}");
            log("still");
            control.set("warn").unwrap();
            log("after");
        });
        let text = written.text();
        let seen = ["before", "between", "still", "after"].map(|word| text.contains(word));
        assert_eq!(seen, [false, true, true, false], "{text}");
    }
}
