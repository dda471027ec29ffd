use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::poll_fn;

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use tower::{ServiceExt as _, service_fn};

use super::*;
use crate::telemetry::{Format, Telemetry, logs};

/// A body of given frames.
struct Frames(VecDeque<Frame<Bytes>>);

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }
}

fn ended(code: &'static str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(&STATUS, HeaderValue::from_static(code));
    headers
}

/// An answer with one message and then these trailers.
fn answer(trailers: HeaderMap) -> Response<Frames> {
    let message = Frame::data(Bytes::from_static(b"message"));
    Response::new(Frames([message, Frame::trailers(trailers)].into()))
}

fn request(path: &str) -> Request<()> {
    Request::builder().uri(path).body(()).unwrap()
}

async fn call(
    layer: &ObserveLayer,
    request: Request<()>,
    response: impl Fn() -> Response<Frames> + Clone,
) -> ObservedBody<Frames> {
    let service = service_fn(move |_: Request<()>| {
        let response = response();
        async move { Ok::<_, Infallible>(response) }
    });
    let Ok(answered) = layer.layer(service).oneshot(request).await;
    answered.into_body()
}

async fn read(mut body: ObservedBody<Frames>) {
    while poll_fn(|context| Pin::new(&mut body).poll_frame(context))
        .await
        .is_some()
    {}
}

/// How often a method's calls ended with a code.
fn count(telemetry: &Telemetry, method: &str, code: &str) -> u64 {
    let families = telemetry.prometheus().gather();
    let family = families
        .iter()
        .find(|family| family.name() == "rpc_server_call_duration_seconds");
    let metrics = family.map_or(&[][..], |family| family.get_metric());
    let has = |metric: &prometheus::proto::Metric, value: &str| {
        metric
            .get_label()
            .iter()
            .any(|label| label.value() == value)
    };
    let counts = metrics
        .iter()
        .filter(|metric| has(metric, method) && has(metric, code))
        .map(|metric| metric.get_histogram().get_sample_count());
    counts.sum()
}

const SCORE: &str = "decant.scorer.v1.ScorerService/Score";
const SCORE_PATH: &str = "/decant.scorer.v1.ScorerService/Score";

#[tokio::test]
async fn a_call_ends_with_its_trailers() {
    let telemetry = Telemetry::none();
    let layer = telemetry.observe();
    let body = call(&layer, request(SCORE_PATH), || answer(ended("0"))).await;
    assert_eq!(count(&telemetry, SCORE, "OK"), 0);
    read(body).await;
    assert_eq!(count(&telemetry, SCORE, "OK"), 1);
    read(call(&layer, request(SCORE_PATH), || answer(ended("5"))).await).await;
    assert_eq!(count(&telemetry, SCORE, "NOT_FOUND"), 1);
}

#[tokio::test]
async fn an_error_in_the_headers_ends_the_call_at_once() {
    let telemetry = Telemetry::none();
    let refused = || {
        let mut response = Response::new(Frames(VecDeque::new()));
        *response.headers_mut() = ended("16");
        response
    };
    let body = call(&telemetry.observe(), request(SCORE_PATH), refused).await;
    assert_eq!(count(&telemetry, SCORE, "UNAUTHENTICATED"), 1);
    read(body).await;
    let all = ["OK", "UNKNOWN", "CANCELLED"].map(|code| count(&telemetry, SCORE, code));
    assert_eq!(all, [0, 0, 0]);
}

#[tokio::test]
async fn who_does_not_wait_for_the_end_has_cancelled() {
    let telemetry = Telemetry::none();
    let layer = telemetry.observe();
    drop(call(&layer, request(SCORE_PATH), || answer(ended("0"))).await);
    assert_eq!(count(&telemetry, SCORE, "CANCELLED"), 1);
    let silent =
        service_fn(|_: Request<()>| std::future::pending::<Result<Response<Frames>, Infallible>>());
    drop(layer.layer(silent).call(request(SCORE_PATH)));
    assert_eq!(count(&telemetry, SCORE, "CANCELLED"), 2);
}

#[tokio::test]
async fn an_answer_that_does_not_say_how_it_ended_is_unknown() {
    let telemetry = Telemetry::none();
    let layer = telemetry.observe();
    let empty = || Response::new(Frames(VecDeque::new()));
    drop(call(&layer, request(SCORE_PATH), empty).await);
    read(call(&layer, request(SCORE_PATH), || answer(HeaderMap::new())).await).await;
    assert_eq!(count(&telemetry, SCORE, "UNKNOWN"), 2);
}

#[tokio::test]
async fn methods_that_nobody_has_have_no_names() {
    let telemetry = Telemetry::none();
    let layer = telemetry.observe();
    for path in ["/x.Y/Z", "/", "/decant.scorer.v1.ScorerService/Invented"] {
        read(call(&layer, request(path), || answer(ended("12"))).await).await;
    }
    assert_eq!(count(&telemetry, "_OTHER", "UNIMPLEMENTED"), 3);
    let check = request("/grpc.health.v1.Health/Check");
    read(call(&layer, check, || answer(ended("0"))).await).await;
    assert_eq!(count(&telemetry, "grpc.health.v1.Health/Check", "OK"), 1);
}

#[tokio::test]
async fn what_is_logged_in_a_traced_call_names_its_trace() {
    let written = logs::tests::Written::default();
    let (lines, _control) = logs::lines(
        Format::Json,
        logs::parse("info").unwrap(),
        false,
        written.writer(),
    );
    let subscriber =
        tracing_subscriber::layer::SubscriberExt::with(tracing_subscriber::registry(), vec![lines]);
    let guard = tracing::subscriber::set_default(subscriber);
    let layer = Telemetry::none().observe();
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    for flags in ["01", "00"] {
        let mut traced = request(SCORE_PATH);
        let traceparent = format!("00-{trace}-00f067aa0ba902b7-{flags}");
        traced
            .headers_mut()
            .insert("traceparent", traceparent.parse().unwrap());
        let response = move || {
            tracing::info!(flags, "scored");
            answer(ended("0"))
        };
        read(call(&layer, traced, response).await).await;
    }
    drop(guard);
    let written = written.text();
    let lines: Vec<&str> = written.lines().collect();
    assert_eq!(lines.len(), 2, "{written}");
    assert!(
        lines[0].contains(&format!("\"trace_id\":\"{trace}\"")),
        "{written}"
    );
    assert!(
        lines[0].contains(&format!("\"rpc.method\":\"{SCORE}\"")),
        "{written}"
    );
    assert!(!lines[1].contains("trace_id"), "{written}");
}
