//! What is checked before a version sees any traffic, and what is gone on without.

use bytes::Bytes;
use decant_artifact::SigningKey;
use decant_model::{Digest, FileEntry, Manifest};
use decant_proto::registry::v1::{self as wire, Gates, Signers, UpdateModelRequest};
use decant_proto::rollout::v1::*;
use decant_proto::status::Reason;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::fixture::{Bundle, Registry, at_least, bundle_with};
use super::releases::{plan, release, serving_one, start};

/// A bundle, one of whose files has another content.
fn with_file(word: &str, path: &str, content: &str, tamper: impl FnOnce(&mut Manifest)) -> Bundle {
    let content = Bytes::copy_from_slice(content.as_bytes());
    let entry = FileEntry {
        sha256: Digest::of(&content),
        size: content.len() as u64,
    };
    let mut bundle = bundle_with(word, |manifest| {
        manifest.files.insert(path.parse().unwrap(), entry);
        tamper(manifest);
    });
    bundle.files.insert(path.parse().unwrap(), content);
    bundle
}

fn at_most(metric: &str, max: f64) -> wire::Gate {
    wire::Gate {
        metric: metric.into(),
        min: None,
        max: Some(max),
    }
}

async fn update(registry: &Registry, request: UpdateModelRequest) {
    let request = UpdateModelRequest {
        name: "movies".into(),
        ..request
    };
    registry.client().update_model(request).await.unwrap();
}

/// The checks that a refusal names, in their order.
fn named(status: &Status) -> Vec<String> {
    assert_eq!(status.code(), Code::FailedPrecondition, "{status}");
    assert_eq!(Reason::of(status), Some(Reason::GateFailed), "{status}");
    let failure = status.get_details_precondition_failure().unwrap();
    let violations = failure.violations.into_iter();
    violations.map(|violation| violation.subject).collect()
}

fn without(checks: &[&str], reason: &str) -> StartRolloutRequest {
    StartRolloutRequest {
        version: 3,
        override_checks: checks.iter().map(|name| (*name).to_owned()).collect(),
        reason: reason.into(),
        dry_run: true,
        ..release(plan(&["10%"]))
    }
}

#[tokio::test]
async fn every_check_that_fails_is_named_and_each_can_be_gone_on_without() {
    let registry = serving_one().await;
    let bad = with_file("three", "golden.json", "", |manifest| {
        manifest.lineage.code_revision.clear();
        manifest.metrics.insert("fidelity_kl".into(), 0.5);
        manifest.metrics.insert("latency_micros".into(), 900.0);
        let features = b"[]";
        let entry = FileEntry {
            sha256: Digest::of(features),
            size: features.len() as u64,
        };
        manifest
            .files
            .insert("features.json".parse().unwrap(), entry);
    });
    let mut bad = bad;
    bad.files
        .insert("features.json".parse().unwrap(), Bytes::from_static(b"[]"));
    registry.push(&bad).await.unwrap();
    // It was approved by gates that were easier than those of now.
    let gates = Gates {
        gates: vec![at_least("auc", 0.9), at_most("fidelity_kl", 0.1)],
    };
    update(
        &registry,
        UpdateModelRequest {
            gates: Some(gates),
            ..UpdateModelRequest::default()
        },
    )
    .await;

    let failing = ["lineage", "evaluation", "fidelity", "features", "golden"];
    let refused = start(&registry, without(&[], "")).await.unwrap_err();
    assert_eq!(named(&refused), failing);
    assert!(refused.message().contains("auc is 0.8"), "{refused}");
    for left in failing {
        let others: Vec<&str> = failing.into_iter().filter(|name| *name != left).collect();
        let refused = start(&registry, without(&others, "known"))
            .await
            .unwrap_err();
        assert_eq!(named(&refused), [left]);
    }
    let unreasoned = start(&registry, without(&failing, "")).await.unwrap_err();
    assert!(unreasoned.message().contains("reason"), "{unreasoned}");
    let begun = start(&registry, without(&failing, "known")).await.unwrap();
    for check in begun.rollout.unwrap().checks {
        let is_failing = failing.contains(&&*check.name);
        assert_eq!((check.passed, check.overridden), (!is_failing, is_failing));
    }
}

#[tokio::test]
async fn a_version_that_is_much_slower_than_the_stable_one_is_refused() {
    let registry = serving_one().await;
    for (word, micros) in [("three", 100.0), ("four", 500.0)] {
        let timed = bundle_with(word, |manifest| {
            manifest.metrics.insert("latency_micros".into(), micros);
        });
        registry.push(&timed).await.unwrap();
    }
    let set = SetSlotRequest {
        model: "movies".into(),
        version: 3,
        ..SetSlotRequest::default()
    };
    registry.slots().set_slot(set).await.unwrap();
    let slower = StartRolloutRequest {
        version: 4,
        ..without(&[], "")
    };
    let refused = start(&registry, slower).await.unwrap_err();
    assert_eq!(named(&refused), ["latency"]);
}

#[tokio::test]
async fn what_is_not_approved_or_not_signed_is_never_gone_on_without() {
    let registry = serving_one().await;
    let (gates, signers) = (
        Gates {
            gates: vec![at_least("auc", 0.9)],
        },
        Signers {
            keys: vec![SigningKey::generate().unwrap().public().to_string()],
        },
    );
    update(
        &registry,
        UpdateModelRequest {
            gates: Some(gates),
            ..UpdateModelRequest::default()
        },
    )
    .await;
    let rejected = bundle_with("three", |manifest| {
        manifest.metrics.insert("auc".into(), 0.7);
    });
    registry.push(&rejected).await.unwrap();
    update(
        &registry,
        UpdateModelRequest {
            signers: Some(signers),
            ..UpdateModelRequest::default()
        },
    )
    .await;
    let refused = start(&registry, without(&[], "")).await.unwrap_err();
    assert_eq!(named(&refused), ["state", "signature", "evaluation"]);
    for name in ["state", "signature", "beauty"] {
        let refused = start(&registry, without(&[name], "known"))
            .await
            .unwrap_err();
        assert!(
            refused.code() == Code::InvalidArgument && refused.message().contains(name),
            "{refused}"
        );
    }
}
