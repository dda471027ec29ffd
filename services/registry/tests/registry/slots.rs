//! Slots.

use std::time::Duration;

use decant_proto::rollout::v1::*;
use futures::future::join_all;
use tokio::time::timeout;
use tokio_stream::StreamExt;
use tonic::{Code, Status, Streaming};

use super::fixture::{Registry, at_least, bundle, bundle_with};

const PATIENCE: Duration = Duration::from_secs(20);

fn request(version: u64, expected_generation: Option<u64>) -> SetSlotRequest {
    SetSlotRequest {
        model: "movies".into(),
        version,
        expected_generation,
        issued_by: "ana".into(),
        reason: "better".into(),
        ..SetSlotRequest::default()
    }
}

async fn set(
    registry: &Registry,
    version: u64,
    expected_generation: Option<u64>,
) -> Result<Slot, Status> {
    let response = registry
        .slots()
        .set_slot(request(version, expected_generation))
        .await?;
    Ok(response.into_inner().slot.unwrap())
}

/// A registry with two approved versions and a rejected one.
async fn with_versions() -> Registry {
    let registry = Registry::start().await;
    registry.create("movies", vec![at_least("auc", 0.7)]).await;
    registry.push(&bundle("one")).await.unwrap();
    registry.push(&bundle("two")).await.unwrap();
    let bad = bundle_with("three", |manifest| {
        manifest.metrics.insert("auc".into(), 0.6);
    });
    registry.push(&bad).await.unwrap();
    registry
}

async fn watch(registry: &Registry, slot: &str) -> Streaming<WatchSlotResponse> {
    let request = WatchSlotRequest {
        model: "movies".into(),
        slot: slot.into(),
    };
    registry
        .slots()
        .watch_slot(request)
        .await
        .unwrap()
        .into_inner()
}

async fn next(watch: &mut Streaming<WatchSlotResponse>) -> Result<Slot, Status> {
    let item = timeout(PATIENCE, watch.next()).await.unwrap();
    item.unwrap().map(|response| response.slot.unwrap())
}

#[tokio::test]
async fn a_slot_is_set_and_kept() {
    let registry = with_versions().await;
    let first = set(&registry, 1, None).await.unwrap();
    assert_eq!((first.slot.as_str(), first.generation), ("main", 1));
    assert_eq!(
        (first.issued_by.as_str(), first.reason.as_str()),
        ("ana", "better")
    );
    let active = &first.active[0];
    assert_eq!(
        (active.version, active.arm(), active.weight_basis_points),
        (1, Arm::Stable, 10_000)
    );
    assert_eq!(active.digest, bundle("one").digest().to_string());
    let second = set(&registry, 2, Some(1)).await.unwrap();
    assert_eq!((second.generation, second.active[0].version), (2, 2));

    let registry = registry.restart().await;
    let request = GetSlotRequest {
        model: "movies".into(),
        slot: "main".into(),
    };
    let found = registry
        .slots()
        .get_slot(request)
        .await
        .unwrap()
        .into_inner()
        .slot;
    assert_eq!(found, Some(second));
}

#[tokio::test]
async fn changes_that_must_not_be_made_are_refused() {
    let registry = with_versions().await;
    let before = registry.kept().await;
    let refused = async |request: SetSlotRequest, code: Code, words: &str| {
        let status = registry.slots().set_slot(request).await.unwrap_err();
        assert!(
            status.code() == code && status.message().contains(words),
            "{status}"
        );
    };
    refused(
        request(3, None),
        Code::FailedPrecondition,
        "gate on `auc` does not hold at 0.6",
    )
    .await;
    refused(request(9, None), Code::NotFound, "v9").await;
    refused(request(0, None), Code::InvalidArgument, "version").await;
    refused(
        request(1, Some(1)),
        Code::FailedPrecondition,
        "generation 0, not 1",
    )
    .await;
    refused(
        SetSlotRequest {
            model: "nobody".into(),
            ..request(1, None)
        },
        Code::NotFound,
        "`nobody`",
    )
    .await;
    refused(
        SetSlotRequest {
            slot: "Main".into(),
            ..request(1, None)
        },
        Code::InvalidArgument,
        "`Main`",
    )
    .await;
    refused(
        SetSlotRequest {
            reason: "x".repeat(1025),
            ..request(1, None)
        },
        Code::InvalidArgument,
        "reason",
    )
    .await;
    refused(
        SetSlotRequest {
            issued_by: "x".repeat(257),
            ..request(1, None)
        },
        Code::InvalidArgument,
        "issued_by",
    )
    .await;
    assert_eq!(registry.kept().await, before);

    set(&registry, 1, Some(0)).await.unwrap();
    refused(
        request(2, Some(0)),
        Code::FailedPrecondition,
        "generation 1, not 0; it was set by `ana`",
    )
    .await;
    let never_set = GetSlotRequest {
        model: "movies".into(),
        slot: "other".into(),
    };
    let status = registry.slots().get_slot(never_set).await.unwrap_err();
    assert!(
        status.code() == Code::NotFound && status.message().contains("`other`"),
        "{status}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_32_that_race_one_wins_and_the_others_are_told() {
    let registry = with_versions().await;
    let race = |expected: Option<u64>| join_all((0..32).map(|_| set(&registry, 1, expected)));
    let (won, lost): (Vec<_>, Vec<_>) = race(Some(0)).await.into_iter().partition(Result::is_ok);
    assert_eq!(won.len(), 1);
    for status in lost.into_iter().map(Result::unwrap_err) {
        assert!(
            matches!(status.code(), Code::Aborted | Code::FailedPrecondition),
            "{status}"
        );
        assert!(
            status.message().contains("generation 1") && status.message().contains("`ana`"),
            "{status}"
        );
    }
    // Without an expectation several may win, one after the other, and each generation is somebody's.
    let mut generations = vec![1];
    for outcome in race(None).await {
        match outcome {
            Ok(slot) => generations.push(slot.generation),
            Err(status) => assert!(
                status.code() == Code::Aborted && status.message().contains("`ana`"),
                "{status}"
            ),
        }
    }
    generations.sort_unstable();
    assert_eq!(
        generations,
        (1..=generations.len() as u64).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn a_watch_shows_the_slot_and_each_change_and_ends_with_the_registry() {
    let registry = with_versions().await;
    let mut from_the_start = watch(&registry, "").await;
    let early = timeout(Duration::from_millis(100), from_the_start.next()).await;
    assert!(early.is_err(), "a slot that was never set is waited for");
    for version in [1, 2, 1] {
        set(&registry, version, None).await.unwrap();
    }
    let elsewhere = SetSlotRequest {
        slot: "other".into(),
        ..request(2, None)
    };
    registry.slots().set_slot(elsewhere).await.unwrap();
    for (generation, version) in [(1, 1), (2, 2), (3, 1)] {
        let slot = next(&mut from_the_start).await.unwrap();
        assert_eq!(
            (slot.generation, slot.active[0].version),
            (generation, version)
        );
    }
    let mut late = watch(&registry, "main").await;
    assert_eq!(next(&mut late).await.unwrap().generation, 3);
    set(&registry, 2, None).await.unwrap();
    for watch in [&mut from_the_start, &mut late] {
        assert_eq!(next(watch).await.unwrap().generation, 4);
    }

    registry.stop_services();
    for watch in [&mut from_the_start, &mut late] {
        let status = next(watch).await.unwrap_err();
        assert_eq!(
            status.code(),
            Code::Unavailable,
            "nothing but the end comes after generation 4"
        );
        assert!(timeout(PATIENCE, watch.next()).await.unwrap().is_none());
    }
    let unknown = WatchSlotRequest {
        model: "nobody".into(),
        slot: String::new(),
    };
    assert_eq!(
        registry
            .slots()
            .watch_slot(unknown)
            .await
            .unwrap_err()
            .code(),
        Code::NotFound
    );
}
