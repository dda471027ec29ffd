//! Changes that the leader could make and does not, and how operators hear of it.

use std::time::Duration;

use decant_artifact::SigningKey;
use decant_coordination::keys::ObservedState::Ready;
use decant_coordination::keys::{self, ClusterKey, ClusterRecord, RefusalKey};
use decant_coordination::{Keyspace, Txn};
use decant_model::Digest;
use decant_proto::registry::push::push_version;
use decant_proto::registry::v1::*;
use decant_proto::rollout::v1::*;
use tokio::time::timeout;
use tokio_stream::StreamExt;

use super::fixture::{Registry, bundle, movies, quick, soon};
use super::scorer::Scorer;

/// A registry that leads, with a version in service and another one; only this key may sign.
async fn serving_one(key: &SigningKey) -> Registry {
    let registry = Registry::start_with(quick("one:1")).await;
    let model = Model {
        name: "movies".into(),
        signers: vec![key.public().to_string()],
        ..Model::default()
    };
    let request = CreateModelRequest {
        model: Some(model),
        ..CreateModelRequest::default()
    };
    registry.client().create_model(request).await.unwrap();
    for word in ["one", "two"] {
        let bundle = bundle(word);
        let signature = key.sign(&bundle.manifest);
        let (manifest, files) = (bundle.manifest, bundle.files);
        let mut client = registry.client();
        push_version(&mut client, &movies(), manifest, Some(&signature), files)
            .await
            .unwrap();
    }
    set(&registry, 1, 0).await;
    registry.leader().await;
    registry
}

async fn set(registry: &Registry, version: u64, min_ready_percent: u32) -> Slot {
    let request = SetSlotRequest {
        model: "movies".into(),
        version,
        min_ready_percent,
        issued_by: "ana".into(),
        ..SetSlotRequest::default()
    };
    let response = registry.slots().set_slot(request).await.unwrap();
    response.into_inner().slot.unwrap()
}

async fn status(registry: &Registry) -> SlotStatus {
    let request = GetSlotStatusRequest {
        model: "movies".into(),
        slot: String::new(),
    };
    let response = registry.slots().get_slot_status(request).await.unwrap();
    response.into_inner().status.unwrap()
}

/// What blocks the slot, once these words do.
async fn blocked_by(registry: &Registry, words: &str) -> SlotStatus {
    soon(words, async || {
        Some(status(registry).await).filter(|status| status.blocked.contains(words))
    })
    .await
}

/// Waits until the slot has come to a generation, and nothing blocks it.
async fn goes_on(registry: &Registry, generation: u64) {
    soon("the slot goes on", async || {
        let status = status(registry).await;
        let found = status.slot.unwrap().generation;
        (found == generation && status.blocked.is_empty()).then_some(())
    })
    .await;
    soon("nothing is refused", async || {
        let all = Keyspace::default().all::<RefusalKey>();
        let left = registry.store().list(&all).await.unwrap().entries;
        left.is_empty().then_some(())
    })
    .await;
}

async fn let_sign(registry: &Registry, key: &SigningKey) {
    let request = UpdateModelRequest {
        name: "movies".into(),
        signers: Some(Signers {
            keys: vec![key.public().to_string()],
        }),
        ..UpdateModelRequest::default()
    };
    registry.client().update_model(request).await.unwrap();
}

fn two() -> (u64, Digest) {
    (2, bundle("two").digest())
}

#[tokio::test]
async fn a_withdrawn_key_is_told_to_whoever_looks_at_the_slot() {
    let (ours, theirs) = (
        SigningKey::generate().unwrap(),
        SigningKey::generate().unwrap(),
    );
    let registry = serving_one(&ours).await;
    let scorer = Scorer::join(&registry, "a").await;
    set(&registry, 2, 0).await;
    let request = WatchSlotStatusRequest {
        model: "movies".into(),
        slot: String::new(),
    };
    let watch = registry.slots().watch_slot_status(request).await.unwrap();
    let mut watch = watch.into_inner();

    let_sign(&registry, &theirs).await;
    scorer.say(2, 1, two(), Ready).await;
    let words = format!(
        "not by a key that may sign now: it is signed by {}",
        ours.public()
    );
    let status = blocked_by(&registry, &words).await;
    assert!(!status.converged);
    assert_eq!(status.slot.unwrap().generation, 2);
    let alarms = registry.cluster().await.alarms;
    assert!(
        alarms.iter().any(|alarm| alarm.contains(&words)),
        "{alarms:?}"
    );
    loop {
        let next = timeout(Duration::from_secs(20), watch.next()).await;
        let status = next.unwrap().unwrap().unwrap().status.unwrap();
        if status.blocked.contains(&words) {
            break;
        }
    }

    let_sign(&registry, &ours).await;
    goes_on(&registry, 3).await;
}

#[tokio::test]
async fn what_a_leader_says_goes_when_it_does() {
    let (ours, theirs) = (
        SigningKey::generate().unwrap(),
        SigningKey::generate().unwrap(),
    );
    let registry = serving_one(&ours).await;
    let reader = registry.store().clone();
    let scorer = Scorer::join(&registry, "a").await;
    set(&registry, 2, 0).await;
    let_sign(&registry, &theirs).await;
    scorer.say(2, 1, two(), Ready).await;
    blocked_by(&registry, "not by a key that may sign now").await;
    registry.stop().await;
    let all = Keyspace::default().all::<RefusalKey>();
    assert_eq!(reader.list(&all).await.unwrap().entries, []);
}

#[tokio::test]
async fn a_store_that_looks_older_is_told_to_whoever_looks_at_the_slot() {
    let registry = serving_one(&SigningKey::generate().unwrap()).await;
    let scorer = Scorer::join(&registry, "a").await;
    set(&registry, 2, 0).await;
    let other = ClusterRecord {
        uuid: "another".into(),
        incarnation: 1,
        created_at_millis: 0,
    };
    let key = Keyspace::default().key(&ClusterKey {});
    let value = keys::encode(&ClusterKey {}, &other).unwrap();
    let txn = Txn::new().put(key, value);
    registry.store().commit(txn).await.unwrap();
    scorer.say(2, 1, two(), Ready).await;
    let status = blocked_by(&registry, "decant admin adopt").await;
    assert_eq!(status.slot.unwrap().generation, 2);
}

#[tokio::test]
async fn while_most_scorers_have_vanished_nothing_is_activated_unless_an_operator_says_so() {
    let registry = serving_one(&SigningKey::generate().unwrap()).await;
    let mut scorers = Vec::new();
    for name in ["a", "b", "c", "d", "e"] {
        scorers.push(Scorer::join(&registry, name).await);
    }
    set(&registry, 2, 0).await;
    for gone in scorers.split_off(2) {
        gone.leave().await;
    }
    for left in &scorers {
        left.say(2, 1, two(), Ready).await;
    }
    let status = blocked_by(&registry, "3 of 5 scorers have vanished").await;
    assert!(status.blocked.contains("c, d, e"), "{}", status.blocked);
    let slot = status.slot.unwrap();
    assert_eq!((slot.generation, slot.active[0].version), (2, 1));

    // Also at once nothing is activated, though all that are left have it ready.
    let again = set(&registry, 2, 0).await;
    assert_eq!((again.generation, again.pending.len()), (3, 1));
    let too_much = set(&registry, 2, 41).await;
    assert_eq!((too_much.generation, too_much.pending.len()), (4, 1));
    blocked_by(&registry, "3 of 5 scorers have vanished").await;
    let back = Scorer::join(&registry, "c").await;
    back.say(4, 1, two(), Ready).await;
    goes_on(&registry, 5).await;

    back.leave().await;
    let enough = set(&registry, 1, 40).await;
    assert_eq!(enough.pending.len(), 1, "nobody has version 1 ready");
    let enough = set(&registry, 2, 40).await;
    assert!(enough.pending.is_empty(), "2 of all 5 are 40 %");
}
