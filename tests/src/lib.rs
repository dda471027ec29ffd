//! The harness of the tests: all of Decant in this process, or as processes of its own, on free ports and in a folder of
//! its own, with real stores, real bundles and real ONNX Runtime.

#![allow(clippy::unwrap_used, reason = "a harness ends a test by panicking")]

mod cluster;
mod movielens;
mod process;
mod wait;

pub use cluster::Cluster;
pub use movielens::{Job, datasets};
pub use process::Standalone;
pub use wait::eventually;
