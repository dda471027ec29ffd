//! `decant access`, and what says who the user is.

use std::fs;

use decant_model::Digest;
use decant_proto::access::v1::who_am_i_response::KnownBy;
use decant_proto::access::v1::{Principal, Role, WhoAmIResponse};
use prost_types::Timestamp;
use serde_json::json;

use crate::fakes::{Fake, noon};
use crate::running::{Server, run, text};

fn ci() -> Principal {
    Principal {
        name: "ci".into(),
        role: Role::Publisher.into(),
        models: vec!["books".into(), "films".into()],
        token_digest: Digest::of(b"secret").to_string(),
        identities: vec!["spiffe://decant/ci".into()],
        expire_time: Some(Timestamp {
            seconds: 1_000_000_000,
            nanos: 0,
        }),
        create_time: noon(-60),
        issued_by: "ops (for ada)".into(),
    }
}

fn trainer() -> Principal {
    Principal {
        name: "trainer".into(),
        role: Role::Admin.into(),
        identities: vec!["cn:The Trainer".into()],
        create_time: noon(0),
        issued_by: "ops".into(),
        ..Principal::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_is_added_and_their_token_is_shown_once() {
    let server = Server::start(Fake::default()).await;
    let ran = server
        .run(&[
            "access",
            "add",
            "ci",
            "--role",
            "publisher",
            "--model",
            "films",
            "--model",
            "books",
            "--token",
            "--reason",
            "nightly",
            "--request-id",
            "one",
        ])
        .await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    let (facts, token) = ran.stdout.trim_end().rsplit_once("  ").unwrap();
    let expected = "\
added    ci
role     publisher
models   films, books
expires  never
token";
    assert_eq!(facts.trim_end(), expected);
    assert!(token.starts_with("dct_") && token.len() == 47, "{token}");
    assert_eq!(
        ran.stderr,
        "keep the token now: nobody can show it again\n`decant access remove ci` undoes it\n"
    );
    let asked = server.fake.asked.lock().unwrap().add_principal.clone();
    let asked = asked.unwrap();
    assert_eq!(asked.token_digest, Digest::of(token.as_bytes()).to_string());
    assert_eq!(asked.role(), Role::Publisher);
    assert_eq!(
        (&*asked.issued_by, &*asked.reason, &*asked.request_id),
        ("ada", "nightly", "one")
    );
    assert!(!asked.dry_run && asked.expire_time.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_with_a_certificate_needs_no_token() {
    let server = Server::start(Fake::default()).await;
    let add = [
        "access",
        "add",
        "trainer",
        "--role",
        "admin",
        "--identity",
        "spiffe://decant/trainer",
    ];
    let expected = "\
added       trainer
role        admin
models      all
identities  spiffe://decant/trainer
expires     never
";
    assert_eq!(server.table(&add).await, expected);
    let json = server.json(&add).await;
    assert_eq!(json["token"], json!(null));
    assert_eq!(json["principal"]["role"], "admin");
    let name = [&add[..], &["-o", "name"]].concat();
    assert_eq!(server.table(&name).await, "trainer\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_shows_no_token_and_adds_nobody() {
    let server = Server::start(Fake::default()).await;
    let add = [
        "access",
        "add",
        "ci",
        "--role",
        "viewer",
        "--token",
        "--expires",
        "90d",
        "--dry-run",
    ];
    let ran = server.run(&add).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(ran.stdout.starts_with("would add  ci\n"), "{}", ran.stdout);
    assert!(!ran.stdout.contains("dct_"), "{}", ran.stdout);
    assert_eq!(ran.stderr, "nobody was added\n");
    let asked = server.fake.asked.lock().unwrap().add_principal.clone();
    let asked = asked.unwrap();
    assert!(asked.dry_run && !asked.token_digest.is_empty());
    let end = asked.expire_time.unwrap().seconds;
    let now = Timestamp::from(std::time::SystemTime::now()).seconds;
    let days = (end - now) / 86_400;
    assert!((89..=90).contains(&days), "{days}");
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_is_listed() {
    let server = Server::start(Fake {
        principals: vec![ci(), trainer()],
        ..Fake::default()
    })
    .await;
    let expected = "\
NAME     ROLE       MODELS        KNOWN BY                   EXPIRES (UTC)
ci       publisher  books, films  token, spiffe://decant/ci  2001-09-09 01:46:40 (over)
trainer  admin      all           cn:The Trainer             never
";
    assert_eq!(server.table(&["access", "list"]).await, expected);
    let listed = server.json(&["access", "list"]).await;
    assert_eq!(
        listed[1],
        json!({
            "name": "trainer",
            "role": "admin",
            "models": [],
            "token_digest": "",
            "identities": ["cn:The Trainer"],
            "expire_time": null,
            "create_time": "2026-05-01T12:00:00Z",
            "issued_by": "ops",
        })
    );
    let names = server.table(&["access", "list", "-o", "name"]).await;
    assert_eq!(names, "ci\ntrainer\n");
    let wide = server.table(&["access", "list", "-o", "wide"]).await;
    assert!(wide.contains(&ci().token_digest), "{wide}");

    let empty = Server::start(Fake::default()).await;
    let ran = empty.run(&["access", "list"]).await;
    assert!(
        ran.stderr.contains("`decant access add NAME"),
        "{}",
        ran.stderr
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_is_removed_and_the_way_back_is_named() {
    let server = Server::start(Fake {
        principals: vec![ci(), trainer()],
        ..Fake::default()
    })
    .await;
    for (name, undo) in [
        (
            "ci",
            "`decant access add ci --role publisher --model books --model films --identity spiffe://decant/ci --token` undoes \
             it, with a new token\n",
        ),
        (
            "trainer",
            "`decant access add trainer --role admin --identity 'cn:The Trainer'` undoes it\n",
        ),
    ] {
        let remove = ["access", "remove", name, "--reason", "left"];
        let ran = server.run(&remove).await;
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        assert_eq!(
            ran.stdout,
            format!("{name} is removed: what it shows is refused from now on\n")
        );
        assert_eq!(ran.stderr, undo);
        let asked = server.fake.asked.lock().unwrap().remove_principal.clone();
        let asked = asked.unwrap();
        assert_eq!((&*asked.name, &*asked.reason), (name, "left"));
        assert!(!asked.request_id.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_user_is_told_who_they_are() {
    let ana = WhoAmIResponse {
        name: "ana".into(),
        role: Role::Operator.into(),
        models: vec!["films".into()],
        known_by: Some(KnownBy::Identity("dns:ana".into())),
        ..WhoAmIResponse::default()
    };
    let server = Server::start(Fake {
        who_am_i: ana.clone(),
        ..Fake::default()
    })
    .await;
    let expected = "\
name      ana
role      operator
models    films
known by  certificate of dns:ana
expires   never
";
    assert_eq!(server.table(&["access", "whoami"]).await, expected);
    let json = server.json(&["access", "whoami"]).await;
    assert_eq!(
        (&json["known_by"], &json["identity"]),
        (&json!("identity"), &json!("dns:ana"))
    );

    let anybody = Server::start(Fake {
        who_am_i: WhoAmIResponse {
            known_by: Some(KnownBy::Nothing(true)),
            ..ana
        },
        ..Fake::default()
    })
    .await;
    let shown = anybody.table(&["access", "whoami"]).await;
    assert!(
        shown.contains("known by  nothing: the registry asks nobody"),
        "{shown}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_shown_from_a_file_or_a_variable() {
    let server = Server::start(Fake::default()).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    fs::write(&file, "dct_of-the-file\n").unwrap();
    let shown = || server.fake.asked.lock().unwrap().authorization.take();

    server.table(&["access", "whoami"]).await;
    assert_eq!(shown(), None);
    let with_file = ["access", "whoami", "--token-file", text(&file)];
    server.table(&with_file).await;
    assert_eq!(shown().as_deref(), Some("Bearer dct_of-the-file"));
    let mut command = server.command(&["access", "whoami"]);
    command.env("DECANT_TOKEN_FILE", &file);
    assert_eq!(run(command).await.code, Some(0));
    assert_eq!(shown().as_deref(), Some("Bearer dct_of-the-file"));
    // The variable comes first, and then no file needs to be there.
    let mut command = server.command(&["access", "whoami", "--token-file", "/not/there"]);
    command.env("DECANT_TOKEN", "dct_of-the-variable");
    let ran = run(command).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(shown().as_deref(), Some("Bearer dct_of-the-variable"));

    let config = folder.path().join("config.toml");
    let context = format!(
        "current = \"prod\"\n[contexts.prod]\ntoken_file = \"{}\"\n",
        text(&file)
    );
    fs::write(&config, context).unwrap();
    let mut command = server.command(&["access", "whoami"]);
    command.env("DECANT_CONFIG", &config);
    assert_eq!(run(command).await.code, Some(0));
    assert_eq!(shown().as_deref(), Some("Bearer dct_of-the-file"));
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_not_there_are_named() {
    let server = Server::start(Fake::default()).await;
    for option in ["--ca", "--token-file"] {
        let ran = server
            .run(&["access", "whoami", option, "/not/there"])
            .await;
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{option}");
        assert!(
            ran.stderr.contains("/not/there"),
            "{option}: {}",
            ran.stderr
        );
    }
}
