//! The programs as their users run them.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Output;
use std::time::Duration;

use decant_tests::{Job, Operated, Standalone, Tiny, eventually};
use serde_json::Value;
use tokio::time::sleep;

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

/// The kind of the frame by which a server ends a connection (RFC 9113, section 6.8).
const GOAWAY: u8 = 7;

#[tokio::test]
async fn process_a_scorer_looks_at_the_network_and_ends_old_connections_as_it_is_told() {
    let data = tempfile::tempdir().unwrap();
    let variables = [
        ("DECANT_SCORER__BUSY_POLL_MICROS", "2000000"),
        ("DECANT_SCORER__MAX_CONNECTION_AGE_SECONDS", "1"),
    ];
    let standalone = Standalone::start_on_core(0, data.path(), &variables);
    standalone.create_model().await;
    // It is loaded by a thread of low priority, on the one core.
    standalone.serve(&Tiny::wide(1)).await;
    let niceness = |thread| standalone.process().niceness(thread);
    assert_eq!(niceness("scorer loader"), [19]);
    assert_eq!(niceness("scorer reaper"), [19]);
    assert!(niceness("tokio-rt-worker").contains(&0));

    let mut client = TcpStream::connect(standalone.scorer_addresses()[0]).unwrap();
    let patience = Some(Duration::from_secs(20));
    client.set_read_timeout(patience).unwrap();
    let before = standalone.process().cpu_time();
    client
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .unwrap();
    let mut head = [0; 9];
    while head[3] != GOAWAY {
        client.read_exact(&mut head).unwrap();
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        client.read_exact(&mut vec![0; length as usize]).unwrap();
    }
    drop(client);
    let since = |before| standalone.process().cpu_time() - before;
    eventually("it looks", async || {
        let took = since(before);
        (took > Duration::from_millis(400))
            .then_some(())
            .ok_or(took)
    })
    .await;
    eventually("it sleeps", async || {
        let before = standalone.process().cpu_time();
        sleep(Duration::from_millis(200)).await;
        let took = since(before);
        (took < Duration::from_millis(50)).then_some(()).ok_or(took)
    })
    .await;
    let (status, log) = standalone.end("TERM");
    assert!(status.success(), "{status}: {log:#?}");
}
