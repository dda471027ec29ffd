//! Rollouts, from their start to their end, with scorers that count what a test says.

use std::time::Duration;

use decant_proto::registry::v1::RetireVersionRequest;
use decant_proto::rollout::v1::start_rollout_request::How;
use decant_proto::rollout::v1::*;
use decant_proto::status::Reason;
use decant_registry::Config;
use tokio::time::timeout;
use tokio_stream::StreamExt;
use tonic::{Code, Status};

use super::fixture::{Registry, bundle, quick, soon};
use super::fleet::FakeScorer;

/// A configuration under which rollouts go on soon.
pub(crate) fn rolling(address: &str) -> Config {
    Config {
        rollout_interval_millis: 20,
        ..quick(address)
    }
}

/// A registry that leads, with a version in service and another one.
pub(crate) async fn serving_one() -> Registry {
    let registry = Registry::start_with(rolling("one:1")).await;
    registry.create("movies", vec![]).await;
    registry.push(&bundle("one")).await.unwrap();
    registry.push(&bundle("two")).await.unwrap();
    let set = SetSlotRequest {
        model: "movies".into(),
        version: 1,
        issued_by: "ana".into(),
        ..SetSlotRequest::default()
    };
    registry.slots().set_slot(set).await.unwrap();
    registry.leader().await;
    registry
}

/// A plan of these steps that judges errors alone.
pub(crate) fn plan(steps: &[&str]) -> Plan {
    let steps = steps.iter().map(|step| step.parse().unwrap()).collect();
    let gates = decant_model::rollout::Plan::default().gates;
    let gates = gates
        .into_iter()
        .filter(|gate| gate.metric == decant_model::rollout::Metric::ErrorRate);
    decant_proto::rollout::plan::to_wire(&decant_model::rollout::Plan {
        steps,
        gates: gates.collect(),
        ..decant_model::rollout::Plan::default()
    })
}

pub(crate) fn release(plan: Plan) -> StartRolloutRequest {
    StartRolloutRequest {
        model: "movies".into(),
        version: 2,
        how: Some(How::Plan(plan)),
        issued_by: "ana".into(),
        reason: "better".into(),
        ..StartRolloutRequest::default()
    }
}

pub(crate) async fn start(
    registry: &Registry,
    request: StartRolloutRequest,
) -> Result<StartRolloutResponse, Status> {
    let response = registry.slots().start_rollout(request).await?;
    Ok(response.into_inner())
}

pub(crate) async fn status(registry: &Registry) -> RolloutStatus {
    let request = GetRolloutRequest {
        model: "movies".into(),
        ..GetRolloutRequest::default()
    };
    let response = registry.slots().get_rollout(request).await.unwrap();
    response.into_inner().status.unwrap()
}

/// The newest rollout, once it is in a phase.
pub(crate) async fn reaches(registry: &Registry, phase: RolloutPhase) -> RolloutStatus {
    soon("the rollout comes to a phase", async || {
        let status = status(registry).await;
        let found = status.rollout.as_ref().unwrap().phase();
        (found == phase).then_some(status)
    })
    .await
}

/// The newest rollout, once it is paused at a step.
pub(crate) async fn pauses(registry: &Registry, step: u32) -> RolloutStatus {
    soon("the rollout pauses", async || {
        let status = status(registry).await;
        let rollout = status.rollout.as_ref().unwrap();
        let is_there = rollout.phase() == RolloutPhase::Paused && rollout.step == step;
        is_there.then_some(status)
    })
    .await
}

pub(crate) async fn slot(registry: &Registry) -> Slot {
    let request = GetSlotRequest {
        model: "movies".into(),
        slot: String::new(),
    };
    let response = registry.slots().get_slot(request).await.unwrap();
    response.into_inner().slot.unwrap()
}

/// Version, arm and share of each part of a slot.
pub(crate) fn parts(slot: &Slot) -> Vec<(u64, Arm, u32)> {
    let part = |active: &SlotVersion| (active.version, active.arm(), active.weight_basis_points);
    slot.active.iter().map(part).collect()
}

/// The slot at each of its generations.
async fn history(registry: &Registry) -> Vec<Slot> {
    let request = ListSlotHistoryRequest {
        model: "movies".into(),
        ..ListSlotHistoryRequest::default()
    };
    let response = registry.slots().list_slot_history(request).await.unwrap();
    let mut slots = response.into_inner().slots;
    slots.reverse();
    slots
}

#[tokio::test]
async fn a_version_that_does_well_is_promoted_step_by_step() {
    let registry = serving_one().await;
    let _fleet = [
        FakeScorer::join(&registry, "a").await,
        FakeScorer::join(&registry, "b").await,
    ];
    let begun = start(
        &registry,
        release(plan(&["shadow", "10%", "50%", "analysis 10m"])),
    )
    .await
    .unwrap();
    let (rollout, held) = (begun.rollout.unwrap(), begun.slot.unwrap());
    assert_eq!(rollout.phase(), RolloutPhase::Pending);
    assert_eq!((held.generation, &held.rollout), (2, &rollout.id));
    assert_eq!(parts(&held), [(1, Arm::Stable, 10_000)]);
    assert!(
        rollout.checks.iter().all(|check| check.passed),
        "{rollout:?}"
    );

    let status = reaches(&registry, RolloutPhase::Promoted).await;
    let slots = history(&registry).await;
    let generations: Vec<_> = slots
        .iter()
        .map(|slot| (slot.generation, parts(slot)))
        .collect();
    let alone = |version| vec![(version, Arm::Stable, 10_000)];
    let beside = |stable, arm, share| vec![(1, Arm::Stable, stable), (2, arm, share)];
    assert_eq!(
        generations,
        [
            (1, alone(1)),
            (2, alone(1)),
            (3, alone(1)),
            (4, beside(10_000, Arm::Shadow, 0)),
            (5, beside(9_000, Arm::Canary, 1_000)),
            (6, beside(5_000, Arm::Canary, 5_000)),
            (7, alone(2)),
        ]
    );
    assert_eq!(begun.course.len(), 5);
    for (foreseen, made) in begun.course.iter().zip(&slots[2..]) {
        assert_eq!(
            (parts(foreseen), &foreseen.prepare, foreseen.generation),
            (parts(made), &made.prepare, made.generation)
        );
    }
    assert!(slots[3..6].iter().all(|slot| slot.rollout == rollout.id));
    assert!(slots[2..].iter().all(|slot| slot.epoch > 0));
    let last = &slots[6];
    assert_eq!((last.rollout.as_str(), last.prepare[0].version), ("", 1));
    assert_eq!(status.rollout.unwrap().generation, 7);
    let gate = &status.gates[0];
    assert_eq!(gate.verdict(), GateVerdict::Pass, "{gate:?}");

    let told = registry.audit("movies/main").await;
    let mut told: Vec<_> = told.iter().map(|entry| &*entry.action).collect();
    told.reverse();
    assert_eq!(
        told,
        [
            "slot.set",
            "rollout.start",
            "rollout.prepare",
            "rollout.step",
            "rollout.step",
            "rollout.step",
            // The analysis begins, which scorers do not see.
            "rollout.step",
            "rollout.promote",
        ]
    );
}

#[tokio::test]
async fn a_version_that_fails_a_gate_is_taken_back_at_once() {
    let registry = serving_one().await;
    let scorer = FakeScorer::join(&registry, "a").await;
    scorer.behaves(|scorer| scorer.failures = 500_000);
    start(&registry, release(plan(&["10%", "analysis 10m"])))
        .await
        .unwrap();
    let status = reaches(&registry, RolloutPhase::Aborted).await;
    let (rollout, now) = (status.rollout.unwrap(), slot(&registry).await);
    assert!(
        rollout.reason_in_phase.contains("error-rate fails"),
        "{}",
        rollout.reason_in_phase
    );
    assert_eq!(parts(&now), [(1, Arm::Stable, 10_000)]);
    assert_eq!((now.rollout.as_str(), now.prepare[0].version), ("", 2));
    assert_eq!(status.gates[0].verdict(), GateVerdict::Fail);
    assert_eq!(status.actual_basis_points, Some(1_000));
    let told = registry.audit("movies/main").await;
    let aborted = told.iter().find(|entry| entry.action == "rollout.abort");
    let aborted = aborted.unwrap();
    assert_eq!(aborted.actor, "registry one:1");
    assert!(aborted.reason.contains("error-rate"), "{}", aborted.reason);

    // Over is over; the same again is a rollout of its own.
    scorer.behaves(|scorer| scorer.failures = 0);
    let again = StartRolloutRequest {
        model: "movies".into(),
        retry_of: rollout.id.clone(),
        issued_by: "bob".into(),
        ..StartRolloutRequest::default()
    };
    let begun = start(&registry, again).await.unwrap().rollout.unwrap();
    assert_eq!((&begun.retry_of, &begun.plan), (&rollout.id, &rollout.plan));
    assert!(begun.id > rollout.id && begun.reason == "better");
    reaches(&registry, RolloutPhase::Promoted).await;
    let request = ListRolloutsRequest {
        model: "movies".into(),
        page_size: 1,
        ..ListRolloutsRequest::default()
    };
    let first = registry.slots().list_rollouts(request.clone()).await;
    let first = first.unwrap().into_inner();
    assert_eq!(first.rollouts[0].id, begun.id);
    let request = ListRolloutsRequest {
        page_token: first.next_page_token,
        ..request
    };
    let second = registry.slots().list_rollouts(request).await.unwrap();
    let second = second.into_inner();
    assert_eq!(second.rollouts[0].id, rollout.id);
    assert_eq!(second.next_page_token, "");
}

#[tokio::test]
async fn no_data_is_never_a_pass() {
    for (requests, tells) in [(0, true), (1_000_000, false)] {
        let registry = serving_one().await;
        let scorer = FakeScorer::join(&registry, "a").await;
        scorer.behaves(|scorer| (scorer.requests, scorer.tells) = (requests, tells));
        start(&registry, release(plan(&["10%", "analysis 200ms"])))
            .await
            .unwrap();
        let status = reaches(&registry, RolloutPhase::Aborted).await;
        let why = status.rollout.unwrap().reason_in_phase;
        assert!(why.contains("within 200ms"), "{why}");
        assert_eq!(parts(&slot(&registry).await), [(1, Arm::Stable, 10_000)]);
    }
}

#[tokio::test]
async fn a_version_that_scorers_cannot_load_sees_no_traffic() {
    let registry = serving_one().await;
    let scorer = FakeScorer::join(&registry, "a").await;
    scorer.behaves(|scorer| scorer.loads = false);
    start(&registry, release(plan(&["10%"]))).await.unwrap();
    let status = reaches(&registry, RolloutPhase::Aborted).await;
    let why = status.rollout.unwrap().reason_in_phase;
    assert!(why.contains("golden vectors differ"), "{why}");
    let slots = history(&registry).await;
    assert!(slots.iter().all(|slot| slot.active.len() == 1), "{slots:?}");
}

#[tokio::test]
async fn scorers_that_do_not_take_a_step_up_keep_it_from_being_passed() {
    let registry = serving_one().await;
    let _good = FakeScorer::join(&registry, "good").await;
    let slow = FakeScorer::join(&registry, "slow").await;
    start(&registry, release(plan(&["10%", "pause", "20%", "pause"])))
        .await
        .unwrap();
    pauses(&registry, 1).await;
    slow.behaves(|scorer| scorer.follows = false);
    super::steering::steer(&registry, Steer::Resume)
        .await
        .unwrap();
    let waits = soon("the rollout waits for the slow one", async || {
        let status = status(&registry).await;
        status.waits_for.contains("slow").then_some(status)
    })
    .await;
    assert_eq!(waits.rollout.unwrap().phase(), RolloutPhase::Progressing);
    slow.behaves(|scorer| scorer.follows = true);
    pauses(&registry, 3).await;
}

/// Whoever leads when a step is taken, the steps are the same.
#[tokio::test]
async fn a_leader_that_goes_is_followed_by_one_that_goes_on() {
    let mut registry = serving_one().await;
    let _scorer = FakeScorer::join(&registry, "a").await;
    start(&registry, release(plan(&["10%", "pause", "20%", "50%"])))
        .await
        .unwrap();
    let mut phases = 0;
    for place in 0.. {
        // Somebody else leads from here on, wherever the rollout is.
        let epoch = registry.leader().await.epoch;
        let next = registry.replica(rolling(&format!("next-{place}:1"))).await;
        let seen = status(&registry).await.rollout.unwrap();
        registry.stop().await;
        registry = next;
        soon("another one leads", async || {
            Some(registry.cluster().await).filter(|cluster| cluster.epoch > epoch)
        })
        .await;
        phases += 1;
        let now = status(&registry).await.rollout.unwrap();
        assert!(now.step >= seen.step, "{now:?} after {seen:?}");
        match now.phase() {
            RolloutPhase::Promoted => break,
            RolloutPhase::Paused if now.step == 1 => {
                super::steering::steer(&registry, Steer::Resume)
                    .await
                    .unwrap();
            }
            _ => {}
        }
        assert!(phases < 50, "{now:?}");
    }
    let slots = history(&registry).await;
    let shares: Vec<_> = slots
        .iter()
        .map(|slot| parts(slot).last().unwrap().2)
        .collect();
    assert_eq!(
        shares,
        [10_000, 10_000, 10_000, 1_000, 2_000, 5_000, 10_000]
    );
    assert_eq!(parts(&slots[6]), [(2, Arm::Stable, 10_000)]);
}

#[tokio::test]
async fn while_most_scorers_have_vanished_a_rollout_stands_still() {
    let registry = serving_one().await;
    let mut scorers = Vec::new();
    for name in ["a", "b", "c"] {
        scorers.push(super::scorer::Scorer::join(&registry, name).await);
    }
    start(&registry, release(plan(&["10%"]))).await.unwrap();
    reaches(&registry, RolloutPhase::Preparing).await;
    for gone in scorers.split_off(1) {
        gone.leave().await;
    }
    // The one that is left has the version ready, which would be all.
    let left = scorers.remove(0);
    let two = (2, bundle("two").digest());
    let generation = slot(&registry).await.generation;
    left.say(
        generation,
        generation,
        two,
        decant_coordination::keys::ObservedState::Ready,
    )
    .await;
    let status = soon("the rollout stands still", async || {
        let status = status(&registry).await;
        status
            .waits_for
            .contains("2 of 3 scorers have vanished")
            .then_some(status)
    })
    .await;
    assert_eq!(status.rollout.unwrap().phase(), RolloutPhase::Preparing);
    assert_eq!(slot(&registry).await.generation, generation);
}

#[tokio::test]
async fn a_rollout_is_watched_from_before_it_begins() {
    let registry = serving_one().await;
    let _scorer = FakeScorer::join(&registry, "a").await;
    let request = WatchRolloutRequest {
        model: "movies".into(),
        ..WatchRolloutRequest::default()
    };
    let watch = registry.slots().watch_rollout(request).await.unwrap();
    let mut watch = watch.into_inner();
    let begun = start(&registry, release(plan(&["10%", "pause"])))
        .await
        .unwrap();
    let id = begun.rollout.unwrap().id;
    let mut seen = Vec::new();
    while seen.last() != Some(&RolloutPhase::Paused) {
        let next = timeout(Duration::from_secs(20), watch.next()).await;
        let status = next.unwrap().unwrap().unwrap().status.unwrap();
        let rollout = status.rollout.unwrap();
        assert_eq!(rollout.id, id);
        if seen.last() != Some(&rollout.phase()) {
            seen.push(rollout.phase());
        }
    }
    assert!(seen.is_sorted_by_key(|phase| *phase as i32), "{seen:?}");
    let unknown = WatchRolloutRequest {
        model: "movies".into(),
        rollout: "01hv0000000000000000000000".into(),
        ..WatchRolloutRequest::default()
    };
    let refused = registry.slots().watch_rollout(unknown).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
}

#[tokio::test]
async fn nothing_else_changes_a_slot_that_a_rollout_has() {
    let registry = serving_one().await;
    let begun = start(&registry, release(plan(&["10%", "pause"])))
        .await
        .unwrap();
    let id = begun.rollout.unwrap().id;
    let refused = |status: Status| {
        assert_eq!(Reason::of(&status), Some(Reason::RolloutActive), "{status}");
        assert!(
            status.message().contains(&id) && status.message().contains("decant rollout abort"),
            "{status}"
        );
    };
    let set = SetSlotRequest {
        model: "movies".into(),
        version: 2,
        ..SetSlotRequest::default()
    };
    refused(registry.slots().set_slot(set).await.unwrap_err());
    let prepare = PrepareSlotRequest {
        model: "movies".into(),
        version: 2,
        ..PrepareSlotRequest::default()
    };
    refused(registry.slots().prepare_slot(prepare).await.unwrap_err());
    refused(start(&registry, release(plan(&[]))).await.unwrap_err());
    for version in [1, 2] {
        let retire = RetireVersionRequest {
            model: "movies".into(),
            version,
            ..RetireVersionRequest::default()
        };
        let held = registry.client().retire_version(retire).await.unwrap_err();
        assert!(held.message().contains("held by slot `main`"), "{held}");
    }
}
