//! `decant rollback`, and slots that are frozen.

use decant_proto::rollout::v1::{Arm, Freeze, Slot, SlotStatus};
use serde_json::json;

use crate::fakes::{Fake, noon};
use crate::releasing::{divided, typed};
use crate::running::Server;
use crate::states::{ID, restored, scorer, slot, version};

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_is_rolled_back_without_being_asked() {
    let server = Server::start(divided()).await;
    let ran = typed(
        &server,
        "rollback movies --to v1 --reason errors --expect-generation 42 --request-id ci-7",
    )
    .await;
    assert_eq!(
        (ran.code, ran.stdout),
        (
            Some(0),
            format!(
                "movies/main is rolled back to v1 (generation 43); rollout {ID} has ended with it\n"
            )
        ),
        "{}",
        ran.stderr
    );
    assert_eq!(
        ran.stderr,
        format!(
            "movies/main: v1 99.00 %, v2 1.00 % (generation 42) -> v1 (generation 43)\n\
             `decant slot status movies --watch` shows how scorers follow\n\
             `decant rollout retry movies --rollout {ID}` begins the rollout anew\n"
        )
    );
    let asked = server.fake.asked.lock().unwrap();
    let asked = asked.rollback.as_ref().unwrap();
    assert_eq!(
        (asked.version, asked.expected_generation, asked.dry_run),
        (1, Some(42), false)
    );
    assert_eq!(
        (asked.reason.as_str(), asked.request_id.as_str()),
        ("errors", "ci-7")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_after_a_rollout_can_be_tried_and_undone() {
    let before = slot(42, vec![version(2, Arm::Stable, 10_000)], Vec::new());
    let server = Server::start(Fake {
        slot: Some(restored()),
        slot_before: Some(before),
        ..Fake::default()
    })
    .await;
    let ran = typed(&server, "rollback movies --dry-run").await;
    assert_eq!(
        ran.stdout,
        "movies/main would be rolled back to v1 (generation 43)\n"
    );
    assert_eq!(
        ran.stderr,
        "movies/main: v2 (generation 42) -> v1 (generation 43)\n"
    );
    let ran = typed(&server, "rollback movies").await;
    assert!(
        ran.stderr
            .ends_with("`decant slot set movies 2` undoes it\n"),
        "{}",
        ran.stderr
    );
    assert_eq!(
        server
            .fake
            .asked
            .lock()
            .unwrap()
            .rollback
            .as_ref()
            .unwrap()
            .version,
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_can_wait_for_every_scorer() {
    let serving = |generations: [u64; 2]| SlotStatus {
        slot: Some(restored()),
        scorers: vec![
            scorer("scorer-1", generations[0], &[1]),
            scorer("scorer-2", generations[1], &[1]),
        ],
        ..SlotStatus::default()
    };
    let server = Server::start(Fake {
        statuses: vec![serving([43, 42]), serving([43, 43])],
        ..divided()
    })
    .await;
    let ran = typed(&server, "rollback movies --wait").await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(
        ran.stdout
            .starts_with("converged: 2/2 scorers serve generation 43 (slowest scorer-2, "),
        "{}",
        ran.stdout
    );

    let stuck = Server::start(Fake {
        statuses: vec![serving([43, 42])],
        ..divided()
    })
    .await;
    let ran = typed(&stuck, "rollback movies --wait --timeout 700ms").await;
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(7), ""));
    assert!(
        ran.stderr.ends_with(&format!(
            "error: movies/main is rolled back to v1 (generation 43); rollout {ID} has ended with it, but after 0.7 s 1 of \
             2 scorers do not serve generation 43\n  \
               scorer-2: at generation 42, serves 42, v1 READY\n\
             hint: the rollback stands; `decant slot status movies --watch` shows how it goes on\n"
        )),
        "{}",
        ran.stderr
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_is_frozen_and_shown_with_all_that_holds_it() {
    let held = Slot {
        generation: 4,
        active: vec![
            version(1, Arm::Stable, 9_000),
            version(2, Arm::Canary, 1_000),
            version(7, Arm::Teacher, 0),
        ],
        issued_by: "ada".into(),
        reason: "better".into(),
        issue_time: noon(0),
        rollout: ID.into(),
        frozen: Some(Freeze {
            issued_by: "bob".into(),
            reason: "an incident".into(),
            since: noon(0),
        }),
        compare_basis_points: 1_000,
        ..slot(4, Vec::new(), Vec::new())
    };
    let server = Server::start(Fake {
        slot: Some(held),
        ..Fake::default()
    })
    .await;
    let expected = "\
slot        movies/main
generation  4
set by      ada
reason      better
set         2026-05-01 12:00:00
rollout     01jtv8z3k5m7n9p1q3r5s7t9w1
frozen      since 2026-05-01 12:00:00 by bob: an incident
compared    10.00 % of the requests

VERSION  ARM       WEIGHT  DIGEST
v1       STABLE   90.00 %  abababababab
v2       CANARY   10.00 %  cdcdcdcdcdcd
v7       TEACHER   0.00 %  efefefefefef
";
    assert_eq!(server.table(&["slot", "get", "movies"]).await, expected);
    let answer = server.json(&["slot", "get", "movies"]).await;
    assert_eq!(
        answer["frozen"],
        json!({ "issued_by": "bob", "reason": "an incident", "since": "2026-05-01T12:00:00Z" })
    );

    let ran = typed(
        &server,
        "slot freeze movies --reason incident --expect-generation 3",
    )
    .await;
    assert_eq!(ran.stdout, "movies/main is frozen (generation 4)\n");
    assert_eq!(
        ran.stderr,
        "`decant slot unfreeze movies --reason REASON` undoes it\n"
    );
    {
        let asked = server.fake.asked.lock().unwrap();
        let asked = asked.freeze_slot.as_ref().unwrap();
        assert_eq!(
            (
                asked.frozen,
                asked.expected_generation,
                asked.reason.as_str()
            ),
            (true, Some(3), "incident")
        );
    }
    let ran = typed(&server, "slot unfreeze movies --reason over").await;
    assert_eq!(ran.stdout, "movies/main may change again (generation 4)\n");
    let asked = server.fake.asked.lock().unwrap();
    assert!(!asked.freeze_slot.as_ref().unwrap().frozen);
}
