//! Where the trainer keeps its jobs, finds its data and pushes its versions.

use std::path::PathBuf;

use decant_chassis::client::{AddressError, Caller, Channel};
use decant_chassis::config::{self, ConfigError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The trainer's configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Folder of the job files.
    pub jobs: PathBuf,
    /// Folder that the paths in jobs are relative to, and that they cannot leave.
    pub datasets: PathBuf,
    /// The registry's address, as `http://host:port`; several replicas with commas between them.
    pub registry: String,
    /// The secret key that signs versions, as `decant key generate` makes it; empty means unsigned.
    pub signing_key: PathBuf,
    /// Jobs that may wait; one more is refused.
    pub queue: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            jobs: PathBuf::from("decant-jobs"),
            datasets: PathBuf::new(),
            registry: "http://127.0.0.1:7420".to_owned(),
            signing_key: PathBuf::new(),
            queue: 16,
        }
    }
}

impl Config {
    /// Channels to the replicas of the registry.
    pub(crate) fn registries(&self, caller: &Caller) -> Result<Vec<Channel>, AddressError> {
        self.registry
            .split(',')
            .map(|address| caller.channel("registry", address.trim()))
            .collect()
    }

    /// Checks what types cannot say.
    ///
    /// # Errors
    /// Names the key and the reason.
    pub fn check(&self) -> Result<(), ConfigError> {
        config::check_datasets(&self.datasets)?;
        if self.queue == 0 {
            return Err(ConfigError::invalid("queue", "must be at least 1"));
        }
        Ok(())
    }
}
