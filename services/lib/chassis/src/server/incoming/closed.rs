//! How many connections a server closed, and why.

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Meter};

/// Why a connection was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// There were as many as may be.
    Full,
    /// The TLS handshake failed.
    Handshake,
    /// The client did not begin to speak in time.
    Silent,
    /// The client took nothing of what was sent to it.
    Stalled,
}

/// Counts them.
#[derive(Clone)]
pub(crate) struct Closed(Counter<u64>);

impl Closed {
    pub(crate) fn new(meter: &Meter) -> Self {
        let closed = meter
            .u64_counter("decant.connections.closed")
            .with_description("Connections that the server closed of its own accord")
            .build();
        Self(closed)
    }

    pub(super) fn count(&self, reason: Reason) {
        let reason = match reason {
            Reason::Full => "full",
            Reason::Handshake => "handshake",
            Reason::Silent => "silent",
            Reason::Stalled => "stalled",
        };
        self.0.add(1, &[KeyValue::new("reason", reason)]);
    }
}
