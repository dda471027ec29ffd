//! How results are printed.

use decant_proto::admin::v1::CollectGarbageResponse;
use decant_proto::registry::v1::{Model, Version, VersionState};

use crate::fakes::Fake;
use crate::running::{Server, run};

fn filled() -> Fake {
    Fake {
        models: vec![Model {
            name: "movies".into(),
            ..Model::default()
        }],
        versions: vec![Version {
            model: "movies".into(),
            version: 3,
            digest: format!("sha256:{}", "ab".repeat(32)),
            state: VersionState::Retired.into(),
            state_reason: "broken".into(),
            ..Version::default()
        }],
        garbage: CollectGarbageResponse {
            bundles: vec!["ab".into(), "cd".into()],
            blobs: 1,
            bytes: 4_800_000,
            kept_young: 3,
        },
        ..Fake::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn yaml_says_what_json_says() {
    let server = Server::start(filled()).await;
    let expected = "\
blobs: 1
bundles:
- ab
- cd
bytes: 4800000
dry_run: true
kept_young: 3
";
    let gc = ["admin", "gc", "--dry-run", "-o", "yaml"];
    assert_eq!(server.table(&gc).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wide_table_shows_all_columns_and_cuts_nothing() {
    let server = Server::start(filled()).await;
    let narrow = server.table(&["version", "list", "movies"]).await;
    let wide = server
        .table(&["version", "list", "movies", "-o", "wide"])
        .await;
    let digest = format!("sha256:{}", "ab".repeat(32));
    assert!(
        narrow.contains("abababababab") && !narrow.contains(&digest),
        "{narrow}"
    );
    assert!(!narrow.contains("REASON"), "{narrow}");
    assert!(
        wide.contains(&digest) && wide.contains("REASON") && wide.contains("broken"),
        "{wide}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn colours_are_for_terminals_and_for_those_who_ask() {
    let server = Server::start(filled()).await;
    let list = ["model", "list"];
    assert!(!server.table(&list).await.contains('\u{1b}'));
    let always = [&list[..], &["--color", "always"]].concat();
    let mut command = server.command(&always);
    // What is typed comes before the environment.
    command.env("NO_COLOR", "1");
    let coloured = run(command).await;
    assert!(
        coloured.stdout.starts_with("\u{1b}[1mNAME"),
        "{}",
        coloured.stdout
    );
}
