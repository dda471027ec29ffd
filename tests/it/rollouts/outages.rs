//! A store that hangs and a scorer that dies while a canary answers: the rollout waits or goes on with those who are left, and
//! whoever asks through the client notices nothing.

use std::time::Duration;

use decant_client::{Columns, Scorers};
use decant_model::rollout::Metric;
use decant_proto::rollout::v1 as rollout;
use decant_tests::releases::{gate, plan, release};
use decant_tests::{Deployment, Names, Operated, Recorder, Releases, Shape, Tiny, eventually};
use rollout::{RolloutPhase, Steer};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{OFTEN, canary_weight, check_records};

const SMALL: Shape = Shape {
    etcd: 1,
    registries: 1,
    scorers: 2,
};

#[tokio::test(flavor = "multi_thread")]
async fn process_a_rollout_waits_while_the_store_hangs_and_goes_on_when_it_is_back() {
    let mut cluster = Deployment::start(SMALL).await;
    let versions = [Tiny::new(0.25), Tiny::new(0.26)];
    cluster.serve(&versions[0]).await;
    let version = cluster.push(0, &versions[1]).await.unwrap().version;
    let clients = Recorder::start(cluster.scorer_addresses(), OFTEN);
    // Requests enough that the analysis is not over when the store hangs; it is when the store is back.
    let gates = vec![gate(Metric::Requests, 600.0)];
    let request = release(version, plan(&["50%", "analysis 60s"], gates));
    cluster.begin(0, request).await.unwrap();
    let analysis = Some(1);
    let status = cluster
        .reaches_step(0, RolloutPhase::Progressing, analysis)
        .await;
    let generation = status.rollout.unwrap().generation;

    cluster.etcd.stall(0);
    let seen = clients.count();
    eventually("scorers answer without the store", || async {
        let more = clients.count() - seen;
        (more > 1_500).then_some(()).ok_or(more)
    })
    .await;
    cluster.etcd.resume(0);
    cluster.etcd.healthy().await;
    eventually("the rollout is promoted", || async {
        let status = cluster.release_status(0).await;
        let release = status
            .map_err(|status| status.to_string())?
            .rollout
            .unwrap();
        match release.phase() {
            RolloutPhase::Promoted => Ok(()),
            _ => Err(format!("{release:#?}")),
        }
    })
    .await;
    cluster.converged(0, version, 2).await;

    let history = clients.stop().await;
    history.check_no_drop();
    let intended = cluster.intended(0).await;
    history.check_against(&intended);
    history.check_exact(&versions);
    assert_eq!(
        intended[0].generation,
        generation + 1,
        "it was promoted once"
    );
    check_records(&cluster, 0).await;
}

/// Asks through the client without a pause; returns how often, if no call failed.
async fn call(scorers: Scorers, stop: CancellationToken) -> u64 {
    let columns = Columns::new()
        .ints("user", [1; 8])
        .floats("age", [34.0; 8])
        .ints("film", 100..108);
    let mut calls = 0;
    while !stop.is_cancelled() {
        scorers.score(&columns).await.unwrap();
        calls += 1;
        tokio::time::sleep(OFTEN).await;
    }
    calls
}

#[tokio::test(flavor = "multi_thread")]
async fn process_a_rollout_goes_on_without_a_scorer_that_dies_and_takes_it_in_again() {
    let mut cluster = Deployment::start(SMALL).await;
    let versions = [Tiny::new(0.25), Tiny::new(0.26)];
    cluster.serve(&versions[0]).await;
    let version = cluster.push(0, &versions[1]).await.unwrap().version;
    let names = Names::of(cluster.scorer_addresses());
    let scorers = names.client(Duration::from_secs(2));
    let (stop, mut callers) = (CancellationToken::new(), JoinSet::new());
    for _ in 0..2 {
        callers.spawn(call(scorers.clone(), stop.clone()));
    }
    let survivor = Recorder::start(cluster.scorer_addresses()[..1].to_vec(), OFTEN);

    let gates = vec![gate(Metric::Requests, 100.0)];
    let steps = ["20%", "pause", "50%", "analysis 60s", "pause"];
    let request = release(version, plan(&steps, gates));
    cluster.begin(0, request).await.unwrap();
    let first_pause = Some(1);
    cluster
        .reaches_step(0, RolloutPhase::Paused, first_pause)
        .await;
    drop(cluster.scorers.remove(1));
    // The dead one is waited for until its lease ends.
    cluster
        .steer(0, Steer::Promote, None, "operator")
        .await
        .unwrap();
    let last_pause = Some(4);
    cluster
        .reaches_step(0, RolloutPhase::Paused, last_pause)
        .await;

    let again = cluster.start_scorer(1, []);
    cluster.scorers.push(again);
    cluster.ready(1).await;
    cluster.registered(1).await;
    names.tell(cluster.scorer_addresses());
    cluster
        .steer(0, Steer::PromoteFully, None, "operator")
        .await
        .unwrap();
    cluster.reaches(0, RolloutPhase::Promoted).await;
    cluster.converged(0, version, 2).await;

    stop.cancel();
    let mut calls = 0;
    while let Some(ended) = callers.join_next().await {
        calls += ended.unwrap();
    }
    assert!(calls > 0);
    let history = survivor.stop().await;
    history.check_no_drop();
    let intended = cluster.intended(0).await;
    history.check_against(&intended);
    history.check_exact(&versions);
    let oldest_first = intended.iter().rev();
    let weights: Vec<u32> = oldest_first.filter_map(canary_weight).collect();
    assert_eq!(weights, [2_000, 5_000]);
    check_records(&cluster, 0).await;
}
