//! `decant slot`.

use decant_proto::registry::v1::Version;
use decant_proto::rollout::v1::{
    Arm, ObservedState, ObservedVersion, Scorer, ScorerStatus, SetSlotRequest, Slot, SlotStatus,
    SlotVersion,
};
use decant_proto::status::Reason;
use serde_json::json;

use crate::fakes::{Fake, noon};
use crate::running::{Server, interrupt_after, interrupt_after_stdout};

fn slot() -> Slot {
    Slot {
        model: "movies".into(),
        slot: "main".into(),
        generation: 4,
        active: vec![SlotVersion {
            version: 2,
            digest: format!("sha256:{}", "cd".repeat(32)),
            arm: Arm::Stable.into(),
            weight_basis_points: 10_000,
        }],
        issued_by: "ada".into(),
        reason: "better".into(),
        issue_time: noon(0),
        ..Slot::default()
    }
}

/// The slot before the change: the first version serves.
fn before() -> Slot {
    Slot {
        generation: 3,
        active: vec![SlotVersion {
            version: 1,
            ..slot().active[0].clone()
        }],
        ..slot()
    }
}

/// A status in which these scorers serve these generations.
fn status(slot: Slot, serving: &[(&str, u64)]) -> SlotStatus {
    let scorer = |&(name, serving): &(&str, u64)| ScorerStatus {
        scorer: Some(scorer(name)),
        generation: serving,
        serving,
        versions: vec![ObservedVersion {
            version: 2,
            state: ObservedState::Ready.into(),
            ..ObservedVersion::default()
        }],
        frozen: String::new(),
    };
    SlotStatus {
        slot: Some(slot),
        scorers: serving.iter().map(scorer).collect(),
        ..SlotStatus::default()
    }
}

fn scorer(name: &str) -> Scorer {
    Scorer {
        name: name.into(),
        address: "10.0.0.1:7430".into(),
        zone: "eu-1".into(),
        boot_id: "01BOOT".into(),
        build: "0.1.0".into(),
        start_time: noon(0),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_is_shown() {
    let server = Server::start(Fake {
        slot: Some(slot()),
        ..Fake::default()
    })
    .await;
    let expected = "\
slot        movies/main
generation  4
set by      ada
reason      better
set         2026-05-01 12:00:00

VERSION  ARM       WEIGHT  DIGEST
v2       STABLE  100.00 %  cdcdcdcdcdcd
";
    assert_eq!(server.table(&["slot", "get", "movies"]).await, expected);
    let expected = json!({
        "model": "movies", "slot": "main", "generation": 4, "issued_by": "ada", "reason": "better",
        "issue_time": "2026-05-01T12:00:00Z",
        "active": [{
            "version": 2, "digest": format!("sha256:{}", "cd".repeat(32)), "arm": "STABLE", "weight_basis_points": 10_000,
        }],
        "prepare": [], "pending": [], "min_ready_percent": 0, "epoch": 0, "rollout": "", "frozen": null,
        "compare_basis_points": 0,
    });
    assert_eq!(server.json(&["slot", "get", "movies"]).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn setting_a_slot_waits_until_every_scorer_serves_it() {
    let server = Server::start(Fake {
        slot: Some(slot()),
        slot_before: Some(before()),
        statuses: vec![
            status(before(), &[("scorer-1", 3), ("scorer-2", 3)]),
            status(slot(), &[("scorer-1", 4), ("scorer-2", 3)]),
            status(slot(), &[("scorer-1", 4), ("scorer-2", 4)]),
        ],
        ..Fake::default()
    })
    .await;
    let arguments =
        "slot set movies 2 --reason better --expect-generation 3 --min-ready 90 --request-id ci-7";
    let arguments: Vec<&str> = arguments.split(' ').collect();
    let ran = server.run(&arguments).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let talk: Vec<&str> = ran.stderr.lines().collect();
    assert_eq!(
        talk[0],
        "movies/main: v1 (generation 3) -> v2 (generation 4)"
    );
    assert!(
        talk[1].starts_with("scorer-1 serves generation 4 after "),
        "{talk:?}"
    );
    // Both may be told in one breath, but the second scorer is ready before it serves.
    assert!(
        talk.iter()
            .any(|line| line.starts_with("scorer-2 serves generation 4 after ")),
        "{talk:?}"
    );
    assert_eq!(
        talk.last(),
        Some(&"`decant slot set movies 1` undoes it"),
        "{talk:?}"
    );
    assert!(
        ran.stdout
            .starts_with("converged: 2/2 scorers serve generation 4 (slowest scorer-2, "),
        "{}",
        ran.stdout
    );
    let asked = server.fake.asked.lock().unwrap();
    assert_eq!(
        asked.set_slot,
        [SetSlotRequest {
            model: "movies".into(),
            slot: "main".into(),
            version: 2,
            expected_generation: Some(3),
            issued_by: "ada".into(),
            reason: "better".into(),
            request_id: "ci-7".into(),
            min_ready_percent: 90,
        }]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_as_json_says_how_long_each_scorer_took() {
    let server = Server::start(Fake {
        slot: Some(slot()),
        statuses: vec![status(slot(), &[("scorer-1", 4)])],
        ..Fake::default()
    })
    .await;
    let answer = server.json(&["slot", "set", "movies", "2"]).await;
    assert_eq!(answer["slot"]["generation"], 4);
    assert_eq!(answer["scorers"][0]["name"], "scorer-1");
    assert!(answer["scorers"][0]["serving_after_seconds"].is_f64());
    assert_eq!(
        answer["available_after_seconds"],
        answer["scorers"][0]["serving_after_seconds"]
    );
    let names = server
        .table(&["slot", "set", "movies", "2", "-o", "name"])
        .await;
    assert_eq!(names, "movies/main\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_version_is_looked_up_and_waiting_can_be_left_out() {
    let versions = vec![Version {
        model: "movies".into(),
        version: 2,
        ..Version::default()
    }];
    let server = Server::start(Fake {
        slot: Some(slot()),
        versions,
        ..Fake::default()
    })
    .await;
    let answer = server
        .json(&["slot", "set", "movies", "latest", "--no-wait"])
        .await;
    assert_eq!(answer["slot"]["generation"], 4);
    assert_eq!(answer["available_after_seconds"], json!(null));
    let ran = server
        .run(&["slot", "set", "movies", "2", "--no-wait"])
        .await;
    assert_eq!(ran.stdout, "movies/main is set to v2 (generation 4)\n");
    assert!(
        ran.stderr
            .ends_with("`decant slot status movies --watch` shows how scorers follow\n"),
        "{}",
        ran.stderr
    );
    let asked = server.fake.asked.lock().unwrap();
    assert_eq!(asked.set_slot[0].version, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_nobody_answered_is_asked_for_again_under_its_name() {
    let server = Server::start(Fake {
        slot: Some(slot()),
        unanswered: 2,
        ..Fake::default()
    })
    .await;
    server
        .table(&["slot", "set", "movies", "2", "--no-wait"])
        .await;
    let ids: Vec<String> = {
        let asked = server.fake.asked.lock().unwrap();
        let ids = asked.set_slot.iter().map(|one| one.request_id.clone());
        ids.collect()
    };
    assert_eq!(ids.len(), 3);
    assert!(
        ids[0].len() == 26 && ids.iter().all(|id| *id == ids[0]),
        "{ids:?}"
    );
    let again = server
        .table(&["slot", "set", "movies", "2", "--no-wait"])
        .await;
    assert_eq!(again, "movies/main is set to v2 (generation 4)\n");
    let asked = server.fake.asked.lock().unwrap();
    assert_ne!(asked.set_slot[3].request_id, ids[0], "another request");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_is_never_answered_for_is_given_up() {
    let server = Server::start(Fake {
        unanswered: usize::MAX,
        ..Fake::default()
    })
    .await;
    let ran = server
        .run(&["slot", "set", "movies", "2", "--request-id", "ci-7"])
        .await;
    assert_eq!(
        (ran.code, ran.stderr.as_str()),
        (
            Some(8),
            "error: the store did not answer (UNAVAILABLE)\n\
             hint: whether the change was made is not known; the same command with --request-id ci-7 tells, and changes \
             nothing twice\n"
        )
    );
    assert_eq!(server.fake.asked.lock().unwrap().set_slot.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_ends_and_names_who_lags() {
    let lagging = SlotStatus {
        blocked: "scorer-2 cannot load v2".into(),
        ..status(slot(), &[("scorer-1", 4), ("scorer-2", 3)])
    };
    let server = Server::start(Fake {
        slot: Some(slot()),
        statuses: vec![lagging],
        ..Fake::default()
    })
    .await;
    let ran = server
        .run(&["slot", "set", "movies", "2", "--timeout", "700ms"])
        .await;
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(7), ""));
    assert!(
        ran.stderr.ends_with(
            "error: movies/main is set to v2 (generation 4), but after 0.7 s 1 of 2 scorers do not serve generation 4\n  \
               blocked: scorer-2 cannot load v2\n  \
               scorer-2: at generation 3, serves 3, v2 READY\n\
             hint: the change stands; `decant slot status movies --watch` shows how it goes on\n"
        ),
        "{}",
        ran.stderr
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_without_scorers_has_nothing_to_wait_for() {
    let server = Server::start(Fake {
        slot: Some(slot()),
        statuses: vec![status(slot(), &[])],
        ..Fake::default()
    })
    .await;
    assert_eq!(
        server.table(&["slot", "set", "movies", "2"]).await,
        "movies/main is set to v2 (generation 4); no scorer is live, so there is nothing to wait for\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_change_ends_the_waiting() {
    let later = Slot {
        generation: 5,
        issued_by: "bob".into(),
        ..before()
    };
    let server = Server::start(Fake {
        slot: Some(slot()),
        statuses: vec![status(later, &[("scorer-1", 5)])],
        ..Fake::default()
    })
    .await;
    let ran = server.run(&["slot", "set", "movies", "2"]).await;
    assert_eq!(ran.code, Some(6));
    assert!(
        ran.stderr.ends_with(
            "error: movies/main was set again by bob, to generation 5, before every scorer served this change\n\
             hint: `decant slot history movies` shows why\n"
        ),
        "{}",
        ran.stderr
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_wait_leaves_the_change_and_says_so() {
    let server = Server::start(Fake {
        slot: Some(slot()),
        statuses: vec![status(slot(), &[("scorer-1", 3)])],
        ..Fake::default()
    })
    .await;
    let command = server.command(&["slot", "set", "movies", "2"]);
    // The scorer is told of only once the command listens to signals.
    let ran = interrupt_after(command, "scorer-1 has v2 ready after ").await;
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(130), ""));
    assert!(
        ran.stderr.ends_with(
            "stopped waiting; the change stands. `decant slot status movies --watch` shows how it goes on\n"
        ),
        "{}",
        ran.stderr
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_is_prepared() {
    let prepared = Slot {
        prepare: before().active,
        ..slot()
    };
    let server = Server::start(Fake {
        slot: Some(prepared),
        ..Fake::default()
    })
    .await;
    let ran = server
        .run(&["slot", "prepare", "movies", "1", "--request-id", "ci-7"])
        .await;
    assert_eq!(ran.stdout, "movies/main prepares v1 (generation 4)\n");
    assert_eq!(
        ran.stderr,
        "`decant slot status movies --watch` shows when scorers have it ready\n"
    );
    let asked = server.fake.asked.lock().unwrap();
    let asked = asked.prepare_slot.as_ref().unwrap();
    assert_eq!((asked.version, asked.request_id.as_str()), (1, "ci-7"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_scorers_make_of_a_slot_is_shown() {
    let server = Server::start(Fake {
        statuses: vec![status(slot(), &[("scorer-1", 4), ("scorer-2", 3)])],
        ..Fake::default()
    })
    .await;
    let expected = "\
slot        movies/main
generation  4
active      v2
converged   no

NAME      ZONE  GENERATION  SERVING  VERSIONS  STATE    ERROR
scorer-1  eu-1           4        4  v2 READY  SERVING  -
scorer-2  eu-1           3        3  v2 READY  BEHIND   -
";
    assert_eq!(server.table(&["slot", "status", "movies"]).await, expected);
    let json = server.json(&["slot", "status", "movies"]).await;
    assert_eq!(json["converged"], false);
    assert_eq!(
        json["scorers"][1],
        json!({
            "scorer": {
                "name": "scorer-2", "address": "10.0.0.1:7430", "zone": "eu-1", "boot_id": "01BOOT", "build": "0.1.0",
                "start_time": "2026-05-01T12:00:00Z",
            },
            "generation": 3, "serving": 3, "frozen": "",
            "versions": [{ "version": 2, "digest": "", "state": "READY", "error": "" }],
        })
    );
    assert_eq!(
        server
            .table(&["slot", "status", "movies", "-o", "name"])
            .await,
        "scorer-1\nscorer-2\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_is_watched_one_json_a_line() {
    let first = status(before(), &[("scorer-1", 3)]);
    let server = Server::start(Fake {
        statuses: vec![first.clone(), first, status(slot(), &[("scorer-1", 4)])],
        ..Fake::default()
    })
    .await;
    let command = server.command(&["slot", "status", "movies", "--watch", "-o", "json"]);
    let ran = interrupt_after_stdout(command, "\"generation\":4").await;
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(130), ""));
    let generations: Vec<serde_json::Value> = ran
        .stdout
        .lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["slot"]["generation"].clone()
        })
        .collect();
    assert_eq!(generations, [3, 4], "the same status is not shown twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn history_is_paged_and_can_be_asked_for_one_time() {
    let changes: Vec<Slot> = (1..=5)
        .rev()
        .map(|generation| Slot {
            generation,
            issue_time: noon(generation as i64),
            ..slot()
        })
        .collect();
    let server = Server::start(Fake {
        history: changes,
        ..Fake::default()
    })
    .await;
    let expected = "\
GENERATION  SET (UTC)            ACTIVE  PENDING  PREPARED  BY   REASON
         5  2026-05-01 12:00:05  v2      -        -         ada  better
         4  2026-05-01 12:00:04  v2      -        -         ada  better
         3  2026-05-01 12:00:03  v2      -        -         ada  better
";
    let ran = server
        .run(&["slot", "history", "movies", "--limit", "3"])
        .await;
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), expected));
    assert_eq!(ran.stderr, "there are more; --limit shows them\n");
    let all = server.json(&["slot", "history", "movies"]).await;
    assert_eq!(all.as_array().unwrap().len(), 5);

    let at = "2026-05-01T12:00:03Z";
    server
        .table(&["slot", "history", "movies", "--at", at])
        .await;
    let asked = server.fake.asked.lock().unwrap();
    assert_eq!(asked.slot_history.as_ref().unwrap().at, noon(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn live_scorers_are_listed() {
    let server = Server::start(Fake {
        scorers: vec![scorer("scorer-1"), scorer("scorer-2")],
        ..Fake::default()
    })
    .await;
    let expected = "\
NAME      ZONE  ADDRESS        STARTED (UTC)        BUILD
scorer-1  eu-1  10.0.0.1:7430  2026-05-01 12:00:00  0.1.0
scorer-2  eu-1  10.0.0.1:7430  2026-05-01 12:00:00  0.1.0
";
    assert_eq!(server.table(&["scorer", "list"]).await, expected);
    assert_eq!(
        server.table(&["scorer", "list", "-o", "name"]).await,
        "scorer-1\nscorer-2\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_race_is_told() {
    let lost = Reason::OtherGeneration.status("slot movies/main is at generation 5, not 3");
    let server = Server::start(Fake::refusing(lost)).await;
    let ran = server
        .run(&["slot", "set", "movies", "2", "--expect-generation", "3"])
        .await;
    assert_eq!(ran.code, Some(6));
    assert_eq!(
        ran.stderr,
        "error: slot movies/main is at generation 5, not 3 (FAILED_PRECONDITION)\n"
    );
    assert_eq!(
        server.fake.asked.lock().unwrap().set_slot.len(),
        1,
        "an answer is no reason to ask again"
    );
}
