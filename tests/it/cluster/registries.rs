//! What may happen to registries.

use std::collections::BTreeSet;
use std::time::Duration;

use decant_proto::admin::v1 as admin;
use decant_tests::{Deployment, Operated, Recorder, Shape, Tiny, eventually};
use tonic::Code;

const OFTEN: Duration = Duration::from_millis(5);

#[tokio::test(flavor = "multi_thread")]
async fn process_of_operators_that_set_a_slot_at_once_one_wins_each_generation() {
    let cluster = Deployment::start(Shape {
        etcd: 1,
        registries: 2,
        scorers: 2,
    })
    .await;
    let versions = [Tiny::new(0.25), Tiny::new(-0.5)];
    cluster.serve(&versions[0]).await;
    cluster.push(0, &versions[1]).await.unwrap();
    cluster.set(0, 2).await.unwrap();
    cluster.converged(0, 2, 2).await;
    let clients = Recorder::start(cluster.scorer_addresses(), OFTEN);

    let racers = (0..32).map(|racer| {
        let cluster = &cluster;
        async move { cluster.set(racer % 2, 1 + racer as u64 % 2).await }
    });
    let mut won = BTreeSet::new();
    for outcome in futures::future::join_all(racers).await {
        match outcome {
            Ok(slot) => assert!(
                won.insert(slot.generation),
                "two won generation {}",
                slot.generation
            ),
            Err(status) => {
                assert_eq!(status.code(), Code::Aborted, "{status}");
                assert!(status.message().contains("operator"), "{status}");
            }
        }
    }
    assert!(!won.is_empty());
    let last = cluster.status(1).await.unwrap().slot.unwrap();
    cluster.converged(0, last.active[0].version, 2).await;
    let history = clients.stop().await;
    history.check_no_drop();
    let intended = cluster.intended(0).await;
    history.check_against(&intended);
    history.check_exact(&versions);
    let generations: Vec<u64> = intended.iter().map(|slot| slot.generation).collect();
    let newest = generations[0];
    assert_eq!(
        generations,
        (1..=newest).rev().collect::<Vec<_>>(),
        "no generation is left out or made twice"
    );
    let verified = cluster
        .admin(0)
        .verify_audit(admin::VerifyAuditRequest {})
        .await
        .unwrap();
    assert!(verified.get_ref().broken.is_empty(), "{verified:?}");
}

/// A leader that stalls for longer than its lease wakes up and believes to lead: nothing of its may take effect.
#[tokio::test(flavor = "multi_thread")]
async fn process_a_leader_that_wakes_up_too_late_changes_nothing() {
    let cluster = Deployment::start(Shape {
        etcd: 1,
        registries: 2,
        scorers: 1,
    })
    .await;
    let versions = [Tiny::new(0.25), Tiny::new(-0.5)];
    cluster.serve(&versions[0]).await;
    let (stalled, old) = cluster.leader().await;
    let other = 1 - stalled;
    cluster.registries[stalled].signal("STOP");
    let new = eventually("the other leads", || async {
        let told = cluster
            .admin(other)
            .get_cluster(admin::GetClusterRequest {})
            .await;
        let told = told.map_err(|status| status.to_string())?.into_inner();
        if told.epoch > old {
            Ok(told.epoch)
        } else {
            Err(format!("{told:?}"))
        }
    })
    .await;
    let version = cluster.push(other, &versions[1]).await.unwrap().version;
    cluster.set(other, version).await.unwrap();
    cluster.registries[stalled].signal("CONT");
    cluster.converged(other, version, 1).await;
    // The one that slept answers again, and knows who leads.
    eventually("it knows", || async {
        let told = cluster
            .admin(stalled)
            .get_cluster(admin::GetClusterRequest {})
            .await;
        let told = told.map_err(|status| status.to_string())?.into_inner();
        if told.epoch == new {
            Ok(())
        } else {
            Err(format!("{told:?}"))
        }
    })
    .await;
    let epochs: Vec<u64> = cluster
        .intended(other)
        .await
        .iter()
        .map(|slot| slot.epoch)
        .filter(|epoch| *epoch > 0)
        .collect();
    assert!(
        epochs.is_sorted_by(|a, b| a >= b),
        "newest first: {epochs:?}"
    );
    assert_eq!(epochs.first(), Some(&new));
}
