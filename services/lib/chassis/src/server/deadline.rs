//! When a caller stops waiting, as it says in `grpc-timeout`: nobody works on then.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use decant_proto::status::ErrorCode;
use http::{HeaderMap, HeaderName, Request, Response};
use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep};
use tonic::body::Body;
use tower::Service;

static TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// How long the caller waits, from when the call came in; `None` without the header, or with one that does not parse.
pub fn timeout(headers: &HeaderMap) -> Option<Duration> {
    parse(headers.get(&TIMEOUT)?.to_str().ok()?)
}

/// At most eight digits and a unit.
fn parse(header: &str) -> Option<Duration> {
    let (digits, unit) = header.split_at_checked(header.len().checked_sub(1)?)?;
    if !(1..=8).contains(&digits.len()) || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(amount * 3600)),
        "M" => Some(Duration::from_secs(amount * 60)),
        "S" => Some(Duration::from_secs(amount)),
        "m" => Some(Duration::from_millis(amount)),
        "u" => Some(Duration::from_micros(amount)),
        "n" => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

/// Services that give calls up when their callers have.
#[derive(Clone)]
pub(super) struct InTime<S>(pub(super) S);

impl<S, B> Service<Request<B>> for InTime<S>
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
            timeout: timeout(request.headers()),
            inner: self.0.call(request),
            deadline: None,
        }
    }
}

pin_project! {
    /// An answer that comes in time, or is that it did not.
    pub(super) struct Answer<F> {
        #[pin]
        inner: F,
        // From when it is first looked at, which is when the call has come in.
        timeout: Option<Duration>,
        // The same for an answer that did not come at once: most do, and need no clock.
        #[pin]
        deadline: Option<Sleep>,
    }
}

impl<F> Future for Answer<F>
where
    F: Future<Output = Result<Response<Body>, Infallible>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let mut this = self.project();
        if let Poll::Ready(answer) = this.inner.poll(context) {
            return Poll::Ready(answer);
        }
        if let Some(timeout) = this.timeout.take() {
            this.deadline.set(Some(sleep(timeout)));
        }
        let Some(deadline) = this.deadline.as_pin_mut() else {
            return Poll::Pending;
        };
        ready!(deadline.poll(context));
        let status = ErrorCode::Expired.status("the deadline passed before there was an answer");
        Poll::Ready(Ok(status.into_http()))
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use tokio::time::Instant;
    use tonic::{Code, Status};
    use tower::service_fn;

    use super::*;

    #[test]
    fn the_header_is_read_as_the_protocol_has_it() {
        assert_eq!(parse("2H"), Some(Duration::from_secs(7200)));
        assert_eq!(parse("99999999n"), Some(Duration::from_nanos(99_999_999)));
        assert_eq!(parse("20m"), Some(Duration::from_millis(20)));
        for bad in ["", "m", "5", "-1m", "1.5S", "123456789m", "1h", "é", "1é"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_is_given_up_when_its_caller_has() {
        let never = service_fn(|_: Request<()>| std::future::pending());
        let waits = |timeout: Option<&str>| {
            let request = timeout
                .into_iter()
                .fold(Request::builder(), |request, timeout| {
                    request.header("grpc-timeout", timeout)
                });
            InTime(never).call(request.body(()).unwrap())
        };
        assert!(waits(None).now_or_never().is_none());

        let begun = Instant::now();
        let answer = waits(Some("30m")).await.unwrap();
        assert_eq!(begun.elapsed(), Duration::from_millis(30));
        let status = Status::from_header_map(answer.headers()).unwrap();
        assert_eq!(status.code(), Code::DeadlineExceeded);
    }
}
