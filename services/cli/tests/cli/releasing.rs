//! Rollouts are started and steered.

use decant_model::rollout::Plan;
use decant_proto::rollout::plan::to_wire;
use decant_proto::rollout::v1::start_rollout_request::How;
use decant_proto::rollout::v1::{
    Arm, Rollout, RolloutCheck, RolloutPhase, Slot, SlotStatus, StartRolloutRequest, Steer,
    SteerRolloutRequest, StoredPlan,
};

use crate::fakes::Fake;
use crate::running::{Ran, Server, decant, run};
use crate::states::{
    ID, aborted, plan, preparing, progressing, promoted, restored, rollout, scorer, slot, split,
    status, version,
};

/// A slot that a rollout divides, and that goes back.
pub(crate) fn divided() -> Fake {
    Fake {
        slot: Some(restored()),
        slot_before: Some(split()),
        releases: vec![progressing(), aborted()],
        ..Fake::default()
    }
}

/// A rollout that begins.
fn beginning() -> Fake {
    Fake {
        slot: Some(split()),
        releases: vec![status(
            rollout(RolloutPhase::Pending, 0),
            split(),
            Vec::new(),
        )],
        statuses: vec![SlotStatus {
            slot: Some(split()),
            scorers: vec![scorer("scorer-1", 42, &[1]), scorer("scorer-2", 42, &[1])],
            ..SlotStatus::default()
        }],
        ..Fake::default()
    }
}

fn started(server: &Server) -> StartRolloutRequest {
    server
        .fake
        .asked
        .lock()
        .unwrap()
        .start_rollout
        .clone()
        .unwrap()
}

pub(crate) async fn typed(server: &Server, line: &str) -> Ran {
    let arguments: Vec<&str> = line.split(' ').collect();
    server.run(&arguments).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_begins_by_the_models_plan_and_says_how_to_see_and_undo_it() {
    let server = Server::start(beginning()).await;
    let ran = typed(&server, "rollout start movies 2").await;
    assert_eq!(
        (ran.code, ran.stdout),
        (
            Some(0),
            format!("rollout {ID} of movies/main releases v2 over v1 in 3 steps, 2 gates\n")
        ),
        "{}",
        ran.stderr
    );
    assert_eq!(
        ran.stderr,
        "`decant rollout status movies --watch` shows how it goes on\n\
         `decant rollout abort movies` undoes it\n"
    );
    let asked = started(&server);
    assert_eq!((asked.version, asked.how), (2, None));
    assert_eq!(asked.request_id.len(), 26);
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_is_said_about_a_rollout_is_asked_for() {
    let server = Server::start(beginning()).await;
    let ran = server
        .run(&[
            "rollout",
            "start",
            "movies",
            "v2",
            "--slot",
            "main",
            "--steps",
            "1%, analysis 10m, 10%",
            "--gate",
            "error-rate<=0.005",
            "--gate",
            "latency-p99<=2,hold",
            "--teacher",
            "7",
            "--override",
            "signature",
            "--reason",
            "a test",
            "--expect-generation",
            "41",
            "--request-id",
            "ci-7",
        ])
        .await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(
        started(&server),
        StartRolloutRequest {
            model: "movies".into(),
            slot: "main".into(),
            version: 2,
            how: Some(How::Plan(to_wire(&plan()))),
            teacher_version: 7,
            override_checks: vec!["signature".into()],
            expected_generation: Some(41),
            issued_by: "ada".into(),
            reason: "a test".into(),
            request_id: "ci-7".into(),
            dry_run: false,
            retry_of: String::new(),
        }
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_said_about_a_plan_is_as_in_the_built_in_one() {
    let server = Server::start(beginning()).await;
    typed(&server, "rollout start movies 2 --steps shadow,50%").await;
    let steps = ["shadow", "50%"].map(|step| step.parse().unwrap()).to_vec();
    let expected = Plan {
        steps,
        ..Plan::default()
    };
    assert_eq!(started(&server).how, Some(How::Plan(to_wire(&expected))));
    let ran = typed(&server, "rollout start movies 2 --plan slow --yes").await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(started(&server).how, Some(How::PlanName("slow".into())));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_shows_checks_and_course() {
    let check = |name: &str, passed, found: &str, overridden| RolloutCheck {
        name: name.into(),
        passed,
        found: found.into(),
        overridden,
    };
    let mut fake = beginning();
    fake.releases[0].rollout.as_mut().unwrap().checks = vec![
        check("approved", true, "v2 is approved", false),
        check("signature", false, "v2 is not signed", true),
    ];
    let stable = |number| vec![version(number, Arm::Stable, 10_000)];
    let prepared = |number| vec![version(number, Arm::Unspecified, 0)];
    fake.course = vec![
        slot(5, stable(1), prepared(2)),
        Slot {
            generation: 6,
            ..split()
        },
        slot(7, stable(2), prepared(1)),
    ];
    let server = Server::start(fake).await;
    let expected = format!(
        "\
rollout {ID} of movies/main would release v2 over v1 in 3 steps, 2 gates

CHECK      RESULT        FOUND
approved   ✔ HOLDS       v2 is approved
signature  ⚠ OVERRIDDEN  v2 is not signed

GENERATION  ACTIVE                               PREPARED
         5  v1 STABLE 100.00 %                   v2
         6  v1 STABLE 99.00 %, v2 CANARY 1.00 %  -
         7  v2 STABLE 100.00 %                   v1
"
    );
    let ran = typed(&server, "rollout start movies 2 --dry-run").await;
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    assert_eq!(ran.stdout, expected);
    assert!(started(&server).dry_run);
    let answer = server
        .json(&["rollout", "start", "movies", "2", "--dry-run"])
        .await;
    assert_eq!(answer["dry_run"], true);
    assert_eq!(answer["course"][1]["active"][1]["weight_basis_points"], 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_of_what_would_not_begin_fails() {
    let mut fake = beginning();
    fake.releases[0].rollout.as_mut().unwrap().checks = vec![RolloutCheck {
        name: "signature".into(),
        passed: false,
        found: "v2 is not signed".into(),
        overridden: false,
    }];
    let server = Server::start(fake).await;
    let ran = typed(&server, "rollout start movies 2 --dry-run").await;
    assert_eq!(ran.code, Some(5));
    assert!(ran.stdout.contains("✖ FAILS"), "{}", ran.stdout);
    assert_eq!(
        ran.stderr,
        "error: the rollout would not begin: some checks do not hold\n  \
           signature: v2 is not signed\n\
         hint: --override CHECK with --reason goes on all the same\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_is_waited_for() {
    let server = Server::start(Fake {
        releases: vec![preparing(), promoted()],
        ..beginning()
    })
    .await;
    let ran = typed(&server, "rollout start movies 2 --wait").await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(
        ran.stdout.ends_with(
            "movies/main v2: PROMOTED, step 3/3, v2; error-rate PASS; latency-p99 PASS\n"
        ),
        "{}",
        ran.stdout
    );
    assert_eq!(
        ran.stderr,
        format!("rollout {ID} of movies/main releases v2 over v1 in 3 steps, 2 gates\n")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_nothing_watches_needs_a_confirmation() {
    let ungated = Plan {
        gates: Vec::new(),
        steps: vec!["10%".parse().unwrap()],
        ..Plan::default()
    };
    let stored = |name: &str, plan: &Plan| StoredPlan {
        model: "movies".into(),
        name: name.into(),
        plan: Some(to_wire(plan)),
        ..StoredPlan::default()
    };
    let server = Server::start(Fake {
        plans: vec![
            stored("default", &ungated),
            stored("fast", &Plan::blue_green()),
        ],
        ..beginning()
    })
    .await;
    for (line, how) in [
        (
            "rollout start movies 2",
            "all of the traffic by these steps: 10%",
        ),
        (
            "rollout start movies 2 --plan fast",
            "all of the traffic at once",
        ),
    ] {
        let ran = typed(&server, line).await;
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""));
        assert_eq!(
            ran.stderr,
            format!(
                "error: this needs a confirmation: v2 of movies/main is released without any gate, on 2 live scorers: it \
                 gets {how}, and nothing takes that back by itself.\n\
                 hint: without a terminal, --yes gives it\n"
            )
        );
    }
    assert!(server.fake.asked.lock().unwrap().start_rollout.is_none());
    let ran = typed(&server, "rollout start movies 2 --yes").await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let dry = typed(&server, "rollout start movies 2 --dry-run").await;
    assert_eq!(dry.code, Some(0), "{}", dry.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_is_told_what_to_do_and_how_to_undo_it_is_said() {
    for (verb, steer, undo) in [
        (
            "pause",
            Steer::Pause,
            "`decant rollout resume movies` undoes it".to_owned(),
        ),
        (
            "resume",
            Steer::Resume,
            "`decant rollout pause movies` undoes it".to_owned(),
        ),
        (
            "promote",
            Steer::Promote,
            "`decant rollout abort movies` gives all of the traffic back to v1".to_owned(),
        ),
        (
            "abort",
            Steer::Abort,
            format!("`decant rollout retry movies --rollout {ID}` begins it anew"),
        ),
    ] {
        let server = Server::start(divided()).await;
        let line = format!(
            "rollout {verb} movies --rollout {ID} --reason because --expect-generation 42 --request-id ci-7"
        );
        let ran = typed(&server, &line).await;
        assert_eq!(
            (ran.code, ran.stdout),
            (
                Some(0),
                format!("rollout {ID} of movies/main is ABORTED at step 2/3 (generation 43)\n")
            ),
            "{verb}: {}",
            ran.stderr
        );
        assert_eq!(
            ran.stderr,
            format!(
                "movies/main: v1 99.00 %, v2 1.00 % (generation 42) -> v1 (generation 43)\n\
                 `decant rollout status movies --watch` shows how it goes on\n\
                 {undo}\n"
            )
        );
        let asked = server.fake.asked.lock().unwrap();
        assert_eq!(
            asked.steer_rollout.as_ref().unwrap(),
            &SteerRolloutRequest {
                model: "movies".into(),
                slot: "main".into(),
                rollout: ID.into(),
                steer: steer.into(),
                expected_generation: Some(42),
                issued_by: "ada".into(),
                reason: "because".into(),
                request_id: "ci-7".into(),
                dry_run: false,
            }
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verb_can_be_tried_without_being_done() {
    let server = Server::start(divided()).await;
    let ran = typed(&server, "rollout abort movies --dry-run").await;
    assert_eq!(
        ran.stdout,
        format!("rollout {ID} of movies/main would be ABORTED at step 2/3 (generation 43)\n")
    );
    assert_eq!(
        ran.stderr,
        "movies/main: v1 99.00 %, v2 1.00 % (generation 42) -> v1 (generation 43)\n"
    );
    let answer = server
        .json(&["rollout", "abort", "movies", "--dry-run"])
        .await;
    assert_eq!(answer["dry_run"], true);
    assert_eq!(answer["before"]["generation"], 42);
    assert_eq!(answer["slot"]["generation"], 43);
    assert_eq!(answer["rollout"]["phase"], "ABORTED");
    assert_eq!(
        server
            .table(&["rollout", "abort", "movies", "-o", "name"])
            .await,
        format!("{ID}\n")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_promotion_shows_what_it_does_and_asks() {
    let server = Server::start(Fake {
        slot: Some(slot(44, vec![version(2, Arm::Stable, 10_000)], Vec::new())),
        slot_before: Some(split()),
        releases: vec![progressing(), promoted()],
        ..Fake::default()
    })
    .await;
    let ran = typed(&server, "rollout promote movies --full").await;
    assert_eq!(ran.code, Some(2));
    assert_eq!(
        ran.stderr,
        "error: this needs a confirmation: v2 of movies/main gets all of the traffic at once, on 2 live scorers. It \
         answers 1.00 % of it now, at step 2/3; the steps and gates that are left are skipped.\n\
         hint: without a terminal, --yes gives it\n"
    );
    assert!(server.fake.asked.lock().unwrap().steer_rollout.is_none());
    let ran = typed(&server, "rollout promote movies --full --yes").await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(
        ran.stderr
            .ends_with("`decant rollback movies` brings v1 back\n"),
        "{}",
        ran.stderr
    );
    let asked = server.fake.asked.lock().unwrap();
    let asked = asked.steer_rollout.as_ref().unwrap();
    assert_eq!(asked.steer(), Steer::PromoteFully);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_is_begun_anew_by_its_id() {
    let server = Server::start(Fake {
        releases: vec![aborted()],
        ..beginning()
    })
    .await;
    let ran = typed(
        &server,
        "rollout retry movies --reason again --expect-generation 43 --request-id ci-7",
    )
    .await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(
        started(&server),
        StartRolloutRequest {
            model: "movies".into(),
            slot: "main".into(),
            expected_generation: Some(43),
            issued_by: "ada".into(),
            reason: "again".into(),
            request_id: "ci-7".into(),
            retry_of: ID.into(),
            ..StartRolloutRequest::default()
        }
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn another_slot_is_named_in_what_can_be_typed_next() {
    let elsewhere = Rollout {
        slot: "vip".into(),
        ..rollout(RolloutPhase::Progressing, 1)
    };
    let server = Server::start(Fake {
        releases: vec![status(elsewhere, split(), Vec::new())],
        ..Fake::default()
    })
    .await;
    let shown = server
        .table(&["rollout", "status", "movies", "--slot", "vip"])
        .await;
    assert!(
        shown.contains("  decant rollout abort movies --slot vip "),
        "{shown}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_refused_before_anybody_is_asked() {
    for line in [
        "rollout",
        "rollout start movies",
        "rollout start movies 0",
        "rollout start movies 2 --steps half",
        "rollout start movies 2 --steps 10%,1%",
        "rollout start movies 2 --gate error-rate<0.1",
        "rollout start movies 2 --gate latency-p99<=0.5",
        "rollout start movies 2 --gate errors<=0.1",
        "rollout start movies 2 --plan slow --steps 1%",
        "rollout start movies 2 --plan slow --plan-file plan.toml",
        "rollout start movies 2 --override signature",
        "rollout start movies 2 --wait --dry-run",
        "rollout status movies --rollout 7",
        "rollout history movies --limit 0",
        "rollback movies --to latest",
        "rollback movies --wait --dry-run",
        "slot freeze movies",
        "slot unfreeze movies",
        "plan put movies",
        "plan get movies No-Such-Name",
    ] {
        let arguments: Vec<&str> = line.split(' ').collect();
        let ran = run(decant(&arguments)).await;
        assert_eq!(
            (ran.code, ran.stdout.as_str()),
            (Some(2), ""),
            "{line}: {}",
            ran.stderr
        );
        assert!(!ran.stderr.is_empty(), "{line}");
    }
}
