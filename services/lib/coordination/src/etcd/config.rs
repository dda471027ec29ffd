//! How to reach etcd.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use etcd_client::{Certificate, ConnectOptions, Identity, TlsOptions};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Below this, a healthy member on a busy machine is taken for a sick one.
const SHORTEST_MILLIS: u64 = 50;
/// etcd closes connections that are pinged more often.
const SHORTEST_KEEP_ALIVE_MILLIS: u64 = 5_000;

/// How to reach etcd. Secrets are named by their files, so that the configuration can be shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EtcdConfig {
    /// The members, as `http://host:port` or `https://host:port`. Naming all of them lets a client go on without any one.
    pub endpoints: Vec<String>,
    /// Whom to log in as; nobody when empty. It needs to read and write everything below `/decant/`.
    pub user: String,
    /// The file that holds the user's password; the line's end does not belong to it.
    pub password_file: Option<PathBuf>,
    /// Certificates, for `https` endpoints.
    pub tls: TlsConfig,
    /// How long one member may take to answer, before the next one is asked.
    pub request_timeout_millis: u64,
    /// How often a connection with a watch on it is tested.
    pub keep_alive_millis: u64,
    /// How long a watch may be silent before it is asked for a sign of life, and how long that may take.
    pub watch_idle_millis: u64,
}

/// Certificates and keys, as PEM files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TlsConfig {
    /// Who signed the members' certificates.
    pub ca: Option<PathBuf>,
    /// This client's certificate, if the members ask for one.
    pub certificate: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
    /// The name that the members' certificates hold, if it is not the endpoint's host.
    pub server_name: Option<String>,
}

impl Default for EtcdConfig {
    fn default() -> Self {
        Self {
            endpoints: Vec::new(),
            user: String::new(),
            password_file: None,
            tls: TlsConfig::default(),
            request_timeout_millis: 1_000,
            keep_alive_millis: SHORTEST_KEEP_ALIVE_MILLIS,
            watch_idle_millis: 5_000,
        }
    }
}

/// A key of the configuration that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{key}: {reason}")]
pub struct EtcdConfigError {
    /// The key, below the section of etcd.
    pub key: &'static str,
    /// What is wrong with it.
    pub reason: String,
}

fn wrong(key: &'static str, reason: impl Into<String>) -> EtcdConfigError {
    EtcdConfigError {
        key,
        reason: reason.into(),
    }
}

impl EtcdConfig {
    /// Members without passwords and certificates.
    pub fn of(endpoints: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            endpoints: endpoints.into_iter().map(Into::into).collect(),
            ..Self::default()
        }
    }

    /// Checks what types cannot say. Opens no file.
    ///
    /// # Errors
    /// Names the key and the reason.
    pub fn check(&self) -> Result<(), EtcdConfigError> {
        if self.endpoints.is_empty() {
            return Err(wrong("endpoints", "name at least one member"));
        }
        for endpoint in &self.endpoints {
            self.check_endpoint(endpoint)?;
        }
        if self.user.is_empty() != self.password_file.is_none() {
            return Err(wrong(
                "password_file",
                "user and password_file go together: set both or none",
            ));
        }
        if self.tls.certificate.is_some() != self.tls.key.is_some() {
            return Err(wrong(
                "tls.key",
                "tls.certificate and tls.key go together: set both or none",
            ));
        }
        let at_least = [
            (
                "request_timeout_millis",
                self.request_timeout_millis,
                SHORTEST_MILLIS,
            ),
            (
                "keep_alive_millis",
                self.keep_alive_millis,
                SHORTEST_KEEP_ALIVE_MILLIS,
            ),
            ("watch_idle_millis", self.watch_idle_millis, SHORTEST_MILLIS),
        ];
        for (key, value, least) in at_least {
            if value < least {
                return Err(wrong(key, format!("{value} is below {least}")));
            }
        }
        Ok(())
    }

    fn check_endpoint(&self, endpoint: &str) -> Result<(), EtcdConfigError> {
        let refuse = |reason: &str| Err(wrong("endpoints", format!("`{endpoint}` {reason}")));
        let secure = self.tls != TlsConfig::default();
        let address = match endpoint.split_once("://") {
            Some(("https", address)) => address,
            Some(("http", _)) if secure => return refuse("is not https, but tls is set"),
            Some(("http", address)) => address,
            _ => return refuse("does not begin with http:// or https://"),
        };
        let port = address
            .rsplit_once(':')
            .map(|(_, port)| port.parse::<u16>());
        match port {
            Some(Ok(_)) => Ok(()),
            _ => refuse("does not end with a port"),
        }
    }

    pub(super) fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_millis)
    }

    pub(super) fn watch_idle(&self) -> Duration {
        Duration::from_millis(self.watch_idle_millis)
    }

    /// Reads the files.
    pub(super) fn options(&self) -> Result<ConnectOptions, EtcdConfigError> {
        let mut options = ConnectOptions::new()
            .with_connect_timeout(self.request_timeout())
            // Only while a watch is open: etcd takes pings on idle connections for an attack.
            .with_keep_alive_while_idle(false)
            .with_keep_alive(
                Duration::from_millis(self.keep_alive_millis),
                self.request_timeout(),
            )
            // A member that has lost its cluster says so at once, and ends its watches.
            .with_require_leader(true)
            .with_auto_token_refresh(true);
        if let Some(file) = &self.password_file {
            let password = read("password_file", file)?;
            let password = String::from_utf8(password)
                .map_err(|_| wrong("password_file", format!("{} is no text", file.display())))?;
            options = options.with_user(&self.user, password.trim_end_matches(['\r', '\n']));
        }
        if self.endpoints.iter().any(|url| url.starts_with("https://")) {
            options = options.with_tls(self.tls.options()?);
        }
        Ok(options)
    }
}

impl TlsConfig {
    fn options(&self) -> Result<TlsOptions, EtcdConfigError> {
        let mut options = TlsOptions::new();
        if let Some(file) = &self.ca {
            options = options.ca_certificate(Certificate::from_pem(read("tls.ca", file)?));
        }
        if let (Some(certificate), Some(key)) = (&self.certificate, &self.key) {
            options = options.identity(Identity::from_pem(
                read("tls.certificate", certificate)?,
                read("tls.key", key)?,
            ));
        }
        if let Some(name) = &self.server_name {
            options = options.domain_name(name);
        }
        Ok(options)
    }
}

fn read(key: &'static str, file: &Path) -> Result<Vec<u8>, EtcdConfigError> {
    fs::read(file).map_err(|error| {
        let file = file.display();
        wrong(key, format!("{file} cannot be read: {error}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_keys_are_named() {
        let good = EtcdConfig::of(["http://127.0.0.1:2379"]);
        good.check().unwrap();
        let bad = |change: fn(&mut EtcdConfig)| {
            let mut config = good.clone();
            change(&mut config);
            config.check().unwrap_err().to_string()
        };
        let error = bad(|config| config.endpoints.clear());
        assert!(error.starts_with("endpoints:"), "{error}");
        let error = bad(|config| config.endpoints.push("etcd-1:2379".into()));
        assert!(error.contains("`etcd-1:2379`"), "{error}");
        let error = bad(|config| config.endpoints.push("http://etcd-1".into()));
        assert!(error.contains("port"), "{error}");
        let error = bad(|config| config.tls.ca = Some("ca.pem".into()));
        assert!(error.contains("not https"), "{error}");
        let error = bad(|config| config.user = "decant".into());
        assert!(error.starts_with("password_file:"), "{error}");
        let error = bad(|config| config.tls.key = Some("key.pem".into()));
        assert!(error.contains("not https") || error.starts_with("tls.key"));
        let error = bad(|config| config.request_timeout_millis = 0);
        assert!(error.starts_with("request_timeout_millis: 0 is"), "{error}");
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let config = EtcdConfig {
            user: "decant".into(),
            password_file: Some("/nowhere/password".into()),
            ..EtcdConfig::of(["http://127.0.0.1:2379"])
        };
        let Err(error) = config.options() else {
            panic!("there is no such file");
        };
        assert_eq!(error.key, "password_file");
        assert!(error.reason.contains("/nowhere/password"), "{error}");
    }
}
