//! Backups, and stores that are put in place of others.

use std::time::Duration;

use decant_proto::admin::v1 as admin;
use decant_tests::{Deployment, Operated, Recorder, Shape, Tiny, eventually};
use tonic::Code;

const OFTEN: Duration = Duration::from_millis(5);
const SMALL: Shape = Shape {
    etcd: 1,
    registries: 1,
    scorers: 2,
};

/// etcd goes back to a backup from before the last change: nobody follows it, until an operator says that it is the truth.
#[tokio::test(flavor = "multi_thread")]
async fn process_a_restored_older_backup_is_noticed_and_changes_nothing_until_it_is_adopted() {
    let mut cluster = Deployment::start(SMALL).await;
    let versions = [Tiny::new(0.25), Tiny::new(-0.5)];
    cluster.serve(&versions[0]).await;
    let backup = cluster.folder().join("backup.db");
    cluster.etcd.save(&backup).await;
    cluster.serve(&versions[1]).await;
    let intended = cluster.intended(0).await;
    let clients = Recorder::start(cluster.scorer_addresses(), OFTEN);

    cluster.etcd.restore(&backup).await;
    drop(cluster.registries.remove(0));
    let registry = cluster.start_registry([]);
    cluster.registries.push(registry);
    eventually("the registry tells of it", || async {
        let answer = cluster
            .admin(0)
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
    let refused = cluster.set(0, 1).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(
        refused.message().contains("decant admin adopt"),
        "{refused}"
    );
    let history = clients.stop().await;
    history.check_no_drop();
    history.check_against(&intended);
    let newest = intended[0].generation;
    let went_on = history.0.iter().all(|answer| {
        answer
            .outcome
            .as_ref()
            .is_ok_and(|(served_by, _)| served_by.generation == newest)
    });
    assert!(went_on, "what was in service stayed in service");

    let clients = Recorder::start(cluster.scorer_addresses(), OFTEN);
    let adopted = cluster.decant(&[
        "admin",
        "adopt",
        "--reason",
        "restored from backup",
        "--yes",
    ]);
    assert!(adopted.status.success(), "{adopted:?}");
    // The backup knows version 1 only, and that is the truth now.
    let slot = cluster.converged(0, 1, 2).await;
    assert!(slot.generation > newest, "generations never go back");
    let history = clients.stop().await;
    history.check_no_drop();
    history.check_exact(&versions);
}

#[tokio::test(flavor = "multi_thread")]
async fn process_metadata_survives_the_loss_of_etcd_by_export_and_by_the_bundles_alone() {
    let mut cluster = Deployment::start(SMALL).await;
    let versions = [Tiny::new(0.25), Tiny::new(-0.5)];
    for tiny in &versions {
        cluster.serve(tiny).await;
    }
    let file = cluster.folder().join("export.jsonl");
    let file = file.to_str().unwrap();
    let exported = cluster.decant(&["admin", "export", file]);
    assert!(exported.status.success(), "{exported:?}");
    let listed = cluster.decant(&["-o", "json", "version", "list", "films"]);
    assert!(listed.status.success(), "{listed:?}");
    let intended = cluster.intended(0).await;

    for import in [true, false] {
        drop(cluster.registries.remove(0));
        cluster.etcd.wipe();
        cluster.etcd.restart(0);
        cluster.etcd.healthy().await;
        let registry = cluster.start_registry([]);
        cluster.registries.push(registry);
        let restored = if import {
            cluster.decant(&["admin", "import", file, "--yes"])
        } else {
            cluster.decant(&["admin", "rebuild", "--yes"])
        };
        assert!(restored.status.success(), "{restored:?}");
        let again = cluster.decant(&["-o", "json", "version", "list", "films"]);
        if import {
            assert_eq!(again.stdout, listed.stdout);
            assert_eq!(cluster.intended(0).await, intended);
        } else {
            // When versions were pushed is not written in bundles; all else is.
            for tiny in &versions {
                let listed = String::from_utf8_lossy(&again.stdout).into_owned();
                assert!(listed.contains(&tiny.digest.to_string()), "{listed}");
            }
        }
    }
}
