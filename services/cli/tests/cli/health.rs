//! `decant status`.

use decant_proto::registry::v1::Model;
use decant_proto::rollout::v1::{Slot, SlotVersion};
use decant_proto::scorer::v1::{Servable, ServableState, ServedBy};
use decant_proto::trainer::v1::{Job, JobState, Progress};
use serde_json::json;
use tonic::Status;

use crate::fakes::{Fake, served_by};
use crate::running::{Server, decant, run};

fn healthy() -> Fake {
    let servable = |version, generation| Servable {
        served_by: Some(ServedBy {
            version,
            generation,
            ..served_by()
        }),
        state: ServableState::Available.into(),
        ..Servable::default()
    };
    let progress = Progress {
        stage: "student d8".into(),
        fraction_done: 0.5,
        ..Progress::default()
    };
    let job = |id: &str, state: JobState| Job {
        id: id.into(),
        model: "movies".into(),
        state: state.into(),
        ..Job::default()
    };
    Fake {
        jobs: vec![
            Job {
                progress: Some(progress),
                ..job("02", JobState::Running)
            },
            job("01", JobState::Succeeded),
        ],
        models: vec![Model {
            name: "movies".into(),
            ..Model::default()
        }],
        slot: Some(Slot {
            model: "movies".into(),
            slot: "main".into(),
            generation: 4,
            active: vec![SlotVersion {
                version: 2,
                ..SlotVersion::default()
            }],
            ..Slot::default()
        }),
        // The first is kept for a rollback.
        servables: vec![vec![servable(1, 3), servable(2, 4)]],
        ..Fake::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_glance_shows_services_slots_and_jobs() {
    let server = Server::start(healthy()).await;
    let expected = "\
SERVICE   ADDRESS  HEALTH   ERROR
trainer   {url}  SERVING  -
registry  {url}  SERVING  -
scorer    {url}  SERVING  -

MODEL   SLOT  GEN  INTENDED  SERVING  STATE
movies  main    4  v2        v2       SERVED

JOB  MODEL   STATE    DONE  STAGE
02   movies  RUNNING  50 %  student d8
";
    let padded_heading = format!(
        "ADDRESS{}",
        " ".repeat(server.url().len() - "ADDRESS".len())
    );
    let expected = expected
        .replace("ADDRESS", &padded_heading)
        .replace("{url}", &server.url());
    assert_eq!(server.table(&["status"]).await, expected);
    let json = server.json(&["status"]).await;
    let scorer =
        json!({ "service": "scorer", "address": server.url(), "serving": true, "error": "" });
    assert_eq!(json["services"][2], scorer);
    assert_eq!(json["slots"][0]["serving_versions"], json!([2]));
    assert_eq!(json["jobs"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scorer_that_lags_is_seen() {
    let behind = Fake {
        servables: vec![vec![]],
        ..healthy()
    };
    let server = Server::start(behind).await;
    let status = server.table(&["status"]).await;
    assert!(
        status.contains("movies  main    4  v2        -        NOT SERVED\n"),
        "{status}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_down_fails_the_command_and_hides_no_other() {
    let server = Server::start(healthy()).await;
    let ran = server
        .run(&["status", "--scorer", "http://127.0.0.1:1"])
        .await;
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.stdout.contains(
            "DOWN     the scorer at http://127.0.0.1:1 cannot be reached: Connection refused"
        ),
        "{}",
        ran.stdout
    );
    assert!(
        ran.stdout
            .contains("movies  main    4  v2        -        UNKNOWN\n"),
        "{}",
        ran.stdout
    );
    assert!(
        ran.stdout.contains("02   movies  RUNNING"),
        "{}",
        ran.stdout
    );
    assert_eq!(
        ran.stderr,
        "a service is down; `make up` starts all of Decant on this machine\n"
    );

    let address = "http://127.0.0.1:1";
    let nothing = run(decant(&[
        "status",
        "--trainer",
        address,
        "--registry",
        address,
        "--scorer",
        address,
    ]))
    .await;
    assert_eq!(nothing.code, Some(1));
    assert_eq!(nothing.stdout.matches("DOWN").count(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_healthy_but_answers_nothing_is_down() {
    let server = Server::start(Fake::refusing(Status::internal("the store is gone"))).await;
    let ran = server.run(&["status"]).await;
    assert_eq!(ran.code, Some(1));
    assert_eq!(
        ran.stdout.matches("DOWN    the store is gone\n").count(),
        3,
        "{}",
        ran.stdout
    );
}
