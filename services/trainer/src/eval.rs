//! How good scores are, how sure that is, and how long they take.

mod ranking;
mod classification;
mod bootstrap;
mod latency;

pub use bootstrap::{Interval, paired_gain};
pub use classification::{Metrics, best_threshold, calibration_error, log_loss};
pub use latency::{Latency, LatencyError, Subject, measure};
pub use ranking::{auc, group_auc};
