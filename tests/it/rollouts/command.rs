//! Rollouts by the command line alone, as scripts use it: no terminal, and exit codes that say what happened.

use std::process::Output;

use decant_tests::{Deployment, Operated, Recorder, Shape, Tiny};

use super::OFTEN;

/// Runs `decant`, which is to end with this code, and returns what it printed: results, and talk.
fn ends(cluster: &Deployment, code: i32, arguments: &[&str]) -> (String, String) {
    let output: Output = cluster.decant(arguments);
    assert_eq!(
        output.status.code(),
        Some(code),
        "{arguments:?}: {output:?}"
    );
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (results, talk) = (text(&output.stdout), text(&output.stderr));
    for printed in [&results, &talk] {
        assert!(
            !printed.contains('\u{1b}'),
            "paint for no terminal: {printed}"
        );
    }
    (results, talk)
}

fn says(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "`{word}` is not in: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn process_a_script_releases_a_version_and_knows_by_the_exit_code_what_came_of_it() {
    let cluster = Deployment::start(Shape {
        etcd: 1,
        registries: 2,
        scorers: 2,
    })
    .await;
    let versions = [Tiny::new(0.25), Tiny::new(0.26), Tiny::new(0.27)];
    cluster.serve(&versions[0]).await;
    for tiny in &versions[1..] {
        cluster.push(0, tiny).await.unwrap();
    }
    let other_features = Tiny::wide(1);
    let unfit = cluster.push(0, &other_features).await.unwrap().version;
    let clients = Recorder::start(cluster.scorer_addresses(), OFTEN);
    let run = |code: i32, arguments: &[&str]| ends(&cluster, code, arguments);

    // 0: released, with a line for each change.
    let steps = ["--steps", "20%,analysis 60s,50%,analysis 60s"];
    let gates = ["--gate", "requests>=30", "--gate", "error-rate<=0.5"];
    let start = [
        "--timeout",
        "60s",
        "rollout",
        "start",
        "films",
        "2",
        "--wait",
    ];
    let (results, _) = run(0, &[&start[..], &steps, &gates].concat());
    let lines: Vec<&str> = results.lines().collect();
    assert!(lines.len() > 1, "{results}");
    says(lines[lines.len() - 1], &["PROMOTED"]);
    let (results, _) = run(0, &["rollout", "status", "films"]);
    says(&results, &["films/main", "PROMOTED", "error-rate"]);
    run(0, &["rollout", "status", "films", "--watch"]);

    // 2: dangerous, and nobody there to ask.
    let file = cluster.folder().join("plan.toml");
    std::fs::write(&file, "steps = [\"20%\", \"pause\"]\ngates = []\n").unwrap();
    let file = file.to_str().unwrap();
    let start = ["rollout", "start", "films", "3", "--plan-file", file];
    let (_, talk) = run(2, &start);
    says(&talk, &["--yes"]);
    run(0, &[&start[..], &["--yes"]].concat());
    cluster
        .converged_with(0, "the canary is in service", |slot| {
            super::canary_weight(slot) == Some(2_000)
        })
        .await;
    let (_, talk) = run(2, &["rollout", "promote", "films", "--full"]);
    says(&talk, &["--yes"]);

    // 3: not there.
    run(3, &["rollout", "status", "nobody"]);
    run(3, &["rollout", "status", "films", "--slot", "nowhere"]);

    // 6: another one was faster.
    let late = ["rollout", "promote", "films", "--expect-generation", "1"];
    let (_, talk) = run(6, &late);
    let now = cluster.status(0).await.unwrap().slot.unwrap().generation;
    says(&talk, &["not 1", &format!("generation {now}")]);

    // 5: it came to nothing, or must not begin.
    run(
        0,
        &["rollout", "abort", "films", "--reason", "the wrong day"],
    );
    let (_, talk) = run(5, &["rollout", "status", "films", "--watch"]);
    says(&talk, &["the wrong day"]);
    let unfit = unfit.to_string();
    let (_, talk) = run(
        5,
        &[
            "rollout", "start", "films", &unfit, "--steps", "20%", "--yes",
        ],
    );
    says(&talk, &["features"]);

    // A slot that is kept as it is, and the way back.
    let freeze = ["slot", "freeze", "films", "--reason", "the big day"];
    run(0, &freeze);
    let refused = cluster.decant(&["slot", "set", "films", "3", "--no-wait"]);
    assert!(!refused.status.success(), "{refused:?}");
    says(&String::from_utf8_lossy(&refused.stderr), &["the big day"]);
    run(0, &["rollback", "films", "--to", "1", "--wait"]);
    cluster.converged(0, 1, 2).await;
    run(0, &["slot", "unfreeze", "films", "--reason", "it is over"]);

    let history = clients.stop().await;
    history.check_no_drop();
    history.check_against(&cluster.intended(0).await);
    history.check_exact(&versions);
}
