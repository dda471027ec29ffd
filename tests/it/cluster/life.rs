//! When all is well.

use std::time::{Duration, SystemTime};

use decant_proto::admin::v1 as admin;
use decant_tests::{Deployment, Recorder, Shape, Tiny, eventually};

/// How often each client asks.
const OFTEN: Duration = Duration::from_millis(5);

#[tokio::test(flavor = "multi_thread")]
async fn process_a_version_goes_from_one_registry_through_etcd_to_all_scorers_and_back() {
    let cluster = Deployment::start(Shape {
        etcd: 1,
        registries: 2,
        scorers: 3,
    })
    .await;
    let (first, second) = (Tiny::new(0.25), Tiny::new(-0.5));
    cluster.serve(&first).await;
    let clients = Recorder::start(cluster.scorer_addresses(), OFTEN);
    eventually("there is load", || async {
        (clients.count() > 100).then_some(()).ok_or(clients.count())
    })
    .await;

    // Pushed to one replica, put into service by the other.
    let version = cluster.push(0, &second).await.unwrap().version;
    let asked = SystemTime::now();
    cluster.set(1, version).await.unwrap();
    let slot = cluster.converged(0, version, 3).await;
    let swapped = slot.generation;
    // And back, which needs no load: the first version is resident.
    cluster.set(0, 1).await.unwrap();
    let back = cluster.converged(1, 1, 3).await.generation;
    assert_eq!(
        back,
        swapped + 1,
        "a resident version is activated at once, in one generation"
    );

    let history = clients.stop().await;
    history.check_no_drop();
    history.check_against(&cluster.intended(1).await);
    history.check_exact([&first, &second]);
    assert!(history.converged(swapped, asked).unwrap() < Duration::from_secs(10));
    let served: std::collections::BTreeSet<_> = history
        .0
        .iter()
        .map(|answer| answer.outcome.as_ref().unwrap().0.version)
        .collect();
    assert_eq!(served, [1, 2].into());

    let verified = cluster
        .admin(1)
        .verify_audit(admin::VerifyAuditRequest {})
        .await
        .unwrap()
        .into_inner();
    assert!(verified.broken.is_empty(), "{verified:?}");
    assert!(verified.entries >= 6, "{verified:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn process_every_service_ends_in_order_and_gives_its_lease_back() {
    let mut cluster = Deployment::start(Shape {
        etcd: 1,
        registries: 2,
        scorers: 2,
    })
    .await;
    let tiny = Tiny::new(0.1);
    cluster.serve(&tiny).await;
    let clients = Recorder::start(cluster.scorer_addresses()[1..].to_vec(), OFTEN);

    let (status, log) = cluster.scorers.remove(0).end("TERM");
    assert!(status.success(), "{log:#?}");
    // Gone at once, and not only when its lease would have expired.
    let scorers = cluster.status(0).await.unwrap().scorers;
    assert_eq!(scorers.len(), 1, "{scorers:?}");
    let (status, log) = cluster.registries.remove(0).end("TERM");
    assert!(status.success(), "{log:#?}");
    eventually("the other registry leads", || async {
        let cluster = cluster
            .admin(0)
            .get_cluster(admin::GetClusterRequest {})
            .await
            .unwrap()
            .into_inner();
        (cluster.epoch > 0 && !cluster.leader.is_empty())
            .then_some(())
            .ok_or(cluster)
    })
    .await;
    clients.stop().await.check_no_drop();
}
