//! How long the first page of a model's versions takes, with 10,000 versions of 100 models in the store, over gRPC on
//! loopback. Fails when the slowest of a hundred calls takes 50 ms or more.

#![allow(clippy::print_stdout, reason = "its output is its purpose")]
#![allow(
    clippy::unwrap_used,
    reason = "a measurement that cannot go on has failed"
)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use decant_artifact::BundleStore;
use decant_chassis::client::Caller;
use decant_chassis::server::{Serving, serve};
use decant_chassis::tasks::Tasks;
use decant_chassis::telemetry::Telemetry;
use decant_coordination::keys::{
    self, DigestKey, DigestRecord, ModelKey, ModelRecord, Record, StateKey, StateRecord,
    VersionKey, VersionRecord, VersionState,
};
use decant_coordination::{EmbeddedStore, Keyspace, MetaStore, Txn};
use decant_model::{
    BundlePath, Digest, FileEntry, Lineage, Manifest, ModelName, ModelVersion, TeacherRef,
};
use decant_proto::registry::v1::ListVersionsRequest;
use decant_proto::registry::v1::registry_service_client::RegistryServiceClient;
use decant_registry::{App, Config};
use hdrhistogram::Histogram;
use tokio::net::TcpListener;

const MODELS: u64 = 100;
const VERSIONS: u64 = 100;
const CALLS: u64 = 2000;
const LIMIT_MILLIS: f64 = 50.0;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(EmbeddedStore::open(&folder.path().join("store.redb")).unwrap());
    let began = Instant::now();
    for model in 0..MODELS {
        fill(&*store, &model_name(model)).await;
    }
    println!(
        "{} versions of {MODELS} models written in {:.1} s",
        MODELS * VERSIONS,
        began.elapsed().as_secs_f64()
    );
    let bundles = BundleStore::local(&folder.path().join("bundles")).unwrap();
    let (tasks, _failures) = Tasks::new();
    let meter = Telemetry::none().meter();
    let app = App::build(
        Config::default(),
        store,
        bundles,
        Caller::plain(),
        tasks.clone(),
        &meter,
    )
    .unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tasks.spawn(
        "server",
        serve(
            listener,
            app.routes(),
            Serving::default(),
            tasks.stop_token(),
        ),
    );
    let mut client = RegistryServiceClient::connect(format!("http://{address}"))
        .await
        .unwrap();
    for page_size in [0, 20] {
        let mut micros = Histogram::<u64>::new(3).unwrap();
        for call in 0..CALLS {
            let request = ListVersionsRequest {
                model: model_name(call % MODELS).to_string(),
                page_size,
                page_token: String::new(),
            };
            let began = Instant::now();
            let page = client.list_versions(request).await.unwrap().into_inner();
            micros
                .record(began.elapsed().as_micros().try_into().unwrap())
                .unwrap();
            assert!(page.versions.len() >= 20);
        }
        let millis = |quantile| micros.value_at_quantile(quantile) as f64 / 1000.0;
        println!(
            "first page of {}: p50 {:.2} ms, p99 {:.2} ms, of {CALLS} calls",
            if page_size == 0 {
                VERSIONS
            } else {
                page_size.into()
            },
            millis(0.5),
            millis(0.99)
        );
        assert!(
            millis(0.99) < LIMIT_MILLIS,
            "p99 should stay below {LIMIT_MILLIS} ms"
        );
    }
}

fn model_name(number: u64) -> ModelName {
    format!("model-{number}").parse().unwrap()
}

/// Writes a model and its versions as they are stored.
async fn fill(store: &dyn MetaStore, model: &ModelName) {
    let model_key = ModelKey {
        model: model.clone(),
    };
    let record = ModelRecord {
        description: String::new(),
        gates: Vec::new(),
        signers: Vec::new(),
        created_at_millis: 0,
        latest_version: ModelVersion::new(VERSIONS),
    };
    let mut txn = put(Txn::new(), &model_key, &record);
    for number in 1..=VERSIONS {
        let version = ModelVersion::new(number).unwrap();
        let digest = Digest::of(format!("{model} {number}").as_bytes());
        let version_key = VersionKey {
            model: model.clone(),
            version,
        };
        let record = VersionRecord {
            digest,
            manifest: manifest(model),
            signature: None,
            created_at_millis: 0,
        };
        txn = put(txn, &version_key, &record);
        let state_key = StateKey {
            model: model.clone(),
            version,
        };
        let state = StateRecord {
            state: VersionState::Approved,
            gates: Vec::new(),
            reason: String::new(),
            changed_at_millis: 0,
        };
        txn = put(txn, &state_key, &state);
        let digest_key = DigestKey {
            model: model.clone(),
            digest,
        };
        txn = put(txn, &digest_key, &DigestRecord { version });
        if number.is_multiple_of(20) {
            store.commit(std::mem::take(&mut txn)).await.unwrap();
        }
    }
}

fn put<R: Record>(txn: Txn, key: &R, value: &R::Value) -> Txn {
    txn.put(
        Keyspace::default().key(key),
        keys::encode(key, value).unwrap(),
    )
}

/// A manifest as the trainer writes them: the files, a dozen metrics, three teachers.
fn manifest(model: &ModelName) -> Manifest {
    let digest = Digest::of(b"any");
    let file = |path: &str| -> (BundlePath, FileEntry) {
        let entry = FileEntry {
            sha256: digest,
            size: 1 << 20,
        };
        (path.parse().unwrap(), entry)
    };
    let teacher = |number| TeacherRef {
        name: format!("teacher-{number}"),
        digest,
        weight: 1.0,
    };
    Manifest {
        format: Manifest::FORMAT,
        model: model.clone(),
        files: [
            "catalog.arrow",
            "evaluation.json",
            "features.json",
            "golden.json",
            "model.onnx",
        ]
        .map(file)
        .into(),
        metrics: (0..12)
            .map(|metric| (format!("metric-{metric}"), 0.5))
            .collect::<BTreeMap<_, _>>(),
        lineage: Lineage {
            role: Default::default(),
            student: "d8".into(),
            teachers: (0..3).map(teacher).collect(),
            dataset: digest,
            job: "1".into(),
            spec: digest,
            code_revision: "bench".into(),
            parent: Some(digest),
        },
    }
}
