//! One connection, in plain text or over TLS.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;
use tonic::transport::server::Connected;

use super::closed::{Closed, Reason};
use crate::cork::Corked;
use crate::tls;

/// The bytes that every client of HTTP/2 begins with.
const PREFACE: usize = 24;

/// Who is at the other end.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Their address.
    pub address: Option<SocketAddr>,
    /// What their certificate says; empty without one.
    pub identities: Arc<[String]>,
}

/// In plain text, or over TLS.
pub(crate) type Link = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// A connection that counts as long as it lives.
pub(crate) struct Connection {
    link: Corked<Link>,
    peer: Peer,
    /// By when its first words must have come, and how many bytes have; nothing once they have.
    awaited: Option<(Pin<Box<Sleep>>, usize)>,
    closed: Closed,
    _room: OwnedSemaphorePermit,
}

impl Connection {
    pub(super) fn new(
        link: Link,
        address: Option<SocketAddr>,
        until: Instant,
        room: OwnedSemaphorePermit,
        closed: Closed,
    ) -> Self {
        let identities = match &link {
            Either::Left(_) => Arc::default(),
            Either::Right(stream) => {
                let shown = stream.get_ref().1.peer_certificates();
                let own = shown.and_then(<[_]>::first);
                own.map(tls::identities).unwrap_or_default().into()
            }
        };
        Self {
            link: Corked::new(link),
            peer: Peer {
                address,
                identities,
            },
            awaited: Some((Box::pin(sleep_until(until)), 0)),
            closed,
            _room: room,
        }
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.link).poll_read(context, buffer);
        let Some((deadline, seen)) = &mut self.awaited else {
            return read;
        };
        if read.is_ready() {
            *seen += buffer.filled().len() - before;
            if *seen >= PREFACE {
                self.awaited = None;
            }
            return read;
        }
        ready!(deadline.as_mut().poll(context));
        self.closed.count(Reason::Silent);
        Poll::Ready(Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "the client does not begin to speak",
        )))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.link).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.link).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.link).poll_shutdown(context)
    }
}
