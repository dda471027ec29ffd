//! The scorer: serves distilled models over gRPC, and pours a new version in without spilling a request.
//!
//! Reading order, which is that of a request: [`config`] says what may be set; [`App`] assembles; `access` says who may
//! call, and `rules` what that takes; `service` reads the request, `oip` those of the Open Inference Protocol; `servable` is
//! where versions come from, and hands it one; `scoring` does the work; `evidence` is what is counted while a version is
//! released, and `compare` has other versions score the same; `membership` tells the registry what is there; `metrics` is
//! what is measured of all that, and `request_log` what is logged.

mod config;
mod settings;
mod app;
mod health;
mod access;
mod rules;
mod service;
mod oip;
mod servable;
mod kept;
mod scoring;
mod evidence;
mod compare;
mod membership;
mod metrics;
mod request_log;
mod error;

#[cfg(test)]
#[path = "../tests/scorer/fixture.rs"]
mod fixture;
#[cfg(test)]
mod fuzz;

pub use access::follow_access;
pub use app::{App, BuildError};
pub use config::{CacheConfig, Config};
pub use request_log::RequestLogConfig;
pub use rules::rules;
pub use settings::Settings;
