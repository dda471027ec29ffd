//! `decant plan`.

use decant_model::rollout::Plan;
use decant_proto::rollout::plan::to_wire;
use decant_proto::rollout::v1::{PutPlanRequest, StoredPlan};
use serde_json::json;

use crate::fakes::{Fake, noon};
use crate::running::{Server, decant, run, text};
use crate::states::plan;

/// The plan of the tests as a file.
const FILE: &str = r#"
steps = ["1%", "analysis 10m", "10%"]

[[gates]]
metric = "error-rate"
max = 0.005

[[gates]]
metric = "latency-p99"
max = 2.0
on_fail = "hold"
"#;

/// The same as it is printed: nothing is left to be guessed.
const PRINTED: &str = r#"steps = ["1%", "analysis 10m", "10%"]
min_ready_percent = 100
prepare_within = "15m"
compare = "100%"
false_alarm = 0.01

[[gates]]
metric = "error-rate"
max = 0.005
min_count = 100
on_fail = "abort"

[[gates]]
metric = "latency-p99"
max = 2.0
min_count = 100
on_fail = "hold"
"#;

fn stored(name: &str, plan: &Plan) -> StoredPlan {
    StoredPlan {
        model: "movies".into(),
        name: name.into(),
        plan: Some(to_wire(plan)),
        issued_by: "ada".into(),
        issue_time: noon(0),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_stored_from_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("plan.toml");
    std::fs::write(&file, FILE).unwrap();
    let server = Server::start(Fake::default()).await;
    let put = [
        "plan",
        "put",
        "movies",
        "--name",
        "slow",
        text(&file),
        "--reason",
        "films are watched at night",
        "--request-id",
        "ci-7",
    ];
    let ran = server.run(&put).await;
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (Some(0), "plan movies/slow is stored\n")
    );
    assert_eq!(
        ran.stderr,
        "`decant rollout start movies VERSION --plan slow` follows it; with --dry-run it only says how\n"
    );
    let asked = server.fake.asked.lock().unwrap();
    assert_eq!(
        asked.put_plan.as_ref().unwrap(),
        &PutPlanRequest {
            model: "movies".into(),
            name: "slow".into(),
            plan: Some(to_wire(&plan())),
            issued_by: "ada".into(),
            reason: "films are watched at night".into(),
            request_id: "ci-7".into(),
        }
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_printed_as_the_file_that_it_may_be_put_from() {
    let server = Server::start(Fake {
        plans: vec![stored("default", &plan())],
        ..Fake::default()
    })
    .await;
    let ran = server.run(&["plan", "get", "movies"]).await;
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), (PRINTED, ""));
    let answer = server.json(&["plan", "get", "movies", "default"]).await;
    assert_eq!(answer["name"], "default");
    assert_eq!(answer["issue_time"], "2026-05-01T12:00:00Z");
    assert_eq!(
        answer["plan"]["gates"][1],
        json!({ "metric": "latency-p99", "max": 2.0, "min_count": 100, "on_fail": "hold" })
    );
    assert_eq!(answer["plan"]["prepare_within"], "15m");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_built_in_plan_is_told_apart_and_other_names_are_not_there() {
    let server = Server::start(Fake::default()).await;
    let ran = server.run(&["plan", "get", "movies"]).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(
        ran.stdout.starts_with("steps = [\"1%\", "),
        "{}",
        ran.stdout
    );
    assert_eq!(
        ran.stderr,
        "this is the built-in plan; `decant plan put` stores another one\n"
    );
    let missing = server.run(&["plan", "get", "movies", "slow"]).await;
    assert_eq!(
        missing.stderr,
        "error: model movies has no plan `slow` (NOT_FOUND)\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn plans_are_listed() {
    let server = Server::start(Fake {
        plans: vec![
            stored("default", &plan()),
            stored("fast", &Plan::blue_green()),
        ],
        ..Fake::default()
    })
    .await;
    let expected = "\
NAME     STEPS                  GATES  SET (UTC)            BY
default  1%, analysis 10m, 10%      2  2026-05-01 12:00:00  ada
fast     all at once                0  2026-05-01 12:00:00  ada
";
    assert_eq!(server.table(&["plan", "list", "movies"]).await, expected);
    assert_eq!(
        server
            .table(&["plan", "list", "movies", "-o", "name"])
            .await,
        "movies/default\nmovies/fast\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_makes_no_sense_is_refused_before_anybody_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("plan.toml");
    for (written, reason) in [
        (
            "steps = [\"10%\", \"1%\"]\n",
            "steps[1] (`1%`): the share must grow, and it was 10% already",
        ),
        (
            "min_ready_percent = 0\n",
            "min_ready_percent = 0: it must be 1 to 100",
        ),
        (
            "[[gates]]\nmetric = \"error-rate\"\n",
            "gates[0] (error-rate): say `max`",
        ),
    ] {
        std::fs::write(&file, written).unwrap();
        for arguments in [
            vec!["plan", "put", "movies", text(&file)],
            vec![
                "rollout",
                "start",
                "movies",
                "2",
                "--plan-file",
                text(&file),
            ],
        ] {
            let ran = run(decant(&arguments)).await;
            assert_eq!(ran.code, Some(2), "{arguments:?}: {}", ran.stderr);
            assert_eq!(ran.stderr, format!("error: {}: {reason}\n", file.display()));
        }
    }
}
