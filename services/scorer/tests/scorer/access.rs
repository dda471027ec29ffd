//! Who may have scores: of callers whom a gate has let in.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use decant_chassis::server::Routes;
use decant_model::access::{Principal, Role};
use decant_proto::inference as oip;
use decant_proto::inference::grpc_inference_service_client::GrpcInferenceServiceClient;
use decant_proto::scorer::v1 as wire;
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::{Code, Response, Status};
use wire::scorer_service_client::ScorerServiceClient;

use crate::harness::{Scorer, films, score};

/// A scorer as one principal calls it, without a server between.
#[derive(Clone)]
struct By {
    routes: Routes,
    principal: Arc<Principal>,
}

impl By {
    fn viewer_of(scorer: &Scorer, model: &str) -> Self {
        let models = vec![model.parse().unwrap()];
        Self {
            routes: scorer.app.routes(),
            principal: Arc::new(Principal::new("ana", Role::Viewer, models)),
        }
    }

    fn scorer(&self) -> ScorerServiceClient<By> {
        ScorerServiceClient::new(self.clone())
    }

    fn inference(&self) -> GrpcInferenceServiceClient<By> {
        GrpcInferenceServiceClient::new(self.clone())
    }
}

impl Service<http::Request<Body>> for By {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = <Routes as Service<http::Request<Body>>>::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Service::<http::Request<Body>>::poll_ready(&mut self.routes, context)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        let principal = Arc::clone(&self.principal);
        request.extensions_mut().insert(principal);
        self.routes.call(request)
    }
}

fn refused<T>(what: &str, outcome: Result<Response<T>, Status>) {
    let status = outcome
        .err()
        .unwrap_or_else(|| panic!("{what} is answered"));
    assert_eq!(status.code(), Code::PermissionDenied, "{what}: {status}");
    assert!(status.message().contains("on model `films`"), "{status}");
}

#[tokio::test]
async fn whoever_is_of_another_model_gets_nothing_of_this_one() {
    let (scorer, _) = Scorer::serving().await;
    let books = By::viewer_of(&scorer, "books");
    let mut client = books.scorer();
    refused("score", client.score(score(1, &[100])).await);
    let rank = wire::RankRequest {
        model: films(),
        ..wire::RankRequest::default()
    };
    refused("rank", client.rank(rank).await);
    let recommend = wire::RecommendRequest {
        model: films(),
        ..wire::RecommendRequest::default()
    };
    refused("recommend", client.recommend(recommend).await);
    let evidence = wire::GetEvidenceRequest { model: films() };
    refused("evidence", client.get_evidence(evidence).await);
    let message = wire::ScoreStreamRequest {
        id: 7,
        request: Some(score(1, &[100])),
    };
    let answers = client.score_stream(tokio_stream::iter([message])).await;
    let answer = answers.unwrap().into_inner().message().await.unwrap();
    let Some(wire::score_stream_response::Outcome::Error(error)) = answer.unwrap().outcome else {
        panic!("a message of the stream is answered");
    };
    assert_eq!(error.code, i32::from(Code::PermissionDenied));

    let mut client = books.inference();
    let infer = oip::ModelInferRequest {
        model_name: "films".into(),
        ..oip::ModelInferRequest::default()
    };
    refused("infer", client.model_infer(infer.clone()).await);
    let answers = client.model_stream_infer(tokio_stream::iter([infer])).await;
    let answer = answers.unwrap().into_inner().message().await.unwrap();
    let error = answer.unwrap().error_message;
    assert!(error.contains("on model `films`"), "{error}");
    let ready = oip::ModelReadyRequest {
        name: "films".into(),
        version: String::new(),
    };
    refused("ready", client.model_ready(ready).await);
    let metadata = oip::ModelMetadataRequest {
        name: "films".into(),
        version: String::new(),
    };
    refused("metadata", client.model_metadata(metadata).await);
    let config = oip::ModelConfigRequest {
        name: "films".into(),
        version: String::new(),
    };
    refused("config", client.model_config(config).await);
    let statistics = oip::ModelStatisticsRequest {
        name: "films".into(),
        version: String::new(),
    };
    refused("statistics", client.model_statistics(statistics).await);
    let load = oip::RepositoryModelLoadRequest {
        model_name: "films".into(),
        ..oip::RepositoryModelLoadRequest::default()
    };
    refused("load", client.repository_model_load(load).await);
}

#[tokio::test]
async fn lists_hold_what_the_caller_may_see() {
    let (scorer, _) = Scorer::serving().await;
    for (model, expected) in [("films", 1), ("books", 0)] {
        let by = By::viewer_of(&scorer, model);
        let list = wire::ListServablesRequest {};
        let listed = by.scorer().list_servables(list).await.unwrap();
        assert_eq!(listed.into_inner().servables.len(), expected, "{model}");
        let index = oip::RepositoryIndexRequest::default();
        let index = by.inference().repository_index(index).await;
        assert_eq!(index.unwrap().into_inner().models.len(), expected);
        let all = oip::ModelStatisticsRequest::default();
        let all = by.inference().model_statistics(all).await;
        assert_eq!(all.unwrap().into_inner().model_stats.len(), expected);
    }
}

#[tokio::test]
async fn viewers_of_a_model_have_its_scores() {
    let (scorer, _) = Scorer::serving().await;
    let viewer = By::viewer_of(&scorer, "films");
    let answer = viewer.scorer().score(score(1, &[100, 101])).await.unwrap();
    assert_eq!(answer.into_inner().scores.len(), 2);
}
