//! `decant context`, and what a context is good for.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use decant_proto::registry::v1::Model;

use crate::fakes::Fake;
use crate::running::{Ran, Server, decant, run, text};

/// The command with its contexts in a file.
fn with_file(file: &Path, arguments: &[&str]) -> Command {
    let mut command = decant(arguments);
    command.env("DECANT_CONFIG", file);
    command
}

async fn with(file: &Path, arguments: &[&str]) -> Ran {
    run(with_file(file, arguments)).await
}

/// Services with one model of this name.
async fn serving(model: &str) -> Server {
    Server::start(Fake {
        models: vec![Model {
            name: model.into(),
            ..Model::default()
        }],
        ..Fake::default()
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn contexts_are_set_used_shown_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    let empty = with(&file, &["context", "list"]).await;
    assert_eq!(
        (empty.code, empty.stdout.as_str()),
        (Some(0), "CURRENT  NAME  REGISTRY\n")
    );
    let set = [
        "context",
        "set",
        "prod",
        "registry=http://r1:7420,http://r2:7420",
        "output=json",
    ];
    let made = with(&file, &set).await;
    assert_eq!(
        (made.code, made.stdout.as_str()),
        (Some(0), "prod is set\n")
    );
    assert!(
        made.stderr.contains("`decant context use prod`"),
        "{}",
        made.stderr
    );
    assert_eq!(
        fs::read_to_string(&file).unwrap(),
        "[contexts.prod]\nregistry = \"http://r1:7420,http://r2:7420\"\noutput = \"json\"\n"
    );
    let used = with(&file, &["context", "use", "prod"]).await;
    assert_eq!(used.stdout, "prod is used from now on\n");
    let listed = with(&file, &["context", "list"]).await;
    assert_eq!(
        listed.stdout,
        "CURRENT  NAME  REGISTRY\n*        prod  http://r1:7420,http://r2:7420\n"
    );
    let shown = with(&file, &["context", "show", "prod"]).await;
    assert_eq!(
        shown.stdout,
        "KEY       VALUE\nregistry  http://r1:7420,http://r2:7420\noutput    json\n"
    );

    let cleared = with(&file, &["context", "set", "prod", "output="]).await;
    assert_eq!(cleared.code, Some(0), "{}", cleared.stderr);
    let removed = with(&file, &["context", "remove", "prod"]).await;
    assert_eq!(
        (removed.stdout.as_str(), removed.stderr.as_str()),
        (
            "prod is removed\n",
            "no context is used now: what is built in holds\n"
        )
    );
    let again = with(&file, &["context", "remove", "prod"]).await;
    assert_eq!(again.code, Some(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_holds_is_shown_with_who_said_so() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    fs::write(
        &file,
        "current = \"prod\"\n[contexts.prod]\nregistry = \"http://r1:7420\"\ntimeout = \"30s\"\n\
         allow_plaintext = \"true\"\n",
    )
    .unwrap();
    let mut command = with_file(&file, &["context", "show", "--scorer", "http://s:1"]);
    // What is shown need not be there: it is named, and not read.
    command.env("DECANT_TOKEN_FILE", "/prod.token");
    let shown = run(command).await;
    let expected = "\
KEY              VALUE                  FROM
context          prod                   -
registry         http://r1:7420         context
trainer          http://127.0.0.1:7410  built in
scorer           http://s:1             given
ca               -                      built in
certificate      -                      built in
key              -                      built in
token_file       /prod.token            given
allow_plaintext  true                   context
output           table                  built in
timeout          30 s                   context
";
    assert_eq!(shown.stdout, expected, "{}", shown.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_comes_before_the_environment_and_that_before_the_context() {
    let (prod, test, here) = (
        serving("prod").await,
        serving("test").await,
        serving("here").await,
    );
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    let contexts = format!(
        "current = \"prod\"\n[contexts.prod]\nregistry = \"{}\"\noutput = \"name\"\n\
         [contexts.test]\nregistry = \"{}\"\n",
        prod.url(),
        test.url()
    );
    fs::write(&file, contexts).unwrap();
    let list = &["model", "list"][..];
    let by_name = [list, &["-o", "name"]].concat();
    assert_eq!(with(&file, list).await.stdout, "prod\n");
    let flag = [&by_name[..], &["--context", "test"]].concat();
    assert_eq!(with(&file, &flag).await.stdout, "test\n");

    let mut variable = with_file(&file, &by_name);
    variable.env("DECANT_CONTEXT", "test");
    assert_eq!(run(variable).await.stdout, "test\n");
    let mut variable = with_file(&file, list);
    variable.env("DECANT_REGISTRY", here.url());
    assert_eq!(run(variable).await.stdout, "here\n");

    let url = test.url();
    let both = [list, &["--registry", &url]].concat();
    let mut both = with_file(&file, &both);
    both.env("DECANT_REGISTRY", here.url());
    assert_eq!(run(both).await.stdout, "test\n");

    let unknown = with(&file, &["model", "list", "--context", "stage"]).await;
    assert_eq!(
        (unknown.code, unknown.stderr.as_str()),
        (
            Some(3),
            "error: there is no context `stage`\nhint: `decant context list` shows those that there are\n"
        )
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_nobody_knows_is_named_and_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    fs::write(&file, "[contexts.prod]\nregistri = \"http://r1:7420\"\n").unwrap();
    let ran = with(&file, &["model", "list"]).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""));
    let expected = format!("error: {}: line 2: ", file.display());
    assert!(
        ran.stderr.starts_with(&expected) && ran.stderr.contains("`registri`"),
        "{}",
        ran.stderr
    );
    // What asks no service is not kept from its work.
    let script = with(&file, &["completion", "bash"]).await;
    assert_eq!(script.code, Some(0), "{}", script.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_is_made_at_home_for_the_user_alone() {
    let home = tempfile::tempdir().unwrap();
    let mut command = decant(&[
        "context",
        "set",
        "prod",
        "registry=http://r1:7420",
        "-o",
        "json",
    ]);
    command.env("HOME", home.path());
    let ran = run(command).await;
    let file = home.path().join(".config/decant/config.toml");
    let answer: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(answer["file"], text(&file));
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let nowhere = run(decant(&[
        "context",
        "set",
        "prod",
        "registry=http://r1:7420",
    ]))
    .await;
    assert_eq!(nowhere.code, Some(2), "{}", nowhere.stderr);
}
