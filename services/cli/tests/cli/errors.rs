//! What every command does when something is wrong, and how it prints.

use std::process::Stdio;
use std::time::Duration;

use decant_proto::status;
use tonic::Status;

use crate::fakes::Fake;
use crate::running::{Server, decant, run};

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_not_there_has_its_own_exit_code_and_a_hint() {
    let ran = run(decant(&[
        "train",
        "list",
        "--trainer",
        "http://127.0.0.1:1",
    ]))
    .await;
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(8), ""));
    assert_eq!(
        ran.stderr,
        "error: the trainer at http://127.0.0.1:1 cannot be reached: Connection refused (os error 111) (UNAVAILABLE)\n\
         hint: is it running? `make up` starts all of Decant on this machine; --trainer or DECANT_TRAINER names another \
         address\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_does_not_answer_is_given_up() {
    // A listener that nobody accepts from: the connection is made, and then nothing comes.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("http://{}", listener.local_addr().unwrap());
    // A server that takes the request, and knows the deadline.
    let server = Server::start(Fake {
        hangs: true,
        ..Fake::default()
    })
    .await;
    for address in [silent, server.url()] {
        let arguments = [
            "model",
            "describe",
            "movies",
            "--registry",
            &address,
            "--timeout",
            "300ms",
        ];
        let ran = run(decant(&arguments)).await;
        let error = format!(
            "error: the registry at {address} did not answer within 0.3 s (DEADLINE_EXCEEDED)\n\
             hint: a change that was asked for may still be made; --timeout waits longer\n"
        );
        assert_eq!((ran.code, ran.stderr), (Some(7), error));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn violations_stand_one_a_line() {
    let violations =
        ["age", "genres"].map(|column| (column.to_owned(), "the column is missing".to_owned()));
    let server = Server::start(Fake::refusing(status::bad_request(violations))).await;
    let ran = server.run(&["score", "movies", "--row", "user_id=1"]).await;
    assert_eq!(
        ran.stderr,
        "error: the request is wrong in several places (INVALID_ARGUMENT)\n  \
           age: the column is missing\n  \
           genres: the column is missing\n"
    );
    assert_eq!(ran.code, Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_of_services_keep_their_words_and_codes() {
    for (code, refusal, error) in [
        (
            3,
            Status::not_found("there is no model `movies`"),
            "error: there is no model `movies` (NOT_FOUND)\n",
        ),
        (
            1,
            Status::internal("two\nlines \u{1b}[2J"),
            "error: two lines  [2J (INTERNAL)\n",
        ),
        (
            8,
            Status::unavailable("no version is ready"),
            "error: no version is ready (UNAVAILABLE)\n",
        ),
        (
            4,
            Status::unauthenticated("a credential is needed"),
            "error: a credential is needed (UNAUTHENTICATED)\nhint: --token-file or DECANT_TOKEN says who you are, or \
             --certificate with --key; `decant context set` keeps them\n",
        ),
        (
            4,
            Status::permission_denied("ada may not read models"),
            "error: ada may not read models (PERMISSION_DENIED)\n",
        ),
        (
            6,
            status::Reason::OtherGeneration.status("slot movies/main is at generation 5, not 3"),
            "error: slot movies/main is at generation 5, not 3 (FAILED_PRECONDITION)\n",
        ),
        (
            6,
            Status::already_exists("model `movies` exists already with other gates"),
            "error: model `movies` exists already with other gates (ALREADY_EXISTS)\n",
        ),
        (
            8,
            status::busy("the queue is full", Duration::from_millis(500)),
            "error: the queue is full (RESOURCE_EXHAUSTED)\nhint: try again in 0.5 s\n",
        ),
    ] {
        let server = Server::start(Fake::refusing(refusal)).await;
        let ran = server
            .run(&["model", "describe", "movies", "-o", "json"])
            .await;
        assert_eq!(
            (ran.code, ran.stdout.as_str(), ran.stderr.as_str()),
            (Some(code), "", error)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_without_what_it_promises_is_no_panic() {
    let server = Server::start(Fake::default()).await;
    let ran = server.run(&["train", "show", "7"]).await;
    assert_eq!(
        (ran.code, ran.stderr.as_str()),
        (Some(1), "error: the trainer's answer holds no job\n")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_usage_exits_2() {
    for arguments in [
        &["frobnicate"][..],
        &["model", "describe", "No-Such-Name"],
        &["model", "create", "movies", "--gate", "auc>0.7"],
        &["version", "describe", "movies", "0"],
        &["slot", "set", "movies", "1", "--timeout", "0s"],
        &["slot", "set", "movies", "1", "--min-ready", "101"],
        &["slot", "set", "movies", "1", "--request-id", ""],
        &["slot", "history", "movies", "--at", "yesterday"],
        &["model", "update", "movies"],
        &[
            "model",
            "update",
            "movies",
            "--no-gates",
            "--gate",
            "auc>=0.7",
        ],
        &["model", "create", "movies", "--signer", "ed25519:12"],
        &["version", "retire", "movies", "latest"],
        &["version", "list", "movies", "--limit", "0"],
        &["admin", "adopt"],
        &["access", "add", "ci", "--token"],
        &["access", "add", "ci", "--role", "viewer"],
        &["access", "add", "ci", "--role", "emperor", "--token"],
        &["access", "add", "CI", "--role", "viewer", "--token"],
        &[
            "access", "add", "ci", "--role", "viewer", "--token", "-o", "name",
        ],
        &[
            "access",
            "add",
            "ci",
            "--role",
            "viewer",
            "--token",
            "--expires",
            "0d",
        ],
        &["status", "-o", "name", "--registry", "http://127.0.0.1:1,"],
        &["score", "movies"],
        &["recommend", "movies", "--query", "a=1", "--top", "0"],
        &["status", "--trainer", "ftp://elsewhere"],
        &["status", "-o", "xml"],
        &["status", "--color", "sometimes"],
        &["context", "set", "prod", "registri=http://10.0.0.1:7420"],
        &["context", "use", "no such"],
        &["wait", "slot/movies"],
        &["wait", "slot/movies", "--for=done"],
        &["wait", "movies", "--for=converged"],
        &["completion", "tcsh"],
        &[],
    ] {
        let ran = run(decant(arguments)).await;
        assert_eq!(
            (ran.code, ran.stdout.as_str()),
            (Some(2), ""),
            "{arguments:?}: {}",
            ran.stderr
        );
        assert!(!ran.stderr.is_empty(), "{arguments:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn help_and_version_go_to_standard_output() {
    let help = run(decant(&["--help"])).await;
    assert_eq!((help.code, help.stderr.as_str()), (Some(0), ""));
    for word in [
        "train",
        "model",
        "version",
        "slot",
        "score",
        "rank",
        "recommend",
        "scorer",
        "status",
        "audit",
        "access",
        "key",
        "admin",
        "wait",
        "doctor",
        "context",
        "completion",
        "DECANT_TRAINER",
        "Exit codes:",
    ] {
        assert!(help.stdout.contains(word), "{word}");
    }
    assert_eq!(
        run(decant(&["--version"])).await.stdout,
        format!("decant {}\n", env!("CARGO_PKG_VERSION"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_has_gone_is_no_failure() {
    let server = Server::start(Fake::default()).await;
    let mut command = server.command(&["model", "list", "-o", "json"]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let status = tokio::task::spawn_blocking(move || {
        let child = command
            .stdout(writer)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.wait_with_output().unwrap()
    })
    .await
    .unwrap();
    assert_eq!(
        (status.status.code(), status.stderr.as_slice()),
        (Some(0), &b""[..])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_environment_names_the_services_and_flags_win() {
    let server = Server::start(Fake::default()).await;
    let mut command = decant(&["model", "list", "--registry", &server.url()]);
    command.env("DECANT_REGISTRY", "http://127.0.0.1:1");
    assert_eq!(run(command).await.code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exit_codes_are_golden() {
    let help = run(decant(&["--help"])).await;
    let (_, codes) = help.stdout.split_once("Exit codes:\n").unwrap();
    let numbers: Vec<&str> = codes
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|word| word.parse::<u8>().is_ok())
        .collect();
    assert_eq!(
        numbers,
        ["0", "1", "2", "3", "4", "5", "6", "7", "8", "130"]
    );
}
