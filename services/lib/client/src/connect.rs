//! How a scorer is connected to. What TLS would change is here.

use std::sync::Arc;
use std::time::Duration;

use tonic::transport::{Channel, Uri};

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
    /// Reads `http://host:port`.
    ///
    /// # Errors
    /// Why it is none.
    pub(crate) fn parse(address: &str) -> Result<Self, String> {
        let uri: Uri = address.parse().map_err(|_| "it is no URI".to_owned())?;
        if uri.scheme_str() != Some("http") {
            return Err("it does not begin with http://".to_owned());
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
}

/// Makes connections.
#[derive(Clone, Debug, Default)]
pub(crate) struct Connector {
    /// The name that all scorers go by; without one, each goes by its own address.
    origin: Option<Uri>,
}

impl Connector {
    /// Connections to scorers that all go by one name.
    pub(crate) fn going_by(name: Address) -> Self {
        Self {
            origin: Some(name.uri),
        }
    }

    /// A channel that connects with its first call, and again when it must. A runtime is needed.
    pub(crate) fn channel(&self, address: &Address) -> Channel {
        let endpoint = Channel::builder(address.uri.clone())
            .connect_timeout(CONNECT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEP_ALIVE.0)
            .keep_alive_timeout(KEEP_ALIVE.1)
            .keep_alive_while_idle(true);
        let endpoint = match &self.origin {
            Some(origin) => endpoint.origin(origin.clone()),
            None => endpoint,
        };
        endpoint.connect_lazy()
    }
}
