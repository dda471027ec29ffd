//! Several registries on one store: all answer, one leads, and what one leaves behind another finishes.

use std::sync::Arc;

use decant_artifact::Limits;
use decant_chassis::client::Caller;
use decant_chassis::tasks::Tasks;
use decant_chassis::telemetry::Telemetry;
use decant_coordination::keys::{
    self, DigestKey, DigestRecord, ModelKey, StateKey, StateRecord, VersionKey, VersionRecord,
    VersionState as Stored,
};
use decant_coordination::{Keyspace, Txn};
use decant_model::{Manifest, ModelVersion};
use decant_proto::registry::v1::*;
use decant_registry::App;
use tokio::runtime::{Builder, Runtime};

use super::fixture::{Bundle, Registry, at_least, bundle, movies, quick, soon};

/// A registry that can be killed: everything it does stops at once, and nothing is given back.
struct Doomed(Runtime);

impl Doomed {
    fn start(beside: &Registry, address: &str) -> Self {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let (tasks, _) = Tasks::new();
        let (store, bundles) = (Arc::clone(beside.store()), beside.bundles());
        let entered = runtime.enter();
        let meter = Telemetry::none().meter();
        App::build(
            quick(address),
            store,
            bundles,
            Caller::plain(),
            tasks,
            &meter,
        )
        .unwrap();
        drop(entered);
        Self(runtime)
    }

    fn kill(self) {
        self.0.shutdown_background();
    }
}

/// What a registry leaves behind that dies right after it has staged a version, or validated it.
async fn leave(registry: &Registry, number: u64, bundle: &Bundle, state: Stored) {
    let bundles = registry.bundles();
    let mut writer = bundles
        .write(bundle.digest(), bundle.manifest.clone(), &Limits::default())
        .unwrap();
    for (path, bytes) in &bundle.files {
        writer.write(path, bytes.clone()).await.unwrap();
    }
    writer.finish().await.unwrap();
    let (model, version) = (movies(), ModelVersion::new(number).unwrap());
    let digest = bundle.digest();
    let keyspace = Keyspace::default();
    let model_key = ModelKey {
        model: model.clone(),
    };
    let entry = registry
        .store()
        .get(&keyspace.key(&model_key))
        .await
        .unwrap();
    let mut model_record = keys::value::<ModelKey>(&entry.unwrap()).unwrap();
    model_record.latest_version = Some(version);
    let version_key = VersionKey {
        model: model.clone(),
        version,
    };
    let version_record = VersionRecord {
        digest,
        manifest: Manifest::from_json(&bundle.manifest).unwrap(),
        signature: None,
        created_at_millis: 1,
    };
    let state_key = StateKey {
        model: model.clone(),
        version,
    };
    let state = StateRecord {
        state,
        gates: Vec::new(),
        reason: String::new(),
        changed_at_millis: 1,
    };
    let digest_key = DigestKey { model, digest };
    let digest_record = DigestRecord { version };
    let txn = Txn::new()
        .put(
            keyspace.key(&model_key),
            keys::encode(&model_key, &model_record).unwrap(),
        )
        .put(
            keyspace.key(&version_key),
            keys::encode(&version_key, &version_record).unwrap(),
        )
        .put(
            keyspace.key(&state_key),
            keys::encode(&state_key, &state).unwrap(),
        )
        .put(
            keyspace.key(&digest_key),
            keys::encode(&digest_key, &digest_record).unwrap(),
        );
    registry.store().commit(txn).await.unwrap();
}

async fn version(registry: &Registry, number: u64) -> Version {
    let request = GetVersionRequest {
        model: "movies".into(),
        version: number,
    };
    let response = registry.client().get_version(request).await.unwrap();
    response.into_inner().version.unwrap()
}

async fn comes_to(registry: &Registry, number: u64, state: VersionState) -> Version {
    soon("a version is finished", async || {
        Some(version(registry, number).await).filter(|version| version.state() == state)
    })
    .await
}

#[tokio::test]
async fn all_answer_and_one_leads_until_it_stops() {
    let one = Registry::start_with(quick("one:1")).await;
    let first = one.leader().await;
    assert_eq!(first.leader, "one:1");
    let two = one.replica(quick("two:1")).await;
    two.create("movies", vec![]).await;
    one.push(&bundle("one")).await.unwrap();
    assert_eq!(version(&two, 1).await.state(), VersionState::Approved);
    assert_eq!(two.cluster().await.leader, "one:1");
    let uuid = first.uuid;
    one.stop().await;
    let second = two.leader().await;
    assert_eq!((second.leader.as_str(), second.uuid), ("two:1", uuid));
    assert!(second.epoch > first.epoch);
    assert_eq!(second.alarms, Vec::<String>::new());
}

#[tokio::test]
async fn what_a_registry_left_behind_is_finished_after_it_died() {
    // The store's own task, by which leases expire, lives where the first one of its leases came from.
    let early = Registry::start_with(quick("early:1")).await;
    let epoch = early.leader().await.epoch;
    let doomed = Doomed::start(&early, "doomed:1");
    let survivor = early.replica(quick("survivor:1")).await;
    survivor.create("movies", vec![at_least("auc", 0.7)]).await;
    early.stop().await;
    soon("another one leads", async || {
        Some(survivor.cluster().await).filter(|cluster| cluster.epoch > epoch)
    })
    .await;
    doomed.kill();

    leave(&survivor, 1, &bundle("one"), Stored::Staged).await;
    let bad = super::fixture::bundle_with("two", |manifest| {
        manifest.metrics.insert("auc".into(), 0.6);
    });
    leave(&survivor, 2, &bad, Stored::Validated).await;
    leave(&survivor, 3, &bundle("three"), Stored::Staged).await;
    std::fs::write(survivor.blob(b"three"), "eerht").unwrap();

    comes_to(&survivor, 1, VersionState::Approved).await;
    comes_to(&survivor, 2, VersionState::Rejected).await;
    let corrupt = comes_to(&survivor, 3, VersionState::Rejected).await;
    assert!(
        corrupt.state_reason.contains("`model.onnx`"),
        "{}",
        corrupt.state_reason
    );
    assert_eq!(survivor.leader().await.leader, "survivor:1");
    let entries = survivor.audit("movies/v1").await;
    let told: Vec<_> = entries
        .iter()
        .map(|entry| (&*entry.action, &*entry.actor))
        .collect();
    let leader = "registry survivor:1";
    assert_eq!(
        told,
        [("version.approve", leader), ("version.validate", leader)]
    );
}
