//! Connections as they come in: bounded in number, made secure, and given up when they stay silent.

mod closed;
mod io;
mod stall;

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(super) use self::closed::Closed;
use self::closed::Reason;
use self::io::Link;
pub use self::io::Peer;
pub(super) use self::io::{Connection, Turns};
use self::stall::Stall;
use super::http2::Http2;
use crate::config::ConfigError;
use crate::tls::Identity;

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
    /// How long a client may take nothing of what is sent to it, milliseconds; nothing is read of it meanwhile.
    pub stalled_millis: u64,
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
            stalled_millis: 30_000,
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
            ("limits.stalled_millis", self.stalled_millis == 0),
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

/// Takes connections in.
pub(super) struct Door {
    pub(super) tls: Identity,
    pub(super) limits: Limits,
    pub(super) closed: Closed,
    pub(super) http2: Http2,
    /// Connections, and the calls of each that wait for something. Bounded by the limits.
    pub(super) tasks: TaskTracker,
}

impl Door {
    /// Takes connections in, each of which is a task, until `stop` is cancelled; then waits for their calls to end.
    pub(super) async fn attend(self, listener: TcpListener, stop: CancellationToken) {
        let room = Arc::new(Semaphore::new(self.limits.connections));
        let door = Arc::new(self);
        loop {
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, address)) => match Arc::clone(&room).try_acquire_owned() {
                    Ok(room) => {
                        let (own, stop) = (Arc::clone(&door), stop.clone());
                        door.tasks.spawn(async move {
                            own.serve(stream, address, &stop).await;
                            drop(room);
                        });
                    }
                    // Dropped, and so closed.
                    Err(_) => {
                        door.closed.count(Reason::Full);
                        let connections = door.limits.connections;
                        tracing::debug!(connections, "no room for a connection");
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
        // Whoever connects now is to be refused, and not to wait.
        drop(listener);
        door.tasks.close();
        door.tasks.wait().await;
    }

    async fn serve(&self, stream: TcpStream, address: SocketAddr, stop: &CancellationToken) {
        let begun = tokio::select! {
            begun = self.begin(stream, address, stop) => begun,
            () = stop.cancelled() => return,
        };
        if let Some(connection) = begun {
            self.http2.serve(connection, stop).await;
        }
    }

    /// What comes before HTTP/2; nothing if that fails, or takes too long.
    async fn begin(
        &self,
        stream: TcpStream,
        address: SocketAddr,
        stop: &CancellationToken,
    ) -> Option<Connection> {
        let until = Instant::now() + Duration::from_millis(self.limits.handshake_millis);
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection was lost at once");
            return None;
        }
        let link = match self.tls.server() {
            None => Link::Left(stream),
            Some(server) => {
                let handshake = TlsAcceptor::from(server).accept(stream);
                match timeout_at(until, handshake).await {
                    Ok(Ok(stream)) => Link::Right(Box::new(stream)),
                    Ok(Err(error)) => {
                        // A client that went away again, such as one that only looks whether somebody listens, is none.
                        if error.kind() == ErrorKind::InvalidData {
                            self.closed.count(Reason::Handshake);
                        }
                        tracing::debug!(%address, %error, "a TLS handshake failed");
                        return None;
                    }
                    Err(_) => {
                        self.closed.count(Reason::Silent);
                        tracing::debug!(%address, "a TLS handshake took too long");
                        return None;
                    }
                }
            }
        };
        let stall = Stall::new(Duration::from_millis(self.limits.stalled_millis));
        let awaited = (until, stop.clone());
        Some(Connection::new(link, awaited, stall, self.closed.clone()))
    }
}
