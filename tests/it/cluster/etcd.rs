//! What may happen to etcd.

use std::time::{Duration, SystemTime};

use decant_proto::admin::v1 as admin;
use decant_tests::{Deployment, Operated, Recorder, Shape, Tiny, eventually};
use tonic::Code;

const OFTEN: Duration = Duration::from_millis(5);
/// What the invariant Converges allows, once all is calm.
const CALM: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn process_a_killed_etcd_leader_fails_no_request_and_delays_no_slot_for_long() {
    let mut cluster = Deployment::start(Shape {
        etcd: 3,
        registries: 2,
        scorers: 3,
    })
    .await;
    let (first, second) = (Tiny::new(0.25), Tiny::new(-0.5));
    cluster.serve(&first).await;
    let version = cluster.push(1, &second).await.unwrap().version;
    let clients = Recorder::start(cluster.scorer_addresses(), OFTEN);

    let leader = cluster.etcd.leader().await;
    cluster.etcd.kill(leader);
    // Written right after: at once, or as soon as there is a new leader.
    eventually("the slot can be set", || async {
        match cluster.set(0, version).await {
            Ok(slot) => Ok(slot),
            // It was made, and only the answer was lost: setting it again is refused by nobody, and changes nothing more.
            Err(status) => Err(status.to_string()),
        }
    })
    .await;
    let written = SystemTime::now();
    let slot = cluster.converged(1, version, 3).await;

    let history = clients.stop().await;
    history.check_no_drop();
    history.check_against(&cluster.intended(1).await);
    history.check_exact([&first, &second]);
    let took = history.converged(slot.generation, written).unwrap();
    assert!(took < CALM, "the scorers took {took:?}");
    cluster.etcd.restart(leader);
}

#[tokio::test(flavor = "multi_thread")]
async fn process_scorers_serve_while_etcd_has_no_quorum_and_take_up_what_comes_after() {
    let mut cluster = Deployment::start(Shape {
        etcd: 3,
        registries: 1,
        scorers: 2,
    })
    .await;
    let (first, second) = (Tiny::new(0.25), Tiny::new(-0.5));
    cluster.serve(&first).await;
    let version = cluster.push(0, &second).await.unwrap().version;
    let clients = Recorder::start(cluster.scorer_addresses(), OFTEN);

    cluster.etcd.kill(0);
    cluster.etcd.kill(1);
    let refused = eventually("the registry says that etcd is away", || async {
        match cluster.set(0, version).await {
            Err(status) if status.code() == Code::Unavailable => Ok(status),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    assert!(!refused.message().is_empty());
    // Longer than any lease lives: losing it must not stop the serving.
    let before = clients.count();
    eventually("scorers answer without etcd", || async {
        (clients.count() > before + 1500)
            .then_some(())
            .ok_or(clients.count())
    })
    .await;

    cluster.etcd.restart(0);
    cluster.etcd.restart(1);
    eventually("the slot can be set again", || async {
        cluster
            .set(0, version)
            .await
            .map_err(|status| status.to_string())
    })
    .await;
    cluster.converged(0, version, 2).await;
    let history = clients.stop().await;
    history.check_no_drop();
    history.check_against(&cluster.intended(0).await);
    history.check_exact([&first, &second]);
}

#[tokio::test(flavor = "multi_thread")]
async fn process_a_stalled_etcd_member_is_gone_around() {
    let mut cluster = Deployment::start(Shape {
        etcd: 3,
        registries: 1,
        scorers: 2,
    })
    .await;
    let versions = [Tiny::new(0.25), Tiny::new(-0.5), Tiny::new(0.75)];
    cluster.serve(&versions[0]).await;
    let clients = Recorder::start(cluster.scorer_addresses(), OFTEN);
    for (stalled, tiny) in [
        (cluster.etcd.leader().await, &versions[1]),
        (0, &versions[2]),
    ] {
        cluster.etcd.stall(stalled);
        let version = eventually("a version can be pushed", || async {
            cluster
                .push(0, tiny)
                .await
                .map_err(|status| status.to_string())
        })
        .await
        .version;
        eventually("the slot can be set", || async {
            cluster
                .set(0, version)
                .await
                .map_err(|status| status.to_string())
        })
        .await;
        cluster.converged(0, version, 2).await;
        cluster.etcd.resume(stalled);
    }
    let history = clients.stop().await;
    history.check_no_drop();
    history.check_against(&cluster.intended(0).await);
    history.check_exact(&versions);
}

#[tokio::test(flavor = "multi_thread")]
async fn process_a_wiped_etcd_freezes_scorers_and_stops_nobody() {
    let mut cluster = Deployment::start(Shape {
        etcd: 1,
        registries: 1,
        scorers: 2,
    })
    .await;
    let tiny = Tiny::new(0.25);
    cluster.serve(&tiny).await;
    let intended = cluster.intended(0).await;
    let clients = Recorder::start(cluster.scorer_addresses(), OFTEN);
    cluster.etcd.wipe();
    cluster.etcd.restart(0);
    cluster.etcd.healthy().await;
    // A registry that starts now finds nothing, and makes a new cluster's metadata.
    let registry = cluster.start_registry([]);
    cluster.registries.push(registry);
    eventually("the registry tells of frozen scorers", || async {
        let answer = cluster
            .admin(1)
            .get_cluster(admin::GetClusterRequest {})
            .await;
        let alarms = answer
            .map_err(|status| status.to_string())?
            .into_inner()
            .alarms;
        if alarms.iter().any(|alarm| alarm.contains("scorer-0")) {
            Ok(())
        } else {
            Err(format!("{alarms:?}"))
        }
    })
    .await;
    let history = clients.stop().await;
    history.check_no_drop();
    history.check_against(&intended);
    history.check_exact([&tiny]);
}
