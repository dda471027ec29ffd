//! `decant admin`.

use std::fs;

use decant_proto::admin::v1::{
    AdoptStoreRequest, CollectGarbageResponse, GetClusterResponse, MetadataRecord,
    RebuildMetadataResponse,
};
use serde_json::json;

use crate::fakes::Fake;
use crate::running::{Server, text};

fn cluster() -> GetClusterResponse {
    GetClusterResponse {
        uuid: "5f0c".into(),
        incarnation: 1,
        revision: 42,
        leader: "10.0.0.1:7420".into(),
        epoch: 7,
        scorers: 10,
        alarms: Vec::new(),
    }
}

fn record(key: &str, value: &str) -> MetadataRecord {
    MetadataRecord {
        key: key.into(),
        value: value.as_bytes().to_vec().into(),
    }
}

fn stored() -> Fake {
    Fake {
        cluster: cluster(),
        records: vec![
            record("models/movies", r#"{"name":"movies","auc":0.80}"#),
            record("versions/movies/0000000001", r#"{"digest":"sha256:ab"}"#),
        ],
        ..Fake::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cluster_is_shown() {
    let server = Server::start(stored()).await;
    let expected = "\
cluster      5f0c
incarnation  1
revision     42
leader       10.0.0.1:7420 (epoch 7)
scorers      10
alarms       none
";
    assert_eq!(server.table(&["admin", "status"]).await, expected);
    assert_eq!(server.json(&["admin", "status"]).await["epoch"], 7);

    let alarmed = Server::start(Fake {
        cluster: GetClusterResponse {
            leader: String::new(),
            alarms: vec!["the store is older than it was".into()],
            ..cluster()
        },
        ..Fake::default()
    })
    .await;
    let shown = alarmed.table(&["admin", "status"]).await;
    assert!(
        shown.ends_with(
            "leader       none\nscorers      10\nalarm        the store is older than it was\n"
        ),
        "{shown}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_exported_can_be_imported_byte_for_byte() {
    let server = Server::start(stored()).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("backup.jsonl");
    assert_eq!(
        server.table(&["admin", "export", text(&file)]).await,
        format!("{} holds 2 records\n", file.display())
    );
    let exported = fs::read_to_string(&file).unwrap();
    let (header, records) = exported.split_once('\n').unwrap();
    let header: serde_json::Value = serde_json::from_str(header).unwrap();
    assert_eq!(
        (&header["format"], &header["cluster"], &header["revision"]),
        (&json!(1), &json!("5f0c"), &json!(42))
    );
    assert!(header["time"].as_str().unwrap().ends_with('Z'));
    assert_eq!(
        records,
        "{\"key\":\"models/movies\",\"value\":{\"name\":\"movies\",\"auc\":0.80}}\n\
         {\"key\":\"versions/movies/0000000001\",\"value\":{\"digest\":\"sha256:ab\"}}\n"
    );
    let printed = server.table(&["admin", "export", "-"]).await;
    assert!(printed.ends_with(records), "{printed}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);

    let empty = Server::start(Fake::default()).await;
    let import = ["admin", "import", text(&file), "--yes", "--by", "eve"];
    assert_eq!(empty.table(&import).await, "imported 2 records\n");
    let asked = empty.fake.asked.lock().unwrap();
    let received: Vec<MetadataRecord> = asked
        .import
        .iter()
        .flat_map(|message| message.records.clone())
        .collect();
    assert_eq!(received, stored().records);
    assert_eq!(asked.import[0].issued_by, "eve");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_that_breaks_off_leaves_what_was_there() {
    let server = Server::start(Fake {
        cuts: true,
        ..stored()
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("backup.jsonl");
    fs::write(&file, "yesterday's").unwrap();
    let ran = server.run(&["admin", "export", text(&file)]).await;
    assert_eq!(
        (ran.code, ran.stdout.as_str(), ran.stderr.as_str()),
        (Some(1), "", "error: the store broke (INTERNAL)\n")
    );
    assert_eq!(fs::read_to_string(&file).unwrap(), "yesterday's");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_file_is_not_imported_in_part() {
    let server = Server::start(Fake::default()).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("backup.jsonl");
    let header =
        "{\"format\":1,\"cluster\":\"5f0c\",\"revision\":42,\"time\":\"2026-05-01T12:00:00Z\"}";
    fs::write(
        &file,
        format!("{header}\n{{\"key\":\"a\",\"value\":1}}\n{{\"key\":\"b\",\"val"),
    )
    .unwrap();
    let ran = server.run(&["admin", "import", text(&file), "--yes"]).await;
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.stderr.contains("line 3: this is no record"),
        "{}",
        ran.stderr
    );
    assert!(server.fake.asked.lock().unwrap().import.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_dangerous_needs_a_confirmation() {
    let server = Server::start(stored()).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("backup.jsonl");
    server.table(&["admin", "export", text(&file)]).await;
    for dangerous in [
        &["import", text(&file)][..],
        &["rebuild"],
        &["adopt", "--reason", "restored"],
        &["gc"],
    ] {
        let ran = server.run(&[&["admin"], dangerous].concat()).await;
        assert_eq!(
            (ran.code, ran.stdout.as_str()),
            (Some(2), ""),
            "{dangerous:?}"
        );
        assert!(
            ran.stderr.starts_with("error: this needs a confirmation: ")
                && ran
                    .stderr
                    .ends_with("hint: without a terminal, --yes gives it\n"),
            "{}",
            ran.stderr
        );
    }
    {
        let asked = server.fake.asked.lock().unwrap();
        assert!(asked.import.is_empty() && asked.rebuild.is_none());
        assert!(asked.adopt.is_none() && asked.collect_garbage.is_none());
    }
    // Looking on needs none.
    server.table(&["admin", "gc", "--dry-run"]).await;
    server.table(&["admin", "rebuild", "--dry-run"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_is_listed_and_collected() {
    let server = Server::start(Fake {
        garbage: CollectGarbageResponse {
            bundles: vec!["sha256:ab".into(), "sha256:cd".into()],
            blobs: 1,
            bytes: 4_800_000,
            kept_young: 3,
        },
        ..Fake::default()
    })
    .await;
    let expected = "\
would delete  2 bundles, 1 file, 4.80 MB
kept young    3

BUNDLE
sha256:ab
sha256:cd
";
    assert_eq!(server.table(&["admin", "gc", "--dry-run"]).await, expected);
    let json = server
        .json(&["admin", "gc", "--yes", "--grace", "7d"])
        .await;
    assert_eq!(
        json,
        json!({ "dry_run": false, "bundles": ["sha256:ab", "sha256:cd"], "blobs": 1, "bytes": 4_800_000, "kept_young": 3 })
    );
    let asked = server.fake.asked.lock().unwrap();
    let asked = asked.collect_garbage.as_ref().unwrap();
    assert_eq!((asked.dry_run, asked.grace_seconds), (false, 604_800));
}

#[tokio::test(flavor = "multi_thread")]
async fn metadata_is_rebuilt() {
    let server = Server::start(Fake {
        rebuilt: RebuildMetadataResponse {
            models: vec!["books".into(), "movies".into()],
            versions: 7,
            unreadable: vec!["sha256:ab: no manifest".into()],
        },
        ..Fake::default()
    })
    .await;
    let expected = "\
would make  2 models, 7 versions
models      books, movies
unreadable  sha256:ab: no manifest
";
    assert_eq!(
        server.table(&["admin", "rebuild", "--dry-run"]).await,
        expected
    );
    let json = server.json(&["admin", "rebuild", "--yes"]).await;
    assert_eq!(json["versions"], 7);
    let asked = server.fake.asked.lock().unwrap();
    assert!(!asked.rebuild.as_ref().unwrap().dry_run);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_store_is_adopted() {
    let server = Server::start(stored()).await;
    let arguments = [
        "admin",
        "adopt",
        "--reason",
        "restored",
        "--yes",
        "--request-id",
        "ci-7",
    ];
    assert_eq!(
        server.table(&arguments).await,
        "incarnation   2\nslots raised  movies/main\n"
    );
    let expected = AdoptStoreRequest {
        issued_by: "ada".into(),
        reason: "restored".into(),
        request_id: "ci-7".into(),
    };
    assert_eq!(server.fake.asked.lock().unwrap().adopt, Some(expected));
    let ran = server
        .run(&["admin", "adopt", "--reason", " ", "--yes"])
        .await;
    assert_eq!(ran.code, Some(2));
}
