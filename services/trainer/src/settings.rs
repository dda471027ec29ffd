//! The configuration of a trainer in a process of its own.

use std::net::SocketAddr;
use std::path::PathBuf;

use decant_chassis::config::{self, ConfigError};
use decant_chassis::host::Drain;
use decant_chassis::server::Limits;
use decant_chassis::{auth, telemetry, tls};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Config;

/// Everything that can be set; every key has a default but `onnx_runtime` and `trainer.datasets`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Where the trainer listens; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// ONNX Runtime's shared library; empty means the variable `ORT_DYLIB_PATH`.
    pub onnx_runtime: PathBuf,
    /// What is logged.
    pub log: telemetry::Config,
    /// Where metrics and traces go.
    pub telemetry: telemetry::Export,
    /// What is shown to clients and servers, and which of them are trusted.
    pub tls: tls::Config,
    /// Who may call, and what is shown to other services.
    pub auth: auth::Config,
    /// What is taken from clients.
    pub limits: Limits,
    /// How the process stops.
    pub drain: Drain,
    /// The trainer proper.
    pub trainer: Config,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 7410)),
            onnx_runtime: PathBuf::new(),
            log: telemetry::Config::default(),
            telemetry: telemetry::Export::default(),
            tls: tls::Config::default(),
            auth: auth::Config::default(),
            limits: Limits::default(),
            drain: Drain::default(),
            trainer: Config::default(),
        }
    }
}

impl Settings {
    /// Checks what types cannot say.
    ///
    /// # Errors
    /// Names the key and the reason.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.tls.check()?;
        self.limits.check()?;
        self.auth.check(self.tls.is_secure())?;
        config::check_onnx_runtime(&self.onnx_runtime)?;
        self.trainer.check()
    }
}

impl decant_chassis::process::Settings for Settings {
    fn log(&self) -> &telemetry::Config {
        &self.log
    }

    fn telemetry(&self) -> &telemetry::Export {
        &self.telemetry
    }
}
