//! What bad requests are told: the code, and every violation.

use std::collections::HashMap;
use std::time::Duration;

use decant_proto::inference as oip;
use futures::StreamExt;
use oip::grpc_inference_service_client::GrpcInferenceServiceClient;
use oip::infer_parameter::ParameterChoice;
use oip::model_infer_request::InferRequestedOutputTensor;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

use super::{Tensor, parameter, request, tensors, within};
use crate::fixture::FILMS;
use crate::harness::{Scorer, eventually, files, narrow, score};
use crate::refusals::check_busy;

async fn refused(scorer: &Scorer, request: oip::ModelInferRequest) -> Status {
    scorer
        .inference
        .clone()
        .model_infer(request)
        .await
        .unwrap_err()
}

/// The fields that a refusal names.
fn fields(status: &Status) -> Vec<String> {
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    let details = status.get_details_bad_request().expect("a BadRequest");
    let violations = details.field_violations.into_iter();
    violations.map(|violation| violation.field).collect()
}

#[tokio::test]
async fn everything_that_is_wrong_is_told_at_once() {
    let (scorer, _) = Scorer::serving().await;
    let mut astray = request(
        &[
            Tensor::fp32("user", &[2], &[1.0, 2.0]),
            Tensor::int64("age", &[2], &[1]),
            Tensor::int64("usr", &[2], &[1, 2]),
        ],
        true,
    );
    astray.parameters.insert(
        "timeout".into(),
        parameter(ParameterChoice::StringParam("1s".into())),
    );
    let classes = HashMap::from([(
        "classification".to_owned(),
        parameter(ParameterChoice::Int64Param(3)),
    )]);
    for (name, parameters) in [("score", classes), ("logit", HashMap::new())] {
        let name = name.into();
        astray
            .outputs
            .push(InferRequestedOutputTensor { name, parameters });
    }
    let status = refused(&scorer, astray).await;
    let expected = [
        "parameters[timeout]",
        "outputs[score].parameters[classification]",
        "outputs[logit]",
        "inputs[age]",
        "inputs[usr]",
        "inputs[user]",
        "inputs[film]",
        "inputs[genres]",
    ];
    assert_eq!(fields(&status), expected);
    assert!(
        status
            .message()
            .contains("inputs[user]: has type float, but string or int64 is expected"),
        "{}",
        status.message()
    );

    // What only the encoder finds is told in the same words.
    let mut types = tensors(1, &[100, 101]);
    types[0] = Tensor::fp32("user", &[2], &[1.0, 2.0]);
    types[1] = Tensor::bytes("age", &[2], &["1", "2"]);
    types[2] = Tensor::int64("film", &[2, 2], &[100, 101, 102, 103]);
    let status = refused(&scorer, request(&types, false)).await;
    assert_eq!(
        fields(&status),
        ["inputs[user]", "inputs[age]", "inputs[film]"]
    );

    let endless: Vec<Tensor> = (0..1_000)
        .map(|_| Tensor::int64("usr", &[1], &[1]))
        .collect();
    let status = refused(&scorer, request(&endless, true)).await;
    assert!(fields(&status).len() < 1_000);
    assert!(status.message().ends_with("more that find no room here"));

    let mut names = request(&tensors(1, &[100]), true);
    (names.model_name, names.model_version) = ("Films".into(), "v1".into());
    assert_eq!(
        fields(&refused(&scorer, names).await),
        ["model_name", "model_version"]
    );

    for films in [vec![], vec![100; 10_001]] {
        let status = refused(&scorer, request(&tensors(1, &films), true)).await;
        assert_eq!(fields(&status), ["inputs"]);
    }
    for micros in [
        ParameterChoice::Int64Param(-1),
        ParameterChoice::DoubleParam(1.0),
    ] {
        let mut negative = request(&tensors(1, &[100]), true);
        negative
            .parameters
            .insert("timeout".into(), parameter(micros));
        assert_eq!(
            fields(&refused(&scorer, negative).await),
            ["parameters[timeout]"]
        );
    }
    scorer.stop().await;
}

#[tokio::test]
async fn a_deadline_is_the_sooner_of_two() {
    let (scorer, _) = Scorer::serving().await;
    let films = [100; FILMS];
    let asked = || request(&tensors(1, &films), true);
    let expired = refused(&scorer, within(1, asked())).await;
    assert_eq!(expired.code(), Code::DeadlineExceeded, "{expired:?}");
    for micros in [0, 30_000_000, i64::MAX] {
        let mut request = Request::new(within(micros, asked()));
        request.set_timeout(Duration::from_secs(30));
        assert!(scorer.inference.clone().model_infer(request).await.is_ok());
    }
    let mut request = Request::new(within(30_000_000, asked()));
    request
        .metadata_mut()
        .insert("grpc-timeout", "100n".parse().unwrap());
    // Without a channel, which would give it up by itself.
    let mut client = GrpcInferenceServiceClient::new(scorer.app.routes());
    let expired = client.model_infer(request).await.unwrap_err();
    assert_eq!(expired.code(), Code::DeadlineExceeded, "{expired:?}");
    scorer.stop().await;
}

#[tokio::test]
async fn a_full_queue_refuses_with_a_time_to_come_again() {
    let scorer = Scorer::start_with(narrow(1_000, 1_000)).await;
    scorer.pour(1, &files(0.0)).await;
    let calls = (0..200).map(|_| {
        let mut client = scorer.inference.clone();
        async move {
            client
                .model_infer(request(&tensors(1, &[100; 900]), true))
                .await
        }
    });
    let answers = futures::future::join_all(calls).await;
    check_busy(answers.into_iter().filter_map(Result::err));
    scorer.stop().await;
}

#[tokio::test]
async fn what_is_not_there_or_not_ready_is_said_to_be() {
    let (scorer, _) = Scorer::serving().await;
    for (name, version) in [("books", ""), ("films/trial", ""), ("films", "2")] {
        let mut asked = request(&tensors(1, &[100]), true);
        (asked.model_name, asked.model_version) = (name.into(), version.into());
        let status = refused(&scorer, asked).await;
        assert_eq!(status.code(), Code::NotFound, "{status:?}");
        let about = (name.to_owned(), version.to_owned());
        let (mut client, (name, version)) = (scorer.inference.clone(), about.clone());
        let metadata = client
            .model_metadata(oip::ModelMetadataRequest { name, version })
            .await;
        assert_eq!(metadata.unwrap_err().code(), Code::NotFound);
        let (name, version) = about.clone();
        let config = client
            .model_config(oip::ModelConfigRequest { name, version })
            .await;
        assert_eq!(config.unwrap_err().code(), Code::NotFound);
        let (name, version) = about.clone();
        let statistics = client
            .model_statistics(oip::ModelStatisticsRequest { name, version })
            .await;
        assert_eq!(statistics.unwrap_err().code(), Code::NotFound);
        let (name, version) = about;
        let ready = client
            .model_ready(oip::ModelReadyRequest { name, version })
            .await;
        assert!(!ready.unwrap().into_inner().ready);
    }
    scorer.empty(2).await;
    eventually("the slot is empty", || async {
        let answer = scorer.client.clone().score(score(1, &[100])).await;
        answer.is_err_and(|status| status.code() == Code::Unavailable)
    })
    .await;
    for version in ["", "1"] {
        let mut asked = request(&tensors(1, &[100]), true);
        asked.model_version = version.into();
        assert_eq!(refused(&scorer, asked).await.code(), Code::Unavailable);
    }
    scorer.stop().await;
}

#[tokio::test]
async fn slots_are_not_set_at_a_scorer() {
    let (scorer, _) = Scorer::serving().await;
    let load = async |repository: &str, model: &str| {
        let request = oip::RepositoryModelLoadRequest {
            repository_name: repository.to_owned(),
            model_name: model.to_owned(),
            parameters: HashMap::new(),
        };
        let loaded = scorer
            .inference
            .clone()
            .repository_model_load(request)
            .await;
        loaded.unwrap_err()
    };
    let status = load("", "films/trial").await;
    assert_eq!(status.code(), Code::FailedPrecondition);
    for command in ["rollout start", "slot set"] {
        let command = format!("`decant {command} films VERSION --slot trial`");
        assert!(status.message().contains(&command), "{}", status.message());
    }
    assert_eq!(
        fields(&load("elsewhere", "films").await),
        ["repository_name"]
    );
    assert_eq!(fields(&load("", "Films").await), ["model_name"]);

    let request = oip::RepositoryModelUnloadRequest {
        model_name: "films".into(),
        ..oip::RepositoryModelUnloadRequest::default()
    };
    let unloaded = scorer
        .inference
        .clone()
        .repository_model_unload(request)
        .await;
    let status = unloaded.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(
        status
            .message()
            .contains("`decant rollout start films VERSION`"),
        "{}",
        status.message()
    );
    let elsewhere = oip::RepositoryIndexRequest {
        repository_name: "elsewhere".into(),
        ready: false,
    };
    let index = scorer.inference.clone().repository_index(elsewhere).await;
    assert_eq!(fields(&index.unwrap_err()), ["repository_name"]);
    scorer.stop().await;
}

#[tokio::test]
async fn an_open_stream_ends_when_the_scorer_stops() {
    let (scorer, _) = Scorer::serving().await;
    let open = tokio_stream::iter([request(&tensors(1, &[100]), true)]);
    let open = open.chain(tokio_stream::pending());
    let answers = scorer.inference.clone().model_stream_infer(open).await;
    let mut answers = answers.unwrap().into_inner();
    let first = answers.message().await.unwrap().unwrap();
    assert_eq!(first.error_message, "");
    scorer.drain().await;
    let status = answers.message().await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    scorer.stop().await;
}

#[tokio::test]
async fn a_priority_is_a_name_or_a_number_from_1() {
    let (scorer, _) = Scorer::serving().await;
    let asked = |priority: ParameterChoice| {
        let mut asked = request(&tensors(1, &[100]), true);
        let priority = parameter(priority);
        asked.parameters.insert("priority".into(), priority);
        asked
    };
    for number in 0..5 {
        scorer
            .infer(asked(ParameterChoice::Int64Param(number)))
            .await;
        let number = number.unsigned_abs();
        scorer
            .infer(asked(ParameterChoice::Uint64Param(number)))
            .await;
    }
    let named = ParameterChoice::StringParam;
    scorer.infer(asked(named("sheddable".into()))).await;
    for bad in [
        named("urgent".into()),
        ParameterChoice::Int64Param(-1),
        ParameterChoice::BoolParam(true),
    ] {
        let status = refused(&scorer, asked(bad)).await;
        assert_eq!(fields(&status), ["parameters[priority]"]);
    }
    scorer.stop().await;
}

#[tokio::test]
async fn a_draining_scorer_is_not_ready_and_then_refuses() {
    let scorer = Scorer::start().await;
    let is_ready = async || {
        let request = oip::ServerReadyRequest {};
        let answer = scorer.inference.clone().server_ready(request).await;
        answer.unwrap().into_inner().ready
    };
    eventually("the scorer is ready", is_ready).await;
    scorer.pour(1, &files(0.0)).await;
    let health = "inference.GRPCInferenceService";
    let serving = tonic_health::pb::health_check_response::ServingStatus::Serving;
    assert_eq!(scorer.serving_status(health).await, Some(serving));

    scorer.app.announce_drain().await;
    assert!(!is_ready().await);
    assert_ne!(scorer.serving_status(health).await, Some(serving));
    scorer.infer(request(&tensors(1, &[100]), true)).await;

    scorer.drain().await;
    let status = refused(&scorer, request(&tensors(1, &[100]), true)).await;
    assert_eq!(status.code(), Code::Unavailable);
    let model = oip::ModelReadyRequest {
        name: "films".into(),
        version: String::new(),
    };
    let status = scorer
        .inference
        .clone()
        .model_ready(model)
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    let live = scorer
        .inference
        .clone()
        .server_live(oip::ServerLiveRequest {})
        .await;
    assert!(live.unwrap().into_inner().live);
    scorer.stop().await;
}
