//! Versions that are admitted, and what can be read of them.

use std::collections::BTreeMap;

use decant_model::BundlePath;
use decant_proto::registry::v1::fetch_bundle_response::Part;
use decant_proto::registry::v1::*;
use futures::future::join_all;
use tokio_stream::StreamExt;
use tonic::{Code, Status};

use super::fixture::{Bundle, Files, Registry, at_least, bundle, bundle_with};

async fn fetch(registry: &Registry, version: u64) -> Result<Bundle, Status> {
    let request = FetchBundleRequest {
        model: "movies".into(),
        version,
    };
    let mut parts = registry.client().fetch_bundle(request).await?.into_inner();
    let Some(Part::Manifest(manifest)) = parts.next().await.unwrap()?.part else {
        panic!("the manifest comes first");
    };
    let mut files: BTreeMap<BundlePath, Vec<u8>> = BTreeMap::new();
    let mut order = Vec::new();
    while let Some(part) = parts.next().await {
        let Some(Part::Chunk(chunk)) = part?.part else {
            panic!("all others are chunks");
        };
        order.push(chunk.path.clone());
        files
            .entry(chunk.path.parse().unwrap())
            .or_default()
            .extend_from_slice(&chunk.data);
    }
    assert!(order.is_sorted());
    let files: Files = files
        .into_iter()
        .map(|(path, bytes)| (path, bytes.into()))
        .collect();
    Ok(Bundle { manifest, files })
}

#[tokio::test]
async fn versions_are_numbered_kept_and_read_back() {
    let registry = Registry::start().await;
    registry.create("movies", vec![]).await;
    let bundles = [
        bundle("one"),
        bundle("two"),
        bundle(&"large ".repeat(200_000)),
    ];
    for (bundle, number) in bundles.iter().zip(1..) {
        let version = registry.push(bundle).await.unwrap();
        assert_eq!(
            (version.version, version.state()),
            (number, VersionState::Approved)
        );
        assert_eq!(version.digest, bundle.digest().to_string());
        assert_eq!(version.manifest, bundle.manifest);
        let size: usize = bundle.files.values().map(|bytes| bytes.len()).sum();
        assert_eq!(version.size_bytes, size as u64);
        let request = GetVersionRequest {
            model: "movies".into(),
            version: number,
        };
        let found = registry
            .client()
            .get_version(request)
            .await
            .unwrap()
            .into_inner()
            .version;
        assert_eq!(found, Some(version));
        let fetched = fetch(&registry, number).await.unwrap();
        assert!(fetched.manifest == bundle.manifest && fetched.files == bundle.files);
    }
    assert_eq!(
        fetch(&registry, 0).await.unwrap().manifest,
        bundles[2].manifest,
        "0 is the newest"
    );

    let registry = registry.restart().await;
    let model = registry
        .client()
        .get_model(GetModelRequest {
            name: "movies".into(),
        })
        .await
        .unwrap();
    assert_eq!(model.into_inner().model.unwrap().latest_version, 3);
    let request = ListVersionsRequest {
        model: "movies".into(),
        ..ListVersionsRequest::default()
    };
    let listed = registry
        .client()
        .list_versions(request)
        .await
        .unwrap()
        .into_inner()
        .versions;
    let numbers: Vec<_> = listed.iter().map(|version| version.version).collect();
    assert_eq!(numbers, [3, 2, 1]);
    assert!(
        listed
            .iter()
            .all(|version| version.manifest.is_empty() && !version.digest.is_empty())
    );
    assert_eq!(fetch(&registry, 2).await.unwrap().files, bundles[1].files);
}

#[tokio::test]
async fn gates_judge_and_a_version_that_fails_one_is_kept_but_rejected() {
    let registry = Registry::start().await;
    registry
        .create(
            "movies",
            vec![at_least("auc", 0.75), at_least("recall", 0.1)],
        )
        .await;
    let without_recall = registry.push(&bundle("one")).await.unwrap();
    assert_eq!(without_recall.state(), VersionState::Rejected);
    let judged: Vec<_> = without_recall
        .gate_results
        .iter()
        .map(|result| (result.value, result.passed))
        .collect();
    assert_eq!(judged, [(Some(0.8), true), (None, false)]);
    let with_recall = bundle_with("two", |manifest| {
        manifest.metrics.insert("recall".into(), 0.1);
    });
    let version = registry.push(&with_recall).await.unwrap();
    assert_eq!(
        (version.version, version.state()),
        (2, VersionState::Approved)
    );
}

#[tokio::test]
async fn pushes_at_once_get_numbers_of_their_own() {
    let registry = Registry::start().await;
    registry.create("movies", vec![]).await;
    let bundles: Vec<_> = (0..8).map(|n| bundle(&format!("bundle {n}"))).collect();
    let versions = join_all(bundles.iter().map(|bundle| registry.push(bundle))).await;
    let mut numbers: Vec<_> = versions
        .into_iter()
        .map(|version| version.unwrap().version)
        .collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6, 7, 8]);
}

#[tokio::test]
async fn of_the_same_bundle_at_once_one_becomes_a_version() {
    let registry = Registry::start().await;
    registry.create("movies", vec![]).await;
    let same = bundle("same");
    let outcomes = join_all((0..8).map(|_| registry.send(same.parts()))).await;
    let (won, lost): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    assert_eq!(won.len(), 1);
    for status in lost.into_iter().map(Result::unwrap_err) {
        assert!(
            status.code() == Code::AlreadyExists && status.message().contains("v1"),
            "{status}"
        );
    }
    assert_eq!(fetch(&registry, 1).await.unwrap().files, same.files);
}

#[tokio::test]
async fn a_push_with_a_name_is_made_once_however_often_it_is_sent() {
    let registry = Registry::start().await;
    registry.create("movies", vec![]).await;
    let same = bundle("same");
    // Trainers name a push after its digest.
    let outcomes = join_all((0..4).map(|_| registry.push(&same))).await;
    let first = outcomes[0].clone().unwrap();
    assert_eq!((first.version, first.state()), (1, VersionState::Approved));
    for outcome in outcomes {
        assert_eq!(outcome.unwrap(), first);
    }
    assert_eq!(registry.push(&same).await.unwrap(), first);
    let entries = registry.audit("movies/v1").await;
    let actions: Vec<_> = entries.iter().map(|entry| &*entry.action).collect();
    assert_eq!(
        actions,
        ["version.approve", "version.validate", "version.stage"]
    );
}

#[tokio::test]
async fn corrupt_bytes_are_never_handed_out_whole() {
    let registry = Registry::start().await;
    registry.create("movies", vec![]).await;
    registry.push(&bundle("one")).await.unwrap();
    std::fs::write(registry.blob(b"one"), "eno").unwrap();
    let error = fetch(&registry, 1).await.map(|_| ()).unwrap_err();
    assert_eq!(error.code(), Code::DataLoss);
    assert!(
        error.message().contains("`model.onnx`") && error.message().contains("sha256:"),
        "{error}"
    );
    std::fs::remove_file(registry.blob(b"one")).unwrap();
    let error = fetch(&registry, 1).await.map(|_| ()).unwrap_err();
    assert!(
        error.code() == Code::DataLoss && error.message().contains("`model.onnx`"),
        "{error}"
    );
}
