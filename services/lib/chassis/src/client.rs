//! Channels to other services.

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::body::Body;
use tonic::transport::channel::ResponseFuture;
use tonic::transport::{Endpoint, Error};
use tower::Service;

use crate::auth::Token;
use crate::cork::Corked;
use crate::telemetry::propagation;
use crate::tls::Identity;

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(5);
/// A connection that answers no ping for this long is given up, so that a stalled server does not hang a call for ever.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(10));

/// An address that is none.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "`{address}` is no address of a {service}: {reason}; write it as http://host:port or https://host:port"
)]
pub struct AddressError {
    service: &'static str,
    address: String,
    reason: String,
}

/// Whoever makes channels: what it shows to servers, and which of them it trusts.
#[derive(Clone)]
pub struct Caller {
    identity: Identity,
    token: Option<Token>,
    allow_plaintext: bool,
}

/// A way to a service. Calls take along the trace that they are made in, and the caller's token. Clones share the connection.
#[derive(Clone)]
pub struct Channel {
    transport: tonic::transport::Channel,
    token: Option<Token>,
}

/// A channel in plain text that connects with the first call and reconnects when it must.
///
/// # Errors
/// When the address is no URI.
pub fn channel(service: &'static str, address: &str) -> Result<Channel, AddressError> {
    Caller::plain().channel(service, address)
}

impl Caller {
    /// One that shows nothing, and calls in plain text only.
    pub fn plain() -> Self {
        Self::new(Identity::none())
    }

    /// One that shows its identity, and calls servers of `https` that its authority vouches for.
    pub fn new(identity: Identity) -> Self {
        Self {
            identity,
            token: None,
            allow_plaintext: false,
        }
    }

    /// The same, which shows a token too.
    #[must_use]
    pub fn with_token(self, token: Option<Token>) -> Self {
        Self { token, ..self }
    }

    /// The same, which shows its token to other machines without TLS too, or not.
    #[must_use]
    pub fn allow_plaintext(self, allow_plaintext: bool) -> Self {
        Self {
            allow_plaintext,
            ..self
        }
    }

    /// How an address without a scheme is meant: `https` where servers are trusted, else `http`.
    pub fn scheme(&self) -> &'static str {
        match self.identity.client() {
            Some(_) => "https",
            None => "http",
        }
    }

    /// A channel that connects with the first call and reconnects when it must, each time with the certificates of then.
    ///
    /// # Errors
    /// When the address is no URI, asks for TLS and no authority is trusted, or would have the token read on its way.
    pub fn channel(&self, service: &'static str, address: &str) -> Result<Channel, AddressError> {
        let refuse = |reason: String| AddressError {
            service,
            address: address.to_owned(),
            reason,
        };
        let (rest, is_secure) = match (
            address.strip_prefix("http://"),
            address.strip_prefix("https://"),
        ) {
            (Some(rest), _) => (rest, false),
            (None, Some(rest)) => (rest, true),
            (None, None) => {
                return Err(refuse(
                    "it begins with neither http:// nor https://".to_owned(),
                ));
            }
        };
        if is_secure && self.identity.client().is_none() {
            return Err(refuse(
                "nobody says which certificates to trust: name their authority (`ca`)".to_owned(),
            ));
        }
        // TLS is the connector's, so that certificates are those of the moment; the transport need not know of it.
        let endpoint = Endpoint::from_shared(format!("http://{rest}"))
            .map_err(|error| refuse(error.to_string()))?;
        if self.token.is_some() && !is_secure && !self.allow_plaintext && !is_here(endpoint.uri()) {
            return Err(refuse(
                "whoever listens on the way would read the token (`allow_plaintext` says that nobody does)"
                    .to_owned(),
            ));
        }
        let connector = Connector {
            identity: is_secure.then(|| self.identity.clone()),
        };
        let transport = endpoint
            .connect_timeout(CONNECT)
            .http2_keep_alive_interval(KEEP_ALIVE.0)
            .keep_alive_timeout(KEEP_ALIVE.1)
            .keep_alive_while_idle(true)
            .connect_with_connector_lazy(connector);
        Ok(Channel {
            transport,
            token: self.token.clone(),
        })
    }
}

/// Whether an address is of this machine, so that nobody listens on the way.
fn is_here(uri: &Uri) -> bool {
    let host = bare(uri.host().unwrap_or_default());
    let is_loopback = |address: IpAddr| address.to_canonical().is_loopback();
    host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(is_loopback)
}

/// A host without the brackets of an address of IPv6.
fn bare(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

impl Service<Request<Body>> for Channel {
    type Response = Response<Body>;
    type Error = Error;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.transport.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> ResponseFuture {
        propagation::inject(request.headers_mut());
        if let Some(token) = &self.token {
            let headers = request.headers_mut();
            headers.insert(AUTHORIZATION, token.header());
        }
        self.transport.call(request)
    }
}

/// Makes connections; over TLS where there is an identity.
#[derive(Clone)]
struct Connector {
    identity: Option<Identity>,
}

/// A connection of either kind.
trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

impl Service<Uri> for Connector {
    type Response = TokioIo<Corked<Box<dyn Wire>>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let identity = self.identity.clone();
        Box::pin(async move {
            let wire = connect(identity, &uri).await?;
            Ok(TokioIo::new(Corked::new(wire)))
        })
    }
}

async fn connect(identity: Option<Identity>, uri: &Uri) -> io::Result<Box<dyn Wire>> {
    let wrong =
        |reason: &str| io::Error::new(io::ErrorKind::InvalidInput, format!("{uri}: {reason}"));
    let host = uri.host().ok_or_else(|| wrong("no host"))?;
    let host = bare(host);
    let port = uri.port_u16().unwrap_or(match identity {
        Some(_) => 443,
        None => 80,
    });
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    let Some(identity) = identity else {
        return Ok(Box::new(stream));
    };
    let client = identity
        .client()
        .ok_or_else(|| wrong("no authority is trusted"))?;
    let name = identity.server_name().unwrap_or(host).to_owned();
    let name = ServerName::try_from(name).map_err(|error| wrong(&error.to_string()))?;
    let stream = TlsConnector::from(Arc::clone(&client))
        .connect(name, stream)
        .await?;
    Ok(Box::new(stream))
}
