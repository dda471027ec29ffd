//! Stores that are away, wiped, or older than they were.

use std::fs;
use std::path::PathBuf;

use decant_coordination::keys::ObservedKey;
use decant_model::{DesiredSlot, Digest, file};
use decant_proto::inference as oip;
use decant_proto::scorer::v1::ServableState::Available;
use tonic::Code;
use tonic_health::pb::health_check_response::ServingStatus;

use crate::harness::{Scorer, World, desired, eventually, files, prepared, quick, score};
use crate::member::observed;

const NEW: f32 = 1.5;

fn snapshot(world: &World) -> PathBuf {
    world.folder.path().join("cache/desired.json")
}

/// A member of cluster `a` that serves version 1 at generation 5, and has that on its disk.
async fn member() -> (Scorer, Digest) {
    let world = World::new();
    world.name_cluster("a", 1).await;
    let scorer = Scorer::start_member(world).await;
    let digest = scorer.push(&files(0.0)).await;
    scorer.set(5, 1, digest).await;
    scorer.answers(1).await;
    saved(&scorer.world, 5).await;
    (scorer, digest)
}

#[tokio::test]
async fn a_bundle_comes_no_faster_than_it_may() {
    let world = World::new();
    world.name_cluster("a", 1).await;
    let mut config = world.config();
    config.cache.max_bytes_per_second = 100_000;
    let scorer = Scorer::start_in(world, config).await;
    let mut files = files(0.0);
    files.insert("notes.txt", vec![7; 50_000]);
    scorer.pour(1, &files).await;
    let times = scorer.listed(1, Available).await.load_times.unwrap();
    assert!(times.fetch_micros >= 500_000, "{times:?}");
    scorer.stop().await;
}

/// Waits until the generation in service is in the snapshot.
async fn saved(world: &World, generation: u64) {
    let words = format!("\"generation\": {generation},");
    eventually(&format!("generation {generation} is saved"), || async {
        let saved = fs::read_to_string(snapshot(world)).unwrap_or_default();
        saved.matches(&words).count() == 2
    })
    .await;
}

async fn frozen(scorer: &Scorer, words: &str) {
    let is_frozen = |record: &decant_coordination::keys::ObservedRecord| {
        record
            .frozen
            .as_ref()
            .is_some_and(|reason| reason.contains(words))
    };
    observed(&scorer.world, &format!("it is frozen: {words}"), is_frozen).await;
}

async fn thawed(scorer: &Scorer, generation: u64) {
    observed(&scorer.world, "it goes on", |record| {
        record.frozen.is_none() && record.serving.0 == generation
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_without_store_and_bundles_serves_from_the_disk() {
    let (scorer, first) = member().await;
    let second = scorer.push(&files(NEW)).await;
    let preparing = DesiredSlot {
        prepare: vec![prepared(2, second)],
        ..desired(6, Some((1, first)))
    };
    scorer.world.desire(&preparing).await;
    scorer.listed(2, Available).await;
    saved(&scorer.world, 6).await;
    let world = scorer.stop().await;

    let store = world.store.store();
    world.store.put(None);
    fs::remove_dir_all(world.folder.path().join("bundles")).unwrap();
    let scorer = Scorer::start_member(world).await;
    scorer.answers(1).await;
    assert_eq!(scorer.answering().await, (1, 6));
    eventually("it is ready", || async {
        let status = scorer
            .serving_status("decant.scorer.v1.ScorerService")
            .await;
        status == Some(ServingStatus::Serving)
    })
    .await;
    // What was prepared is ready again too, and so comes into service with no bundle store.
    scorer.listed(2, Available).await;
    scorer.world.store.put(Some(store));
    scorer.set(7, 2, second).await;
    scorer.answers(2).await;
    thawed(&scorer, 7).await;
    scorer.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_away_or_stalls_holds_nobody_up() {
    let (scorer, _) = member().await;
    scorer.world.store.put(None);
    assert_eq!(scorer.answering().await, (1, 5));
    let world = scorer.stop().await;
    // It starts and stops without any answer of the store.
    world.store.stall();
    let scorer = Scorer::start_member(world).await;
    scorer.answers(1).await;
    scorer.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_without_cache_and_store_calls_nothing_unknown_before_the_store_has_answered() {
    let world = World::new();
    let store = world.store.store();
    world.store.put(None);
    let scorer = Scorer::start_in(world, quick()).await;
    let refused = async || {
        let answer = scorer.client.clone().score(score(1, &[100])).await;
        answer.unwrap_err()
    };
    let statistics = async || {
        let request = oip::ModelStatisticsRequest {
            name: "films".into(),
            version: String::new(),
        };
        let answer = scorer.inference.clone().model_statistics(request).await;
        answer.unwrap_err()
    };
    for status in [refused().await, statistics().await] {
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
        assert!(
            status.message().contains("not yet learnt"),
            "{}",
            status.message()
        );
    }
    let ready = oip::ModelReadyRequest {
        name: "films".into(),
        version: String::new(),
    };
    let ready = scorer.inference.clone().model_ready(ready).await;
    assert!(!ready.unwrap().into_inner().ready);

    scorer.world.store.put(Some(store));
    eventually("the slot is unknown", || async {
        refused().await.code() == Code::NotFound
    })
    .await;
    assert_eq!(statistics().await.code(), Code::NotFound);
    scorer.pour(1, &files(0.0)).await;
    scorer.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cached_file_that_is_corrupt_is_fetched_again() {
    let (scorer, _) = member().await;
    let world = scorer.stop().await;
    let hex = Digest::of(&files(0.0)[file::MODEL]).hex();
    let cached = world
        .folder
        .path()
        .join("cache/blobs/sha256")
        .join(&hex[..2])
        .join(&hex);
    fs::write(&cached, b"other bytes").unwrap();
    let scorer = Scorer::start_member(world).await;
    scorer.answers(1).await;
    assert_eq!(fs::read(&cached).unwrap(), files(0.0)[file::MODEL]);
    scorer.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bundle_that_finds_no_room_is_reported_and_what_answers_goes_on() {
    let world = World::new();
    let mut config = world.config();
    let (first, mut second) = (files(0.0), files(NEW));
    second.insert("notes.bin", vec![7; 1 << 20]);
    config.cache.max_bytes = 1 << 20;
    let scorer = Scorer::start_in(world, config).await;
    scorer.pour(1, &first).await;
    let digest = scorer.push(&second).await;
    scorer.set(2, 2, digest).await;
    let failed = scorer
        .listed(2, decant_proto::scorer::v1::ServableState::End)
        .await;
    assert!(
        failed.error.contains("does not fit into the cache"),
        "{}",
        failed.error
    );
    assert_eq!(scorer.answering().await, (1, 1));
    scorer.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_cannot_be_used_is_left_aside() {
    for content in ["{", "{\"format\": 99}"] {
        let (scorer, _) = member().await;
        let world = scorer.stop().await;
        fs::write(snapshot(&world), content).unwrap();
        let scorer = Scorer::start_member(world).await;
        scorer.answers(1).await;
        saved(&scorer.world, 5).await;
        scorer.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wiped_store_takes_nothing_out_of_service_until_an_operator_adopts_it() {
    let (scorer, first) = member().await;
    let wiped = scorer.world.other_store("wiped");
    scorer.world.store.put(Some(wiped));
    frozen(&scorer, "does not say any more which cluster it is of").await;
    assert_eq!(scorer.answering().await, (1, 5));

    // Rebuilt under another name, and still not to be believed.
    let second = scorer.push(&files(NEW)).await;
    scorer.world.name_cluster("b", 1).await;
    scorer.set(1, 2, second).await;
    frozen(&scorer, "the store is of cluster b, not of a").await;
    assert_eq!(scorer.answering().await, (1, 5));

    scorer.set(6, 1, first).await;
    scorer.world.name_cluster("b", 2).await;
    thawed(&scorer, 6).await;
    scorer.set(7, 2, second).await;
    scorer.answers(2).await;
    scorer.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_whose_keys_were_all_deleted_takes_nothing_out_of_service() {
    let (scorer, _) = member().await;
    observed(&scorer.world, "it is observed", |record| {
        record.serving.0 == 5
    })
    .await;
    let store = scorer.world.store.store();
    let everything = decant_coordination::Keyspace::default().everything();
    let all = store.list(&everything).await.unwrap().entries;
    let wipe = all
        .into_iter()
        .fold(decant_coordination::Txn::new(), |txn, entry| {
            txn.delete(entry.key)
        });
    store.commit(wipe).await.unwrap();
    frozen(&scorer, "does not say any more which cluster it is of").await;
    assert_eq!(scorer.answering().await, (1, 5));
    scorer.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_copy_is_not_followed_before_it_has_caught_up_and_a_restart_remembers() {
    let (scorer, first) = member().await;
    let second = scorer.push(&files(NEW)).await;
    let current = scorer.world.store.store();
    let backup = scorer.world.other_store("backup");
    scorer.world.store.put(Some(backup.clone()));
    scorer.world.name_cluster("a", 1).await;
    scorer.set(4, 2, second).await;
    frozen(&scorer, "went back").await;
    assert_eq!(scorer.answering().await, (1, 5));

    let world = scorer.stop().await;
    let scorer = Scorer::start_member(world).await;
    scorer.answers(1).await;
    frozen(&scorer, "went back").await;
    assert_eq!(scorer.answering().await, (1, 5));

    // The right one answers again, as after a member that lagged behind.
    scorer.world.store.put(Some(current));
    scorer.set(6, 2, second).await;
    scorer.answers(2).await;
    thawed(&scorer, 6).await;
    saved(&scorer.world, 6).await;

    // Adopted as it is, although it is an older copy.
    scorer.world.store.put(Some(backup));
    frozen(&scorer, "went back").await;
    scorer.set(7, 1, first).await;
    scorer.world.name_cluster("a", 2).await;
    scorer.answers(1).await;
    thawed(&scorer, 7).await;
    assert_eq!(scorer.world.records::<ObservedKey>().await.len(), 1);
    scorer.stop().await;
}
