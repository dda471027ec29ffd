//! Which trace a span belongs to, across processes: W3C's `traceparent`, in the headers of calls and in what is stored for
//! later. A process that sends its spans nowhere passes on what it was given.

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::Context;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator as _};
use opentelemetry::trace::{SpanContext, TraceContextExt as _};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::field::display;
use tracing::span::Id;
use tracing::{Dispatch, Span};
use tracing_opentelemetry::{OpenTelemetrySpanExt as _, get_otel_context};
use tracing_subscriber::Registry;
use tracing_subscriber::registry::LookupSpan as _;

static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Puts the trace of the current span into the headers of a call; nothing, where nothing is traced.
pub fn inject(headers: &mut HeaderMap) {
    if let Some(identity) = identity(&Span::current()) {
        let context = Context::new().with_remote_span_context(identity);
        TraceContextPropagator::new().inject_context(&context, &mut Headers(headers));
    }
}

/// A span within the trace that a record names: what somebody began is one story, whoever does the rest of it. None when
/// there is no trace, since nobody looks for it then.
pub fn continued(trace: Option<&str>, span: impl FnOnce() -> Span) -> Span {
    let Some(trace) = trace else {
        return Span::none();
    };
    let span = span();
    set_parent(&span, trace);
    span
}

/// The current span as a `traceparent`, for what is done later or elsewhere on its behalf; none, where it is not traced.
pub fn current_traceparent() -> Option<String> {
    let identity = identity(&Span::current()).filter(SpanContext::is_sampled)?;
    let context = Context::new().with_remote_span_context(identity);
    let mut headers = HeaderMap::new();
    TraceContextPropagator::new().inject_context(&context, &mut Headers(&mut headers));
    let value = headers.get(&TRACEPARENT)?;
    value.to_str().ok().map(str::to_owned)
}

/// Lets a span continue the trace of a `traceparent`, and gives it that trace's id, if it has a field `trace_id`. To be called
/// before the span is entered or has children; what does not parse changes nothing.
pub fn set_parent(span: &Span, traceparent: &str) {
    if let Some(parent) = extract(&Alone(traceparent)) {
        adopt(span, &parent);
    }
}

/// Gives a span the ids of its trace and of itself, for the logs, if it has fields `trace_id` and `span_id`.
pub fn identify(span: &Span) {
    if let Some(identity) = identity(span) {
        span.record("trace_id", display(identity.trace_id()));
        // Where spans go nowhere, the id at hand is the caller's.
        if !identity.is_remote() {
            span.record("span_id", display(identity.span_id()));
        }
    }
}

/// What a caller says about tracing its call.
pub(super) enum Caller {
    /// It traces it.
    Traces(SpanContext),
    /// It traces, but not this one.
    Declines,
    /// Nothing.
    IsSilent,
}

impl Caller {
    /// Reads the headers of a call.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        if !headers.contains_key(&TRACEPARENT) {
            return Self::IsSilent;
        }
        match extract(&Given(headers)) {
            Some(parent) if parent.is_sampled() => Self::Traces(parent),
            Some(_) => Self::Declines,
            None => Self::IsSilent,
        }
    }
}

/// Lets a span continue another one, of another process.
pub(super) fn adopt(span: &Span, parent: &SpanContext) {
    // This fails where spans go nowhere, and also where the span was begun before.
    let _ = span.set_parent(Context::new().with_remote_span_context(parent.clone()));
    span.with_subscriber(|(id, dispatch)| {
        if made(id, dispatch).is_none()
            && let Some(spans) = dispatch.downcast_ref::<Registry>()
            && let Some(entry) = spans.span(id)
        {
            entry.extensions_mut().replace(PassedOn(parent.clone()));
        }
    });
    identify(span);
}

/// The span that this one stands for, in a process that makes no spans of its own.
struct PassedOn(SpanContext);

/// The trace and the span that a span is part of: itself, or the nearest one around it that is traced.
fn identity(span: &Span) -> Option<SpanContext> {
    let found = span.with_subscriber(|(id, dispatch)| {
        let spans = dispatch.downcast_ref::<Registry>()?;
        spans.span(id)?.scope().find_map(|around| {
            made(&around.id(), dispatch).or_else(|| {
                let extensions = around.extensions();
                extensions
                    .get::<PassedOn>()
                    .map(|passed_on| passed_on.0.clone())
            })
        })
    });
    found.flatten()
}

/// What a span is for the collector.
fn made(id: &Id, dispatch: &Dispatch) -> Option<SpanContext> {
    let context = get_otel_context(id, dispatch)?;
    let made = context.span().span_context().clone();
    Some(made).filter(SpanContext::is_valid)
}

fn extract(carrier: &dyn Extractor) -> Option<SpanContext> {
    let context = TraceContextPropagator::new().extract_with_context(&Context::new(), carrier);
    let parent = context.span().span_context().clone();
    Some(parent).filter(SpanContext::is_valid)
}

struct Headers<'a>(&'a mut HeaderMap);

impl Injector for Headers<'_> {
    fn set(&mut self, key: &str, value: String) {
        // A trace without a state has an empty one, which says nothing.
        if value.is_empty() {
            return;
        }
        if let (Ok(name), Ok(value)) = (
            HeaderName::from_bytes(key.as_bytes()),
            HeaderValue::try_from(value),
        ) {
            self.0.insert(name, value);
        }
    }
}

struct Given<'a>(&'a HeaderMap);

impl Extractor for Given<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

struct Alone<'a>(&'a str);

impl Extractor for Alone<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        (key == TRACEPARENT).then_some(self.0)
    }

    fn keys(&self) -> Vec<&str> {
        vec![TRACEPARENT.as_str()]
    }
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::TracerProvider as _;
    use opentelemetry_sdk::trace::SdkTracerProvider;
    use tracing::{debug_span, field, info_span};
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;
    use crate::telemetry::logs;

    const CALLER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    fn in_span<T>(span: &Span, work: impl FnOnce() -> T) -> T {
        span.in_scope(work)
    }

    #[test]
    fn a_span_continues_the_trace_that_it_is_given() {
        let provider = SdkTracerProvider::builder().build();
        let spans = logs::spans(provider.tracer("test"));
        let subscriber = tracing_subscriber::registry().with(vec![spans]);
        tracing::subscriber::with_default(subscriber, || {
            let span = info_span!("job", trace_id = field::Empty, span_id = field::Empty);
            set_parent(&span, CALLER);
            let own = in_span(&span, current_traceparent).unwrap();
            assert!(own.starts_with(&format!("00-{TRACE}-")) && own.ends_with("-01"));
            assert_ne!(own, CALLER);
            // What is read is what was written, and a span that nobody sends changes nothing.
            let mut headers = HeaderMap::new();
            in_span(&span, || {
                in_span(&debug_span!("inner"), || inject(&mut headers));
            });
            assert_eq!(headers[&TRACEPARENT], own.as_str());
            assert_eq!(headers.len(), 1);
            let Caller::Traces(read) = Caller::of(&headers) else {
                panic!("{headers:?}")
            };
            assert_eq!(read.trace_id().to_string(), TRACE);
        });
    }

    #[test]
    fn a_process_that_sends_nothing_passes_on_what_it_was_given() {
        let subscriber = tracing_subscriber::registry();
        tracing::subscriber::with_default(subscriber, || {
            let span = info_span!("job");
            set_parent(&span, CALLER);
            let inner = in_span(&span, || info_span!("inner"));
            assert_eq!(in_span(&inner, current_traceparent).unwrap(), CALLER);
            let other = info_span!("other");
            set_parent(&other, "00-nonsense");
            assert_eq!(in_span(&other, current_traceparent), None);
            assert_eq!(current_traceparent(), None);
        });
    }

    #[test]
    fn what_a_caller_decided_is_read() {
        let caller = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(&TRACEPARENT, HeaderValue::from_str(value).unwrap());
            Caller::of(&headers)
        };
        assert!(matches!(caller(CALLER), Caller::Traces(_)));
        let declined = CALLER.replace("-01", "-00");
        assert!(matches!(caller(&declined), Caller::Declines));
        assert!(matches!(caller("00-1-2"), Caller::IsSilent));
        assert!(matches!(Caller::of(&HeaderMap::new()), Caller::IsSilent));
    }
}
