//! The programs as their users run them.

use std::process::Output;

use decant_tests::{Job, Standalone};
use serde_json::Value;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn stdout(output: &Output) -> String {
    assert!(
        output.status.success(),
        "{}\n{}",
        output.status,
        text(&output.stderr)
    );
    text(&output.stdout)
}

#[test]
fn process_the_commands_of_the_readme_work_and_a_kill_loses_nothing() {
    let data = tempfile::tempdir().unwrap();
    let standalone = Standalone::start(data.path());
    stdout(&standalone.decant(&["status"]));

    let job = data.path().join("job.toml");
    std::fs::write(&job, Job::quick()).unwrap();
    let watched = standalone.decant(&["train", "submit", job.to_str().unwrap(), "--watch"]);
    let report = stdout(&watched);
    for row in ["lr", "mlp", "d4", "d8", "student, distilled"] {
        assert!(report.contains(row), "{row}: {report}");
    }
    assert!(
        text(&watched.stderr).contains("epoch"),
        "progress while it works: {}",
        text(&watched.stderr)
    );

    stdout(&standalone.decant(&["slot", "set", "movielens", "1", "--reason", "test"]));
    let query = "user_id=\"13\",age=47,gender=M,occupation=educator";
    let recommend = [
        "-o",
        "json",
        "recommend",
        "movielens",
        "--query",
        query,
        "--top",
        "5",
        "--show",
        "title",
    ];
    let recommended = stdout(&standalone.decant(&recommend));
    let answer: Value = serde_json::from_str(&recommended).unwrap();
    assert_eq!(answer["items"].as_array().unwrap().len(), 5, "{answer}");
    let described = stdout(&standalone.decant(&["version", "describe", "movielens", "1"]));
    assert!(
        described.contains("model.onnx") && described.contains("mlp"),
        "{described}"
    );

    // Killed without a chance to tidy up, it comes back with the same answers.
    standalone.end("KILL");
    let standalone = Standalone::start(data.path());
    let waited = standalone.decant(&["slot", "set", "movielens", "1"]);
    stdout(&waited);
    let again: Value = serde_json::from_str(&stdout(&standalone.decant(&recommend))).unwrap();
    assert_eq!(again["items"], answer["items"]);

    let (status, log) = standalone.end("TERM");
    assert!(status.success(), "{status}: {log:#?}");
    let alarms: Vec<&String> = log
        .iter()
        .filter(|line| line.contains("\"level\":\"ERROR\""))
        .collect();
    assert!(alarms.is_empty(), "{alarms:#?}");
}
