//! One connection, in plain text or over TLS.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
use crate::cork::Corked;
use crate::tls;

/// The bytes that every client of HTTP/2 begins with.
const PREFACE: u64 = 24;

/// Bytes that are read in one turn, at most. Each may be a part of something that is answered, and what waits to be sent has
/// no bound of its own.
const READ_AT_ONCE: u64 = 64 << 10;

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

/// A connection that has to begin to speak, as HTTP/2 reads and writes it.
pub(crate) struct Connection(Arc<Mutex<State>>);

/// The turns of the task that a connection is served in.
pub(crate) struct Turns(Arc<Mutex<State>>);

struct State {
    link: Corked<Link>,
    peer: Option<Peer>,
    /// When its first words are not waited for any longer; nothing once they have come.
    awaited: Option<Pin<Box<Awaited>>>,
    /// How many bytes were ever read.
    read: u64,
    /// How many of them before this turn.
    read_before: u64,
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
        let peer = match &link {
            Either::Left(_) => None,
            Either::Right(stream) => {
                let shown = stream.get_ref().1.peer_certificates();
                shown.and_then(<[_]>::first).map(|own| Peer {
                    identities: tls::identities(own).into(),
                })
            }
        };
        Self(Arc::new(Mutex::new(State {
            link: Corked::new(link).in_turns(),
            peer,
            awaited: Some(Box::pin(time_is_over(until, stop))),
            read: 0,
            read_before: 0,
            wants_to_read: false,
            stall,
            closed,
        })))
    }

    /// What says when a turn begins and ends.
    pub(crate) fn turns(&self) -> Turns {
        Turns(Arc::clone(&self.0))
    }

    /// Who is at the other end; nobody who is known without a certificate.
    pub(crate) fn peer(&self) -> Option<Peer> {
        lock(&self.0).peer.clone()
    }
}

impl Turns {
    /// Another one begins. How many bytes were read before it.
    pub(crate) fn begin(&self) -> u64 {
        let mut state = lock(&self.0);
        state.read_before = state.read;
        state.read
    }

    /// It is over, and what was written in it is sent: at once, or after other tasks had their turn, if those may have more
    /// for it. An error, if the client has taken nothing for too long.
    pub(crate) fn end(
        &self,
        context: &mut Context<'_>,
        more_may_come: bool,
    ) -> Poll<io::Result<()>> {
        let mut state = lock(&self.0);
        let ended = state.link.end_turn(context, more_may_come);
        state.sent(context, ended)
    }
}

/// Only ever taken by the task that has both, and so never waited for. A panic under it ends that task.
fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    /// Whether more may be read now; else whoever asks is woken when it may. Not while the client takes nothing: it could ask
    /// for more and more that it is to be sent.
    fn may_read(&mut self, context: &Context<'_>) -> bool {
        if self.link.is_stuck() {
            self.wants_to_read = true;
            return false;
        }
        let may = self.read - self.read_before < READ_AT_ONCE;
        if !may {
            context.waker().wake_by_ref();
        }
        may
    }

    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.may_read(context) {
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.link).poll_read(context, buffer);
        self.read += (buffer.filled().len() - before) as u64;
        let Some(deadline) = &mut self.awaited else {
            return read;
        };
        if read.is_ready() {
            if self.read >= PREFACE {
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
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        lock(&self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut state = lock(&self.0);
        let written = Pin::new(&mut state.link).poll_write(context, bytes);
        state.sent(context, written)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut lock(&self.0).link).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = lock(&self.0);
        let shut = Pin::new(&mut state.link).poll_shutdown(context);
        state.sent(context, shut)
    }
}
