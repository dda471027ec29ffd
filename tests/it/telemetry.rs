//! What processes tell of themselves, taken in by real receivers: metrics by Prometheus, traces by a collector, logs by whoever
//! reads them.

mod metrics;
mod traces;
mod logs;
