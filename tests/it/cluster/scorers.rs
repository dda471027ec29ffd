//! What may happen to scorers.

use std::collections::BTreeSet;
use std::time::Duration;

use decant_proto::rollout::v1 as rollout;
use decant_tests::{Deployment, Operated, Recorder, Shape, Tiny, eventually};
use serde_json::Value;

const OFTEN: Duration = Duration::from_millis(5);

const SMALL: Shape = Shape {
    etcd: 1,
    registries: 1,
    scorers: 2,
};

#[tokio::test(flavor = "multi_thread")]
async fn process_a_scorer_that_stalls_loses_its_lease_and_comes_back_without_a_restart() {
    let cluster = Deployment::start(SMALL).await;
    let versions = [Tiny::new(0.25), Tiny::new(-0.5)];
    cluster.serve(&versions[0]).await;
    cluster.scorers[1].signal("STOP");
    eventually("its lease expires", || async {
        let scorers = cluster.status(0).await.unwrap().scorers;
        if scorers.len() == 1 {
            Ok(())
        } else {
            Err(scorers)
        }
    })
    .await;
    // The fleet is one scorer now, and goes on.
    let version = cluster.push(0, &versions[1]).await.unwrap().version;
    cluster.set(0, version).await.unwrap();
    cluster.converged(0, version, 1).await;
    cluster.scorers[1].signal("CONT");
    cluster.converged(0, version, 2).await;
    let clients = Recorder::start(cluster.scorer_addresses(), OFTEN);
    eventually("both answer", || async {
        (clients.count() > 100).then_some(()).ok_or(clients.count())
    })
    .await;
    let history = clients.stop().await;
    history.check_no_drop();
    history.check_against(&cluster.intended(0).await);
    history.check_exact(&versions);
}

/// Killed while it prepares or activates, at ever later moments, a scorer comes back with a whole version or none.
#[tokio::test(flavor = "multi_thread")]
async fn process_a_scorer_killed_while_it_swaps_comes_back_whole() {
    let mut cluster = Deployment::start(SMALL).await;
    let mut versions = vec![Tiny::new(0.25)];
    cluster.serve(&versions[0]).await;
    let others = Recorder::start(cluster.scorer_addresses()[..1].to_vec(), OFTEN);
    for (round, millis) in [0, 3, 8, 15, 30, 60, 120].into_iter().enumerate() {
        let tiny = Tiny::new(-0.01 * (round as f32 + 1.0));
        let version = cluster.push(0, &tiny).await.unwrap().version;
        versions.push(tiny);
        cluster.set(0, version).await.unwrap();
        tokio::time::sleep(Duration::from_millis(millis)).await;
        drop(cluster.scorers.remove(1));
        let again = cluster.start_scorer(1, []);
        cluster.scorers.push(again);
        cluster.ready(1).await;
        let clients = Recorder::start([cluster.scorers[1].address()], OFTEN);
        cluster.converged(0, version, 2).await;
        eventually("it answers", || async {
            (clients.count() > 20).then_some(()).ok_or(clients.count())
        })
        .await;
        let history = clients.stop().await;
        history.check_no_drop();
        history.check_against(&cluster.intended(0).await);
        history.check_exact(&versions);
    }
    let history = others.stop().await;
    history.check_no_drop();
    history.check_exact(&versions);
}

#[tokio::test(flavor = "multi_thread")]
async fn process_a_scorer_starts_and_serves_with_etcd_registry_and_object_store_all_gone() {
    let mut cluster = Deployment::start(SMALL).await;
    let versions = [Tiny::new(0.25), Tiny::new(-0.5)];
    cluster.serve(&versions[0]).await;
    cluster.serve(&versions[1]).await;
    let intended = cluster.intended(0).await;
    let clients = Recorder::start(cluster.scorer_addresses()[..1].to_vec(), OFTEN);

    cluster.etcd.kill(0);
    drop(cluster.registries.remove(0));
    std::fs::rename(
        cluster.folder().join("bundles"),
        cluster.folder().join("lost"),
    )
    .unwrap();
    drop(cluster.scorers.remove(1));
    let again = cluster.start_scorer(1, []);
    cluster.scorers.push(again);
    cluster.ready(1).await;
    let restarted = Recorder::start([cluster.scorers[1].address()], OFTEN);
    eventually("the restarted scorer answers", || async {
        (restarted.count() > 200)
            .then_some(())
            .ok_or(restarted.count())
    })
    .await;
    for clients in [clients, restarted] {
        let history = clients.stop().await;
        history.check_no_drop();
        history.check_against(&intended);
        history.check_exact(&versions);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn process_a_version_that_fails_its_golden_vectors_is_never_activated() {
    let cluster = Deployment::start(SMALL).await;
    let (good, bad) = (Tiny::new(0.25), Tiny::with_wrong_golden(-0.5));
    cluster.serve(&good).await;
    let clients = Recorder::start(cluster.scorer_addresses(), OFTEN);
    let version = cluster.push(0, &bad).await.unwrap().version;
    cluster.set(0, version).await.unwrap();
    let status = eventually("both scorers say what is wrong", || async {
        let status = cluster.status(0).await.unwrap();
        let failed = status.scorers.iter().filter(|scorer| {
            scorer.versions.iter().any(|version| {
                version.state() == rollout::ObservedState::Failed
                    && version.error.contains("golden")
            })
        });
        if failed.count() == 2 && !status.blocked.is_empty() {
            Ok(status)
        } else {
            Err(status)
        }
    })
    .await;
    assert!(!status.converged);
    assert!(status.blocked.contains("scorer-"), "{}", status.blocked);
    assert_eq!(
        status.slot.unwrap().active[0].version,
        1,
        "what was in service stays"
    );
    // The way out: say what is wanted instead.
    cluster.set(0, 1).await.unwrap();
    cluster.converged(0, 1, 2).await;
    let history = clients.stop().await;
    history.check_no_drop();
    history.check_against(&cluster.intended(0).await);
    history.check_exact([&good]);
}

/// The bundle is sound, and its golden scores come from another machine; one of the scorers is held to more exactness than
/// the bundle asks for, and so does not take it.
#[tokio::test(flavor = "multi_thread")]
async fn process_a_replay_that_fails_on_one_scorer_keeps_a_version_out_until_an_operator_says_otherwise()
 {
    let mut cluster = Deployment::start(SMALL).await;
    let (old, new) = (Tiny::new(0.25), Tiny::with_golden_of_another_machine(-0.5));
    cluster.serve(&old).await;
    let strict = [("DECANT_SCORER__MAX_GOLDEN_TOLERANCE", "0.000001".to_owned())];
    let scorer = cluster.start_scorer(2, strict);
    cluster.scorers.push(scorer);
    cluster.registered(2).await;
    let clients = Recorder::start(cluster.scorer_addresses(), OFTEN);
    let version = cluster.push(0, &new).await.unwrap().version;

    let number = version.to_string();
    let set = cluster.decant(&["--timeout", "3s", "slot", "set", "films", &number]);
    assert_eq!(set.status.code(), Some(7), "{set:?}");
    let told = String::from_utf8_lossy(&set.stderr).into_owned();
    let why = "scorer `scorer-2` failed to load v2: replaying golden.json: golden row";
    assert!(told.contains(why), "{told}");
    assert!(told.contains("2 of 3 scorers have it ready"), "{told}");
    let status = cluster.status(0).await.unwrap();
    assert!(status.blocked.contains(why), "{status:?}");
    let answered = clients.count();
    eventually("all scorers go on answering", || async {
        let more = clients.count() - answered;
        (more > 300).then_some(()).ok_or(more)
    })
    .await;
    let history = clients.stop().await;
    history.check_no_drop();
    history.check_against(&cluster.intended(0).await);
    history.check_exact([&old]);

    let clients = Recorder::start(cluster.scorer_addresses(), OFTEN);
    let set = cluster.decant(&[
        "slot",
        "set",
        "films",
        &number,
        "--min-ready",
        "60",
        "--no-wait",
    ]);
    assert!(set.status.success(), "{set:?}");
    eventually("those that have it ready serve it", || async {
        let status = cluster.status(0).await.unwrap();
        let generation = status.slot.as_ref().unwrap().generation;
        let serving = status
            .scorers
            .iter()
            .map(|scorer| scorer.serving == generation);
        if serving.eq([true, true, false]) {
            Ok(())
        } else {
            Err(status)
        }
    })
    .await;
    let answered = clients.count();
    eventually("all scorers answer", || async {
        let more = clients.count() - answered;
        (more > 300).then_some(()).ok_or(more)
    })
    .await;
    let history = clients.stop().await;
    history.check_no_drop();
    history.check_against(&cluster.intended(0).await);
    history.check_exact([&old, &new]);
    let versions_of = |scorer: usize| -> BTreeSet<u64> {
        let answers = history.0.iter().filter(|answer| answer.scorer == scorer);
        answers
            .map(|answer| answer.outcome.as_ref().unwrap().0.version)
            .collect()
    };
    assert!(versions_of(0).contains(&version) && versions_of(1).contains(&version));
    assert_eq!(versions_of(2), [1].into(), "the old one is all that it has");

    // As exact as the bundle asks for, it follows.
    drop(cluster.scorers.remove(2));
    let scorer = cluster.start_scorer(2, []);
    cluster.scorers.push(scorer);
    cluster.converged(0, version, 3).await;
}

/// A version that ends whoever opens it would end every scorer of a fleet, and again each time that one starts.
#[tokio::test(flavor = "multi_thread")]
async fn process_a_version_that_ends_the_process_again_and_again_is_left_alone() {
    let mut cluster = Deployment::start(Shape {
        scorers: 1,
        ..SMALL
    })
    .await;
    let (good, deadly) = (Tiny::new(0.25), Tiny::ponderous(-0.5));
    cluster.serve(&good).await;
    let version = cluster.push(0, &deadly).await.unwrap().version;
    cluster.set(0, version).await.unwrap();
    let list = cluster.folder().join("cache-0/opening.json");
    for time in 1..=3 {
        eventually("the version is being opened", || async {
            let text = std::fs::read_to_string(&list).unwrap_or_default();
            let list: Value = serde_json::from_str(&text).unwrap_or_default();
            let times = &list["openings"][deadly.digest.to_string()]["times"];
            (*times == time).then_some(()).ok_or(text)
        })
        .await;
        drop(cluster.scorers.remove(0));
        let again = cluster.start_scorer(0, []);
        cluster.scorers.push(again);
    }
    eventually("the version is left alone", || async {
        let status = cluster.status(0).await.unwrap();
        let why = "ended 3 times while this version was opened";
        let versions = status.scorers.iter().flat_map(|scorer| &scorer.versions);
        let is_told = versions.clone().any(|version| version.error.contains(why));
        is_told.then_some(()).ok_or(status)
    })
    .await;
    cluster.ready(0).await;
    let clients = Recorder::start(cluster.scorer_addresses(), OFTEN);
    eventually("it answers", || async {
        (clients.count() > 20).then_some(()).ok_or(clients.count())
    })
    .await;
    let history = clients.stop().await;
    history.check_no_drop();
    history.check_exact([&good]);

    // The way out: say what is wanted instead.
    let better = Tiny::new(0.5);
    let version = cluster.push(0, &better).await.unwrap().version;
    cluster.set(0, version).await.unwrap();
    cluster.converged(0, version, 1).await;
}

/// A file system of one mebibyte, which only the scorer sees. None without the right to mount one.
fn full_disk_is_possible() -> bool {
    std::process::Command::new("unshare")
        .args(["--mount", "sh", "-c", "mount -t tmpfs -o size=1m none /mnt"])
        .output()
        .is_ok_and(|output| output.status.success())
}

#[tokio::test(flavor = "multi_thread")]
async fn process_a_full_disk_keeps_a_version_out_and_the_old_one_in() {
    assert!(
        full_disk_is_possible(),
        "this test mounts a small file system: run it as root"
    );
    let mut cluster = Deployment::start(SMALL).await;
    let (small, large) = (Tiny::new(0.25), Tiny::with_ballast(-0.5, 4 << 20));
    cluster.serve(&small).await;
    drop(cluster.scorers.remove(1));
    let cramped = cluster.start_cramped_scorer(1);
    cluster.scorers.push(cramped);
    cluster.ready(1).await;
    cluster.registered(1).await;
    cluster.converged(0, 1, 2).await;
    let clients = Recorder::start(cluster.scorer_addresses(), OFTEN);
    let version = cluster.push(0, &large).await.unwrap().version;
    cluster.set(0, version).await.unwrap();
    eventually("the cramped scorer says why it is not ready", || async {
        let status = cluster.status(0).await.unwrap();
        let failed = status.scorers.iter().any(|scorer| {
            scorer.scorer.as_ref().unwrap().name == "scorer-1"
                && scorer.versions.iter().any(|version| {
                    version.state() == rollout::ObservedState::Failed
                        && version.error.to_lowercase().contains("space")
                })
        });
        if failed { Ok(()) } else { Err(status) }
    })
    .await;
    let history = clients.stop().await;
    history.check_no_drop();
    history.check_against(&cluster.intended(0).await);
    history.check_exact([&small]);
}
