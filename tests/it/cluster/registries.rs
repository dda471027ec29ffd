//! What may happen to registries.

use std::collections::BTreeSet;
use std::time::Duration;

use decant_proto::admin::v1 as admin;
use decant_proto::registry::v1 as registry;
use decant_tests::{Deployment, Operated, Process, Recorder, Shape, Tiny, eventually};
use tonic::Code;

const OFTEN: Duration = Duration::from_millis(5);

/// The place of the registry that leads, and its epoch.
async fn leader(cluster: &Deployment) -> (usize, u64) {
    eventually("a registry leads", || async {
        for place in 0..cluster.registries.len() {
            let answer = cluster
                .admin(place)
                .get_cluster(admin::GetClusterRequest {})
                .await;
            let Ok(answer) = answer else { continue };
            let told = answer.into_inner();
            let leads = |registry: &Process| registry.address().to_string() == told.leader;
            if let Some(leader) = cluster.registries.iter().position(leads) {
                return Ok((leader, told.epoch));
            }
        }
        Err("nobody")
    })
    .await
}

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

/// The registry that takes the push is killed after ever longer times, so that it dies between any two of its steps.
#[tokio::test(flavor = "multi_thread")]
async fn process_a_push_whose_registry_dies_at_any_step_is_finished_or_leaves_no_trace() {
    let mut cluster = Deployment::start(Shape {
        etcd: 1,
        registries: 2,
        scorers: 1,
    })
    .await;
    let mut acknowledged = 0;
    for (round, millis) in [0, 2, 4, 6, 8, 11, 14, 18, 24, 32, 48, 80]
        .into_iter()
        .enumerate()
    {
        let (victim, _) = leader(&cluster).await;
        let tiny = Tiny::new(0.01 * (round as f32 + 1.0));
        let push = cluster.push(victim, &tiny);
        let died = async {
            tokio::time::sleep(Duration::from_millis(millis)).await;
            cluster.registries[victim].signal("KILL");
        };
        let (outcome, ()) = tokio::join!(push, died);
        acknowledged += usize::from(outcome.is_ok());
        let survivor = 1 - victim;
        // Whoever did not hear the answer asks again, elsewhere: one version, approved, whatever had been done.
        let version = eventually("the push succeeds elsewhere", || async {
            cluster
                .push(survivor, &tiny)
                .await
                .map_err(|status| status.to_string())
        })
        .await;
        assert_eq!(version.digest, tiny.digest.to_string());
        eventually("the version is approved", || async {
            let request = registry::GetVersionRequest {
                model: version.model.clone(),
                version: version.version,
            };
            let now = cluster.registry(survivor).get_version(request).await;
            let now = now
                .map_err(|status| status.to_string())?
                .into_inner()
                .version
                .unwrap();
            if now.state() == registry::VersionState::Approved {
                Ok(())
            } else {
                Err(format!("{:?}", now.state()))
            }
        })
        .await;
        drop(cluster.registries.remove(victim));
        let replacement = cluster.start_registry([]);
        cluster.registries.push(replacement);
    }
    let request = registry::ListVersionsRequest {
        model: decant_tests::tiny::MODEL.to_owned(),
        ..registry::ListVersionsRequest::default()
    };
    let versions = cluster
        .registry(0)
        .list_versions(request)
        .await
        .unwrap()
        .into_inner()
        .versions;
    let digests: BTreeSet<_> = versions.iter().map(|version| &version.digest).collect();
    assert_eq!(
        (versions.len(), digests.len()),
        (12, 12),
        "each push became one version; {acknowledged} were acknowledged"
    );
    let verified = cluster
        .admin(1)
        .verify_audit(admin::VerifyAuditRequest {})
        .await
        .unwrap();
    assert!(verified.get_ref().broken.is_empty(), "{verified:?}");
}

/// The leader is killed after ever longer times while it takes a slot from prepare to activate.
#[tokio::test(flavor = "multi_thread")]
async fn process_an_activation_whose_leader_dies_at_any_step_is_finished_by_the_next() {
    let mut cluster = Deployment::start(Shape {
        etcd: 1,
        registries: 2,
        scorers: 2,
    })
    .await;
    let mut versions = vec![Tiny::new(0.25)];
    cluster.serve(&versions[0]).await;
    let clients = Recorder::start(cluster.scorer_addresses(), OFTEN);
    let mut epochs = Vec::new();
    for (round, millis) in [0, 5, 10, 20, 40, 80].into_iter().enumerate() {
        let (victim, epoch) = leader(&cluster).await;
        epochs.push(epoch);
        let survivor = 1 - victim;
        let tiny = Tiny::new(-0.01 * (round as f32 + 1.0));
        let version = cluster.push(survivor, &tiny).await.unwrap().version;
        versions.push(tiny);
        let set = cluster.set(survivor, version);
        let died = async {
            tokio::time::sleep(Duration::from_millis(millis)).await;
            cluster.registries[victim].signal("KILL");
        };
        let (outcome, ()) = tokio::join!(set, died);
        outcome.unwrap();
        drop(cluster.registries.remove(victim));
        cluster.converged(0, version, 2).await;
        let replacement = cluster.start_registry([]);
        cluster.registries.push(replacement);
    }
    assert!(epochs.is_sorted_by(|a, b| a < b), "{epochs:?}");
    let history = clients.stop().await;
    history.check_no_drop();
    history.check_against(&cluster.intended(0).await);
    history.check_exact(&versions);
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
    let (stalled, old) = leader(&cluster).await;
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
