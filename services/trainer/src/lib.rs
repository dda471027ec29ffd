//! Trains large recommendation models and distils them into small ones.
//!
//! Reading order: the service and its jobs, then a job's stations from its file to the versions that it pushes.

mod app;
mod config;
mod settings;
mod access;
mod rules;
mod service;
pub mod job;
pub mod jobs;
pub mod run;
pub mod spec;
pub mod recipe;
pub mod ingest;
pub mod dataset;
pub mod network;
pub mod teacher;
pub mod student;
pub mod distill;
pub mod eval;
pub mod export;
pub mod pipeline;
pub mod publish;
pub mod progress;
mod metrics;
mod parallel;
mod random;
#[cfg(test)]
mod synthetic;

pub use access::follow_access;
pub use app::{App, BuildError};
pub use config::Config;
pub use rules::rules;
pub use settings::Settings;
