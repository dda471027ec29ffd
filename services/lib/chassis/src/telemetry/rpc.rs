//! Every call of a server: how long it took and how it ended, and a span where somebody traces it. It is the outermost layer,
//! so that what is refused is counted too. A call that is not traced costs two looks at the clock and one update of a histogram;
//! nothing is allocated for it.

mod methods;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use decant_proto::status::code_name;
use http::{HeaderMap, HeaderName};
use http_body::{Body, Frame, SizeHint};
use opentelemetry::metrics::Meter;
use pin_project_lite::pin_project;
use tonic::Code;
use tower::{Layer, Service};
use tracing::{Span, field, info_span};

use self::methods::Methods;
use super::propagation::{self, Caller};
use super::sampling::Ratio;

/// Where gRPC says how a call ended.
pub(crate) static STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// Watches the calls of the service below.
#[derive(Clone, Debug)]
pub struct ObserveLayer {
    methods: Arc<Methods>,
    sampling: Arc<Ratio>,
}

impl ObserveLayer {
    /// Counts with this meter. Calls are traced when their callers say so.
    pub fn new(meter: &Meter) -> Self {
        Self {
            methods: Arc::new(Methods::new(meter)),
            sampling: Arc::new(Ratio::new(0.0)),
        }
    }

    /// Also traces a share, from 0 to 1, of those calls whose callers say nothing.
    #[must_use]
    pub fn sampling(self, share: f64) -> Self {
        Self {
            sampling: Arc::new(Ratio::new(share)),
            ..self
        }
    }
}

impl<S> Layer<S> for ObserveLayer {
    type Service = Observe<S>;

    fn layer(&self, inner: S) -> Observe<S> {
        Observe {
            inner,
            layer: self.clone(),
        }
    }
}

/// A service whose calls are watched.
#[derive(Clone, Debug)]
pub struct Observe<S> {
    inner: S,
    layer: ObserveLayer,
}

impl<S, B, R> Service<http::Request<B>> for Observe<S>
where
    S: Service<http::Request<B>, Response = http::Response<R>>,
    R: Body,
{
    type Response = http::Response<ObservedBody<R>>;
    type Error = S::Error;
    type Future = Answer<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let call = Call::begin(&self.layer, &request);
        let inner = {
            let _entered = call.span.enter();
            self.inner.call(request)
        };
        Answer {
            inner,
            call: Some(call),
        }
    }
}

pin_project! {
    /// The answer to a watched call.
    #[derive(Debug)]
    pub struct Answer<F> {
        #[pin]
        inner: F,
        call: Option<Call>,
    }
}

impl<F, R, E> Future for Answer<F>
where
    F: Future<Output = Result<http::Response<R>, E>>,
    R: Body,
{
    type Output = Result<http::Response<ObservedBody<R>>, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let outcome = {
            let _entered = this.call.as_ref().map(|call| call.span.enter());
            ready!(this.inner.poll(context))
        };
        let call = this.call.take();
        let response = match outcome {
            Ok(response) => response,
            Err(error) => {
                end(call, Code::Unknown);
                return Poll::Ready(Err(error));
            }
        };
        let call = match status(response.headers()) {
            Some(code) => {
                end(call, code);
                None
            }
            // There is nothing that could still say how it ended, and nobody will ask the body.
            None if response.body().is_end_stream() => {
                end(call, Code::Unknown);
                None
            }
            None => call,
        };
        Poll::Ready(Ok(response.map(|inner| ObservedBody { inner, call })))
    }
}

/// The messages of a watched call's answer, which ends with them.
#[derive(Debug)]
pub struct ObservedBody<R> {
    inner: R,
    call: Option<Call>,
}

impl<R: Body + Unpin> Body for ObservedBody<R> {
    type Data = R::Data;
    type Error = R::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let this = self.get_mut();
        let frame = {
            let _entered = this.call.as_ref().map(|call| call.span.enter());
            ready!(Pin::new(&mut this.inner).poll_frame(context))
        };
        let code = match &frame {
            Some(Ok(frame)) => frame
                .trailers_ref()
                .map(|trailers| status(trailers).unwrap_or(Code::Unknown)),
            Some(Err(_)) | None => Some(Code::Unknown),
        };
        if let Some(code) = code {
            end(this.call.take(), code);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// How a call ended, where these are the headers or trailers that say so.
pub(crate) fn status(headers: &HeaderMap) -> Option<Code> {
    headers
        .get(&STATUS)
        .map(|status| Code::from_bytes(status.as_bytes()))
}

fn end(call: Option<Call>, code: Code) {
    if let Some(mut call) = call {
        call.code = code;
    }
}

/// A call under way. It is counted when it is dropped; one that nobody ended was given up by its caller.
#[derive(Debug)]
struct Call {
    methods: Arc<Methods>,
    /// The place of its method among them.
    method: usize,
    started: Instant,
    code: Code,
    span: Span,
}

impl Call {
    fn begin<B>(layer: &ObserveLayer, request: &http::Request<B>) -> Self {
        let methods = Arc::clone(&layer.methods);
        let method = methods.place(request.uri().path());
        let span = match Caller::of(request.headers()) {
            Caller::Traces(parent) => {
                let span = span(methods.name(method));
                propagation::adopt(&span, &parent);
                span
            }
            Caller::IsSilent if layer.sampling.takes() => {
                let span = span(methods.name(method));
                propagation::identify(&span);
                span
            }
            Caller::IsSilent | Caller::Declines => Span::none(),
        };
        Self {
            methods,
            method,
            started: Instant::now(),
            code: Code::Cancelled,
            span,
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.methods
            .record(self.method, self.code, self.started.elapsed());
        if !self.span.is_none() {
            self.span
                .record("rpc.response.status_code", code_name(self.code));
            if is_fault(self.code) {
                self.span.record("otel.status_code", "error");
            }
        }
    }
}

fn span(method: &str) -> Span {
    // The trace begins here or at the caller, never with what else this thread may be doing.
    info_span!(
        parent: None,
        "rpc",
        otel.name = method,
        otel.kind = "server",
        otel.status_code = field::Empty,
        rpc.system.name = "grpc",
        rpc.method = method,
        rpc.response.status_code = field::Empty,
        trace_id = field::Empty,
        span_id = field::Empty,
    )
}

/// Whether a code says that the server, and not the caller, did something wrong.
fn is_fault(code: Code) -> bool {
    matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    )
}

#[cfg(test)]
mod tests;
