//! Calls that panic are answered.

use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use decant_proto::status::ErrorCode;
use http::{Request, Response};
use pin_project_lite::pin_project;
use tonic::body::Body;
use tower::Service;

/// Services whose panics are faults that their callers are told of, and that are counted as such. Without this they would
/// look like calls that their callers gave up.
#[derive(Clone)]
pub(super) struct Caught<S>(pub(super) S);

impl<S, B> Service<Request<B>> for Caught<S>
where
    S: Service<Request<B>, Response = Response<Body>, Error = Infallible>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        Answer {
            inner: self.0.call(request),
        }
    }
}

pin_project! {
    /// An answer, also to a call that panics.
    pub(super) struct Answer<F> {
        #[pin]
        inner: F,
    }
}

impl<F> Future for Answer<F>
where
    F: Future<Output = Result<Response<Body>, Infallible>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let inner = self.project().inner;
        // What panicked is not asked again.
        catch_unwind(AssertUnwindSafe(|| inner.poll(context))).unwrap_or_else(|_| {
            let status = ErrorCode::Internal.status("the call broke off; the log says where");
            Poll::Ready(Ok(status.into_http()))
        })
    }
}
