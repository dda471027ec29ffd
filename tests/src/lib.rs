//! The harness of the tests: all of Decant in this process, or as processes of its own, on free ports and in a folder of
//! its own, with real stores, real bundles and real ONNX Runtime.

#![allow(clippy::unwrap_used, reason = "a harness ends a test by panicking")]

mod callers;
pub mod chaos;
mod cluster;
mod collector;
mod containers;
mod deployment;
mod failpoints;
pub mod faulty;
mod history;
mod http;
mod movielens;
mod names;
mod operated;
mod process;
pub mod prometheus;
mod proxy;
pub mod releases;
mod split;
pub mod tiny;
mod wait;

pub use callers::Callers;
pub use cluster::Cluster;
pub use collector::{Collector, Span};
pub use containers::{Container, Images, Reach};
pub use deployment::{Deployment, Shape};
pub use history::{Answer, History, Question, Recorder};
pub use http::fetch;
pub use movielens::{Job, datasets};
pub use names::Names;
pub use operated::Operated;
pub use process::{Process, Standalone, decant, decant_with, free_address, program, programs, run};
pub use prometheus::Prometheus;
pub use proxy::{Network, Proxy};
pub use releases::Releases;
pub use tiny::Tiny;
pub use wait::eventually;
