//! The configuration of a scorer in a process of its own.

use std::net::SocketAddr;
use std::path::PathBuf;

use decant_artifact::{ConnectError, StoreConfig};
use decant_chassis::config::{self, ConfigError};
use decant_chassis::host::Drain;
use decant_chassis::server::Limits;
use decant_chassis::{auth, telemetry, tls};
use decant_coordination::EtcdConfig;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Config;

/// Everything that can be set; every key has a default but `onnx_runtime`, `store.endpoints` and `bundles.url`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Where the scorer listens; port 0 lets the system choose.
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
    /// The etcd cluster that says what is wanted.
    pub store: EtcdConfig,
    /// The object store that keeps the bundles.
    pub bundles: StoreConfig,
    /// The scorer proper.
    pub scorer: Config,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 7430)),
            onnx_runtime: PathBuf::new(),
            log: telemetry::Config::default(),
            telemetry: telemetry::Export::default(),
            tls: tls::Config::default(),
            auth: auth::Config::default(),
            limits: Limits::default(),
            drain: Drain::default(),
            store: EtcdConfig::default(),
            bundles: StoreConfig::default(),
            scorer: Config::default(),
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
        self.store
            .check()
            .map_err(|wrong| ConfigError::invalid(format!("store.{}", wrong.key), wrong.reason))?;
        self.bundles.check().map_err(|error| match error {
            ConnectError::Key { key, value, reason } => {
                ConfigError::invalid(format!("bundles.{key}"), format!("`{value}` {reason}"))
            }
            error => ConfigError::invalid("bundles", error.to_string()),
        })?;
        self.scorer.check()
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
