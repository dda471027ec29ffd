//! How a scorer is connected to.

use std::error::Error as _;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tonic::codegen::http::uri::Scheme;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity, Uri};

/// How a certificate begins in PEM.
const CERTIFICATE: &[u8] = b"-----BEGIN CERTIFICATE-----";
/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(1);
/// A connection is asked this often whether it still lives, and given up when it does not say so for this long.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(5));

/// Where a scorer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    /// As it is written, and named in errors.
    pub(crate) name: Arc<str>,
    uri: Uri,
}

impl Address {
    /// Reads `http://host:port`, or `https://host:port`.
    ///
    /// # Errors
    /// Why it is none.
    pub(crate) fn parse(address: &str) -> Result<Self, String> {
        let uri: Uri = address.parse().map_err(|_| "it is no URI".to_owned())?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err("it begins with neither http:// nor https://".to_owned());
        }
        if uri.port().is_none() {
            return Err("it names no port".to_owned());
        }
        if uri.path() != "/" || uri.query().is_some() {
            return Err("something follows the port".to_owned());
        }
        Ok(Self {
            name: Arc::from(address.trim_end_matches('/')),
            uri,
        })
    }

    /// Whether it is to be reached over TLS.
    pub(crate) fn is_secure(&self) -> bool {
        self.uri.scheme_str() == Some("https")
    }

    /// Whether it is of this machine, so that nobody listens on the way.
    pub(crate) fn is_here(&self) -> bool {
        let host = self.uri.host().unwrap_or_default();
        let address = host.trim_start_matches('[').trim_end_matches(']');
        let is_loopback = |address: IpAddr| address.to_canonical().is_loopback();
        host.eq_ignore_ascii_case("localhost") || address.parse().is_ok_and(is_loopback)
    }
}

/// Certificates in PEM: which scorers are trusted, and who calls. Its text holds no key.
#[derive(Clone)]
pub struct Tls {
    config: ClientTlsConfig,
    /// Whether what is to be trusted looks like a certificate; the transport takes a file that holds none.
    holds_authority: bool,
}

impl Tls {
    /// Trusts scorers whose certificates this authority signs.
    pub fn trusting(authority: impl AsRef<[u8]>) -> Self {
        let holds_authority = authority
            .as_ref()
            .windows(CERTIFICATE.len())
            .any(|bytes| bytes == CERTIFICATE);
        let authority = Certificate::from_pem(authority);
        Self {
            config: ClientTlsConfig::new().ca_certificate(authority),
            holds_authority,
        }
    }

    /// Shows a certificate to scorers, and so says who calls.
    #[must_use]
    pub fn showing(self, certificate: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Self {
        let identity = Identity::from_pem(certificate, key);
        Self {
            config: self.config.identity(identity),
            ..self
        }
    }

    /// The name that scorers' certificates hold, if it is not that of their addresses.
    #[must_use]
    pub fn named(self, name: impl Into<String>) -> Self {
        Self {
            config: self.config.domain_name(name),
            ..self
        }
    }

    /// Whether the certificates can be used.
    pub(crate) fn check(&self) -> Result<(), String> {
        if !self.holds_authority {
            return Err("what is to be trusted holds no certificate in PEM".to_owned());
        }
        let endpoint = Endpoint::from_static("https://localhost:1");
        let checked = endpoint.tls_config(self.config.clone());
        checked.map(drop).map_err(|error| match error.source() {
            Some(reason) => reason.to_string(),
            None => error.to_string(),
        })
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Tls").finish_non_exhaustive()
    }
}

/// Makes connections.
#[derive(Clone, Debug, Default)]
pub(crate) struct Connector {
    /// The name that all scorers go by; without one, each goes by its own address.
    origin: Option<Uri>,
    tls: Option<Tls>,
}

impl Connector {
    /// Connections to scorers that each go by their own address.
    pub(crate) fn new(tls: Option<Tls>) -> Self {
        Self { origin: None, tls }
    }

    /// Connections to scorers that all go by one name, which their certificates hold.
    pub(crate) fn going_by(name: Address, tls: Option<Tls>) -> Self {
        Self {
            origin: Some(name.uri),
            tls,
        }
    }

    /// A channel that connects with its first call, and again when it must. A runtime is needed.
    pub(crate) fn channel(&self, address: &Address) -> Channel {
        let uri = match &self.tls {
            Some(_) => over_tls(&address.uri),
            None => address.uri.clone(),
        };
        let endpoint = Channel::builder(uri)
            .connect_timeout(CONNECT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEP_ALIVE.0)
            .keep_alive_timeout(KEEP_ALIVE.1)
            .keep_alive_while_idle(true);
        let endpoint = match &self.origin {
            Some(origin) => endpoint.origin(origin.clone()),
            None => endpoint,
        };
        let Some(tls) = &self.tls else {
            return endpoint.connect_lazy();
        };
        let named = match self.origin.as_ref().and_then(Uri::host) {
            Some(host) => ClientTlsConfig::domain_name(tls.config.clone(), host),
            None => tls.config.clone(),
        };
        match endpoint.clone().tls_config(named) {
            Ok(endpoint) => endpoint.connect_lazy(),
            // It was checked when the client was built. An address of https is not connected to without TLS.
            Err(error) => {
                tracing::error!(%error, "certificates cannot be used");
                endpoint.connect_lazy()
            }
        }
    }
}

/// The same address, of https: what is looked up knows nothing of TLS.
fn over_tls(uri: &Uri) -> Uri {
    let mut parts = uri.clone().into_parts();
    parts.scheme = Some(Scheme::HTTPS);
    Uri::from_parts(parts).unwrap_or_else(|_| uri.clone())
}
