//! Models.

use decant_proto::registry::v1::*;
use tonic::Code;
use tonic_types::StatusExt;

use super::fixture::{Registry, at_least, bundle};

#[tokio::test]
async fn models_are_created_once_and_listed_by_name() {
    let registry = Registry::start().await;
    let zebras = registry.create("zebras", vec![]).await;
    let movies = registry.create("movies", vec![at_least("auc", 0.7)]).await;
    assert!(movies.create_time.is_some() && movies.latest_version == 0);
    assert_eq!(
        registry.create("movies", vec![at_least("auc", 0.7)]).await,
        movies,
        "the same again is fine"
    );

    let found = registry
        .client()
        .get_model(GetModelRequest {
            name: "movies".into(),
        })
        .await
        .unwrap();
    assert_eq!(found.into_inner().model, Some(movies.clone()));
    let listed = registry
        .client()
        .list_models(ListModelsRequest::default())
        .await
        .unwrap()
        .into_inner()
        .models;
    assert_eq!(listed, [movies, zebras]);

    let other = Model {
        name: "movies".into(),
        description: "other".into(),
        ..Model::default()
    };
    let error = registry
        .client()
        .create_model(CreateModelRequest {
            model: Some(other),
            ..CreateModelRequest::default()
        })
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::AlreadyExists);
    assert!(
        error
            .message()
            .contains("another description and other gates"),
        "{error}"
    );
}

#[tokio::test]
async fn models_that_make_no_sense_are_refused_by_field() {
    let registry = Registry::start().await;
    let gate = |metric: &str, min, max| Gate {
        metric: metric.into(),
        min,
        max,
    };
    let with = |gates| Model {
        name: "movies".into(),
        gates,
        ..Model::default()
    };
    let cases = [
        (
            Model {
                name: "Movies".into(),
                ..Model::default()
            },
            "model.name",
            "`Movies`",
        ),
        (
            Model {
                name: "a".into(),
                description: "x".repeat(5000),
                ..Model::default()
            },
            "model.description",
            "5000",
        ),
        (
            with(vec![at_least("auc", 0.5), gate("", Some(1.0), None)]),
            "model.gates[1]",
            "metric",
        ),
        (
            with(vec![gate("auc", None, None)]),
            "model.gates[0]",
            "neither min nor max",
        ),
        (
            with(vec![gate("auc", Some(0.9), Some(0.8))]),
            "model.gates[0]",
            "above",
        ),
        (
            with(vec![gate("auc", Some(f64::NAN), None)]),
            "model.gates[0]",
            "not finite",
        ),
        (with(vec![at_least("auc", 0.5); 65]), "model.gates", "65"),
    ];
    for (model, field, reason) in cases {
        let error = registry
            .client()
            .create_model(CreateModelRequest {
                model: Some(model),
                ..CreateModelRequest::default()
            })
            .await
            .unwrap_err();
        assert_eq!(error.code(), Code::InvalidArgument);
        let violation = error
            .get_details_bad_request()
            .unwrap()
            .field_violations
            .remove(0);
        assert!(
            violation.field == field && violation.description.contains(reason),
            "{violation:?}"
        );
    }
    let error = registry
        .client()
        .create_model(CreateModelRequest::default())
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    assert_eq!(registry.kept().await, (vec![], vec![]));
}

#[tokio::test]
async fn what_is_not_there_is_not_found_by_name() {
    let registry = Registry::start().await;
    let mut client = registry.client();
    let model = || "nobody".to_owned();
    let errors = [
        client
            .get_model(GetModelRequest { name: model() })
            .await
            .unwrap_err(),
        client
            .list_versions(ListVersionsRequest {
                model: model(),
                ..ListVersionsRequest::default()
            })
            .await
            .unwrap_err(),
        client
            .get_version(GetVersionRequest {
                model: model(),
                version: 1,
            })
            .await
            .unwrap_err(),
        client
            .fetch_bundle(FetchBundleRequest {
                model: model(),
                version: 0,
            })
            .await
            .unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.code(), Code::NotFound);
        assert!(error.message().contains("`nobody`"), "{error}");
    }
    registry.create("movies", vec![]).await;
    let model = || "movies".to_owned();
    let none_yet = client
        .get_version(GetVersionRequest {
            model: model(),
            version: 0,
        })
        .await
        .unwrap_err();
    assert!(
        none_yet.code() == Code::NotFound && none_yet.message().contains("no version yet"),
        "{none_yet}"
    );
    registry.push(&bundle("one")).await.unwrap();
    let unknown = client
        .get_version(GetVersionRequest {
            model: model(),
            version: 2,
        })
        .await
        .unwrap_err();
    assert!(
        unknown.code() == Code::NotFound && unknown.message().contains("v2"),
        "{unknown}"
    );
}
