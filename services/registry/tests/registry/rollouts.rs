//! Prepare and activate: two generations, and what scorers say decides when the second comes.

use std::time::{Duration, Instant};

use decant_coordination::keys::ObservedState::{Failed, Loading, Ready};
use decant_model::Digest;
use decant_proto::rollout::v1::*;
use prost_types::Timestamp;
use tokio::time::timeout;
use tokio_stream::StreamExt;
use tonic::{Code, Status};

use super::fixture::{Registry, bundle, quick, soon};
use super::scorer::Scorer;

/// A registry that leads, with a version in service and another one.
async fn serving_one() -> Registry {
    let registry = Registry::start_with(quick("one:1")).await;
    registry.create("movies", vec![]).await;
    registry.push(&bundle("one")).await.unwrap();
    registry.push(&bundle("two")).await.unwrap();
    let first = set(&registry, 1, 0).await.unwrap();
    assert!(
        first.generation == 1 && first.pending.is_empty(),
        "without scorers there is nothing to wait for"
    );
    registry.leader().await;
    registry
}

fn two() -> (u64, Digest) {
    (2, bundle("two").digest())
}

async fn set(registry: &Registry, version: u64, min_ready_percent: u32) -> Result<Slot, Status> {
    let request = SetSlotRequest {
        model: "movies".into(),
        version,
        min_ready_percent,
        issued_by: "ana".into(),
        reason: "better".into(),
        ..SetSlotRequest::default()
    };
    let response = registry.slots().set_slot(request).await?;
    Ok(response.into_inner().slot.unwrap())
}

async fn status(registry: &Registry) -> SlotStatus {
    let request = GetSlotStatusRequest {
        model: "movies".into(),
        slot: String::new(),
    };
    let response = registry.slots().get_slot_status(request).await.unwrap();
    response.into_inner().status.unwrap()
}

/// The slot, once it has come to a generation.
async fn at(registry: &Registry, generation: u64) -> Slot {
    soon("the slot comes to a generation", async || {
        let slot = status(registry).await.slot.unwrap();
        (slot.generation == generation).then_some(slot)
    })
    .await
}

fn versions(versions: &[SlotVersion]) -> Vec<u64> {
    versions.iter().map(|version| version.version).collect()
}

#[tokio::test]
async fn a_version_comes_into_service_when_every_scorer_has_it_ready() {
    let registry = serving_one().await;
    let (a, b) = (
        Scorer::join(&registry, "a").await,
        Scorer::join(&registry, "b").await,
    );
    let pending = set(&registry, 2, 0).await.unwrap();
    assert_eq!((pending.generation, pending.min_ready_percent), (2, 100));
    assert_eq!(versions(&pending.active), [1]);
    assert_eq!(versions(&pending.prepare), [2]);
    assert_eq!(versions(&pending.pending), [2]);

    a.say(2, 1, two(), Ready).await;
    b.say(2, 1, two(), Loading).await;
    // Whether the leader waits shows by its not having done it after it has looked several times.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let waiting = status(&registry).await;
    assert_eq!(waiting.slot.unwrap().generation, 2);
    assert!(!waiting.converged && waiting.blocked.is_empty());
    let states: Vec<_> = waiting
        .scorers
        .iter()
        .map(|scorer| scorer.versions[0].state())
        .collect();
    assert_eq!(states, [ObservedState::Ready, ObservedState::Loading]);

    b.say(2, 1, two(), Ready).await;
    let active = at(&registry, 3).await;
    assert_eq!(versions(&active.active), [2]);
    assert_eq!(versions(&active.prepare), [1], "the way back stays short");
    assert!(active.pending.is_empty() && active.epoch == registry.cluster().await.epoch);
    assert_eq!(
        (active.issued_by.as_str(), active.reason.as_str()),
        ("ana", "better")
    );
    let entry = registry.audit("movies/main").await.remove(0);
    assert_eq!(
        (entry.action.as_str(), entry.actor.as_str()),
        ("slot.activate", "registry one:1")
    );

    assert!(!status(&registry).await.converged);
    a.say(3, 3, two(), Ready).await;
    b.say(3, 3, two(), Ready).await;
    assert!(status(&registry).await.converged);
    let back = set(&registry, 2, 0).await.unwrap();
    assert!(
        back.pending.is_empty(),
        "what is ready is activated at once"
    );
}

#[tokio::test]
async fn activation_follows_the_last_scorer_in_milliseconds() {
    let registry = serving_one().await;
    let scorer = Scorer::join(&registry, "a").await;
    let mut took = Vec::new();
    for round in 0..10 {
        let (number, word) = [(2, "two"), (1, "one")][round % 2];
        let version = (number, bundle(word).digest());
        let generation = set(&registry, number, 0).await.unwrap().generation;
        let request = WatchSlotRequest {
            model: "movies".into(),
            slot: String::new(),
        };
        let watch = registry.slots().watch_slot(request).await.unwrap();
        let mut watch = watch.into_inner();
        watch.next().await.unwrap().unwrap();
        let ready = Instant::now();
        scorer.say(generation, generation - 1, version, Ready).await;
        let slot = watch.next().await.unwrap().unwrap().slot.unwrap();
        took.push(ready.elapsed());
        assert_eq!(slot.generation, generation + 1);
    }
    took.sort();
    assert!(took[5] < Duration::from_millis(50), "{took:?}");
}

#[tokio::test]
async fn a_share_of_the_scorers_is_enough_if_an_operator_says_so() {
    let registry = serving_one().await;
    let scorers = [
        Scorer::join(&registry, "a").await,
        Scorer::join(&registry, "b").await,
    ];
    let pending = set(&registry, 2, 50).await.unwrap();
    assert_eq!((pending.generation, pending.min_ready_percent), (2, 50));
    scorers[1].say(2, 1, two(), Ready).await;
    assert_eq!(versions(&at(&registry, 3).await.active), [2]);
    let too_many = set(&registry, 2, 101).await.unwrap_err();
    assert_eq!(too_many.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn a_scorer_that_fails_blocks_until_an_operator_decides() {
    let registry = serving_one().await;
    let (good, bad) = (
        Scorer::join(&registry, "good").await,
        Scorer::join(&registry, "bad").await,
    );
    set(&registry, 2, 0).await.unwrap();
    good.say(2, 1, two(), Ready).await;
    bad.say(2, 1, two(), Failed).await;
    let blocked = status(&registry).await.blocked;
    assert!(
        blocked.contains("`bad`") && blocked.contains("golden vectors differ"),
        "{blocked}"
    );
    let alarms = registry.cluster().await.alarms;
    assert!(
        alarms.iter().any(|alarm| alarm.contains("`bad`")),
        "{alarms:?}"
    );
    let lowered = set(&registry, 2, 50).await.unwrap();
    assert_eq!(
        (lowered.generation, versions(&lowered.active)),
        (3, vec![2])
    );

    bad.leave().await;
    assert_eq!(status(&registry).await.blocked, "");
}

#[tokio::test]
async fn a_newer_change_supersedes_what_is_pending() {
    let registry = serving_one().await;
    registry.push(&bundle("three")).await.unwrap();
    let scorer = Scorer::join(&registry, "a").await;
    set(&registry, 2, 0).await.unwrap();
    let newer = set(&registry, 3, 0).await.unwrap();
    assert_eq!((newer.generation, versions(&newer.pending)), (3, vec![3]));
    let request = PrepareSlotRequest {
        model: "movies".into(),
        version: 2,
        issued_by: "ana".into(),
        ..PrepareSlotRequest::default()
    };
    let prepared = registry.slots().prepare_slot(request).await.unwrap();
    let prepared = prepared.into_inner().slot.unwrap();
    assert_eq!(
        (prepared.generation, versions(&prepared.active)),
        (4, vec![1])
    );
    assert!(prepared.pending.is_empty() && versions(&prepared.prepare) == [2]);
    scorer.say(4, 4, two(), Ready).await;
    let status = status(&registry).await;
    assert!(status.converged && status.slot.unwrap().generation == 4);
    let set = set(&registry, 2, 0).await.unwrap();
    assert_eq!((set.generation, versions(&set.active)), (5, vec![2]));
}

#[tokio::test]
async fn a_status_is_shown_after_each_change() {
    let registry = serving_one().await;
    let request = WatchSlotStatusRequest {
        model: "movies".into(),
        slot: String::new(),
    };
    let watch = registry.slots().watch_slot_status(request).await.unwrap();
    let mut watch = watch.into_inner();
    let mut until = async |what: &str, holds: fn(&SlotStatus) -> bool| loop {
        let next = timeout(Duration::from_secs(20), watch.next()).await;
        let status = next.expect(what).unwrap().unwrap().status.unwrap();
        if holds(&status) {
            return;
        }
    };
    until("the slot", |status| {
        status.converged && status.scorers.is_empty()
    })
    .await;
    let scorer = Scorer::join(&registry, "a").await;
    until("a scorer", |status| status.scorers.len() == 1).await;
    set(&registry, 2, 0).await.unwrap();
    until("a pending change", |status| {
        !status.slot.as_ref().unwrap().pending.is_empty()
    })
    .await;
    scorer.say(2, 1, two(), Ready).await;
    until("its activation", |status| {
        status.slot.as_ref().unwrap().generation == 3
    })
    .await;
    scorer.say(3, 3, two(), Ready).await;
    until("its end", |status| status.converged).await;
    let listed = registry.slots().list_scorers(ListScorersRequest {}).await;
    let listed = listed.unwrap().into_inner().scorers;
    assert_eq!(
        (listed[0].name.as_str(), listed[0].zone.as_str()),
        ("a", "a")
    );
    scorer.leave().await;
    until("its leaving", |status| status.scorers.is_empty()).await;
}

#[tokio::test]
async fn what_ran_at_a_time_can_be_told() {
    let registry = serving_one().await;
    for version in [2, 1, 2] {
        // Two changes of one millisecond could not be told apart by time.
        tokio::time::sleep(Duration::from_millis(3)).await;
        set(&registry, version, 0).await.unwrap();
    }
    let history = async |request: ListSlotHistoryRequest| {
        let request = ListSlotHistoryRequest {
            model: "movies".into(),
            ..request
        };
        let response = registry.slots().list_slot_history(request).await.unwrap();
        response.into_inner()
    };
    let first = history(ListSlotHistoryRequest {
        page_size: 3,
        ..ListSlotHistoryRequest::default()
    })
    .await;
    let generations: Vec<_> = first.slots.iter().map(|slot| slot.generation).collect();
    assert_eq!(generations, [4, 3, 2]);
    let rest = history(ListSlotHistoryRequest {
        page_token: first.next_page_token,
        ..ListSlotHistoryRequest::default()
    })
    .await;
    assert_eq!((rest.slots.len(), rest.next_page_token.as_str()), (1, ""));
    assert_eq!(rest.slots[0].generation, 1);

    let then = async |at: Option<Timestamp>| {
        let request = ListSlotHistoryRequest {
            at,
            ..ListSlotHistoryRequest::default()
        };
        let slots = history(request).await.slots;
        slots.iter().map(|slot| slot.generation).collect::<Vec<_>>()
    };
    for slot in first.slots.iter().chain(&rest.slots) {
        assert_eq!(then(slot.issue_time).await, [slot.generation]);
    }
    let mut later = first.slots[0].issue_time.unwrap();
    later.seconds += 60;
    assert_eq!(then(Some(later)).await, [4]);
    assert_eq!(then(Some(Timestamp::default())).await, Vec::<u64>::new());
}
