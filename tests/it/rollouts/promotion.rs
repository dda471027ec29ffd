//! A version that is as good as the stable one releases itself.

use std::time::Duration;

use decant_model::rollout::Metric;
use decant_proto::rollout::v1 as rollout;
use decant_tests::releases::{gate, plan, release};
use decant_tests::{Deployment, Operated, Question, Recorder, Releases, Shape, Tiny};
use rollout::RolloutPhase;

use super::{OFTEN, canary_weight, check_records};

const USERS: u64 = 2_000;
/// Clients of each scorer.
const CLIENTS: usize = 2;
/// Clients go through the users in orders of their own; none of these has a factor in common with their number.
const STRIDES: [u64; 4] = [7, 11, 13, 17];
/// How long the whole release may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// Each user's requests have one key, in whichever scorer; of every five requests, one has none.
fn users(client: usize, number: u64) -> Question {
    let user = (number * STRIDES[client % STRIDES.len()]) % USERS;
    Question {
        key: (!number.is_multiple_of(5)).then(|| format!("user-{user}")),
        old: false,
    }
}

/// Where the rollout is seen to stand, each time that this changes, until it is over.
async fn course(cluster: &Deployment, place: usize, id: &str) -> Vec<(RolloutPhase, u32)> {
    let request = rollout::WatchRolloutRequest {
        model: decant_tests::tiny::MODEL.to_owned(),
        rollout: id.to_owned(),
        ..rollout::WatchRolloutRequest::default()
    };
    let watched = cluster.rollout(place).watch_rollout(request).await;
    let mut news = watched.unwrap().into_inner();
    let mut seen: Vec<(RolloutPhase, u32)> = Vec::new();
    loop {
        let status = news.message().await.unwrap().unwrap().status.unwrap();
        let release = status.rollout.unwrap();
        let at = (release.phase(), release.step);
        if seen.last() != Some(&at) {
            seen.push(at);
        }
        if matches!(
            release.phase(),
            RolloutPhase::Promoted | RolloutPhase::Aborting | RolloutPhase::Aborted
        ) {
            return seen;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn process_a_good_version_releases_itself_step_by_step_and_fails_no_request() {
    let cluster = Deployment::start(Shape {
        etcd: 1,
        registries: 2,
        scorers: 2,
    })
    .await;
    let versions = [Tiny::new(0.25), Tiny::new(0.251)];
    let before = cluster.serve(&versions[0]).await.generation;
    let version = cluster.push(0, &versions[1]).await.unwrap().version;
    let addresses = cluster.scorer_addresses().repeat(CLIENTS);
    let clients = Recorder::start_asking(addresses, OFTEN, users);

    let steps = [
        "1%",
        "analysis 100s",
        "10%",
        "analysis 60s",
        "50%",
        "analysis 60s",
    ];
    let gates = vec![gate(Metric::Requests, 30.0), gate(Metric::ErrorRate, 0.5)];
    let request = release(version, plan(&steps, gates));
    let begun = cluster.begin(0, request).await.unwrap();
    let watched = course(&cluster, 1, &begun.id);
    let seen = tokio::time::timeout(PATIENCE, watched).await.unwrap();

    // What passes quickly may not be seen; what is seen comes in this order.
    let mut order = vec![(RolloutPhase::Pending, 0), (RolloutPhase::Preparing, 0)];
    order.extend((0..6).map(|step| (RolloutPhase::Progressing, step)));
    order.push((RolloutPhase::Promoted, 6));
    let mut rest = order.iter();
    let in_order = seen.iter().all(|at| rest.any(|next| next == at));
    assert!(in_order, "{seen:?}");
    // A hundredth of the traffic needs some seconds to be enough.
    let first_analysis = (RolloutPhase::Progressing, 1);
    assert!(seen.contains(&first_analysis), "{seen:?}");
    assert_eq!(seen.last(), order.last());

    let last = cluster.converged(1, version, 2).await;
    let history = clients.stop().await;
    let intended = cluster.intended(0).await;
    let made: Vec<&rollout::Slot> = intended
        .iter()
        .rev()
        .filter(|slot| slot.generation > before)
        .collect();
    let weights: Vec<u32> = made.iter().filter_map(|slot| canary_weight(slot)).collect();
    assert_eq!(weights, [100, 1_000, 5_000]);
    let shares = made.iter().filter(|slot| canary_weight(slot).is_some());
    for slot in shares {
        assert_eq!(slot.rollout, begun.id);
        assert!(slot.epoch > 0, "the leader moved it: {slot:?}");
    }
    assert_eq!(made.last(), Some(&&intended[0]));
    assert_eq!(last.rollout, "", "it has let go of the slot");
    assert_eq!(last.prepare[0].version, 1, "the way back stays short");

    history.check_no_drop();
    history.check_against(&intended);
    history.check_exact(&versions);
    let seen = history.check_split(&intended, &begun.id);
    assert_eq!(seen, weights);
    history.check_drawn(&intended, &begun.id);
    check_records(&cluster, 1).await;
}
