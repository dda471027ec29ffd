//! The configuration of a registry in a process of its own.

use std::net::SocketAddr;

use decant_artifact::{ConnectError, StoreConfig};
use decant_chassis::config::ConfigError;
use decant_chassis::host::Drain;
use decant_chassis::server::Limits;
use decant_chassis::{auth, telemetry, tls};
use decant_coordination::EtcdConfig;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Config;

/// Everything that can be set; every key has a default but `store.endpoints` and `bundles.url`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Where the registry listens; port 0 lets the system choose.
    pub listen: SocketAddr,
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
    /// The etcd cluster that keeps the metadata.
    pub store: EtcdConfig,
    /// The object store that keeps the bundles.
    pub bundles: StoreConfig,
    /// The registry proper.
    pub registry: Config,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 7420)),
            log: telemetry::Config::default(),
            telemetry: telemetry::Export::default(),
            tls: tls::Config::default(),
            auth: auth::Config::default(),
            limits: Limits::default(),
            drain: Drain::default(),
            store: EtcdConfig::default(),
            bundles: StoreConfig::default(),
            registry: Config::default(),
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
        self.store
            .check()
            .map_err(|wrong| ConfigError::invalid(format!("store.{}", wrong.key), wrong.reason))?;
        self.bundles.check().map_err(|error| match error {
            ConnectError::Key { key, value, reason } => {
                ConfigError::invalid(format!("bundles.{key}"), format!("`{value}` {reason}"))
            }
            error => ConfigError::invalid("bundles", error.to_string()),
        })?;
        self.registry.check()
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
