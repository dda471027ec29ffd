//! A stream that sends together what was written at the same time.
//!
//! HTTP/2 carries many calls over one connection, and flushes after each request or answer that it finds. Under load that
//! is a call of the system for each, which costs more than all else that is done for a small one. Here a flush lets the
//! tasks that are ready go first, as they may have more to send: requests that are made in one turn go out together. Whoever
//! polls a stream in a task of its own can say when its turn is over instead, and whether others may have more: so a server
//! sends at once what it answered where it read it, and the answers of one batch together.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that are gathered at most: those of the largest frame that every peer of HTTP/2 takes.
const GATHERED: usize = 16 << 10;

/// A stream behind a buffer, which is sent when it is full, and a turn of the other tasks after a flush was asked for.
pub struct Corked<S> {
    stream: S,
    gathered: Vec<u8>,
    /// How many of the gathered bytes are sent.
    sent: usize,
    /// Bytes that were ever sent.
    sent_in_all: u64,
    /// Whether the last attempt to send found no room.
    stuck: bool,
    /// Whether whoever has the stream says when something is to be sent, and a flush does not.
    in_turns: bool,
    /// Whether the other tasks are having their turn before what is gathered is sent.
    waits: bool,
}

impl<S> Corked<S> {
    /// A stream whose buffer is empty.
    pub fn new(stream: S) -> Self {
        Self {
            stream,
            gathered: Vec::new(),
            sent: 0,
            sent_in_all: 0,
            stuck: false,
            in_turns: false,
            waits: false,
        }
    }

    /// The same, for a task that says when each of its turns is over, by [`end_turn`](Self::end_turn). It may flush several
    /// times in one turn, which does nothing.
    #[must_use]
    pub(crate) fn in_turns(self) -> Self {
        Self {
            in_turns: true,
            ..self
        }
    }

    /// Whether the last attempt to send found no room: the other side takes nothing.
    pub(crate) fn is_stuck(&self) -> bool {
        self.stuck
    }

    /// Bytes that were ever sent, by which it is seen whether the other side takes any.
    pub(crate) fn sent(&self) -> u64 {
        self.sent_in_all
    }
}

impl<S: AsyncWrite + Unpin> Corked<S> {
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.gathered.len() {
            let stream = Pin::new(&mut self.stream);
            let written = stream.poll_write(context, &self.gathered[self.sent..]);
            self.stuck = written.is_pending();
            match ready!(written)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                sent => {
                    self.sent += sent;
                    self.sent_in_all += sent as u64;
                }
            }
        }
        self.gathered.clear();
        self.sent = 0;
        self.waits = false;
        Poll::Ready(Ok(()))
    }

    /// Lets the tasks that are ready go first, once for what is gathered. Whether they did.
    fn poll_others(&mut self, context: &Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.waits, true) {
            return Poll::Ready(());
        }
        // A task that wakes itself is put behind those that are ready. Tokio's own `yield_now` would also wait for those that
        // become ready meanwhile, and under load there are always some.
        context.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_flush_stream(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        self.stuck = flushed.is_pending();
        flushed
    }

    /// Sends what was gathered, as the task's turn is over; after the other tasks had theirs, if they may have more for it.
    pub(crate) fn end_turn(
        &mut self,
        context: &mut Context<'_>,
        more_may_come: bool,
    ) -> Poll<io::Result<()>> {
        if !self.gathered.is_empty() {
            if more_may_come {
                ready!(self.poll_others(context));
            }
            ready!(self.poll_send(context))?;
        }
        self.poll_flush_stream(context)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Corked<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Corked<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.gathered.len() >= GATHERED {
            ready!(self.poll_send(context))?;
        }
        let taken = bytes.len().min(GATHERED - self.gathered.len());
        self.gathered.extend_from_slice(&bytes[..taken]);
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.in_turns {
            return Poll::Ready(Ok(()));
        }
        if !self.gathered.is_empty() {
            ready!(self.poll_others(context));
            ready!(self.poll_send(context))?;
        }
        self.poll_flush_stream(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(context))?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests;
