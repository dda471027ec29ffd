//! Whatever bytes come as a request, the answer is in the contract: never a panic, and never the code of a fault of ours.
//!
//! What does not decode is answered by the transport, with INTERNAL as gRPC has it, and never comes here.

use std::sync::Arc;

use decant_chassis::tasks::Tasks;
use decant_fuzz::{Format, Target};
use decant_proto::inference as oip;
use decant_proto::inference::grpc_inference_service_server::GrpcInferenceService;
use decant_proto::scorer::v1 as wire;
use decant_proto::scorer::v1::scorer_service_server::ScorerService;
use prost::Message;
use tokio::runtime::{Builder, Runtime};
use tonic::{Code, Request, Response, Status};

use crate::config::Config;
use crate::health::Health;
use crate::oip::Protocol;
use crate::service::Service;

const TRIES: u64 = 20_000;

/// What may be wrong with a request to a version that is ready. A deadline can be in the request, too.
const REFUSALS: [Code; 4] = [
    Code::InvalidArgument,
    Code::NotFound,
    Code::ResourceExhausted,
    Code::DeadlineExceeded,
];

/// Python's clients refuse more headers, and take that for another code.
const MOST_HEADERS: usize = 8 << 10;

/// A scorer without a server, and with the fixture's version in service.
struct Scorer {
    runtime: Runtime,
    service: Service,
    protocol: Protocol,
}

impl Scorer {
    fn new() -> Self {
        let runtime = Builder::new_current_thread().enable_time().build().unwrap();
        let config = Config {
            workers: 1,
            ..Config::default()
        };
        let (tasks, _) = Tasks::new();
        let service = {
            let _on_runtime = runtime.enter();
            Service::for_tests(&tasks, config)
        };
        let (reporter, _) = tonic_health::server::health_reporter();
        let protocol = Protocol::new(service.clone(), Arc::new(Health::new(reporter)));
        Self {
            runtime,
            service,
            protocol,
        }
    }
}

/// The answer, if there is one. What is told otherwise must be a refusal that callers can read.
fn told<T>(outcome: Result<Response<T>, Status>) -> Option<T> {
    let status = match outcome {
        Ok(answer) => return Some(answer.into_inner()),
        Err(status) => status,
    };
    let code = status.code();
    assert!(REFUSALS.contains(&code), "{code:?}: {}", status.message());
    let answer = status.into_http::<()>();
    let headers = answer.headers().iter();
    let bytes: usize = headers
        .map(|(name, value)| name.as_str().len() + value.len() + 32)
        .sum();
    assert!(bytes <= MOST_HEADERS, "{bytes} bytes of headers");
    None
}

/// Scores are probabilities, and those of rankings descend.
fn check_ranking(items: &wire::ScoredItems, top_k: u32) {
    assert!(top_k == 0 || items.len() <= top_k as usize);
    let scores = items.iter().map(|item| item.score);
    assert!(scores.clone().all(|score| (0.0..=1.0).contains(&score)));
    assert!(scores.is_sorted_by(|left, right| left >= right));
}

#[test]
fn score() {
    let scorer = Scorer::new();
    Target::new("score", Format::Protobuf).run(TRIES, |bytes| {
        let Ok(request) = wire::ScoreRequest::decode(bytes) else {
            return false;
        };
        let answered = scorer.service.score(Request::new(request));
        let Some(answer) = told(scorer.runtime.block_on(answered)) else {
            return false;
        };
        assert!(!answer.scores.is_empty());
        assert!(
            answer
                .scores
                .iter()
                .all(|score| (0.0..=1.0).contains(score))
        );
        true
    });
}

#[test]
fn rank() {
    let scorer = Scorer::new();
    Target::new("rank", Format::Protobuf).run(TRIES, |bytes| {
        let Ok(request) = wire::RankRequest::decode(bytes) else {
            return false;
        };
        let top_k = request.top_k;
        let answered = scorer.service.rank(Request::new(request));
        let Some(answer) = told(scorer.runtime.block_on(answered)) else {
            return false;
        };
        check_ranking(&answer.items, top_k);
        true
    });
}

#[test]
fn recommend() {
    let scorer = Scorer::new();
    Target::new("recommend", Format::Protobuf).run(TRIES, |bytes| {
        let Ok(request) = wire::RecommendRequest::decode(bytes) else {
            return false;
        };
        let top_k = request.top_k;
        let answered = scorer.service.recommend(Request::new(request));
        let Some(answer) = told(scorer.runtime.block_on(answered)) else {
            return false;
        };
        check_ranking(&answer.items, top_k);
        true
    });
}

#[test]
fn infer() {
    let scorer = Scorer::new();
    Target::new("infer", Format::Protobuf).run(TRIES, |bytes| {
        let Ok(request) = oip::ModelInferRequest::decode(bytes) else {
            return false;
        };
        let answered = scorer.protocol.model_infer(Request::new(request));
        let Some(answer) = told(scorer.runtime.block_on(answered)) else {
            return false;
        };
        let rows = answer.fields.outputs[0].shape[0];
        let raw = answer
            .fields
            .raw_output_contents
            .first()
            .map(|raw| raw.len() / 4);
        let typed = answer.fields.outputs[0].contents.as_ref();
        let scores = raw.or(typed.map(|typed| typed.fp32_contents.len()));
        assert_eq!(usize::try_from(rows).ok(), scores);
        true
    });
}
