//! `decant model`, and what `decant version` shows.

use std::collections::BTreeMap;

use decant_model::{Digest, FileEntry, Lineage, LineageRole, Manifest, TeacherRef, file};
use decant_proto::registry::v1::{
    Gate, GateResult, Gates, LineageNode, Model, RetireVersionRequest, Signers, Teacher,
    UpdateModelRequest, Version, VersionState,
};
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
        signers: Vec::new(),
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
            role: Default::default(),
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
        ..Version::default()
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
        "signers": [],
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
        "VERSION  STATE     GATES  SIGNER  DIGEST        SIZE  CREATED (UTC)\n\
         v2       REJECTED    1/2  -       {short}   8 B  2026-05-01 12:00:00\n"
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
async fn a_teacher_is_not_called_a_student() {
    let mut teacher = manifest(&contents());
    teacher.lineage.role = LineageRole::Teacher;
    let server = Server::start(Fake {
        versions: vec![version(&teacher)],
        ..Fake::default()
    })
    .await;
    let described = server.table(&["version", "describe", "movies"]).await;
    assert!(described.contains("\nteacher     d8\n"), "{described}");
    assert!(!described.contains("student"), "{described}");
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

const SIGNER: &str = "ed25519:d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";

#[tokio::test(flavor = "multi_thread")]
async fn a_model_may_name_its_signers() {
    let server = Server::start(Fake::default()).await;
    let arguments = ["model", "create", "movies", "--signer", SIGNER];
    let expected = format!(
        "\
model    movies
latest   none
gates    none
signers  {SIGNER}
created  2026-05-01 12:00:00
"
    );
    assert_eq!(server.table(&arguments).await, expected);
    assert_eq!(server.json(&arguments).await["signers"], json!([SIGNER]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_changes_only_what_is_given() {
    let server = Server::start(Fake {
        models: vec![model()],
        ..Fake::default()
    })
    .await;
    let updated = async |arguments: &[&str]| {
        let arguments = [&["model", "update", "movies", "-o", "name"], arguments].concat();
        assert_eq!(server.table(&arguments).await, "movies\n");
        server
            .fake
            .asked
            .lock()
            .unwrap()
            .update_model
            .take()
            .unwrap()
    };
    let request = updated(&[
        "--description",
        "",
        "--reason",
        "tidy",
        "--request-id",
        "ci-7",
    ])
    .await;
    let expected = UpdateModelRequest {
        name: "movies".into(),
        description: Some(String::new()),
        request_id: "ci-7".into(),
        issued_by: "ada".into(),
        reason: "tidy".into(),
        ..UpdateModelRequest::default()
    };
    assert_eq!(request, expected);

    let request = updated(&["--gate", "auc>=0.8", "--no-signers"]).await;
    assert_eq!(request.description, None);
    assert_eq!(request.gates.unwrap().gates[0].min, Some(0.8));
    assert_eq!(request.signers, Some(Signers::default()));

    let request = updated(&["--no-gates", "--signer", SIGNER]).await;
    assert_eq!(request.gates, Some(Gates::default()));
    assert_eq!(request.signers.unwrap().keys, [SIGNER]);
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_are_listed_over_pages_in_every_state_and_with_their_signers() {
    let states = [
        VersionState::Staged,
        VersionState::Validated,
        VersionState::Approved,
        VersionState::Rejected,
        VersionState::Retired,
    ];
    let version = |(number, state): (u64, VersionState)| Version {
        model: "movies".into(),
        version: number,
        digest: format!("sha256:{}", "ab".repeat(32)),
        state: state.into(),
        signature: if number == 4 {
            format!("{SIGNER}:{}", "0".repeat(128))
        } else {
            String::new()
        },
        create_time: noon(0),
        size_bytes: 12_345,
        ..Version::default()
    };
    let server = Server::start(Fake {
        versions: (1..=5).rev().zip(states).map(version).collect(),
        ..Fake::default()
    })
    .await;
    let expected = "\
VERSION  STATE      GATES  SIGNER        DIGEST           SIZE  CREATED (UTC)
v5       STAGED       0/0  -             abababababab  12.3 kB  2026-05-01 12:00:00
v4       VALIDATED    0/0  d75a980182b1  abababababab  12.3 kB  2026-05-01 12:00:00
v3       APPROVED     0/0  -             abababababab  12.3 kB  2026-05-01 12:00:00
v2       REJECTED     0/0  -             abababababab  12.3 kB  2026-05-01 12:00:00
v1       RETIRED      0/0  -             abababababab  12.3 kB  2026-05-01 12:00:00
";
    assert_eq!(server.table(&["version", "list", "movies"]).await, expected);
    let ran = server
        .run(&["version", "list", "movies", "--limit", "3", "-o", "name"])
        .await;
    assert_eq!(ran.stdout, "movies/5\nmovies/4\nmovies/3\n");
    assert_eq!(ran.stderr, "there are more; --limit shows them\n");
    let described = server.table(&["version", "describe", "movies", "4"]).await;
    assert!(
        described.contains(&format!("signed by  {SIGNER}\n")),
        "{described}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_is_retired() {
    let server = Server::start(Fake::default()).await;
    let arguments = "version retire movies v3 --reason broken --request-id ci-7 --yes";
    let arguments: Vec<&str> = arguments.split(' ').collect();
    assert_eq!(server.table(&arguments).await, "movies v3 is RETIRED\n");
    let expected = RetireVersionRequest {
        model: "movies".into(),
        version: 3,
        request_id: "ci-7".into(),
        issued_by: "ada".into(),
        reason: "broken".into(),
    };
    let asked = server.fake.asked.lock().unwrap();
    assert_eq!(asked.retire_version, Some(expected));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_of_descent_is_shown() {
    let node = |version, parent: &str| LineageNode {
        version,
        digest: format!("sha256:{}", "ab".repeat(32)),
        state: VersionState::Approved.into(),
        student: "d8".into(),
        teachers: vec![Teacher {
            name: "deepfm".into(),
            digest: format!("sha256:{}", "01".repeat(32)),
            weight: 1.0,
        }],
        metrics: [("auc".to_owned(), 0.8)].into(),
        parent: parent.into(),
        ..LineageNode::default()
    };
    let server = Server::start(Fake {
        lineage: vec![node(2, "sha256:cd"), node(1, "")],
        ..Fake::default()
    })
    .await;
    let expected = "\
● v2  APPROVED  abababababab
│ ├─ student     d8
│ ├─ metrics     auc 0.8000
│ └─ teacher     deepfm, weight 1.0000, 010101010101
● v1  APPROVED  abababababab
  ├─ student     d8
  ├─ metrics     auc 0.8000
  └─ teacher     deepfm, weight 1.0000, 010101010101
";
    assert_eq!(
        server.table(&["version", "lineage", "movies"]).await,
        expected
    );
    let json = server.json(&["version", "lineage", "movies", "2"]).await;
    assert_eq!(json[0]["parent"], "sha256:cd");
    assert_eq!(json[0]["teachers"][0]["weight"], 1.0);
    assert_eq!(json[0]["metrics"], json!({ "auc": 0.8 }));
}
