//! `decant slot`.

use decant_proto::registry::v1::Version;
use decant_proto::rollout::v1::{Arm, SetSlotRequest, Slot, SlotVersion};
use decant_proto::scorer::v1::{Servable, ServableState, ServedBy};
use serde_json::json;
use tonic::Status;

use crate::fakes::{Fake, noon, served_by};
use crate::running::Server;

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
    }
}

fn second(state: ServableState, error: &str) -> Servable {
    let by = ServedBy {
        version: 2,
        generation: 4,
        ..served_by()
    };
    Servable {
        served_by: Some(by),
        state: state.into(),
        error: error.into(),
        ..Servable::default()
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
    });
    assert_eq!(server.json(&["slot", "get", "movies"]).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn setting_a_slot_waits_until_the_scorer_serves_it() {
    let servables = vec![
        vec![],
        vec![second(ServableState::Loading, "")],
        vec![second(ServableState::Available, "")],
    ];
    let server = Server::start(Fake {
        slot: Some(slot()),
        servables,
        ..Fake::default()
    })
    .await;
    let ran = server
        .run(&[
            "slot",
            "set",
            "movies",
            "2",
            "--reason",
            "better",
            "--expect-generation",
            "3",
        ])
        .await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(
        ran.stderr,
        "movies/main is set to v2 (generation 4); waiting for the scorer\n"
    );
    let seconds = ran
        .stdout
        .strip_prefix("movies/main is set to v2 (generation 4), available after ")
        .and_then(|rest| rest.strip_suffix(" s\n"));
    assert!(
        seconds.is_some_and(|seconds| seconds.parse::<f64>().is_ok()),
        "{}",
        ran.stdout
    );
    let asked = server.fake.asked.lock().unwrap();
    assert_eq!(asked.list_servables, 3);
    assert_eq!(
        asked.set_slot,
        Some(SetSlotRequest {
            model: "movies".into(),
            slot: "main".into(),
            version: 2,
            expected_generation: Some(3),
            issued_by: "ada".into(),
            reason: "better".into(),
        })
    );
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
    let asked = server.fake.asked.lock().unwrap();
    assert_eq!(asked.set_slot.as_ref().unwrap().version, 2);
    assert_eq!(asked.list_servables, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_the_scorer_refuses_fails_the_command() {
    let servables = vec![vec![second(
        ServableState::End,
        "golden vector 3 differs by 0.2",
    )]];
    let server = Server::start(Fake {
        slot: Some(slot()),
        servables,
        ..Fake::default()
    })
    .await;
    let ran = server.run(&["slot", "set", "movies", "2"]).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""));
    assert!(
        ran.stderr.ends_with(
            "error: the scorer cannot serve movies v2: golden vector 3 differs by 0.2\n\
             hint: the version that served before goes on serving; `decant scorer list` shows both\n"
        ),
        "{}",
        ran.stderr
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_ends() {
    let servables = vec![vec![second(ServableState::Loading, "")]];
    let server = Server::start(Fake {
        slot: Some(slot()),
        servables,
        ..Fake::default()
    })
    .await;
    let ran = server
        .run(&["slot", "set", "movies", "2", "--wait", "200ms"])
        .await;
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.stderr.contains(
            "error: movies/main is set, but v2 is not available after 0.2 s: it is LOADING\n"
        ),
        "{}",
        ran.stderr
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scorer_that_is_away_while_waiting_is_an_unreachable_service() {
    let server = Server::start(Fake {
        slot: Some(slot()),
        ..Fake::default()
    })
    .await;
    let ran = server
        .run(&[
            "slot",
            "set",
            "movies",
            "2",
            "--wait",
            "100ms",
            "--scorer",
            "http://127.0.0.1:1",
        ])
        .await;
    assert_eq!(ran.code, Some(69));
    assert!(
        ran.stderr.contains("error: movies/main is set, but whether it is served is not known: the scorer at http://127.0.0.1:1"),
        "{}",
        ran.stderr
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_race_is_told() {
    let lost = Status::failed_precondition("slot movies/main is at generation 5, not 3");
    let server = Server::start(Fake::refusing(lost)).await;
    let ran = server
        .run(&["slot", "set", "movies", "2", "--expect-generation", "3"])
        .await;
    assert_eq!(ran.code, Some(1));
    assert_eq!(
        ran.stderr,
        "error: slot movies/main is at generation 5, not 3 (FAILED_PRECONDITION)\n"
    );
}
