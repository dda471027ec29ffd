//! From PEM files to what rustls works with.

use std::fmt::Display;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use super::{Config, names};
use crate::config::ConfigError;

const ALPN: &[u8] = b"h2";

/// The files' bytes, by which a change is noticed; a secret's mount changes files without changing their times.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Contents {
    certificate: Vec<u8>,
    key: Vec<u8>,
    ca: Vec<u8>,
    client_ca: Vec<u8>,
}

/// What the files mean.
#[derive(Default)]
pub(super) struct Loaded {
    pub(super) contents: Contents,
    pub(super) server: Option<Arc<ServerConfig>>,
    pub(super) client: Option<Arc<ClientConfig>>,
    /// By file, when the first of its certificates ends; seconds since 1970.
    pub(super) ends: Vec<(&'static str, u64)>,
}

impl Contents {
    pub(super) fn read(config: &Config) -> Result<Self, ConfigError> {
        let read = |key: &str, path: &Path| {
            if path.as_os_str().is_empty() {
                return Ok(Vec::new());
            }
            fs::read(path).map_err(|error| refused(key, path, error))
        };
        Ok(Self {
            certificate: read("certificate", &config.certificate)?,
            key: read("key", &config.key)?,
            ca: read("ca", &config.ca)?,
            client_ca: read("client_ca", &config.client_ca)?,
        })
    }
}

impl Loaded {
    pub(super) fn read(config: &Config) -> Result<Self, ConfigError> {
        Self::of(config, Contents::read(config)?)
    }

    /// The files with a certificate that has ended by then; seconds since 1970.
    pub(super) fn ended(&self, now: u64) -> impl Iterator<Item = &'static str> {
        let ended = self.ends.iter().filter(move |(_, ends)| *ends <= now);
        ended.map(|(file, _)| *file)
    }

    pub(super) fn of(config: &Config, contents: Contents) -> Result<Self, ConfigError> {
        let files = [
            ("certificate", &config.certificate, &contents.certificate),
            ("ca", &config.ca, &contents.ca),
            ("client_ca", &config.client_ca, &contents.client_ca),
        ];
        let mut ends = Vec::new();
        let mut chains = Vec::new();
        for (key, path, pem) in files {
            let chain = certificates(key, path, pem)?;
            if let Some(first) = chain.iter().filter_map(names::ends).min() {
                ends.push((key, first));
            }
            chains.push(chain);
        }
        let [chain, ca, client_ca] = <[_; 3]>::try_from(chains).unwrap_or_default();
        let key = key(config, &contents.key)?;
        let identity = key.map(|key| (chain, key));
        let of_servers = Authorities {
            key: "ca",
            path: &config.ca,
            certificates: ca,
        };
        let of_clients = if client_ca.is_empty() {
            of_servers.clone()
        } else {
            Authorities {
                key: "client_ca",
                path: &config.client_ca,
                certificates: client_ca,
            }
        };
        Ok(Self {
            server: identity
                .as_ref()
                .map(|(chain, key)| server(config, chain.clone(), key.clone_key(), &of_clients))
                .transpose()?
                .map(Arc::new),
            client: (!of_servers.certificates.is_empty())
                .then(|| client(config, &of_servers, identity))
                .transpose()?
                .map(Arc::new),
            contents,
            ends,
        })
    }
}

/// Whose certificates are trusted, and where that is said.
#[derive(Clone)]
struct Authorities<'a> {
    key: &'static str,
    path: &'a Path,
    certificates: Vec<CertificateDer<'static>>,
}

fn refused(key: &str, path: &Path, reason: impl Display) -> ConfigError {
    let reason = format!("{}: {reason}", path.display());
    ConfigError::invalid(format!("tls.{key}"), reason)
}

fn certificates(
    key: &str,
    path: &Path,
    pem: &[u8],
) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let chain = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| refused(key, path, error))?;
    if chain.is_empty() && !path.as_os_str().is_empty() {
        return Err(refused(key, path, "it holds no certificate in PEM"));
    }
    Ok(chain)
}

fn key(config: &Config, pem: &[u8]) -> Result<Option<PrivateKeyDer<'static>>, ConfigError> {
    if config.key.as_os_str().is_empty() {
        return Ok(None);
    }
    // What the parser says of a key could hold a part of it.
    let key = PrivateKeyDer::from_pem_slice(pem)
        .map_err(|_| refused("key", &config.key, "it holds no key in PEM"))?;
    Ok(Some(key))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn roots(authorities: &Authorities<'_>) -> Result<Arc<RootCertStore>, ConfigError> {
    let mut roots = RootCertStore::empty();
    for authority in &authorities.certificates {
        roots
            .add(authority.clone())
            .map_err(|error| refused(authorities.key, authorities.path, error))?;
    }
    Ok(Arc::new(roots))
}

fn server(
    config: &Config,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    authorities: &Authorities<'_>,
) -> Result<ServerConfig, ConfigError> {
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| refused("certificate", &config.certificate, error))?;
    let builder = if authorities.certificates.is_empty() {
        builder.with_no_client_auth()
    } else {
        let roots = roots(authorities)?;
        let mut verifier = WebPkiClientVerifier::builder_with_provider(roots, provider());
        if !config.require_client {
            verifier = verifier.allow_unauthenticated();
        }
        let verifier = verifier
            .build()
            .map_err(|error| refused(authorities.key, authorities.path, error))?;
        builder.with_client_cert_verifier(verifier)
    };
    let mut server = builder
        .with_single_cert(chain, key)
        .map_err(|error| refused("key", &config.key, error))?;
    server.alpn_protocols = vec![ALPN.to_vec()];
    Ok(server)
}

fn client(
    config: &Config,
    authorities: &Authorities<'_>,
    identity: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
) -> Result<ClientConfig, ConfigError> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| refused(authorities.key, authorities.path, error))?
        .with_root_certificates(roots(authorities)?);
    let mut client = match identity {
        Some((chain, key)) => builder
            .with_client_auth_cert(chain, key)
            .map_err(|error| refused("key", &config.key, error))?,
        None => builder.with_no_client_auth(),
    };
    client.alpn_protocols = vec![ALPN.to_vec()];
    Ok(client)
}
