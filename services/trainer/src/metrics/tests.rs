use decant_chassis::telemetry::Telemetry;
use decant_model::Digest;
use prometheus::TextEncoder;

use super::*;
use crate::job::{Job, Progress, Quality};
use crate::jobs::Folder;
use crate::jobs::testing::SPEC;

fn quality(name: &str, role: &str, auc: f64) -> Quality {
    Quality {
        name: name.to_owned(),
        role: role.to_owned(),
        auc,
        logloss: 0.0,
        accuracy: 0.0,
        precision: 0.0,
        recall: 0.0,
        f1: 0.0,
        parameters: 0,
        bytes: 0,
        micros_1: 0.0,
        micros_500: 0.0,
    }
}

fn result() -> JobResult {
    JobResult {
        dataset: Digest::of(b"data"),
        dataset_report: String::new(),
        quality: vec![
            quality("lr", "baseline", 0.625),
            quality("mallory", "student, distilled", 0.75),
            quality("mallory-2", "student, distilled", 0.875),
            quality("mallory-3", "a role of a later release", 1.0),
        ],
        versions: Vec::new(),
    }
}

fn text(telemetry: &Telemetry) -> String {
    let families = telemetry.prometheus().gather();
    TextEncoder::new().encode_to_string(&families).unwrap()
}

#[tokio::test]
async fn jobs_are_told_of_from_the_queue_to_their_models() {
    let folder = tempfile::tempdir().unwrap();
    let (jobs, mut turns) = Jobs::open(Folder::create(folder.path()).unwrap(), 4).unwrap();
    let telemetry = Telemetry::none();
    let metrics = Metrics::new(&telemetry.meter());
    observe(&telemetry.meter(), &jobs);
    for _ in 0..3 {
        jobs.submit(&SPEC.replace("small", "mallory")).unwrap();
    }
    let done = turns.next().await.unwrap();
    metrics.stage("teachers", Duration::from_secs(2));
    done.end(Ok(result()));
    let failed = turns.next().await.unwrap();
    let told = text(&telemetry);
    let has = |text: &str, line: &str| {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    };
    for line in [
        r#"decant_trainer_jobs{state="queued"} 1"#,
        r#"decant_trainer_jobs{state="running"} 1"#,
        r#"decant_trainer_jobs_ended_total{outcome="succeeded"} 1"#,
        r#"decant_trainer_jobs_ended_total{outcome="failed"} 0"#,
        r#"decant_trainer_stage_duration_seconds_sum{stage="teachers"} 2"#,
        r#"decant_trainer_test_auc{model="movies",network="baseline"} 0.625"#,
        r#"decant_trainer_test_auc{model="movies",network="distilled"} 0.875"#,
    ] {
        has(&told, line);
    }
    assert!(told.contains(r#"decant_trainer_last_success_timestamp_seconds{model="movies"}"#));
    assert!(!told.contains("mallory"), "names from job files: {told}");
    failed.end(Err("it broke".to_owned()));
    let failures = r#"decant_trainer_jobs_ended_total{outcome="failed"} 1"#;
    has(&text(&telemetry), failures);

    drop((jobs, turns, done, failed));
    let told = text(&telemetry);
    assert!(!told.contains("decant_trainer_jobs"), "{told}");
}

#[test]
fn models_are_told_of_up_to_a_page() {
    let folder = tempfile::tempdir().unwrap();
    let files = Folder::create(folder.path()).unwrap();
    for number in 0..MODELS as u64 + 5 {
        let job = Job {
            id: format!("{number:04}"),
            spec_toml: String::new(),
            model: format!("model-{number}"),
            state: State::Succeeded { result: result() },
            created_at: number,
            started_at: Some(number),
            ended_at: Some(number),
            progress: Progress::default(),
            trace: None,
        };
        files.write(&job).unwrap();
    }
    let (jobs, _turns) = Jobs::open(files, 1).unwrap();
    let found = newest(&jobs);
    assert_eq!(found.len(), MODELS);
    assert!(!found.contains_key("model-4") && found.contains_key("model-5"));
}
