use decant_proto::rollout::v1::{Rollout, ScorerStatus, Slot, SlotVersion};
use decant_proto::trainer::v1::{Job, Progress};

use super::*;
use crate::failure::Exit;

fn goal(text: &str, wanted: &str) -> Result<Goal, String> {
    Goal::new(target(text)?, condition(wanted)?)
}

#[test]
fn goals_are_read_and_written_alike() {
    for (text, wanted, full) in [
        ("slot/movies", "converged", "slot/movies/main"),
        ("slot/movies/eu", "generation=42", "slot/movies/eu"),
        ("slot/movies", "version=3", "slot/movies/main"),
        ("rollout/movies", "phase=promoted", "rollout/movies/main"),
        (
            "rollout/movies/eu",
            "phase=rolled-back",
            "rollout/movies/eu",
        ),
        ("scorers", "live=3", "scorers"),
        ("job/01J", "done", "job/01J"),
    ] {
        let goal = goal(text, wanted).unwrap();
        assert_eq!(
            (goal.target().as_str(), goal.condition().as_str()),
            (full, wanted)
        );
    }
    assert_eq!(phase("PROMOTED"), Ok(Phase(RolloutPhase::Promoted)));
    assert_eq!(phase("Rolled_Back"), Ok(Phase(RolloutPhase::RolledBack)));
    assert_eq!(condition("version=v3"), Ok(Condition::Version(3)));
}

#[test]
fn what_makes_no_sense_is_refused() {
    for text in [
        "",
        "slot",
        "slot/",
        "slot/No Name",
        "slot/movies/",
        "job/",
        "model/movies",
    ] {
        assert!(target(text).is_err(), "{text:?}");
    }
    for text in [
        "",
        "live",
        "live=0",
        "live=-1",
        "version=latest",
        "phase=",
        "phase=done",
        "generation=0",
        "converged=1",
        "state=x",
    ] {
        assert!(condition(text).is_err(), "{text:?}");
    }
    assert!(
        condition("phase=done")
            .unwrap_err()
            .ends_with("aborted, rolled-back, degraded")
    );
    for (text, wanted) in [
        ("scorers", "converged"),
        ("slot/movies", "phase=promoted"),
        ("rollout/movies", "done"),
        ("job/01J", "live=1"),
    ] {
        let refused = goal(text, wanted).unwrap_err();
        assert!(refused.contains(" waited for with --for="), "{refused}");
    }
}

fn status(generation: u64, version: u64, serving: &[u64]) -> SlotStatus {
    let slot = Slot {
        generation,
        active: vec![SlotVersion {
            version,
            weight_basis_points: 10_000,
            ..SlotVersion::default()
        }],
        ..Slot::default()
    };
    let scorer = |&serving: &u64| ScorerStatus {
        serving,
        ..ScorerStatus::default()
    };
    SlotStatus {
        slot: Some(slot),
        scorers: serving.iter().map(scorer).collect(),
        converged: serving.iter().all(|&serving| serving >= generation),
        ..SlotStatus::default()
    }
}

fn is_reached(sighting: &Sighting) -> bool {
    matches!(sighting, Sighting::Reached(_))
}

#[test]
fn a_slot_is_where_every_live_scorer_is() {
    let reached = |wanted: Wanted, status: &SlotStatus| is_reached(&wanted.look(status));
    assert!(reached(Wanted::Converged, &status(4, 2, &[4, 4])));
    assert!(!reached(Wanted::Converged, &status(4, 2, &[4, 3])));
    // A later generation is past the one that was waited for.
    assert!(reached(Wanted::Generation(3), &status(4, 2, &[4, 3])));
    assert!(!reached(Wanted::Generation(5), &status(4, 2, &[4, 4])));
    assert!(reached(Wanted::Version(2), &status(4, 2, &[4])));
    assert!(!reached(Wanted::Version(3), &status(4, 2, &[4])));
    assert!(!reached(Wanted::Version(2), &status(4, 2, &[3])));
    assert_eq!(
        Wanted::Converged.look(&status(4, 2, &[4, 3])),
        Sighting::NotYet(
            "generation 4 serves v2, 1 of 2 live scorers answer with 4 or later".to_owned()
        )
    );
}

#[test]
fn a_rollout_that_ended_otherwise_is_not_waited_for() {
    let look = |wanted: RolloutPhase, phase: RolloutPhase| {
        let rollout = Rollout {
            model: "movies".into(),
            phase: phase.into(),
            ..Rollout::default()
        };
        Phase(wanted).look(&RolloutStatus {
            rollout: Some(rollout),
            ..RolloutStatus::default()
        })
    };
    use RolloutPhase::{Aborted, Aborting, Degraded, Paused, Progressing, Promoted, RolledBack};
    assert!(is_reached(&look(Promoted, Promoted)));
    assert!(is_reached(&look(Paused, Paused)));
    for (wanted, phase) in [
        (Promoted, Progressing),
        (Promoted, Paused),
        (Aborted, Aborting),
    ] {
        assert!(
            matches!(look(wanted, phase), Sighting::NotYet(_)),
            "{phase:?}"
        );
    }
    for (wanted, phase) in [
        (Promoted, Aborted),
        (Promoted, Aborting),
        (Promoted, RolledBack),
        (Promoted, Degraded),
        (Aborted, Promoted),
    ] {
        let Sighting::Never(failure) = look(wanted, phase) else {
            panic!("{phase:?} is waited for");
        };
        assert_eq!(failure.exit(), Exit::GateFailed);
    }
}

#[test]
fn a_job_is_done_when_it_has_succeeded() {
    let look = |state: JobState| {
        let ended = Job {
            state: state.into(),
            ..Job::default()
        };
        job("7", &News::Job(ended))
    };
    assert!(is_reached(&look(JobState::Succeeded)));
    assert!(matches!(look(JobState::Running), Sighting::NotYet(_)));
    for state in [JobState::Failed, JobState::Cancelled] {
        let Sighting::Never(failure) = look(state) else {
            panic!("{state:?} is waited for");
        };
        assert_eq!(failure.exit(), Exit::Failed);
    }
    let news = News::Progress(Progress {
        stage: "push".into(),
        ..Progress::default()
    });
    assert_eq!(job("7", &news), Sighting::NotYet("push".to_owned()));
}

#[test]
fn scorers_are_counted() {
    let live = vec![Scorer::default(); 2];
    assert!(is_reached(&scorers(&live, 2)));
    assert_eq!(scorers(&live, 3), Sighting::NotYet("2 live".to_owned()));
}
