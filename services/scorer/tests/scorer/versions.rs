//! Versions that come, fail, go, and come back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use decant_features::{Schema, Transform};
use decant_inference::testing::Graph;
use decant_inference::{Golden, Widths};
use decant_model::file;
use decant_proto::scorer::v1 as wire;
use decant_scorer::Config;
use wire::ServableState::{Available, End};

use crate::fixture::{self, Files};
use crate::harness::{Scorer, files, quick, score, wrong_golden};

const OLD: f32 = 0.0;
const NEW: f32 = 1.5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn swaps_under_load_fail_no_request_and_mix_no_versions() {
    let (scorer, _) = Scorer::serving().await;
    let expected = [OLD, NEW].map(|bias| fixture::expected(bias, 1, 30.0));
    let (stop, answered) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let (mut client, expected) = (scorer.client.clone(), expected.clone());
            let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
            async move {
                let mut versions = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let answer = client
                        .score(score(1, &[100, 101, 102]))
                        .await
                        .unwrap()
                        .into_inner();
                    let version = answer.served_by.unwrap().version;
                    for (got, wanted) in answer.scores.iter().zip(&expected[version as usize - 1]) {
                        assert!(
                            (got - wanted).abs() < 1e-6,
                            "version {version} answered {got}, not {wanted}"
                        );
                    }
                    answered.fetch_add(1, Ordering::Relaxed);
                    versions.push(version);
                }
                versions
            }
        })
        .collect();
    let (first, second) = (
        scorer.push(&files(OLD)).await,
        scorer.push(&files(NEW)).await,
    );
    let swaps = async {
        for generation in 2..=21_u64 {
            let (version, digest) = if generation % 2 == 0 {
                (2, second)
            } else {
                (1, first)
            };
            scorer.set(generation, version, digest).await;
            scorer.answers(version).await;
            let before = answered.load(Ordering::Relaxed);
            crate::harness::eventually("calls go on", || async {
                answered.load(Ordering::Relaxed) > before + 20
            })
            .await;
        }
        stop.store(true, Ordering::Relaxed);
    };
    let (versions, ()) = futures::future::join(futures::future::join_all(callers), swaps).await;
    assert!(
        versions
            .iter()
            .all(|seen| seen.contains(&1) && seen.contains(&2))
    );
    scorer.stop().await;
}

#[tokio::test]
async fn going_back_loads_nothing() {
    let (scorer, first) = Scorer::serving().await;
    scorer.pour(2, &files(NEW)).await;
    // With its bundle gone, version 1 could not be loaded again.
    scorer.corrupt(&files(OLD)[file::MODEL]);
    scorer.set(3, 1, first).await;
    scorer.answers(1).await;
    let answer = scorer
        .client
        .clone()
        .score(score(1, &[105]))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(answer.served_by.unwrap().generation, 3);
    assert_eq!(answer.scores[0], fixture::expected(OLD, 1, 30.0)[5]);
    scorer.listed(2, Available).await;
    scorer.stop().await;
}

#[tokio::test]
async fn only_the_previous_version_is_kept() {
    let (scorer, _) = Scorer::serving().await;
    scorer.pour(2, &files(NEW)).await;
    scorer.pour(3, &files(0.5)).await;
    crate::harness::eventually("version 1 is freed", || async {
        scorer.list().await.len() == 2
    })
    .await;
    scorer.stop().await;
}

/// A bundle that must not be served, and words of the reason.
fn bad_bundles() -> Vec<(&'static str, Files, &'static str)> {
    let with = |path: &'static str, content: Vec<u8>| {
        let mut files = files(NEW);
        files.insert(path, content);
        files
    };
    let narrow = Graph {
        widths: Widths {
            item_slots: 2,
            ..fixture::graph(NEW).widths
        },
        ..fixture::graph(NEW)
    };
    let small_table = Graph {
        vocabulary: fixture::graph(NEW).vocabulary - 1,
        ..fixture::graph(NEW)
    };
    let mut features = fixture::schema().features().to_vec();
    features[0].transform = Transform::Hash { buckets: 1_000 };
    let other_schema = Schema::new(features).unwrap().to_json();
    let mut catalogless_column = files(NEW);
    let mut features = fixture::schema().features().to_vec();
    features[3].column = "genre".into();
    catalogless_column.insert(file::FEATURES, Schema::new(features).unwrap().to_json());
    vec![
        (
            "no graph",
            with(file::MODEL, b"no graph".to_vec()),
            "opening model.onnx",
        ),
        (
            "another contract",
            with(
                file::MODEL,
                Graph {
                    output: "y",
                    ..fixture::graph(NEW)
                }
                .to_onnx(),
            ),
            "contract",
        ),
        (
            "another width",
            with(file::MODEL, narrow.to_onnx()),
            "the graph takes",
        ),
        (
            "a table too small",
            with(file::MODEL, small_table.to_onnx()),
            "the schema's last ids",
        ),
        (
            "scores that are no numbers",
            with(file::MODEL, fixture::graph(f32::NAN).to_onnx()),
            "is NaN",
        ),
        (
            "no schema",
            with(file::FEATURES, b"{}".to_vec()),
            "reading features.json",
        ),
        (
            "another schema",
            with(file::FEATURES, other_schema),
            "comparing model.onnx with features.json",
        ),
        (
            "no catalog",
            with(file::CATALOG, b"arrow".to_vec()),
            "reading catalog.arrow",
        ),
        (
            "a catalog without a column",
            catalogless_column,
            "column `genre`: missing",
        ),
        (
            "no golden vectors",
            with(file::GOLDEN, b"[]".to_vec()),
            "reading golden.json",
        ),
        (
            "wrong golden vectors",
            with(file::GOLDEN, wrong_golden(NEW)),
            "golden row 3",
        ),
    ]
}

#[tokio::test]
async fn a_version_that_fails_a_step_is_reported_and_the_old_one_goes_on() {
    let (scorer, _) = Scorer::serving().await;
    for (version, (case, files, reason)) in (2..).zip(bad_bundles()) {
        let digest = scorer.push(&files).await;
        scorer.set(version, version, digest).await;
        let failed = scorer.listed(version, End).await;
        assert!(failed.error.contains(reason), "{case}: {}", failed.error);
        let answer = scorer
            .client
            .clone()
            .score(score(1, &[100]))
            .await
            .unwrap()
            .into_inner();
        assert_eq!(answer.served_by.unwrap().version, 1, "{case}");
    }
    scorer.stop().await;
}

#[tokio::test]
async fn corrupt_bytes_are_never_served_and_a_healed_store_is_found() {
    let (scorer, _) = Scorer::serving().await;
    let sound = files(NEW);
    let digest = scorer.push(&sound).await;
    scorer.corrupt(&sound[file::MODEL]);
    scorer.set(2, 2, digest).await;
    let failed = scorer.listed(2, End).await;
    assert!(
        failed.error.contains("fetching and verifying"),
        "{}",
        failed.error
    );
    assert!(failed.error.contains(file::MODEL), "{}", failed.error);
    scorer.answers(1).await;
    scorer.heal(&sound[file::MODEL]);
    scorer.answers(2).await;
    scorer.stop().await;
}

#[tokio::test]
async fn a_scorer_may_ask_for_more_exactness_than_a_bundle_does() {
    let mut lenient: Golden = fixture::golden(NEW, 1, 30.0);
    lenient.expected[3] += 0.125;
    lenient.tolerance = 0.5;
    let mut files = files(NEW);
    files.insert(file::GOLDEN, lenient.to_json().unwrap());
    for (max_golden_tolerance, takes_it) in [(f64::INFINITY, true), (0.1, false)] {
        let config = Config {
            max_golden_tolerance,
            ..quick()
        };
        let scorer = Scorer::start_with(config).await;
        let digest = scorer.push(&files).await;
        scorer.set(1, 1, digest).await;
        if takes_it {
            scorer.answers(1).await;
        } else {
            let failed = scorer.listed(1, End).await;
            let words = "golden row 3";
            assert!(failed.error.contains(words), "{}", failed.error);
            let words = "differ by more than 0.1";
            assert!(failed.error.contains(words), "{}", failed.error);
        }
        scorer.stop().await;
    }
}

#[tokio::test]
async fn a_version_of_another_model_is_refused() {
    let (scorer, _) = Scorer::serving().await;
    let digest = scorer.push_as("books", &files(NEW)).await;
    scorer.set(2, 2, digest).await;
    let failed = scorer.listed(2, End).await;
    assert!(
        failed.error.contains("version of model `books`"),
        "{}",
        failed.error
    );
    scorer.stop().await;
}

#[tokio::test]
async fn a_newer_wish_overtakes_a_failing_one() {
    let (scorer, _) = Scorer::serving().await;
    let digest = scorer.push(&bad_bundles().remove(0).1).await;
    scorer.set(2, 2, digest).await;
    scorer.listed(2, End).await;
    scorer.pour(3, &files(NEW)).await;
    scorer.stop().await;
}
