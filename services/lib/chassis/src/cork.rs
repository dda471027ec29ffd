//! A stream that sends together what was written at the same time.
//!
//! HTTP/2 carries many calls over one connection, and flushes after each request or answer that it finds. Under load that
//! is a call of the system for each, which costs more than all else that is done for a small one. Here a flush lets the
//! tasks that are ready go first, as they may have more to send: answers of one batch go out together, and so do those to
//! requests that came in one packet. When no other task is ready, a flush is one at once.

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
    others_had_their_turn: bool,
}

impl<S> Corked<S> {
    /// A stream whose buffer is empty.
    pub fn new(stream: S) -> Self {
        Self {
            stream,
            gathered: Vec::new(),
            sent: 0,
            others_had_their_turn: false,
        }
    }
}

impl<S: AsyncWrite + Unpin> Corked<S> {
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.gathered.len() {
            let stream = Pin::new(&mut self.stream);
            match ready!(stream.poll_write(context, &self.gathered[self.sent..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                sent => self.sent += sent,
            }
        }
        self.gathered.clear();
        self.sent = 0;
        self.others_had_their_turn = false;
        Poll::Ready(Ok(()))
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
        if !self.gathered.is_empty() {
            if !self.others_had_their_turn {
                self.others_had_their_turn = true;
                // A task that wakes itself is put behind those that are ready. Tokio's own `yield_now` would also wait
                // for those that become ready meanwhile, and under load there are always some.
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            ready!(self.poll_send(context))?;
        }
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_send(context))?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests;
