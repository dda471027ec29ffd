//! One connection, in plain text or over TLS.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;

use super::closed::{Closed, Reason};
use crate::cork::{Corked, Turn};
use crate::tls;

/// The bytes that every client of HTTP/2 begins with.
const PREFACE: usize = 24;

/// Who is at the other end, as their certificate says.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its identities.
    pub identities: Arc<[String]>,
}

/// In plain text, or over TLS.
pub(crate) type Link = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// A connection that has to begin to speak.
pub(crate) struct Connection {
    link: Corked<Link>,
    turn: Turn,
    peer: Option<Peer>,
    /// By when its first words must have come, and how many bytes have; nothing once they have.
    awaited: Option<(Pin<Box<Sleep>>, usize)>,
    closed: Closed,
}

impl Connection {
    pub(super) fn new(link: Link, until: Instant, closed: Closed) -> Self {
        let turn = Turn::default();
        let peer = match &link {
            Either::Left(_) => None,
            Either::Right(stream) => {
                let shown = stream.get_ref().1.peer_certificates();
                shown.and_then(<[_]>::first).map(|own| Peer {
                    identities: tls::identities(own).into(),
                })
            }
        };
        Self {
            link: Corked::new(link).in_turns(turn.clone()),
            turn,
            peer,
            awaited: Some((Box::pin(sleep_until(until)), 0)),
            closed,
        }
    }

    /// Counts the turns of the task that the connection is served in.
    pub(crate) fn turn(&self) -> Turn {
        self.turn.clone()
    }

    /// Who is at the other end; nobody who is known without a certificate.
    pub(crate) fn peer(&self) -> Option<Peer> {
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
