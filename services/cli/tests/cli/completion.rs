//! What a shell is told when it asks what may come next.

use std::fs;
use std::process::Command;

use decant_proto::registry::v1::{Model, Version};
use decant_proto::trainer::v1::Job;

use crate::fakes::Fake;
use crate::running::{Server, decant, run};

fn filled() -> Fake {
    let model = |name: &str| Model {
        name: name.into(),
        ..Model::default()
    };
    let version = |version| Version {
        model: "movies".into(),
        version,
        ..Version::default()
    };
    Fake {
        models: vec![model("movies"), model("books")],
        versions: vec![version(12), version(11)],
        jobs: vec![Job {
            id: "01job".into(),
            ..Job::default()
        }],
        ..Fake::default()
    }
}

/// Asks as bash does, for the last of these words.
async fn asked(mut command: Command, words: &[&str]) -> Vec<String> {
    command
        .arg("--")
        .arg("decant")
        .args(words)
        .env("COMPLETE", "bash")
        .env("_CLAP_COMPLETE_INDEX", words.len().to_string());
    let ran = run(command).await;
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    ran.stdout.lines().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_what_there_is_are_offered() {
    let server = Server::start(filled()).await;
    for (words, offered, not) in [
        (&["model", "describe", "mo"][..], "movies", "books"),
        (&["slot", "set", ""][..], "books", "12"),
        (&["slot", "set", "movies", "1"][..], "12", "movies"),
        (
            &["slot", "get", "movies", "--slot", ""][..],
            "main",
            "movies",
        ),
        (&["train", "watch", ""][..], "01job", "movies"),
        (&["wait", "slot/"][..], "slot/movies", "job/01job"),
        (&["sc"][..], "scorer", "slot"),
    ] {
        let names = asked(server.command(&[]), words).await;
        assert!(names.contains(&offered.to_owned()), "{words:?}: {names:?}");
        assert!(!names.contains(&not.to_owned()), "{words:?}: {names:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn contexts_are_offered_and_the_one_that_is_typed_is_asked() {
    let server = Server::start(filled()).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    let contexts = format!("[contexts.prod]\nregistry = \"{}\"\n", server.url());
    fs::write(&file, contexts).unwrap();
    let with_file = || {
        let mut command = decant(&[]);
        command.env("DECANT_CONFIG", &file);
        command
    };
    for words in [
        &["context", "use", ""][..],
        &["model", "list", "--context", "p"],
    ] {
        let names = asked(with_file(), words).await;
        assert!(names.contains(&"prod".to_owned()), "{words:?}: {names:?}");
    }
    let words = ["--context", "prod", "model", "describe", "b"];
    let names = asked(with_file(), &words).await;
    assert!(names.contains(&"books".to_owned()), "{names:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shell_is_not_kept_waiting_for_services_that_are_away() {
    let words = ["--registry", "http://127.0.0.1:1", "model", "describe", "m"];
    let names = asked(decant(&[]), &words).await;
    assert!(!names.contains(&"movies".to_owned()), "{names:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_shell_has_a_script() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ran = run(decant(&["completion", shell])).await;
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{shell}");
        assert!(ran.stdout.contains("COMPLETE"), "{shell}: {}", ran.stdout);
    }
}
