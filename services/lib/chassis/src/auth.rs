//! Who calls, and whether they may: a gate before a server's services. Callers show a certificate (mutual TLS) or a bearer
//! token; the configuration says who they are and which role they have.

mod gate;
mod lasting;
mod token;
#[cfg(test)]
mod tests;

pub use self::gate::{Gate, GateLayer, known, principal};
pub use self::token::Token;

use std::path::PathBuf;
use std::sync::Arc;

use decant_model::access::{Access, Permission, Principal, Role};
use decant_model::{Digest, ModelName};
use opentelemetry::metrics::Meter;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::client::Caller;
use crate::config::ConfigError;
use crate::tls::Identity;

/// The permission that a call needs before its request is read, by the path of its method; `None` for what is not served.
pub type Rules = fn(&str) -> Option<Permission>;

/// Who may call, and what this process shows when it calls.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Whether callers are asked who they are. If not, all may everything.
    pub enabled: bool,
    /// Lets everybody ask for scores, as inside a mesh that knows who calls. Scorers only.
    pub anonymous_scoring: bool,
    /// Takes tokens over connections without TLS, and shows its own to other machines over such, where whoever listens can read
    /// and use them.
    pub allow_plaintext: bool,
    /// The file of the token that this process shows to other services; read anew when it changes. Empty: none, and its
    /// certificate says who it is.
    pub token_file: PathBuf,
    /// Who may do what, besides those that `decant access add` made.
    pub grants: Vec<Grant>,
}

/// Somebody, how they are known, and their role.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Grant {
    /// What the audit log calls them.
    pub name: String,
    /// An identity of their certificate: a URI such as `spiffe://decant/ci`, `dns:NAME` or `cn:NAME`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub identity: String,
    /// The sha256 of their token, in hex, as `printf %s "$TOKEN" | sha256sum` prints it; the token itself is written nowhere.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub token_sha256: String,
    /// `viewer`, `publisher`, `operator` or `admin`.
    pub role: String,
    /// The models that the role is for; empty means all, and what concerns none of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<ModelName>,
}

impl Config {
    /// Checks what types cannot say. `is_secure` says whether connections are over TLS.
    ///
    /// # Errors
    /// Names the key and the reason.
    pub fn check(&self, is_secure: bool) -> Result<(), ConfigError> {
        self.access()?;
        if !self.enabled {
            return Ok(());
        }
        if self.grants.is_empty() {
            return Err(ConfigError::invalid(
                "auth.grants",
                "callers are asked who they are, and nobody is known: name somebody",
            ));
        }
        // Nobody can show a certificate in plain text: whoever is known there, also of those in the store, is known by a token.
        if !is_secure && !self.allow_plaintext {
            return Err(ConfigError::invalid(
                "auth.allow_plaintext",
                "tokens would be read by whoever listens: set tls.certificate, or this to true",
            ));
        }
        Ok(())
    }

    /// Those who are known.
    ///
    /// # Errors
    /// Names the key of the grant that makes no sense, and the reason.
    pub fn access(&self) -> Result<Access, ConfigError> {
        let mut access = Access::default();
        for (place, grant) in self.grants.iter().enumerate() {
            let refuse = |key: &str, reason: String| {
                ConfigError::invalid(format!("auth.grants[{place}].{key}"), reason)
            };
            if grant.name.is_empty() {
                return Err(refuse("name", "must not be empty".to_owned()));
            }
            let role: Role = grant.role.parse().map_err(|error| refuse("role", error))?;
            let token = match grant.token_sha256.as_str() {
                "" => None,
                hex => {
                    let digest = format!("sha256:{hex}").parse::<Digest>().map_err(|_| {
                        refuse(
                            "token_sha256",
                            "must be 64 lower-case hex digits".to_owned(),
                        )
                    })?;
                    Some(digest)
                }
            };
            let identity = Some(grant.identity.clone()).filter(|identity| !identity.is_empty());
            if token.is_none() && identity.is_none() {
                let reason = "needs an identity or a token_sha256 to be known by";
                return Err(refuse("identity", reason.to_owned()));
            }
            let principal = Principal::new(&grant.name, role, grant.models.clone());
            access.insert(principal, token, identity);
        }
        Ok(access)
    }

    /// The gate that lets those in who are in the table, as it is at each moment.
    pub fn gate(
        &self,
        access: watch::Receiver<Arc<Access>>,
        rules: Rules,
        meter: &Meter,
    ) -> GateLayer {
        if self.enabled {
            GateLayer::new(access, rules, self.anonymous_scoring, meter)
        } else {
            GateLayer::open()
        }
    }

    /// This process, as it calls other services: with its certificate, and its token if it has one.
    ///
    /// # Errors
    /// Names the key, the file and the reason.
    pub fn caller(&self, identity: Identity) -> Result<Caller, ConfigError> {
        let file = Some(&self.token_file).filter(|file| !file.as_os_str().is_empty());
        let token = file.map(|file| Token::read(file.clone())).transpose()?;
        Ok(Caller::new(identity)
            .with_token(token)
            .allow_plaintext(self.allow_plaintext))
    }
}

/// A table that never changes, as a gate takes it.
#[cfg(test)]
pub(crate) fn fixed(access: Access) -> watch::Receiver<Arc<Access>> {
    watch::channel(Arc::new(access)).1
}
