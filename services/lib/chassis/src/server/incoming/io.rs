//! One connection, in plain text or over TLS.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;
use tokio_util::sync::CancellationToken;

use super::closed::{Closed, Reason};
use super::stall::Stall;
use crate::cork::{Corked, Turn};
use crate::tls;

/// The bytes that every client of HTTP/2 begins with.
const PREFACE: usize = 24;

/// Bytes that are read in one turn, at most. Each may be a part of something that is answered, and what waits to be sent has
/// no bound of its own.
const READ_AT_ONCE: usize = 64 << 10;

/// Who is at the other end, as their certificate says.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its identities.
    pub identities: Arc<[String]>,
}

/// In plain text, or over TLS.
pub(crate) type Link = Either<TcpStream, Box<TlsStream<TcpStream>>>;

/// Ends when the time for a connection's first words is over, or with nothing when the server stops.
type Awaited = dyn Future<Output = Option<Elapsed>> + Send;

/// A connection that has to begin to speak.
pub(crate) struct Connection {
    link: Corked<Link>,
    turn: Turn,
    peer: Option<Peer>,
    /// When its first words are not waited for any longer, and how many of their bytes have come; nothing once they have.
    awaited: Option<(Pin<Box<Awaited>>, usize)>,
    /// In which turn was read last, and how many bytes.
    read: (u64, usize),
    /// Whether somebody wanted to read while nothing could be sent.
    wants_to_read: bool,
    stall: Stall,
    closed: Closed,
}

impl Connection {
    pub(super) fn new(
        link: Link,
        (until, stop): (Instant, CancellationToken),
        stall: Stall,
        closed: Closed,
    ) -> Self {
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
            awaited: Some((Box::pin(time_is_over(until, stop)), 0)),
            read: (0, 0),
            wants_to_read: false,
            stall,
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

    /// Whether more may be read now; else whoever asks is woken when it may. Not while the client takes nothing: it could ask
    /// for more and more that it is to be sent.
    fn may_read(&mut self, context: &Context<'_>) -> bool {
        if self.link.is_stuck() {
            self.wants_to_read = true;
            return false;
        }
        let turn = self.turn.number();
        if self.read.0 != turn {
            self.read = (turn, 0);
        }
        let may = self.read.1 < READ_AT_ONCE;
        if !may {
            context.waker().wake_by_ref();
        }
        may
    }

    /// What became of something that was to be sent; an error, if the client has taken nothing for too long.
    fn sent<T>(
        &mut self,
        context: &mut Context<'_>,
        outcome: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let is_stuck = self.link.is_stuck();
        let stalled = self.stall.poll(context, is_stuck, self.link.sent());
        if stalled.is_ready() {
            self.closed.count(Reason::Stalled);
            let reason = "the client takes nothing of what is sent to it";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, reason)));
        }
        if !is_stuck && std::mem::take(&mut self.wants_to_read) {
            context.waker().wake_by_ref();
        }
        outcome
    }
}

/// Waits until then, or until the server stops.
async fn time_is_over(until: Instant, stop: CancellationToken) -> Option<Elapsed> {
    timeout_at(until, stop.cancelled()).await.err()
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.may_read(context) {
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.link).poll_read(context, buffer);
        let bytes = buffer.filled().len() - before;
        self.read.1 += bytes;
        let Some((deadline, seen)) = &mut self.awaited else {
            return read;
        };
        if read.is_ready() {
            *seen += bytes;
            if *seen >= PREFACE {
                self.awaited = None;
            }
            return read;
        }
        if ready!(deadline.as_mut().poll(context)).is_some() {
            self.closed.count(Reason::Silent);
        }
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
        let written = Pin::new(&mut self.link).poll_write(context, bytes);
        self.sent(context, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.link).poll_flush(context);
        self.sent(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.link).poll_shutdown(context);
        self.sent(context, shut)
    }
}
