//! What a client sends of a call after its headers.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, RecvStream};
use http_body::Frame;

/// A request's message or messages, as they come. What was taken of it makes room for more.
pub(super) struct Incoming {
    stream: RecvStream,
    /// Whether there is nothing but trailers any more.
    read: bool,
}

impl Incoming {
    pub(super) fn new(stream: RecvStream) -> Self {
        Self {
            stream,
            read: false,
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Frame<Bytes>>, h2::Error>> {
        if !self.read {
            if let Some(data) = ready!(self.stream.poll_data(context)).transpose()? {
                self.stream.flow_control().release_capacity(data.len())?;
                return Poll::Ready(Ok(Some(Frame::data(data))));
            }
            self.read = true;
        }
        let trailers = ready!(self.stream.poll_trailers(context))?;
        Poll::Ready(Ok(trailers.map(Frame::trailers)))
    }
}

impl http_body::Body for Incoming {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        match ready!(self.poll(context)) {
            // The client sends no more, and wants the answer to what it sent (RFC 9113, section 8.1).
            Err(error) if error.reason() == Some(Reason::NO_ERROR) => Poll::Ready(None),
            read => Poll::Ready(read.transpose()),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }
}
