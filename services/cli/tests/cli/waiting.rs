//! `decant wait`.

use decant_proto::rollout::v1::{
    Rollout, RolloutPhase, RolloutStatus, Scorer, ScorerStatus, Slot, SlotStatus, SlotVersion,
};
use decant_proto::trainer::v1::watch_job_response::News;
use decant_proto::trainer::v1::{Job, JobState};
use tonic::Status;

use crate::fakes::Fake;
use crate::running::{Server, interrupt_after};

/// A slot at generation 4, whose scorer answers with this one.
fn status(serving: u64) -> SlotStatus {
    SlotStatus {
        slot: Some(Slot {
            model: "movies".into(),
            slot: "main".into(),
            generation: 4,
            active: vec![SlotVersion {
                version: 2,
                weight_basis_points: 10_000,
                ..SlotVersion::default()
            }],
            ..Slot::default()
        }),
        scorers: vec![ScorerStatus {
            serving,
            ..ScorerStatus::default()
        }],
        converged: serving >= 4,
        ..SlotStatus::default()
    }
}

/// A rollout in one phase after the other.
fn releasing(phases: &[RolloutPhase]) -> Fake {
    let status = |&phase: &RolloutPhase| RolloutStatus {
        rollout: Some(Rollout {
            id: "01r".into(),
            model: "movies".into(),
            slot: "main".into(),
            phase: phase.into(),
            reason_in_phase: match phase {
                RolloutPhase::Aborted => "error-rate is too high".into(),
                _ => String::new(),
            },
            ..Rollout::default()
        }),
        ..RolloutStatus::default()
    };
    Fake {
        releases: phases.iter().map(status).collect(),
        ..Fake::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_is_waited_for() {
    let server = Server::start(Fake {
        statuses: vec![status(3), status(4)],
        ..Fake::default()
    })
    .await;
    for condition in ["converged", "generation=4", "version=2"] {
        let waited = server
            .table(&["wait", "slot/movies", "--for", condition])
            .await;
        assert_eq!(
            waited,
            "slot/movies/main: generation 4 serves v2, 1 of 1 live scorers answer with 4 or later\n"
        );
    }
    let json = server
        .json(&["wait", "slot/movies", "--for=converged"])
        .await;
    assert_eq!(json["target"], "slot/movies/main");
    assert_eq!(json["condition"], "converged");
    assert!(json["after_seconds"].is_f64());
}

#[tokio::test(flavor = "multi_thread")]
async fn patience_ends_with_a_code_of_its_own() {
    let server = Server::start(Fake {
        statuses: vec![status(3)],
        ..Fake::default()
    })
    .await;
    let ran = server
        .run(&[
            "wait",
            "slot/movies",
            "--for=version=3",
            "--timeout",
            "500ms",
        ])
        .await;
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(7), ""));
    assert_eq!(
        ran.stderr,
        "error: slot/movies/main: not version=3 after 0.5 s\n  \
           it is: generation 4 serves v2, 0 of 1 live scorers answer with 4 or later\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_is_waited_for_and_one_that_ends_otherwise_has_its_code() {
    let good = Server::start(releasing(&[
        RolloutPhase::Preparing,
        RolloutPhase::Progressing,
        RolloutPhase::Promoted,
    ]))
    .await;
    let waited = good
        .table(&["wait", "rollout/movies", "--for=phase=Promoted"])
        .await;
    assert_eq!(waited, "rollout/movies/main: promoted\n");

    let bad = Server::start(releasing(&[
        RolloutPhase::Progressing,
        RolloutPhase::Aborted,
    ]))
    .await;
    let ran = bad
        .run(&["wait", "rollout/movies", "--for=phase=promoted"])
        .await;
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(5), ""));
    assert_eq!(
        ran.stderr,
        "error: the rollout is not promoted any more: it is aborted: error-rate is too high\n\
         hint: `decant rollout status movies` shows what happened\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn scorers_are_counted() {
    let scorers = vec![Scorer::default(); 2];
    let server = Server::start(Fake {
        scorers,
        ..Fake::default()
    })
    .await;
    let waited = server.table(&["wait", "scorers", "--for=live=2"]).await;
    assert_eq!(waited, "scorers: 2 live\n");
    let ran = server
        .run(&["wait", "scorers", "--for=live=3", "--timeout", "500ms"])
        .await;
    assert_eq!(ran.code, Some(7));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_waited_for() {
    for (state, code) in [(JobState::Succeeded, 0), (JobState::Failed, 1)] {
        let job = |state: JobState| {
            News::Job(Job {
                id: "7".into(),
                state: state.into(),
                ..Job::default()
            })
        };
        let server = Server::start(Fake {
            news: vec![job(JobState::Running), job(state)],
            ..Fake::default()
        })
        .await;
        let ran = server.run(&["wait", "job/7", "--for=done"]).await;
        assert_eq!(ran.code, Some(code), "{}", ran.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_not_waited_for() {
    let refusal = Status::not_found("there is no model `movies`");
    let server = Server::start(Fake::refusing(refusal)).await;
    let ran = server
        .run(&["wait", "slot/movies", "--for=converged"])
        .await;
    assert_eq!(ran.code, Some(3), "{}", ran.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_is_away_is_waited_for_until_the_user_has_enough() {
    let server = Server::start(Fake::refusing(Status::unavailable("draining"))).await;
    let command = server.command(&["wait", "slot/movies", "--for=converged"]);
    let ran = interrupt_after(command, "draining; trying again").await;
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(130), ""));
}
