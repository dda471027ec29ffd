//! Channels to other services.

use std::time::Duration;

use thiserror::Error;
use tonic::transport::{Channel, Endpoint};

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
    Ok(endpoint
        .connect_timeout(CONNECT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(KEEP_ALIVE.0)
        .keep_alive_timeout(KEEP_ALIVE.1)
        .keep_alive_while_idle(true)
        .connect_lazy())
}
