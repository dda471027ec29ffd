//! Calls of one message and one answer, without the machinery for streams of them: for a small call, that is felt.
//!
//! A request that has come as a whole is read and answered here. All others, and those with which something is wrong, go to the
//! generated server.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{BufMut as _, Bytes, BytesMut};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use http_body::{Body as _, Frame};
use prost::Message;
use tonic::body::Body;
use tonic::metadata::{GRPC_CONTENT_TYPE, MetadataMap};
use tonic::{Request, Status};
use tower::Service;

use crate::telemetry::rpc::STATUS;

/// Bytes before each message: whether it is compressed, and its length.
pub const PREFIX: usize = 5;

/// A frame of a body; nothing, if it has ended.
pub type Read = Option<Result<Frame<Bytes>, Status>>;

/// Answers a call with `answer` if its message is there as a whole, and has no more than `largest` bytes; else with the
/// `server`, as if nobody had looked at it.
///
/// # Errors
/// None.
pub async fn unary<Q, A, F, S>(
    request: http::Request<Body>,
    largest: usize,
    answer: impl FnOnce(Request<Q>) -> F,
    mut server: S,
) -> Result<http::Response<Body>, Infallible>
where
    Q: Message + Default,
    A: Message,
    F: Future<Output = Result<A, Status>>,
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>,
{
    match read(request, largest).await {
        Ok(request) => Ok(response(answer(request).await)),
        Err(request) => server.call(request).await,
    }
}

/// The message, if it has come, and nothing but it; else the request as it was.
async fn read<Q: Message + Default>(
    request: http::Request<Body>,
    largest: usize,
) -> Result<Request<Q>, http::Request<Body>> {
    let (head, mut body) = request.into_parts();
    let as_it_was = |head, body: Begun| http::Request::from_parts(head, Body::new(body));
    let Poll::Ready(first) = next(&mut body).await else {
        return Err(http::Request::from_parts(head, body));
    };
    let Some(message) = first.as_ref().and_then(|frame| whole(frame, largest)) else {
        return Err(as_it_was(head, Begun::new(first, body)));
    };
    if !body.is_end_stream() {
        let then = next(&mut body).await;
        match then {
            Poll::Pending => return Err(as_it_was(head, Begun::new(first, body))),
            Poll::Ready(then) if !is_end(&then, &body) => {
                let begun = Begun::new(then, body);
                return Err(as_it_was(head, Begun::new(first, Body::new(begun))));
            }
            Poll::Ready(_) => {}
        }
    }
    match Q::decode(message) {
        Ok(message) => {
            let metadata = MetadataMap::from_headers(head.headers);
            Ok(Request::from_parts(metadata, head.extensions, message))
        }
        Err(_) => Err(as_it_was(head, Begun::new(first, Body::empty()))),
    }
}

/// The next frame, if it has come.
async fn next(body: &mut Body) -> Poll<Read> {
    poll_fn(|context| Poll::Ready(Pin::new(&mut *body).poll_frame(context))).await
}

/// The one message that a frame is: not compressed, and not too large.
fn whole(frame: &Result<Frame<Bytes>, Status>, largest: usize) -> Option<Bytes> {
    let data = frame.as_ref().ok()?.data_ref()?;
    let ([0, length @ ..], message) = data.split_first_chunk::<PREFIX>()? else {
        return None;
    };
    let is_whole = u32::from_be_bytes(*length) as usize == message.len();
    (is_whole && message.len() <= largest).then(|| data.slice(PREFIX..))
}

/// Whether it says that there is no more, and nothing else: some clients send it apart.
fn is_end(read: &Read, rest: &Body) -> bool {
    match read {
        None => true,
        Some(Ok(frame)) => frame.data_ref().is_some_and(Bytes::is_empty) && rest.is_end_stream(),
        Some(Err(_)) => false,
    }
}

fn response<A: Message>(answer: Result<A, Status>) -> http::Response<Body> {
    let answer = match answer.and_then(|answer| encode(&answer)) {
        Ok(answer) => answer,
        Err(status) => return status.into_http(),
    };
    let mut response = http::Response::new(Body::new(Answer::Whole(answer)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, GRPC_CONTENT_TYPE);
    response
}

fn encode<A: Message>(answer: &A) -> Result<Bytes, Status> {
    let length = answer.encoded_len();
    let prefix = u32::try_from(length).map_err(|_| {
        Status::out_of_range(format!(
            "the answer has {length} bytes, which no message may"
        ))
    })?;
    let mut bytes = BytesMut::with_capacity(PREFIX + length);
    bytes.put_u8(0);
    bytes.put_u32(prefix);
    // As `encode`, which would measure it once more.
    answer.encode_raw(&mut bytes);
    Ok(bytes.freeze())
}

/// What is still to be sent of an answer.
enum Answer {
    Whole(Bytes),
    Trailers,
    Nothing,
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let (frame, rest) = match std::mem::replace(&mut *self, Self::Nothing) {
            Self::Whole(message) => (Frame::data(message), Self::Trailers),
            Self::Trailers => {
                let mut trailers = HeaderMap::with_capacity(1);
                trailers.insert(STATUS.clone(), HeaderValue::from_static("0"));
                (Frame::trailers(trailers), Self::Nothing)
            }
            Self::Nothing => return Poll::Ready(None),
        };
        *self = rest;
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Nothing)
    }
}

/// A body of which a frame has been looked at.
pub struct Begun {
    first: Read,
    rest: Body,
}

impl Begun {
    /// One that is this, and then the rest.
    pub fn new(first: Read, rest: Body) -> Self {
        Self { first, rest }
    }
}

impl http_body::Body for Begun {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        match self.first.take() {
            Some(first) => Poll::Ready(Some(first)),
            None => Pin::new(&mut self.rest).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.rest.is_end_stream()
    }
}

#[cfg(test)]
mod tests;
