//! Where the trainer keeps its jobs, finds its data and pushes its versions.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The trainer's configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Folder of the job files.
    pub jobs: PathBuf,
    /// Folder that the paths in jobs are relative to, and that they cannot leave.
    pub datasets: PathBuf,
    /// The registry's address, as `http://host:port`.
    pub registry: String,
    /// Jobs that may wait; one more is refused.
    #[serde(default = "default_queue")]
    pub queue: usize,
}

fn default_queue() -> usize {
    16
}
