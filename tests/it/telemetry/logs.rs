//! Logs, whose level is changed while processes run.

use std::process::Output;

use decant_tests::{Deployment, Operated, Shape, Tiny, eventually};

const SHAPE: Shape = Shape {
    etcd: 1,
    registries: 1,
    scorers: 1,
};

fn log_level(cluster: &Deployment, filter: &[&str]) -> Output {
    let scorer = [("scorer", cluster.scorers[0].address())];
    let arguments = [&["admin", "log-level", "scorer"][..], filter].concat();
    cluster.decant_with(&scorer, &arguments)
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// How many lines of a scorer's log are for debugging.
fn debugging(cluster: &Deployment) -> usize {
    let log = cluster.scorers[0].log();
    log.iter().filter(|line| is_for_debugging(line)).count()
}

fn is_for_debugging(line: &str) -> bool {
    line.contains("\"level\":\"DEBUG\"")
}

#[tokio::test(flavor = "multi_thread")]
async fn process_the_log_level_is_changed_while_a_scorer_runs() {
    let mut cluster = Deployment::start(SHAPE).await;
    cluster.serve(&Tiny::new(0.25)).await;
    assert_eq!(debugging(&cluster), 0);
    assert!(stdout(&log_level(&cluster, &[])).contains("info"));

    let told = stdout(&log_level(&cluster, &["debug"]));
    assert!(told.contains("debug") && told.contains("info"), "{told}");
    eventually("the scorer tells more", || async {
        // Each call is something to tell of.
        let told = stdout(&log_level(&cluster, &[]));
        assert!(told.contains("debug"), "{told}");
        (debugging(&cluster) > 0).then_some(()).ok_or("nothing")
    })
    .await;

    // What makes no sense changes nothing.
    let refused = log_level(&cluster, &["decant_scorer=loud"]);
    assert!(!refused.status.success(), "{refused:?}");
    assert!(stdout(&log_level(&cluster, &[])).contains("debug"));

    stdout(&log_level(&cluster, &["info"]));
    cluster.serve(&Tiny::new(-0.5)).await;
    let (status, log) = cluster.scorers.remove(0).end("TERM");
    assert!(status.success(), "{status}");
    let last = log.iter().rposition(|line| is_for_debugging(line));
    let after = &log[last.unwrap()..];
    assert!(
        after.iter().any(|line| line.contains("in service")),
        "after that, only what is worth knowing: {after:#?}"
    );
}
