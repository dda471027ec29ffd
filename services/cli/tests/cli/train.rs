//! `decant train`.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Stdio};

use decant_proto::trainer::v1::watch_job_response::News;
use decant_proto::trainer::v1::{Job, JobResult, JobState, Progress, PushedVersion, QualityRow};
use serde_json::json;

use crate::fakes::{Fake, noon};
use crate::running::{Server, text};

fn job(id: &str, state: JobState) -> Job {
    Job {
        id: id.into(),
        model: "movies".into(),
        state: state.into(),
        create_time: noon(0),
        ..Job::default()
    }
}

fn epoch(stage: &str, epoch: u32, fraction_done: f64) -> Progress {
    Progress {
        stage: stage.into(),
        epoch,
        epochs: 20,
        loss: 0.6 - 0.01 * f64::from(epoch),
        validation_auc: 0.7 + 0.01 * f64::from(epoch),
        step_seconds_left: 42.0,
        fraction_done,
        ..Progress::default()
    }
}

fn quality(name: &str, role: &str, auc: f64, parameters: u64) -> QualityRow {
    QualityRow {
        name: name.into(),
        role: role.into(),
        auc,
        logloss: 0.5432,
        accuracy: 0.7312,
        precision: 0.74,
        recall: 0.7991,
        f1: 0.7684,
        parameters,
        bytes: parameters * 4,
        micros_1: 12.34,
        micros_500: 456.7,
    }
}

fn succeeded() -> Job {
    let digest = |pair: &str| format!("sha256:{}", pair.repeat(32));
    let version = |student: &str, version, approved| PushedVersion {
        student: student.into(),
        model: "movies".into(),
        version,
        digest: digest("cd"),
        approved,
    };
    Job {
        start_time: noon(1),
        end_time: noon(186),
        result: Some(JobResult {
            dataset_digest: digest("ab"),
            dataset_report: "100000 rows read\n  12 duplicates dropped".into(),
            quality: vec![
                quality("lr", "baseline", 0.7712, 2625),
                quality("deepfm", "teacher", 0.8023, 1_234_567),
                quality("d8", "student, distilled", 0.8012, 60_123),
            ],
            versions: vec![version("labels", 1, false), version("d8", 2, true)],
        }),
        ..job("01JOB", JobState::Succeeded)
    }
}

const SUCCEEDED: &str = "\
job        01JOB
model      movies
state      SUCCEEDED
submitted  2026-05-01 12:00:00
started    2026-05-01 12:00:01
ended      2026-05-01 12:03:06
took       3 min 05 s

dataset abababababab
100000 rows read
  12 duplicates dropped

NAME    ROLE                   AUC  LOGLOSS     ACC    PREC  RECALL      F1  PARAMS     SIZE  µs/1  µs/500
lr      baseline            0.7712   0.5432  0.7312  0.7400  0.7991  0.7684  2.62 k  10.5 kB  12.3     457
deepfm  teacher             0.8023   0.5432  0.7312  0.7400  0.7991  0.7684  1.23 M  4.94 MB  12.3     457
d8      student, distilled  0.8012   0.5432  0.7312  0.7400  0.7991  0.7684  60.1 k   240 kB  12.3     457

STUDENT  MODEL   VERSION  DIGEST        STATE
labels   movies  v1       cdcdcdcdcdcd  REJECTED
d8       movies  v2       cdcdcdcdcdcd  APPROVED
";

#[tokio::test(flavor = "multi_thread")]
async fn submit_and_watch_shows_progress_and_then_what_came_of_it() {
    let news = vec![
        News::Job(job("01JOB", JobState::Queued)),
        News::Progress(Progress {
            stage: "dataset".into(),
            message: "12 duplicates".into(),
            ..Progress::default()
        }),
        News::Progress(epoch("teacher deepfm", 1, 0.1)),
        News::Progress(epoch("teacher deepfm", 1, 0.1)),
        News::Progress(epoch("teacher deepfm", 2, 0.125)),
        News::Job(succeeded()),
    ];
    let server = Server::start(Fake {
        jobs: vec![job("01JOB", JobState::Queued)],
        news,
        ..Fake::default()
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("job.toml");
    std::fs::write(&file, "model = \"movies\"\n").unwrap();

    let ran = server
        .run(&["train", "submit", text(&file), "--watch"])
        .await;
    assert_eq!(ran.stdout, SUCCEEDED);
    assert_eq!(
        ran.stderr,
        "submitted job 01JOB for model movies\n  \
           0 %  dataset                       12 duplicates\n \
          10 %  teacher deepfm                epoch  1/20  loss 0.5900  val auc 0.7100  42 s left\n \
          12 %  teacher deepfm                epoch  2/20  loss 0.5800  val auc 0.7200  42 s left\n\
         \n`decant slot set movies 2` puts it into service\n"
    );
    assert_eq!(ran.code, Some(0));
    let asked = server.fake.asked.lock().unwrap();
    assert_eq!(
        asked.submit_job.as_ref().unwrap().spec_toml,
        "model = \"movies\"\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_as_json_is_complete() {
    let server = Server::start(Fake {
        jobs: vec![succeeded()],
        ..Fake::default()
    })
    .await;
    let job = server.json(&["train", "show", "01JOB"]).await;
    assert_eq!(job["id"], "01JOB");
    assert_eq!(job["state"], "SUCCEEDED");
    assert_eq!(job["create_time"], "2026-05-01T12:00:00Z");
    assert_eq!(job["progress"], json!(null));
    assert_eq!(
        job["result"]["dataset_digest"],
        format!("sha256:{}", "ab".repeat(32))
    );
    assert_eq!(
        job["result"]["quality"][1],
        json!({
            "name": "deepfm", "role": "teacher", "auc": 0.8023, "logloss": 0.5432, "accuracy": 0.7312, "precision": 0.74,
            "recall": 0.7991, "f1": 0.7684, "parameters": 1_234_567, "bytes": 4_938_268, "micros_1": 12.34, "micros_500": 456.7,
        })
    );
    assert_eq!(job["result"]["versions"][1]["approved"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_fails_or_is_cancelled_fails_the_watching() {
    let failed = Job {
        error: "no teacher learnt".into(),
        ..job("01JOB", JobState::Failed)
    };
    for (ended, error) in [
        (failed, "error: job 01JOB failed: no teacher learnt\n"),
        (
            job("01JOB", JobState::Cancelled),
            "error: job 01JOB was cancelled\n",
        ),
    ] {
        let server = Server::start(Fake {
            news: vec![News::Job(ended)],
            ..Fake::default()
        })
        .await;
        let ran = server.run(&["train", "watch", "01JOB"]).await;
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(1), error));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_ends_early_is_told_apart_from_a_job_that_ended() {
    let server = Server::start(Fake {
        news: vec![News::Job(job("7", JobState::Running))],
        ..Fake::default()
    })
    .await;
    let ran = server.run(&["train", "watch", "7"]).await;
    assert_eq!(
        ran.stderr,
        "error: the trainer stopped telling before the job had ended\n\
         hint: the job may go on; `decant train watch 7` watches it again\n"
    );
    assert_eq!(ran.code, Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_stops_the_watching_and_not_the_job() {
    let news = vec![News::Progress(epoch("student d8", 1, 0.5))];
    let server = Server::start(Fake {
        news,
        hangs: true,
        ..Fake::default()
    })
    .await;
    let mut command = server.command(&["train", "watch", "01JOB"]);
    let (code, stderr) = tokio::task::spawn_blocking(move || {
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        // Once a line has come, the command listens to signals.
        let mut text = String::new();
        stderr.read_line(&mut text).unwrap();
        let kill = Command::new("sh")
            .args(["-c", &format!("kill -INT {}", child.id())])
            .status()
            .unwrap();
        assert!(kill.success());
        stderr.read_to_string(&mut text).unwrap();
        (child.wait().unwrap().code(), text)
    })
    .await
    .unwrap();
    assert_eq!(code, Some(130));
    assert_eq!(
        stderr.lines().last().unwrap(),
        "stopped watching; job 01JOB goes on. `decant train watch 01JOB` watches it again, \
         `decant train cancel 01JOB` stops it"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_are_listed() {
    let running = Job {
        start_time: noon(1),
        progress: Some(epoch("teacher mlp", 3, 0.35)),
        ..job("02", JobState::Running)
    };
    let server = Server::start(Fake {
        jobs: vec![running, succeeded()],
        ..Fake::default()
    })
    .await;
    let expected = "\
ID     MODEL   STATE      DONE  STAGE        SUBMITTED (UTC)            TOOK
02     movies  RUNNING    35 %  teacher mlp  2026-05-01 12:00:00           -
01JOB  movies  SUCCEEDED     -  -            2026-05-01 12:00:00  3 min 05 s
";
    assert_eq!(server.table(&["train", "list"]).await, expected);
    assert_eq!(
        server.json(&["train", "list"]).await[0]["progress"]["stage"],
        "teacher mlp"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_cancelled() {
    let server = Server::start(Fake {
        jobs: vec![job("01", JobState::Cancelled)],
        ..Fake::default()
    })
    .await;
    let expected =
        "job        01\nmodel      movies\nstate      CANCELLED\nsubmitted  2026-05-01 12:00:00\n";
    assert_eq!(server.table(&["train", "cancel", "01"]).await, expected);
}
