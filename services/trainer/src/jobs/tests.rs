use std::time::Duration;

use super::*;
use crate::jobs::testing::SPEC;

fn open(folder: &tempfile::TempDir, capacity: usize) -> (Jobs, Turns) {
    Jobs::open(Folder::create(folder.path()).unwrap(), capacity).unwrap()
}

fn result() -> JobResult {
    JobResult {
        dataset: decant_model::Digest::of(b"data"),
        dataset_report: "100 rows".to_owned(),
        quality: Vec::new(),
        versions: Vec::new(),
    }
}

#[tokio::test]
async fn a_job_is_queued_run_and_watched_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let (jobs, mut turns) = open(&folder, 4);
    let job = jobs.submit(SPEC).unwrap();
    assert_eq!(
        (job.state.clone(), job.model.as_str()),
        (State::Queued, "movies")
    );
    let (_, mut news) = jobs.watch(&job.id).unwrap();

    let turn = turns.next().await.unwrap();
    assert_eq!(jobs.get(&job.id).unwrap().state, State::Running);
    turn.report(Progress {
        stage: "dataset".to_owned(),
        ..Progress::default()
    });
    turn.end(Ok(result()));

    assert!(
        matches!(news.recv().await.unwrap(), News::Progress(progress) if progress.stage == "dataset")
    );
    assert!(matches!(news.recv().await.unwrap(), News::Ended));
    let ended = jobs.get(&job.id).unwrap();
    assert_eq!(ended.state, State::Succeeded { result: result() });
    assert!(ended.started_at.unwrap() <= ended.ended_at.unwrap());
}

#[tokio::test]
async fn the_queue_is_bounded_and_bad_files_never_enter_it() {
    let folder = tempfile::tempdir().unwrap();
    let (jobs, _turns) = open(&folder, 1);
    assert!(matches!(jobs.submit("model = 1"), Err(JobError::Spec(_))));
    jobs.submit(SPEC).unwrap();
    assert!(matches!(jobs.submit(SPEC), Err(JobError::QueueFull(1))));
    assert_eq!(jobs.list().len(), 1);
}

#[tokio::test]
async fn a_waiting_job_is_cancelled_at_once_and_a_running_one_when_it_notices() {
    let folder = tempfile::tempdir().unwrap();
    let (jobs, mut turns) = open(&folder, 4);
    let [running, waiting] = [(); 2].map(|()| jobs.submit(SPEC).unwrap().id);
    let turn = turns.next().await.unwrap();

    assert_eq!(jobs.cancel(&waiting).unwrap().state, State::Cancelled);
    assert_eq!(jobs.cancel(&running).unwrap().state, State::Running);
    assert!(turn.is_cancelled());
    turn.end(Err("stopped early".to_owned()));
    assert_eq!(jobs.get(&running).unwrap().state, State::Cancelled);
    assert!(matches!(jobs.cancel(&running), Err(JobError::Ended(_))));
    assert!(matches!(jobs.cancel("nonsense"), Err(JobError::Unknown(_))));

    // The cancelled one is passed over.
    let next = tokio::time::timeout(Duration::from_millis(50), turns.next()).await;
    assert!(next.is_err());
}

#[tokio::test]
async fn a_restart_keeps_every_job_queues_the_waiting_and_fails_the_interrupted() {
    let folder = tempfile::tempdir().unwrap();
    let (interrupted, waiting) = {
        let (jobs, mut turns) = open(&folder, 4);
        let [interrupted, waiting] = [(); 2].map(|()| jobs.submit(SPEC).unwrap().id);
        let _turn = turns.next().await.unwrap();
        (interrupted, waiting)
    };
    let (jobs, mut turns) = open(&folder, 1);
    let State::Failed { error } = jobs.get(&interrupted).unwrap().state else {
        panic!("it cannot go on")
    };
    assert!(error.contains("stopped while the job was running"));
    assert_eq!(turns.next().await.unwrap().id, waiting);
    assert_eq!(jobs.list().len(), 2);
}

#[test]
fn a_job_file_that_cannot_be_read_is_named_and_not_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("broken.json"), "{").unwrap();
    let error = Jobs::open(Folder::create(folder.path()).unwrap(), 1)
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("broken.json"), "{error}");
}

#[test]
fn job_files_stay_readable_with_and_without_a_trace() {
    let folder = tempfile::tempdir().unwrap();
    let before = r#"{"id":"01a","spec_toml":"","model":"movies","state":{"state":"cancelled"},"created_at":1,
        "started_at":null,"ended_at":2,"progress":{"stage":"queued","message":"","epoch":0,"epochs":0,"loss":0.0,
        "validation_auc":0.0,"step_seconds_left":0.0,"fraction_done":0.0,"at":1}}"#;
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let traced = before
        .replace("01a", "01b")
        .replace(r#""model""#, &format!(r#""trace":"{trace}","model""#));
    for (name, stored) in [("01a", before), ("01b", traced.as_str())] {
        std::fs::write(folder.path().join(format!("{name}.json")), stored).unwrap();
    }
    let (jobs, _turns) = open(&folder, 1);
    assert_eq!(jobs.get("01a").unwrap().trace, None);
    assert_eq!(jobs.get("01b").unwrap().trace.as_deref(), Some(trace));
    let written = serde_json::to_string(&jobs.get("01a").unwrap()).unwrap();
    assert!(!written.contains("trace"), "{written}");
}
