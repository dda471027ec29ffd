//! The configuration of the one-machine default.

use std::net::SocketAddr;
use std::path::PathBuf;

use decant_chassis::config::{self, ConfigError};
use decant_chassis::host::Drain;
use decant_chassis::process::Settings;
use decant_chassis::server::Limits;
use decant_chassis::{auth, telemetry, tls};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Everything that can be set; every key has a default but `datasets` and `onnx_runtime`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Folder for everything that is kept: the store, bundles, jobs.
    pub data: PathBuf,
    /// Folder that the paths in jobs are relative to, and that they cannot leave.
    pub datasets: PathBuf,
    /// ONNX Runtime's shared library; empty means the variable `ORT_DYLIB_PATH`.
    pub onnx_runtime: PathBuf,
    /// Where the services listen.
    pub listen: Listen,
    /// The secret key that signs versions, as `decant key generate` makes it; empty means unsigned.
    pub signing_key: PathBuf,
    /// What is logged.
    pub log: telemetry::Config,
    /// Where metrics and traces go.
    pub telemetry: telemetry::Export,
    /// What is shown to clients, and which of them are trusted.
    pub tls: tls::Config,
    /// Who may call, and what the services show to each other.
    pub auth: auth::Config,
    /// What is taken from clients.
    pub limits: Limits,
    /// Jobs that may wait for the trainer.
    pub job_queue: usize,
    /// The scorer's limits.
    pub scorer: decant_scorer::Config,
    /// How the process stops.
    pub drain: Drain,
}

/// The services' addresses; port 0 lets the system choose.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Listen {
    /// `decant.trainer.v1`.
    pub trainer: SocketAddr,
    /// `decant.registry.v1` and `decant.rollout.v1`.
    pub registry: SocketAddr,
    /// `decant.scorer.v1`.
    pub scorer: SocketAddr,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            data: PathBuf::from("decant-data"),
            datasets: PathBuf::new(),
            onnx_runtime: PathBuf::new(),
            signing_key: PathBuf::new(),
            listen: Listen::default(),
            log: telemetry::Config::default(),
            telemetry: telemetry::Export::default(),
            tls: tls::Config::default(),
            auth: auth::Config::default(),
            limits: Limits::default(),
            job_queue: 16,
            scorer: decant_scorer::Config::default(),
            drain: Drain::default(),
        }
    }
}

impl Default for Listen {
    fn default() -> Self {
        let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
        Self {
            trainer: local(7410),
            registry: local(7420),
            scorer: local(7430),
        }
    }
}

impl Config {
    /// Checks what types cannot say.
    ///
    /// # Errors
    /// Names the key and the reason.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.tls.check()?;
        self.limits.check()?;
        self.auth.check(self.tls.is_secure())?;
        config::check_datasets(&self.datasets)?;
        config::check_onnx_runtime(&self.onnx_runtime)?;
        if self.job_queue == 0 {
            return Err(ConfigError::invalid("job_queue", "must be at least 1"));
        }
        Ok(())
    }
}

impl Settings for Config {
    fn log(&self) -> &telemetry::Config {
        &self.log
    }

    fn telemetry(&self) -> &telemetry::Export {
        &self.telemetry
    }
}
