//! Channels to other services.

use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use thiserror::Error;
use tonic::body::Body;
use tonic::transport::channel::ResponseFuture;
use tonic::transport::{Endpoint, Error};
use tower::Service;

use crate::telemetry::propagation;

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(5);
/// A connection that answers no ping for this long is given up, so that a stalled server does not hang a call for ever.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(10));

/// An address that is none.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{address}` is no address of a {service}: {reason}; write it as http://host:port")]
pub struct AddressError {
    service: &'static str,
    address: String,
    reason: String,
}

/// A way to a service. Calls take the trace along that they are made in. Clones share the connection.
#[derive(Clone, Debug)]
pub struct Channel(tonic::transport::Channel);

/// A channel that connects with the first call and reconnects when it must.
///
/// # Errors
/// When the address is no URI.
pub fn channel(service: &'static str, address: &str) -> Result<Channel, AddressError> {
    let refuse = |reason: String| AddressError {
        service,
        address: address.to_owned(),
        reason,
    };
    if !address.starts_with("http://") {
        return Err(refuse("it does not begin with http://".to_owned()));
    }
    let endpoint =
        Endpoint::from_shared(address.to_owned()).map_err(|error| refuse(error.to_string()))?;
    let channel = endpoint
        .connect_timeout(CONNECT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE.0)
        .keep_alive_timeout(KEEP_ALIVE.1)
        .keep_alive_while_idle(true)
        .connect_lazy();
    Ok(Channel(channel))
}

impl Service<Request<Body>> for Channel {
    type Response = Response<Body>;
    type Error = Error;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> ResponseFuture {
        propagation::inject(request.headers_mut());
        self.0.call(request)
    }
}
