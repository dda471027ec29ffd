//! What the registry sees of a scorer.

use decant_coordination::keys::{
    ObservedKey, ObservedRecord, ObservedState, ScorerKey, ScorerRecord,
};
use decant_coordination::{MetaStore, Txn};
use decant_model::{DesiredSlot, Generation, file};
use decant_proto::scorer::v1::ServableState::Available;
use tonic_health::pb::health_check_response::ServingStatus;

use crate::harness::{Scorer, World, desired, eventually, files, prepared, wrong_golden};

const NEW: f32 = 1.5;

/// What the scorer says of itself, once it does.
async fn registered(world: &World) -> ScorerRecord {
    eventually("the scorer is registered", || async {
        !world.records::<ScorerKey>().await.is_empty()
    })
    .await;
    let mut records = world.records::<ScorerKey>().await;
    assert_eq!(records.len(), 1);
    let (key, record) = records.remove(0);
    assert_eq!(key.scorer.as_str(), "scorer-1");
    record
}

/// What the scorer says of the slot, once it is as expected.
pub(crate) async fn observed(
    world: &World,
    what: &str,
    is_expected: impl Fn(&ObservedRecord) -> bool,
) -> ObservedRecord {
    eventually(what, || async {
        let records = world.records::<ObservedKey>().await;
        records.iter().any(|(_, record)| is_expected(record))
    })
    .await;
    let mut records = world.records::<ObservedKey>().await;
    assert_eq!(records.len(), 1);
    records.remove(0).1
}

fn states(record: &ObservedRecord) -> Vec<(u64, ObservedState)> {
    let states = record.versions.iter();
    states
        .map(|version| (version.version.get(), version.state))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_registry_sees_who_lives_and_what_is_ready() {
    let scorer = Scorer::start_member(World::new()).await;
    let record = registered(&scorer.world).await;
    assert_eq!(
        (record.address.as_str(), record.zone.as_str()),
        ("10.0.0.1:7430", "here")
    );
    assert!(record.build.starts_with("decant ") && record.started_at_millis > 0);

    let first = scorer.pour(1, &files(0.0)).await;
    let ready = observed(&scorer.world, "generation 1 serves", |record| {
        record.serving.0 == 1
    })
    .await;
    assert_eq!(ready.boot_id, record.boot_id);
    assert_eq!(states(&ready), [(1, ObservedState::Ready)]);
    assert_eq!((ready.versions[0].digest, &ready.frozen), (first, &None));

    // Prepared: this generation serves at once, and the version is ready later.
    let second = scorer.push(&files(NEW)).await;
    let mut bad = files(0.5);
    bad.insert(file::GOLDEN, wrong_golden(0.5));
    let third = scorer.push(&bad).await;
    let preparing = DesiredSlot {
        prepare: vec![prepared(2, second), prepared(3, third)],
        ..desired(2, Some((1, first)))
    };
    scorer.world.desire(&preparing).await;
    let done = [
        (1, ObservedState::Ready),
        (2, ObservedState::Ready),
        (3, ObservedState::Failed),
    ];
    let seen = observed(&scorer.world, "both are judged", |record| {
        states(record) == done
    })
    .await;
    assert_eq!(
        (seen.generation, seen.serving),
        (Generation(2), Generation(2))
    );
    assert!(seen.versions[2].error.contains("golden row 3"), "{seen:?}");

    scorer.set(3, 2, second).await;
    observed(&scorer.world, "generation 3 serves", |record| {
        record.serving.0 == 3
    })
    .await;

    // Slots are emptied, never taken away: one that is gone is missing from an older copy of the store.
    let key = scorer.world.store.store();
    let slots = scorer
        .world
        .records::<decant_coordination::keys::DesiredKey>()
        .await;
    let slot = decant_coordination::Keyspace::default().key(&slots[0].0);
    key.commit(Txn::new().delete(slot)).await.unwrap();
    observed(
        &scorer.world,
        "the scorer is frozen, and serves",
        |record| {
            record.serving.0 == 3
                && record
                    .frozen
                    .as_ref()
                    .is_some_and(|doubt| doubt.contains("films/main is gone"))
        },
    )
    .await;
    scorer.answers(2).await;

    let world = scorer.stop().await;
    assert!(
        world.records::<ScorerKey>().await.is_empty(),
        "the lease was given back"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_lease_is_replaced_while_serving_goes_on() {
    let world = World::new();
    let config = decant_scorer::Config {
        lease_ttl_millis: 1_000,
        ..world.config()
    };
    let scorer = Scorer::start_in(world, config).await;
    scorer.pour(1, &files(0.0)).await;
    let before = registered(&scorer.world).await;
    observed(&scorer.world, "it is observed", |record| {
        record.serving.0 == 1
    })
    .await;
    let lost = scorer.world.store.last_lease().unwrap();
    scorer.world.store.revoke(lost).await.unwrap();
    eventually("another lease is granted", || async {
        assert_eq!(scorer.answering().await, (1, 1));
        scorer.world.store.last_lease() != Some(lost)
    })
    .await;
    assert_eq!(registered(&scorer.world).await, before);
    observed(&scorer.world, "it is observed again", |record| {
        record.serving.0 == 1
    })
    .await;
    let world = scorer.stop().await;
    assert!(world.records::<ObservedKey>().await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_that_somebody_else_deletes_are_written_again_with_the_next_change() {
    let scorer = Scorer::start_member(World::new()).await;
    let first = scorer.pour(1, &files(0.0)).await;
    registered(&scorer.world).await;
    let key = decant_coordination::Keyspace::default().key(&ScorerKey {
        scorer: "scorer-1".parse().unwrap(),
    });
    scorer
        .world
        .store
        .store()
        .commit(Txn::new().delete(key))
        .await
        .unwrap();
    scorer.set(2, 1, first).await;
    registered(&scorer.world).await;
    observed(&scorer.world, "generation 2 serves", |record| {
        record.serving.0 == 2
    })
    .await;
    scorer.stop().await;
}

fn other_process(address: &str) -> ScorerRecord {
    ScorerRecord {
        address: address.into(),
        zone: String::new(),
        boot_id: "other".into(),
        build: "decant".into(),
        started_at_millis: 1,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_name_of_a_process_that_had_the_same_address_is_taken_over_once() {
    let world = World::new();
    let key = ScorerKey {
        scorer: "scorer-1".parse().unwrap(),
    };
    let other = other_process("10.0.0.1:7430");
    world.put(&key, &other).await;
    let scorer = Scorer::start_member(world).await;
    let first = scorer.pour(1, &files(0.0)).await;
    observed(&scorer.world, "generation 1 serves", |record| {
        record.serving.0 == 1
    })
    .await;
    assert_ne!(registered(&scorer.world).await.boot_id, "other");
    // A second process with the same address came later, and keeps the name.
    scorer.world.put(&key, &other).await;
    scorer.set(2, 1, first).await;
    scorer.set(3, 1, first).await;
    eventually("generation 3 serves", || async {
        scorer.answering().await == (1, 3)
    })
    .await;
    assert_eq!(registered(&scorer.world).await, other);
    scorer.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_a_live_process_has_is_not_taken_from_it() {
    let world = World::new();
    let other = other_process("10.0.0.9:7430");
    let key = ScorerKey {
        scorer: "scorer-1".parse().unwrap(),
    };
    world.put(&key, &other).await;
    let scorer = Scorer::start_member(world).await;
    scorer.pour(1, &files(0.0)).await;
    scorer.listed(1, Available).await;
    eventually("it has asked for the name", || async {
        scorer.world.store.last_lease().is_some()
    })
    .await;
    assert_eq!(registered(&scorer.world).await, other);
    assert!(scorer.world.records::<ObservedKey>().await.is_empty());

    let name = decant_coordination::Keyspace::default().key(&key);
    scorer
        .world
        .store
        .store()
        .commit(Txn::new().delete(name))
        .await
        .unwrap();
    assert_ne!(registered(&scorer.world).await.boot_id, "other");
    observed(&scorer.world, "it is observed", |record| {
        record.serving.0 == 1
    })
    .await;
    scorer.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lease_is_given_back_only_when_the_last_call_is_answered() {
    let scorer = Scorer::start_member(World::new()).await;
    scorer.pour(1, &files(0.0)).await;
    registered(&scorer.world).await;
    scorer.app.announce_drain().await;
    let name = "decant.scorer.v1.ScorerService";
    assert_eq!(
        scorer.serving_status(name).await,
        Some(ServingStatus::NotServing)
    );
    // Calls are still answered, and so the scorer is still there.
    assert_eq!(scorer.answering().await, (1, 1));
    registered(&scorer.world).await;
    scorer.drain().await;
    assert!(scorer.world.records::<ScorerKey>().await.is_empty());
    scorer.stop().await;
}
