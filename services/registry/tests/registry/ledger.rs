//! Mutations: each is made once, and each is on record.

use decant_coordination::keys::{self, AuditKey};
use decant_coordination::{Keyspace, Txn};
use decant_proto::admin::v1::*;
use decant_proto::rollout::v1::*;
use futures::future::join_all;
use tonic::{Code, Status};

use super::fixture::{Registry, bundle, quick};

async fn with_version() -> Registry {
    let registry = Registry::start_with(quick("one:1")).await;
    registry.create("movies", vec![]).await;
    registry.push(&bundle("one")).await.unwrap();
    registry
}

fn set(request_id: &str, reason: &str) -> SetSlotRequest {
    SetSlotRequest {
        model: "movies".into(),
        version: 1,
        request_id: request_id.into(),
        issued_by: "ana".into(),
        reason: reason.into(),
        ..SetSlotRequest::default()
    }
}

async fn answer(registry: &Registry, request: SetSlotRequest) -> Result<Slot, Status> {
    let response = registry.slots().set_slot(request).await?;
    Ok(response.into_inner().slot.unwrap())
}

async fn verify(registry: &Registry) -> VerifyAuditResponse {
    let response = registry.admin().verify_audit(VerifyAuditRequest {}).await;
    response.unwrap().into_inner()
}

#[tokio::test]
async fn a_request_is_answered_twice_and_done_once() {
    let registry = with_version().await;
    let request = SetSlotRequest {
        expected_generation: Some(0),
        ..set("tuesday", "better")
    };
    let first = answer(&registry, request.clone()).await.unwrap();
    let entries = registry.audit("").await.len();
    // Would be refused if it were done again: the slot is not at generation 0 any more.
    assert_eq!(answer(&registry, request.clone()).await.unwrap(), first);
    let replica = registry.replica(quick("two:1")).await;
    assert_eq!(answer(&replica, request).await.unwrap(), first);
    let other = answer(&registry, set("tuesday", "worse"))
        .await
        .unwrap_err();
    assert!(
        other.code() == Code::InvalidArgument && other.message().contains("`tuesday`"),
        "{other}"
    );
    assert_eq!(registry.audit("").await.len(), entries);
    let at_once = join_all((0..16).map(|_| answer(&registry, set("wednesday", "")))).await;
    for outcome in at_once {
        assert_eq!(outcome.unwrap().generation, 2);
    }
    let long = answer(&registry, set(&"x".repeat(257), ""))
        .await
        .unwrap_err();
    assert_eq!(long.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn every_mutation_has_one_entry_and_the_entries_are_a_chain() {
    let registry = with_version().await;
    answer(&registry, set("tuesday", "better")).await.unwrap();
    // What changes nothing leaves no entry.
    registry.create("movies", vec![]).await;
    answer(
        &registry,
        SetSlotRequest {
            expected_generation: Some(7),
            ..set("", "")
        },
    )
    .await
    .unwrap_err();
    let entries = registry.audit("").await;
    let told: Vec<_> = entries
        .iter()
        .rev()
        .map(|entry| (entry.number, &*entry.action, &*entry.subject))
        .collect();
    assert_eq!(
        told,
        [
            (1, "model.create", "movies"),
            (2, "version.stage", "movies/v1"),
            (3, "version.validate", "movies/v1"),
            (4, "version.approve", "movies/v1"),
            (5, "slot.set", "movies/main"),
        ]
    );
    for pair in entries.windows(2) {
        assert_eq!(pair[0].previous_hash, pair[1].hash);
    }
    let newest = &entries[0];
    assert_eq!(
        (&*newest.actor, &*newest.reason, &*newest.request_id),
        ("ana", "better", "tuesday")
    );
    assert!(newest.before.is_empty() && newest.after.contains("\"generation\":1"));
    let verdict = verify(&registry).await;
    assert_eq!((verdict.entries, &*verdict.broken), (5, ""));
    assert_eq!(verdict.head_hash, newest.hash);

    let page = ListAuditRequest {
        page_size: 2,
        ..ListAuditRequest::default()
    };
    let page = registry
        .admin()
        .list_audit(page)
        .await
        .unwrap()
        .into_inner();
    let next = ListAuditRequest {
        page_token: page.next_page_token,
        ..ListAuditRequest::default()
    };
    let next = registry
        .admin()
        .list_audit(next)
        .await
        .unwrap()
        .into_inner();
    assert_eq!((page.entries.len(), next.entries.len()), (2, 3));
    assert_eq!(next.next_page_token, "");
}

#[tokio::test]
async fn a_log_that_was_tampered_with_is_noticed() {
    let registry = with_version().await;
    let (store, keyspace) = (registry.store(), Keyspace::default());
    let key = |number| keyspace.key(&AuditKey { number });
    let original = store.get(&key(2)).await.unwrap().unwrap();
    let mut record = keys::value::<AuditKey>(&original).unwrap();
    record.actor = "nobody".into();
    let forged = keys::encode(&AuditKey { number: 2 }, &record).unwrap();
    store.commit(Txn::new().put(key(2), forged)).await.unwrap();
    let verdict = verify(&registry).await;
    assert!(verdict.broken.contains("entry 3"), "{verdict:?}");

    let restored = Txn::new().put(key(2), original.value.clone());
    store.commit(restored).await.unwrap();
    assert_eq!(verify(&registry).await.broken, "");
    let last = store.get(&key(4)).await.unwrap().unwrap();
    store.commit(Txn::new().delete(key(4))).await.unwrap();
    assert!(
        verify(&registry)
            .await
            .broken
            .contains("entry 4 is missing")
    );
    let mut record = keys::value::<AuditKey>(&last).unwrap();
    record.reason = "none".into();
    let forged = keys::encode(&AuditKey { number: 4 }, &record).unwrap();
    store.commit(Txn::new().put(key(4), forged)).await.unwrap();
    assert!(verify(&registry).await.broken.contains("entry 4 is not"));
    store.commit(Txn::new().delete(key(1))).await.unwrap();
    assert!(
        verify(&registry)
            .await
            .broken
            .contains("entry 1 is missing")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_64_that_race_on_two_replicas_each_gets_a_clean_answer() {
    let one = with_version().await;
    let two = one.replica(quick("two:1")).await;
    let race = |number: usize| {
        let registry = if number.is_multiple_of(2) { &one } else { &two };
        let request = SetSlotRequest {
            expected_generation: Some(0),
            ..set("", "")
        };
        answer(registry, request)
    };
    let outcomes = join_all((0..64).map(race)).await;
    let (won, lost): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    assert_eq!(won.len(), 1);
    for status in lost.into_iter().map(Result::unwrap_err) {
        assert!(
            matches!(status.code(), Code::Aborted | Code::FailedPrecondition)
                && status.message().contains("generation 1"),
            "{status}"
        );
    }
    // Mutations that have nothing in common but the audit log all succeed.
    let apart = |number: usize| {
        let registry = if number.is_multiple_of(2) { &one } else { &two };
        let request = SetSlotRequest {
            slot: format!("slot-{number}"),
            ..set("", "")
        };
        answer(registry, request)
    };
    for outcome in join_all((0..64).map(apart)).await {
        assert_eq!(outcome.unwrap().generation, 1);
    }
    let verdict = verify(&one).await;
    assert_eq!((verdict.entries, &*verdict.broken), (4 + 1 + 64, ""));
}
