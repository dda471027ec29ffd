//! `decant model`, and what `decant version` shows.

use std::collections::BTreeMap;

use decant_model::{Digest, FileEntry, Lineage, Manifest, TeacherRef, file};
use decant_proto::registry::v1::{Gate, GateResult, Model, Version, VersionState};
use serde_json::json;

use crate::fakes::{Fake, noon};
use crate::running::Server;

fn model() -> Model {
    Model {
        name: "movies".into(),
        description: "films for users".into(),
        gates: vec![
            Gate {
                metric: "auc".into(),
                min: Some(0.78),
                max: None,
            },
            Gate {
                metric: "logloss".into(),
                min: None,
                max: Some(0.6),
            },
        ],
        create_time: noon(0),
        latest_version: 2,
    }
}

/// A manifest whose files have the given contents.
pub(crate) fn manifest(contents: &[(&str, &[u8])]) -> Manifest {
    let entry = |bytes: &[u8]| FileEntry {
        sha256: Digest::of(bytes),
        size: bytes.len() as u64,
    };
    Manifest {
        format: Manifest::FORMAT,
        model: "movies".parse().unwrap(),
        files: contents
            .iter()
            .map(|(path, bytes)| (path.parse().unwrap(), entry(bytes)))
            .collect(),
        metrics: BTreeMap::from([("auc".to_owned(), 0.80123), ("logloss".to_owned(), 0.61)]),
        lineage: Lineage {
            student: "d8".into(),
            teachers: vec![TeacherRef {
                name: "deepfm".into(),
                digest: Digest::of(b"teacher"),
                weight: 0.5,
            }],
            dataset: Digest::of(b"data"),
            job: "01JOB".into(),
            spec: Digest::of(b"spec"),
            code_revision: "0.1.0".into(),
            parent: None,
        },
    }
}

fn version(manifest: &Manifest) -> Version {
    let bytes = manifest.to_json().unwrap();
    let result = |gate: &Gate, value, passed| GateResult {
        gate: Some(gate.clone()),
        value: Some(value),
        passed,
    };
    let gates = model().gates;
    Version {
        model: "movies".into(),
        version: 2,
        digest: Digest::of(&bytes).to_string(),
        state: VersionState::Rejected.into(),
        gate_results: vec![
            result(&gates[0], 0.80123, true),
            result(&gates[1], 0.61, false),
        ],
        create_time: noon(0),
        size_bytes: manifest.size(),
        manifest: bytes.into(),
    }
}

fn contents() -> [(&'static str, &'static [u8]); 3] {
    [
        (file::MODEL, b"onnx"),
        (file::FEATURES, b"{}"),
        (file::GOLDEN, b"[]"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_is_created_with_its_gates() {
    let server = Server::start(Fake::default()).await;
    let arguments = [
        "model",
        "create",
        "movies",
        "--description",
        "films",
        "--gate",
        "auc>=0.78",
        "--gate",
        "logloss<=0.6",
    ];
    let expected = "\
model        movies
description  films
latest       none
gates        auc>=0.78, logloss<=0.6
created      2026-05-01 12:00:00
";
    assert_eq!(server.table(&arguments).await, expected);
    let asked = server.fake.asked.lock().unwrap();
    assert_eq!(asked.create_model.as_ref().unwrap().gates, model().gates);
}

#[tokio::test(flavor = "multi_thread")]
async fn models_are_listed_and_described() {
    let server = Server::start(Fake {
        models: vec![model()],
        ..Fake::default()
    })
    .await;
    let expected = "\
NAME    LATEST  GATES                    CREATED (UTC)        DESCRIPTION
movies  v2      auc>=0.78, logloss<=0.6  2026-05-01 12:00:00  films for users
";
    assert_eq!(server.table(&["model", "list"]).await, expected);
    let expected = json!({
        "name": "movies",
        "description": "films for users",
        "gates": [{"metric": "auc", "min": 0.78, "max": null}, {"metric": "logloss", "min": null, "max": 0.6}],
        "create_time": "2026-05-01T12:00:00Z",
        "latest_version": 2,
    });
    assert_eq!(
        server.json(&["model", "describe", "movies"]).await,
        expected
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_list_is_valid_json_and_says_what_to_do_otherwise() {
    let server = Server::start(Fake::default()).await;
    assert_eq!(server.json(&["model", "list"]).await, json!([]));
    let ran = server.run(&["model", "list"]).await;
    assert_eq!(
        ran.stdout,
        "NAME  LATEST  GATES  CREATED (UTC)  DESCRIPTION\n"
    );
    assert_eq!(
        ran.stderr,
        "there is no model yet; `decant model create NAME` makes one\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_are_listed() {
    let version = version(&manifest(&contents()));
    let short = &version.digest["sha256:".len()..][..12];
    let expected = format!(
        "VERSION  STATE     GATES  DIGEST        SIZE  CREATED (UTC)\n\
         v2       REJECTED    1/2  {short}   8 B  2026-05-01 12:00:00\n"
    );
    let server = Server::start(Fake {
        versions: vec![version],
        ..Fake::default()
    })
    .await;
    assert_eq!(server.table(&["version", "list", "movies"]).await, expected);
    assert_eq!(
        server.json(&["version", "list", "movies"]).await[0]["state"],
        "REJECTED"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_is_described_with_gates_metrics_lineage_and_files() {
    let version = version(&manifest(&contents()));
    let hex = |bytes: &[u8]| Digest::of(bytes).hex();
    let expected = format!(
        "\
model       movies
version     v2
state       REJECTED
digest      {digest}
size        8 B
created     2026-05-01 12:00:00
student     d8
job         01JOB
dataset     {dataset}
spec        {spec}
trained by  0.1.0
parent      none

GATE           VALUE  RESULT
auc>=0.78     0.8012  passed
logloss<=0.6  0.6100  failed

METRIC    VALUE
auc      0.8012
logloss  0.6100

TEACHER  WEIGHT  DIGEST
deepfm   0.5000  {teacher}

FILE           SIZE  SHA256
features.json   2 B  {features}
golden.json     2 B  {golden}
model.onnx      4 B  {model}
",
        digest = version.digest,
        dataset = Digest::of(b"data"),
        spec = Digest::of(b"spec"),
        teacher = Digest::of(b"teacher"),
        features = hex(b"{}"),
        golden = hex(b"[]"),
        model = hex(b"onnx"),
    );
    let server = Server::start(Fake {
        versions: vec![version],
        ..Fake::default()
    })
    .await;
    assert_eq!(
        server.table(&["version", "describe", "movies"]).await,
        expected
    );
    let json = server.json(&["version", "describe", "movies", "2"]).await;
    assert_eq!(json["manifest"]["lineage"]["teachers"][0]["name"], "deepfm");
    assert_eq!(
        json["gate_results"][1],
        json!({
            "gate": {"metric": "logloss", "min": null, "max": 0.6}, "value": 0.61, "passed": false,
        })
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_of_a_newer_format_hides_nothing_else() {
    let unknown = Version {
        manifest: b"{\"format\": 99}".to_vec().into(),
        ..version(&manifest(&contents()))
    };
    let server = Server::start(Fake {
        versions: vec![unknown],
        ..Fake::default()
    })
    .await;
    let ran = server
        .run(&["version", "describe", "movies", "latest"])
        .await;
    assert_eq!(ran.code, Some(0));
    assert!(
        ran.stdout
            .starts_with("model    movies\nversion  v2\nstate    REJECTED\n"),
        "{}",
        ran.stdout
    );
    assert_eq!(
        ran.stderr,
        "the manifest is left out: manifest.json has format 99, but this build reads formats up to 1\n"
    );
}
