//! `decant rollout status` and `history`: every state as it is shown.

use decant_model::file;
use decant_proto::registry::v1::Version;
use decant_proto::rollout::v1::{Arm, Rollout, RolloutPhase, RolloutStatus};
use serde_json::{Value, json};
use tonic::Status;

use crate::fakes::{Fake, noon};
use crate::models::manifest;
use crate::running::{Server, interrupt_after_stdout};
use crate::states::{
    ID, aborted, elapsed, paused, preparing, progressing, promoted, rollout, slot, version,
};

async fn shown(status: RolloutStatus) -> String {
    let server = Server::start(Fake {
        releases: vec![status],
        ..Fake::default()
    })
    .await;
    server.table(&["rollout", "status", "movies"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_at_work_shows_its_versions_and_gates() {
    let manifest = manifest(&[
        (file::MODEL, b"onnx"),
        (file::FEATURES, b"{}"),
        (file::GOLDEN, b"[]"),
    ]);
    let server = Server::start(Fake {
        releases: vec![progressing()],
        versions: vec![Version {
            model: "movies".into(),
            version: 2,
            manifest: manifest.to_json().unwrap().into(),
            ..Version::default()
        }],
        ..Fake::default()
    })
    .await;
    let expected = "\
slot        movies/main
generation  42, observed by 2 of 2 scorers
status      ◌ PROGRESSING
since       2026-05-01 12:00:00 by registry-1
rollout     01jtv8z3k5m7n9p1q3r5s7t9w1
step        2/3: analysis 10m, for 3 min 12 s
weight      set 1.00 %, actual 0.97 % (n=41230)
waits for   latency-p99
started     2026-05-01 11:00:00 by ada
reason      better recall

NAME                 KIND     STATE             INFO
movies/main          Slot     ◌ PROGRESSING     -
├── v2               Version  ◌ CANARY 1.00 %   cdcdcdcdcdcd, auc 0.8012
│   ├── error-rate   Gate     ✔ PASS            -0.0002 <= 0.005  [-0.0011, 0.0008]  n=412
│   ├── latency-p99  Gate     ? INCONCLUSIVE    1.0200 <= 2  [0.8000, 2.3000]  n=40 of 100  holds
│   └── teacher      Check    ⚠ OVERRIDDEN      v7 is not signed
├── v1               Version  ✔ STABLE 99.00 %  abababababab
└── v7               Version  • TEACHER         efefefefefef

Next:
  decant rollout promote movies --expect-generation 42  take the next step now
  decant rollout pause movies                           keep it where it is
  decant rollout abort movies                           all of the traffic to v1
";
    let shown = server
        .table(&["rollout", "status", "movies", "--rollout", ID])
        .await;
    assert_eq!(shown, expected);
    let asked = server.fake.asked.lock().unwrap();
    let asked = asked.get_rollout.as_ref().unwrap();
    assert_eq!(
        (
            asked.model.as_str(),
            asked.slot.as_str(),
            asked.rollout.as_str()
        ),
        ("movies", "main", ID)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_that_a_gate_paused_says_which_and_how_to_go_on() {
    let expected = "\
slot        movies/main
generation  42, observed by 2 of 2 scorers
status      ॥ PAUSED
since       2026-05-01 12:00:00 by registry-1
why         latency-p99 fails
rollout     01jtv8z3k5m7n9p1q3r5s7t9w1
step        2/3: analysis 10m, for 42 s
weight      set 1.00 %
started     2026-05-01 11:00:00 by ada
reason      better recall

NAME                 KIND     STATE             INFO
movies/main          Slot     ॥ PAUSED          -
├── v2               Version  ◌ CANARY 1.00 %   cdcdcdcdcdcd
│   ├── error-rate   Gate     ✔ PASS            -0.0002 <= 0.005  [-0.0011, 0.0008]  n=412
│   └── latency-p99  Gate     ✖ FAIL            2.5000 <= 2  [2.1000, 2.9000]  n=412  holds
└── v1               Version  ✔ STABLE 99.00 %  abababababab

Next:
  decant rollout resume movies                          let it go on
  decant rollout promote movies --expect-generation 42  take the next step now
  decant rollout abort movies                           all of the traffic to v1
";
    assert_eq!(shown(paused()).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn scorers_that_lag_are_shown_while_a_version_is_prepared() {
    let expected = "\
slot        movies/main
generation  42, observed by 1 of 2 scorers
status      ◌ PREPARING
since       2026-05-01 12:00:00 by registry-1
rollout     01jtv8z3k5m7n9p1q3r5s7t9w1
step        0/3, for 4.0 s
ready       0 of 2 scorers have v2 ready; 100 % must
silent      scorer-9
started     2026-05-01 11:00:00 by ada
reason      better recall

NAME                 KIND     STATE              INFO
movies/main          Slot     ◌ PREPARING        -
├── v2               Version  ◌ PREPARING        cdcdcdcdcdcd
│   ├── error-rate   Gate     • WAITING          no data <= 0.005  n=0 of 100
│   └── latency-p99  Gate     • WAITING          no data <= 2  n=0 of 100  holds
├── v1               Version  ✔ STABLE 100.00 %  abababababab
├── scorer-1         Scorer   FAILED             at generation 42, serves 42; v1 READY, v2 FAILED; v2: golden vector 3 differs
└── scorer-2         Scorer   BEHIND             at generation 41, serves 41; v1 READY

Next:
  decant rollout pause movies  keep it where it is
  decant rollout abort movies  all of the traffic to v1
";
    assert_eq!(shown(preparing()).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_aborted_rollout_says_why_and_how_to_begin_anew() {
    let expected = "\
slot        movies/main
generation  43, observed by 2 of 2 scorers
status      ✖ ABORTED
since       2026-05-01 12:00:00 by registry-1
why         error-rate fails
rollout     01jtv8z3k5m7n9p1q3r5s7t9w1
step        2/3: analysis 10m
started     2026-05-01 11:00:00 by ada
reason      better recall

NAME                 KIND     STATE              INFO
movies/main          Slot     ✖ ABORTED          -
├── v2               Version  • KEPT READY       cdcdcdcdcdcd
│   ├── error-rate   Gate     ✖ FAIL             0.0200 <= 0.005  [0.0100, 0.0300]  n=412
│   └── latency-p99  Gate     ⚠ FAIL             2.5000 <= 2  n=412  warns
└── v1               Version  ✔ STABLE 100.00 %  abababababab

Next:
  decant rollout retry movies --rollout 01jtv8z3k5m7n9p1q3r5s7t9w1  begin it anew
";
    assert_eq!(shown(aborted()).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promoted_rollout_can_only_be_rolled_back() {
    let expected = "\
slot        movies/main
generation  44, no scorer is live
status      ✔ PROMOTED
since       2026-05-01 12:00:00 by registry-1
rollout     01jtv8z3k5m7n9p1q3r5s7t9w1
step        3/3
weight      set 100.00 %
started     2026-05-01 11:00:00 by ada
reason      better recall

NAME                 KIND     STATE              INFO
movies/main          Slot     ✔ PROMOTED         -
├── v2               Version  ✔ STABLE 100.00 %  cdcdcdcdcdcd
│   ├── error-rate   Gate     ✔ PASS             -0.0002 <= 0.005  [-0.0011, 0.0008]  n=412
│   └── latency-p99  Gate     ✔ PASS             1.0200 <= 2  n=412  holds
└── v1               Version  • KEPT READY       abababababab

Next:
  decant rollback movies  v1 again, at once
";
    assert_eq!(shown(promoted()).await, expected);

    // Once something else serves, a rollback would undo that, and not the rollout.
    let mut overtaken = promoted();
    overtaken.slot.as_mut().unwrap().slot =
        Some(slot(45, vec![version(3, Arm::Stable, 10_000)], Vec::new()));
    let shown = shown(overtaken).await;
    assert!(!shown.contains("Next:"), "{shown}");
    assert!(shown.contains("• NOT IN THE SLOT"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_is_complete_as_json_and_has_a_name() {
    let server = Server::start(Fake {
        releases: vec![progressing()],
        ..Fake::default()
    })
    .await;
    let answer = server.json(&["rollout", "status", "movies"]).await;
    assert_eq!(answer["rollout"]["id"], ID);
    assert_eq!(answer["rollout"]["phase"], "PROGRESSING");
    assert_eq!(answer["rollout"]["step"], 1);
    assert_eq!(answer["rollout"]["paused_by"], "UNSPECIFIED");
    assert_eq!(
        answer["rollout"]["plan"]["steps"],
        json!(["1%", "analysis 10m", "10%"])
    );
    assert_eq!(
        answer["rollout"]["teacher"],
        json!({
            "version": 7, "digest": format!("sha256:{}", "ef".repeat(32)), "arm": "TEACHER", "weight_basis_points": 0,
        })
    );
    assert_eq!(
        answer["rollout"]["checks"][1],
        json!({ "name": "teacher", "passed": false, "found": "v7 is not signed", "overridden": true })
    );
    assert_eq!(answer["elapsed"], "192s");
    assert_eq!(answer["actual_basis_points"], 97);
    assert_eq!(answer["requests"], 41_230);
    assert_eq!(answer["slot"]["slot"]["generation"], 42);
    assert_eq!(answer["slot"]["scorers"][0]["serving"], 42);
    assert_eq!(
        answer["gates"][1],
        json!({
            "gate": { "metric": "latency-p99", "min": null, "max": 2.0, "min_count": 100, "on_fail": "HOLD" },
            "verdict": "INCONCLUSIVE", "value": 1.02, "low": 0.8, "high": 2.3, "count": 40,
        })
    );
    assert_eq!(
        server
            .table(&["rollout", "status", "movies", "-o", "name"])
            .await,
        format!("{ID}\n")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watched_rollout_is_a_line_for_each_change_and_ends_with_the_promotion() {
    let mut counted = progressing();
    counted.requests += 1;
    counted.elapsed = elapsed(193);
    let server = Server::start(Fake {
        releases: vec![preparing(), progressing(), counted, promoted()],
        ..Fake::default()
    })
    .await;
    let ran = server
        .run(&["rollout", "status", "movies", "--watch"])
        .await;
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    assert_eq!(
        ran.stdout,
        "movies/main v2: PREPARING, step 0/3, v1; 2 of 2 scorers lag\n\
         movies/main v2: PROGRESSING, step 2/3 (analysis 10m), v1 99.00 %, v2 1.00 %, v7 teacher; error-rate PASS; \
         latency-p99 INCONCLUSIVE\n\
         movies/main v2: PROMOTED, step 3/3, v2; error-rate PASS; latency-p99 PASS\n",
        "what is counted is no change"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_that_ends_badly_has_its_own_exit_code() {
    for (phase, ended, hint) in [
        (RolloutPhase::Aborted, "was aborted", "rollout retry"),
        (RolloutPhase::RolledBack, "was rolled back", "rollout retry"),
        (
            RolloutPhase::Degraded,
            "was aborted, and some scorers do not take that in",
            "slot status",
        ),
    ] {
        let mut aborting = aborted();
        let mut over = aborted();
        aborting.rollout.as_mut().unwrap().phase = RolloutPhase::Aborting.into();
        over.rollout.as_mut().unwrap().phase = phase.into();
        let server = Server::start(Fake {
            releases: vec![aborting, over],
            ..Fake::default()
        })
        .await;
        let ran = server
            .run(&["rollout", "status", "movies", "--watch"])
            .await;
        assert_eq!(ran.code, Some(5), "{}", ran.stderr);
        assert_eq!(ran.stdout.lines().count(), 2, "{}", ran.stdout);
        let error = format!("error: rollout {ID} of movies/main {ended}: error-rate fails\n");
        assert!(ran.stderr.starts_with(&error), "{}", ran.stderr);
        assert!(ran.stderr.contains(hint), "{}", ran.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watched_rollout_is_one_json_a_line_and_can_be_left() {
    let server = Server::start(Fake {
        releases: vec![preparing(), preparing(), progressing()],
        ..Fake::default()
    })
    .await;
    let command = server.command(&["rollout", "status", "movies", "--watch", "-o", "json"]);
    let ran = interrupt_after_stdout(command, "PROGRESSING").await;
    assert_eq!(ran.code, Some(130), "{}", ran.stderr);
    assert_eq!(ran.stderr, "stopped watching; the rollout goes on\n");
    let phases: Vec<Value> = ran
        .stdout
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["rollout"]["phase"].clone())
        .collect();
    assert_eq!(
        phases,
        ["PREPARING", "PROGRESSING"],
        "the same status is not shown twice"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn watching_ends_after_the_timeout_that_was_given() {
    let server = Server::start(Fake {
        releases: vec![progressing()],
        ..Fake::default()
    })
    .await;
    let ran = server
        .run(&[
            "rollout",
            "status",
            "movies",
            "--watch",
            "--timeout",
            "700ms",
        ])
        .await;
    assert_eq!(ran.code, Some(7), "{}", ran.stderr);
    assert_eq!(
        ran.stderr,
        format!(
            "error: rollout {ID} of movies/main is PROGRESSING at step 2/3 after 0.7 s\n  \
               it waits for: latency-p99\n\
             hint: it goes on; the same command without --timeout waits to its end\n"
        )
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_without_rollouts_is_the_registrys_to_tell() {
    let refusal = Status::not_found("nothing was released in movies/main yet");
    let server = Server::start(Fake::refusing(refusal)).await;
    let ran = server.run(&["rollout", "status", "movies"]).await;
    assert_eq!(
        ran.stderr,
        "error: nothing was released in movies/main yet (NOT_FOUND)\n"
    );
    assert_ne!(ran.code, Some(0));
    let watched = server
        .run(&["rollout", "status", "movies", "--watch"])
        .await;
    assert_eq!(watched.stderr, ran.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slots_rollouts_are_listed_with_how_they_ended() {
    let earlier = Rollout {
        id: "01jtv8z3k5m7n9p1q3r5s7t9w0".into(),
        candidate: Some(version(1, Arm::Stable, 10_000)),
        start_time: noon(-7200),
        move_time: None,
        moved_by: String::new(),
        ..rollout(RolloutPhase::Promoted, 3)
    };
    let server = Server::start(Fake {
        rollouts: vec![aborted().rollout.unwrap(), earlier.clone(), earlier],
        ..Fake::default()
    })
    .await;
    let expected = "\
ID                          VERSION  PHASE       STEP  STARTED (UTC)        MOVED (UTC)          BY          WHY
01jtv8z3k5m7n9p1q3r5s7t9w1  v2       ✖ ABORTED    2/3  2026-05-01 11:00:00  2026-05-01 12:00:00  registry-1  error-rate fails
01jtv8z3k5m7n9p1q3r5s7t9w0  v1       ✔ PROMOTED   3/3  2026-05-01 10:00:00  -                    ada         better recall
";
    let ran = server
        .run(&["rollout", "history", "movies", "--limit", "2"])
        .await;
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), expected));
    assert_eq!(ran.stderr, "there are more; --limit shows them\n");
    let all = server.json(&["rollout", "history", "movies"]).await;
    assert_eq!(all.as_array().unwrap().len(), 3);
    let names = server
        .table(&["rollout", "history", "movies", "--limit", "1", "-o", "name"])
        .await;
    assert_eq!(names, format!("{ID}\n"));

    let none = Server::start(Fake::default()).await;
    let ran = none.run(&["rollout", "history", "movies"]).await;
    assert_eq!(
        ran.stderr,
        "nothing was released in movies/main yet; `decant rollout start` begins it\n"
    );
}
