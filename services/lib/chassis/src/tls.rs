//! TLS on every link: what this process shows, and whom it trusts. The files are read anew while it runs, so that
//! certificates are renewed without a restart.

mod files;
mod names;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;
use rustls::{ClientConfig, ServerConfig};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::config::ConfigError;

use self::files::Loaded;
pub use self::names::identities;

/// Certificates and keys, as PEM files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The certificate that this process shows, as server and as client, and those that lead to its authority. Empty: it serves in
    /// plain text, and shows none.
    pub certificate: PathBuf,
    /// The certificate's key.
    pub key: PathBuf,
    /// Who signs the certificates of the servers that this process calls. Empty: it calls in plain text only.
    pub ca: PathBuf,
    /// Who signs the certificates of clients. Empty: `ca` does.
    pub client_ca: PathBuf,
    /// The name that servers' certificates hold where addresses are numbers, which no certificate holds: registries call scorers
    /// at theirs. Empty: the address's host.
    pub server_name: String,
    /// Refuses clients that show no certificate.
    pub require_client: bool,
    /// How often the files are looked at, milliseconds. What has changed is taken when it makes sense as a whole.
    pub reload_millis: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            certificate: PathBuf::new(),
            key: PathBuf::new(),
            ca: PathBuf::new(),
            client_ca: PathBuf::new(),
            server_name: String::new(),
            require_client: false,
            reload_millis: 10_000,
        }
    }
}

impl Config {
    /// Whether connections are taken in over TLS.
    pub fn is_secure(&self) -> bool {
        !self.certificate.as_os_str().is_empty()
    }

    /// Checks what can be told without the files.
    ///
    /// # Errors
    /// Names the key and the reason.
    pub fn check(&self) -> Result<(), ConfigError> {
        let is_empty = |path: &PathBuf| path.as_os_str().is_empty();
        if is_empty(&self.certificate) != is_empty(&self.key) {
            return Err(ConfigError::invalid(
                "tls.key",
                "tls.certificate and tls.key go together: set both or none",
            ));
        }
        if self.require_client && is_empty(&self.certificate) {
            return Err(ConfigError::invalid(
                "tls.require_client",
                "clients show certificates over TLS only: set tls.certificate",
            ));
        }
        if self.require_client && is_empty(&self.client_ca) && is_empty(&self.ca) {
            return Err(ConfigError::invalid(
                "tls.client_ca",
                "nobody's certificates could be trusted: name who signs them, here or as tls.ca",
            ));
        }
        if self.reload_millis == 0 {
            return Err(ConfigError::invalid(
                "tls.reload_millis",
                "must be at least 1",
            ));
        }
        Ok(())
    }
}

/// What a process shows and trusts, as its files say now. Clones are the same.
#[derive(Clone)]
pub struct Identity {
    config: Arc<Config>,
    loaded: Arc<ArcSwap<Loaded>>,
}

impl Identity {
    /// Reads the files.
    ///
    /// # Errors
    /// Names the key, the file and the reason.
    pub fn load(config: &Config) -> Result<Self, ConfigError> {
        config.check()?;
        let loaded = Loaded::read(config)?;
        warn_of_ended(&loaded);
        Ok(Self {
            config: Arc::new(config.clone()),
            loaded: Arc::new(ArcSwap::from_pointee(loaded)),
        })
    }

    /// One that shows nothing and trusts nobody: plain text.
    pub fn none() -> Self {
        Self {
            config: Arc::default(),
            loaded: Arc::new(ArcSwap::from_pointee(Loaded::default())),
        }
    }

    /// How connections are taken in now; `None` in plain text.
    pub(crate) fn server(&self) -> Option<Arc<ServerConfig>> {
        self.loaded.load().server.clone()
    }

    /// How connections are made now; `None` where no authority is trusted.
    pub(crate) fn client(&self) -> Option<Arc<ClientConfig>> {
        self.loaded.load().client.clone()
    }

    /// The name that servers' certificates hold, if it is not that of their addresses.
    pub(crate) fn server_name(&self) -> Option<&str> {
        Some(self.config.server_name.as_str()).filter(|name| !name.is_empty())
    }

    /// Looks at the files every so often, and takes what has changed; what makes no sense is told once, and what was taken
    /// before stays.
    ///
    /// # Errors
    /// Never; a task's outcome.
    pub async fn follow(self, stop: CancellationToken) -> Result<(), String> {
        let mut timer = interval(Duration::from_millis(self.config.reload_millis));
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut refused = None;
        let mut unreadable = 0_u32;
        while stop.run_until_cancelled(timer.tick()).await.is_some() {
            let contents = match files::Contents::read(&self.config) {
                Ok(contents) => contents,
                Err(error) => {
                    unreadable = unreadable.saturating_add(1);
                    // The first time, they may be in the middle of being replaced.
                    if unreadable == 2 {
                        tracing::error!(%error, "certificates cannot be read: those of before stay");
                    }
                    continue;
                }
            };
            unreadable = 0;
            if contents == self.loaded.load().contents || refused.as_ref() == Some(&contents) {
                continue;
            }
            match Loaded::of(&self.config, contents.clone()) {
                Ok(loaded) => {
                    tracing::info!("certificates have changed and are taken");
                    warn_of_ended(&loaded);
                    self.loaded.store(Arc::new(loaded));
                    refused = None;
                }
                Err(error) => {
                    tracing::error!(%error, "certificates have changed and are not taken: those of before stay");
                    refused = Some(contents);
                }
            }
        }
        Ok(())
    }

    /// Tells when the certificates end.
    pub fn observe(&self, meter: &Meter) {
        let loaded = Arc::downgrade(&self.loaded);
        // The instrument lives as long as the meter.
        let _ = meter
            .u64_observable_gauge("decant.certificate.expiry.timestamp")
            .with_unit("s")
            .with_description("When the first certificate of a file ends, in seconds since 1970")
            .with_callback(move |observer| {
                let Some(loaded) = loaded.upgrade() else {
                    return;
                };
                for (file, ends) in &loaded.load().ends {
                    observer.observe(*ends, &[KeyValue::new("file", *file)]);
                }
            })
            .build();
    }
}

/// Others refuse what has ended, and say so far from here.
fn warn_of_ended(loaded: &Loaded) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.map_or(0, |since| since.as_secs());
    for file in loaded.ended(now) {
        tracing::warn!(key = %format_args!("tls.{file}"), "a certificate has expired");
    }
}
