//! A real scorer on a real server, with a real store, real bundles and the real ONNX Runtime.

use std::collections::BTreeMap;
use std::future::Future;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use decant_artifact::{BundleStore, Limits};
use decant_chassis::server;
use decant_chassis::tasks::Tasks;
use decant_coordination::keys::{self, DesiredKey};
use decant_coordination::{EmbeddedStore, Keyspace, MetaStore, Txn};
use decant_inference::{Golden, testing};
use decant_model::{
    Active, Arm, BASIS_POINTS, DesiredSlot, Digest, FileEntry, Generation, Lineage, Manifest,
    ModelVersion, SlotName, file,
};
use decant_proto::scorer::v1 as wire;
use decant_scorer::{App, Config};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tonic::transport::Channel;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use wire::scorer_service_client::ScorerServiceClient;

use crate::fixture;

/// How long anything may take that a test waits for.
const PATIENCE: Duration = Duration::from_secs(20);

/// A scorer under test, and the hands that change its store.
pub(crate) struct Scorer {
    pub(crate) client: ScorerServiceClient<Channel>,
    pub(crate) health: HealthClient<Channel>,
    pub(crate) app: App,
    bundles: BundleStore,
    store: Arc<dyn MetaStore>,
    services: Tasks,
    servers: Tasks,
    folder: TempDir,
}

/// The files of a bundle.
pub(crate) type Files = BTreeMap<&'static str, Vec<u8>>;

/// A sound bundle; the bias tells versions apart.
pub(crate) fn files(bias: f32) -> Files {
    BTreeMap::from([
        (file::MODEL, fixture::graph(bias).to_onnx()),
        (file::FEATURES, fixture::schema().to_json()),
        (file::CATALOG, fixture::catalog().to_arrow().unwrap()),
        (
            file::GOLDEN,
            fixture::golden(bias, 1, 30.0).to_json().unwrap(),
        ),
    ])
}

/// Golden vectors that the graph of this bias does not reproduce.
pub(crate) fn wrong_golden(bias: f32) -> Vec<u8> {
    let mut golden: Golden = fixture::golden(bias, 1, 30.0);
    golden.expected[3] += 0.125;
    golden.to_json().unwrap()
}

/// The manifest of some files.
pub(crate) fn manifest(model: &str, files: &Files) -> Manifest {
    let entry = |content: &Vec<u8>| FileEntry {
        sha256: Digest::of(content),
        size: content.len() as u64,
    };
    Manifest {
        format: Manifest::FORMAT,
        model: model.parse().unwrap(),
        files: files
            .iter()
            .map(|(path, content)| (path.parse().unwrap(), entry(content)))
            .collect(),
        metrics: BTreeMap::new(),
        lineage: Lineage {
            student: "student".into(),
            teachers: Vec::new(),
            dataset: Digest::of(b"dataset"),
            job: "job".into(),
            spec: Digest::of(b"spec"),
            code_revision: "test".into(),
            parent: None,
        },
    }
}

impl Scorer {
    /// Starts one with nothing to serve.
    pub(crate) async fn start() -> Self {
        Self::start_with(Config {
            workers: 2,
            retry_first_millis: 50,
            ..Config::default()
        })
        .await
    }

    /// Starts one with limits of its own.
    pub(crate) async fn start_with(config: Config) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store: Arc<dyn MetaStore> =
            Arc::new(EmbeddedStore::open(&folder.path().join("store")).unwrap());
        let bundles = BundleStore::local(&folder.path().join("bundles")).unwrap();
        let ((services, _), (servers, _)) = (Tasks::new(), Tasks::new());
        let (reporter, common) = server::common().unwrap();
        let (kept_store, kept_bundles) = (Arc::clone(&store), bundles.clone());
        let app = App::build(
            config,
            testing::runtime(),
            store,
            bundles,
            reporter,
            services.clone(),
        )
        .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        servers.spawn(
            "server",
            server::serve(listener, common(app.routes()), servers.stop_token()),
        );
        let channel = Channel::from_shared(format!("http://{address}"))
            .unwrap()
            .connect_lazy();
        Self {
            client: ScorerServiceClient::new(channel.clone()),
            health: HealthClient::new(channel),
            app,
            bundles: kept_bundles,
            store: kept_store,
            services,
            servers,
            folder,
        }
    }

    /// Starts one that serves a sound version 1.
    pub(crate) async fn serving() -> (Self, Digest) {
        let scorer = Self::start().await;
        let digest = scorer.pour(1, &files(0.0)).await;
        (scorer, digest)
    }

    /// Pushes a bundle, points the slot at it, and waits until it answers.
    pub(crate) async fn pour(&self, version: u64, files: &Files) -> Digest {
        let digest = self.push(files).await;
        self.set(version, version, digest).await;
        self.answers(version).await;
        digest
    }

    /// Pushes a bundle.
    pub(crate) async fn push(&self, files: &Files) -> Digest {
        self.push_as("films", files).await
    }

    /// Pushes a bundle that says it is another model's.
    pub(crate) async fn push_as(&self, model: &str, files: &Files) -> Digest {
        let manifest = manifest(model, files).to_json().unwrap();
        let digest = Digest::of(&manifest);
        let mut writer = self
            .bundles
            .write(digest, manifest.into(), &Limits::default())
            .unwrap();
        for (path, content) in files {
            let content = content.clone().into();
            writer.write(&path.parse().unwrap(), content).await.unwrap();
        }
        writer.finish().await.unwrap().digest()
    }

    /// Changes a byte of a stored file.
    pub(crate) fn corrupt(&self, content: &[u8]) {
        let mut other = content.to_vec();
        other[0] ^= 1;
        std::fs::write(self.stored(content), other).unwrap();
    }

    /// Puts a stored file right again.
    pub(crate) fn heal(&self, content: &[u8]) {
        std::fs::write(self.stored(content), content).unwrap();
    }

    /// Where a file of this content lies.
    fn stored(&self, content: &[u8]) -> PathBuf {
        let hex = Digest::of(content).hex();
        let path = self.folder.path().join("bundles/blobs/sha256");
        let path = path.join(&hex[..2]).join(&hex);
        assert!(path.exists(), "{} is not stored", path.display());
        path
    }

    /// Points the slot at a version.
    pub(crate) async fn set(&self, generation: u64, version: u64, digest: Digest) {
        let version = ModelVersion::new(version).unwrap();
        self.desire(
            generation,
            vec![Active {
                digest,
                version,
                arm: Arm::Stable,
                weight_basis_points: BASIS_POINTS,
            }],
        )
        .await;
    }

    /// Empties the slot.
    pub(crate) async fn empty(&self, generation: u64) {
        self.desire(generation, Vec::new()).await;
    }

    async fn desire(&self, generation: u64, active: Vec<Active>) {
        let generation = Generation(generation);
        let desired = DesiredSlot {
            generation,
            active,
            issued_by: "test".into(),
            reason: "test".into(),
            issued_at_millis: 0,
            ..DesiredSlot::default()
        };
        let record = DesiredKey {
            model: "films".parse().unwrap(),
            slot: SlotName::default(),
        };
        let (key, value) = (
            Keyspace::default().key(&record),
            keys::encode(&record, &desired).unwrap(),
        );
        self.store.commit(Txn::new().put(key, value)).await.unwrap();
    }

    /// Waits until this version answers.
    pub(crate) async fn answers(&self, version: u64) {
        eventually(&format!("version {version} answers"), || async {
            let answer = self.client.clone().score(score(1, &[100])).await;
            answer.is_ok_and(|answer| answer.into_inner().served_by.unwrap().version == version)
        })
        .await;
    }

    /// Waits for a version's state, and returns what is listed then.
    pub(crate) async fn listed(&self, version: u64, state: wire::ServableState) -> wire::Servable {
        let mut found = None;
        for _ in 0..2_000 {
            let listed = self
                .client
                .clone()
                .list_servables(wire::ListServablesRequest {})
                .await
                .unwrap();
            found = listed
                .into_inner()
                .servables
                .into_iter()
                .find(|servable| number(servable) == version);
            match found {
                Some(servable) if servable.state() == state => return servable,
                _ => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
        panic!("version {version} never was {state:?}: {found:?}");
    }

    /// What the health service says of a name.
    pub(crate) async fn serving_status(&self, name: &str) -> Option<ServingStatus> {
        let request = tonic_health::pb::HealthCheckRequest {
            service: name.to_owned(),
        };
        let answer = self.health.clone().check(request).await.ok()?;
        Some(answer.into_inner().status())
    }

    /// Stops the scorer, but not its server.
    pub(crate) async fn drain(&self) {
        self.services.stop(PATIENCE).await.unwrap();
    }

    /// Ends everything.
    pub(crate) async fn stop(self) {
        self.drain().await;
        self.servers.stop(PATIENCE).await.unwrap();
    }
}

/// Waits until something holds.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let began = std::time::Instant::now();
    while !holds().await {
        assert!(
            began.elapsed() < PATIENCE,
            "it never came about that {what}"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn number(servable: &wire::Servable) -> u64 {
    servable
        .served_by
        .as_ref()
        .map_or(0, |served_by| served_by.version)
}

/// Which model the tests ask.
pub(crate) fn films() -> Option<wire::ModelRef> {
    Some(wire::ModelRef {
        model: "films".into(),
        slot: String::new(),
    })
}

pub(crate) fn ints(name: &str, values: &[i64]) -> wire::Column {
    let values = wire::column::Values::Int64Values(wire::Int64Values {
        values: values.to_vec(),
    });
    wire::Column {
        name: name.into(),
        values: Some(values),
        ..Default::default()
    }
}

pub(crate) fn floats(name: &str, values: &[f32]) -> wire::Column {
    let values = wire::column::Values::FloatValues(wire::FloatValues {
        values: values.to_vec(),
    });
    wire::Column {
        name: name.into(),
        values: Some(values),
        ..Default::default()
    }
}

pub(crate) fn texts(name: &str, values: &[&str], offsets: &[u32]) -> wire::Column {
    let values = values.iter().map(|value| (*value).to_owned()).collect();
    let values = wire::column::Values::StringValues(wire::StringValues { values });
    wire::Column {
        name: name.into(),
        values: Some(values),
        offsets: offsets.to_vec(),
        present: Vec::new(),
    }
}

/// One user of thirty.
pub(crate) fn user(user: i64) -> Vec<wire::Column> {
    vec![ints("user", &[user]), floats("age", &[30.0])]
}

/// Films as the catalog has them.
pub(crate) fn items(films: &[i64]) -> Vec<wire::Column> {
    let genres: Vec<&str> = films
        .iter()
        .map(|film| ["drama", "comedy", "western"][(film - 100) as usize % 3])
        .collect();
    let offsets: Vec<u32> = (0..=films.len() as u32).collect();
    vec![ints("film", films), texts("genres", &genres, &offsets)]
}

/// Asks for one user's scores of some films.
pub(crate) fn score(user: i64, films_asked: &[i64]) -> wire::ScoreRequest {
    let rows = films_asked.len();
    let mut columns = vec![
        ints("user", &vec![user; rows]),
        floats("age", &vec![30.0; rows]),
    ];
    columns.extend(items(films_asked));
    wire::ScoreRequest {
        model: films(),
        columns,
    }
}

/// One worker and a short queue.
pub(crate) fn narrow(queue_rows: usize, max_rows: usize) -> Config {
    Config {
        workers: NonZeroUsize::MIN.get(),
        queue_rows,
        max_rows,
        ..Config::default()
    }
}
