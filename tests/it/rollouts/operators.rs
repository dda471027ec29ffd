//! Operators who want different things of one rollout at once, and one who wants that nothing changes.

use decant_proto::rollout::v1 as rollout;
use decant_tests::releases::{plan, release};
use decant_tests::tiny::MODEL;
use decant_tests::{Deployment, Operated, Recorder, Releases, Shape, Tiny};
use rollout::{RolloutPhase, Steer};
use tonic::{Code, Status};

use super::{OFTEN, abort, check_records};

const ROUNDS: usize = 3;
const RACERS: usize = 16;
/// What racers want, each in turn.
const VERBS: [Steer; 4] = [Steer::Promote, Steer::Abort, Steer::Promote, Steer::Pause];

/// One who lost is told to whom and to which generation; or that the rollout was paused meanwhile, which makes none.
fn check_lost(status: &Status, verb: Steer, generation: u64) {
    let refused = [Code::Aborted, Code::FailedPrecondition];
    assert!(refused.contains(&status.code()), "{verb:?}: {status}");
    let told = status.message();
    let lost_to_a_generation =
        told.contains(&format!("generation {}", generation + 1)) && told.contains("racer-");
    assert!(
        lost_to_a_generation || told.contains("paused"),
        "{verb:?}: {status}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn process_of_operators_that_steer_a_rollout_at_once_one_wins_its_generation() {
    let cluster = Deployment::start(Shape {
        etcd: 1,
        registries: 2,
        scorers: 1,
    })
    .await;
    let versions = [Tiny::new(0.25), Tiny::new(0.26)];
    cluster.serve(&versions[0]).await;
    let version = cluster.push(0, &versions[1]).await.unwrap().version;
    let clients = Recorder::start(cluster.scorer_addresses(), OFTEN);
    for round in 0..ROUNDS {
        let steps = ["10%", "pause", "20%", "pause"];
        let request = release(version, plan(&steps, Vec::new()));
        cluster.begin(0, request).await.unwrap();
        let first_pause = Some(1);
        let paused = cluster.reaches_step(0, RolloutPhase::Paused, first_pause);
        let generation = paused.await.rollout.unwrap().generation;

        let racers = (0..RACERS).map(|racer| {
            let (cluster, verb) = (&cluster, VERBS[racer % VERBS.len()]);
            let name = format!("racer-{racer}");
            async move {
                let told = cluster.steer(racer / 2 % 2, verb, Some(generation), &name);
                (verb, told.await)
            }
        });
        let (mut won, mut paused) = (Vec::new(), 0);
        for (verb, outcome) in futures::future::join_all(racers).await {
            match outcome {
                Ok(told) if verb == Steer::Pause => {
                    let slot = told.slot.unwrap();
                    assert_eq!(slot.generation, generation, "a pause changes no slot");
                    paused += 1;
                }
                Ok(told) => won.push(told.slot.unwrap().generation),
                Err(status) => check_lost(&status, verb, generation),
            }
        }
        assert_eq!(won, [generation + 1], "round {round}");
        assert!(
            paused <= 1,
            "round {round}: what is paused cannot be paused"
        );
        abort(&cluster).await;
    }
    cluster.converged(1, 1, 1).await;
    let history = clients.stop().await;
    history.check_no_drop();
    history.check_against(&cluster.intended(0).await);
    history.check_exact(&versions);
    check_records(&cluster, 1).await;
}

async fn freeze(cluster: &Deployment, frozen: bool) -> rollout::Slot {
    let request = rollout::FreezeSlotRequest {
        model: MODEL.to_owned(),
        frozen,
        issued_by: "keeper".to_owned(),
        reason: "the big day".to_owned(),
        ..rollout::FreezeSlotRequest::default()
    };
    let answer = cluster.rollout(0).freeze_slot(request).await.unwrap();
    answer.into_inner().slot.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn process_a_frozen_slot_takes_no_change_but_the_way_back() {
    let cluster = Deployment::start(Shape {
        etcd: 1,
        registries: 1,
        scorers: 2,
    })
    .await;
    let versions = [Tiny::new(0.25), Tiny::new(0.26), Tiny::new(0.27)];
    for tiny in &versions[..2] {
        cluster.serve(tiny).await;
    }
    let version = cluster.push(0, &versions[2]).await.unwrap().version;
    let clients = Recorder::start(cluster.scorer_addresses(), OFTEN);

    let slot = freeze(&cluster, true).await;
    let told = slot.frozen.unwrap();
    assert_eq!((&*told.issued_by, &*told.reason), ("keeper", "the big day"));
    let set = cluster.set(0, version).await.unwrap_err();
    let request = release(version, plan(&["50%", "pause"], Vec::new()));
    let begun = cluster.begin(0, request.clone()).await.unwrap_err();
    for refused in [set, begun] {
        assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
        for words in ["keeper", "the big day"] {
            assert!(refused.message().contains(words), "{refused}");
        }
    }
    cluster.roll_back(0, 0).await.unwrap();
    let back = cluster.converged(0, 1, 2).await;
    assert!(back.frozen.is_some(), "and it stays frozen: {back:?}");

    freeze(&cluster, false).await;
    cluster.begin(0, request).await.unwrap();
    cluster.reaches(0, RolloutPhase::Paused).await;
    // What is under way can be ended in a slot that is frozen meanwhile.
    freeze(&cluster, true).await;
    cluster.steer(0, Steer::Abort, None, "judge").await.unwrap();
    cluster.reaches(0, RolloutPhase::Aborted).await;
    let history = clients.stop().await;
    history.check_no_drop();
    history.check_against(&cluster.intended(0).await);
    history.check_exact(&versions);
    check_records(&cluster, 0).await;
}
