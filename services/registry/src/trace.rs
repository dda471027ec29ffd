//! Spans that go on with the trace which a record names: what an operator began is one story, whoever does the rest of it.

use decant_chassis::telemetry::propagation;
use tracing::Span;

/// A span within this trace; none when there is no trace, since nobody looks for it then.
pub(crate) fn continued(trace: Option<&str>, span: impl FnOnce() -> Span) -> Span {
    let Some(trace) = trace else {
        return Span::none();
    };
    let span = span();
    propagation::set_parent(&span, trace);
    span
}
