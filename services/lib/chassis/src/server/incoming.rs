//! Connections as they come in: bounded in number, made secure, and given up when they stay silent.

mod closed;
mod io;

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

pub(super) use self::closed::Closed;
use self::closed::Reason;
pub use self::io::Peer;
pub(super) use self::io::{Connection, Link};
use crate::config::ConfigError;
use crate::tls::Identity;

/// How many connections wait for the server to take them over.
const READY: usize = 64;
/// The pause after a failure of the system, such as no file being left.
const PAUSE: Duration = Duration::from_millis(50);

/// What a server takes from its clients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Connections at once; one more is closed as soon as it is made.
    pub connections: usize,
    /// How long a new connection may take to begin to speak: TLS and HTTP/2's first words, milliseconds.
    pub handshake_millis: u64,
    /// Calls of one connection at once; a client that wants more waits, or opens another connection.
    pub streams_per_connection: u32,
    /// Bytes of a call's headers.
    pub header_bytes: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4096,
            handshake_millis: 10_000,
            streams_per_connection: 1024,
            header_bytes: 16 << 10,
        }
    }
}

impl Limits {
    /// Checks what types cannot say.
    ///
    /// # Errors
    /// Names the key and the reason.
    pub fn check(&self) -> Result<(), ConfigError> {
        let too_small = [
            ("limits.connections", self.connections == 0),
            ("limits.handshake_millis", self.handshake_millis == 0),
            (
                "limits.streams_per_connection",
                self.streams_per_connection == 0,
            ),
        ];
        if let Some((key, _)) = too_small.into_iter().find(|(_, is_zero)| *is_zero) {
            return Err(ConfigError::invalid(key, "must be at least 1"));
        }
        if self.header_bytes < 4096 {
            return Err(ConfigError::invalid(
                "limits.header_bytes",
                "must be at least 4096",
            ));
        }
        Ok(())
    }
}

/// Takes connections in until `stop` is cancelled, or nobody takes them over any more.
pub(super) async fn accept(
    listener: TcpListener,
    tls: Identity,
    limits: Limits,
    closed: Closed,
    ready: mpsc::Sender<std::io::Result<Connection>>,
    stop: CancellationToken,
) {
    let room = Arc::new(Semaphore::new(limits.connections));
    let patience = Duration::from_millis(limits.handshake_millis);
    // Bounded by the room for connections, which each of them holds a part of. A lower bound of their own would let a few
    // hundred that never end keep everybody else waiting.
    let mut handshakes = FuturesUnordered::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            () = ready.closed() => return,
            Some(connection) = handshakes.next(), if !handshakes.is_empty() => {
                if let Some(connection) = connection
                    && ready.send(Ok(connection)).await.is_err()
                {
                    return;
                }
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => match Arc::clone(&room).try_acquire_owned() {
                Ok(permit) => {
                    let begun = begin(stream, tls.clone(), patience, permit, closed.clone());
                    handshakes.push(begun.boxed());
                }
                // Dropped, and so closed.
                Err(_) => {
                    closed.count(Reason::Full);
                    tracing::debug!(connections = limits.connections, "no room for a connection");
                }
            },
            // The client has gone again.
            Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
            Err(error) => {
                tracing::warn!(%error, "cannot take in connections");
                sleep(PAUSE).await;
            }
        }
    }
}

/// How connections are handed to the server.
pub(super) fn channel() -> (
    mpsc::Sender<std::io::Result<Connection>>,
    mpsc::Receiver<std::io::Result<Connection>>,
) {
    mpsc::channel(READY)
}

async fn begin(
    stream: TcpStream,
    tls: Identity,
    patience: Duration,
    permit: OwnedSemaphorePermit,
    closed: Closed,
) -> Option<Connection> {
    let until = Instant::now() + patience;
    let address = stream.peer_addr().ok();
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection was lost at once");
        return None;
    }
    let link = match tls.server() {
        None => Link::Left(stream),
        Some(server) => {
            let handshake = TlsAcceptor::from(server).accept(stream);
            match timeout_at(until, handshake).await {
                Ok(Ok(stream)) => Link::Right(Box::new(stream)),
                Ok(Err(error)) => {
                    // A client that went away again, such as one that only looks whether somebody listens, is none.
                    if error.kind() == ErrorKind::InvalidData {
                        closed.count(Reason::Handshake);
                    }
                    tracing::debug!(?address, %error, "a TLS handshake failed");
                    return None;
                }
                Err(_) => {
                    closed.count(Reason::Silent);
                    tracing::debug!(?address, "a TLS handshake took too long");
                    return None;
                }
            }
        }
    };
    Some(Connection::new(link, address, until, permit, closed))
}
