//! A real scorer on a real server, with a real store, real bundles and the real ONNX Runtime.

use std::collections::BTreeMap;
use std::future::Future;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use decant_artifact::{BundleStore, Limits, SigningKey};
use decant_chassis::server::{self, Serving};
use decant_chassis::tasks::Tasks;
use decant_chassis::telemetry::Telemetry;
use decant_coordination::keys::{self, ClusterKey, ClusterRecord, DesiredKey, Record};
use decant_coordination::{EmbeddedStore, Keyspace, MetaStore, Txn};
use decant_inference::{Golden, testing};
use decant_model::{
    Active, Arm, BASIS_POINTS, DesiredSlot, Digest, Generation, ModelVersion, Prepared, SlotName,
    file,
};
use decant_proto::inference::grpc_inference_service_client::GrpcInferenceServiceClient;
use decant_proto::scorer::v1 as wire;
use decant_scorer::{App, CacheConfig, Config};
use prometheus::TextEncoder;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tonic::transport::Channel;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use wire::scorer_service_client::ScorerServiceClient;

use crate::fixture::{self, Files};
use crate::switch::Switch;

/// How long anything may take that a test waits for.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is around a scorer, and outlives it.
pub(crate) struct World {
    pub(crate) store: Switch,
    pub(crate) bundles: BundleStore,
    pub(crate) folder: TempDir,
}

/// A scorer under test, and the hands that change its store.
pub(crate) struct Scorer {
    pub(crate) client: ScorerServiceClient<Channel>,
    pub(crate) inference: GrpcInferenceServiceClient<Channel>,
    pub(crate) health: HealthClient<Channel>,
    pub(crate) app: App,
    pub(crate) world: World,
    pub(crate) telemetry: Telemetry,
    services: Tasks,
    servers: Tasks,
}

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

impl World {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = EmbeddedStore::open(&folder.path().join("store")).unwrap();
        Self {
            store: Switch::new(Arc::new(store)),
            bundles: BundleStore::local(&folder.path().join("bundles")).unwrap(),
            folder,
        }
    }

    /// Another store, with nothing in it.
    pub(crate) fn other_store(&self, name: &str) -> Arc<dyn MetaStore> {
        Arc::new(EmbeddedStore::open(&self.folder.path().join(name)).unwrap())
    }

    /// A member of a cluster that keeps bundles and its state at hand.
    pub(crate) fn config(&self) -> Config {
        Config {
            name: "scorer-1".into(),
            // Short, so that a lost lease is noticed soon.
            lease_ttl_millis: 2_000,
            zone: "here".into(),
            advertise: "10.0.0.1:7430".into(),
            cache: CacheConfig {
                folder: self.folder.path().join("cache"),
                ..CacheConfig::default()
            },
            ..quick()
        }
    }

    /// Writes a record into the store that answers now.
    pub(crate) async fn put<R: Record>(&self, record: &R, value: &R::Value) {
        let key = Keyspace::default().key(record);
        let value = keys::encode(record, value).unwrap();
        let txn = Txn::new().put(key, value);
        self.store.store().commit(txn).await.unwrap();
    }

    /// Says which cluster the store is of.
    pub(crate) async fn name_cluster(&self, uuid: &str, incarnation: u64) {
        let record = ClusterRecord {
            uuid: uuid.into(),
            incarnation,
            created_at_millis: 0,
        };
        self.put(&ClusterKey {}, &record).await;
    }

    /// Says what the slot is to serve.
    pub(crate) async fn desire(&self, desired: &DesiredSlot) {
        let key = DesiredKey {
            model: "films".parse().unwrap(),
            slot: SlotName::default(),
        };
        self.put(&key, desired).await;
    }

    /// All records of a kind in the store that answers now.
    pub(crate) async fn records<R: Record>(&self) -> Vec<(R, R::Value)> {
        let keyspace = Keyspace::default();
        let listed = self.store.store().list(&keyspace.all::<R>()).await.unwrap();
        let read = listed.entries.iter().map(|entry| keyspace.read(entry));
        read.collect::<Result<_, _>>().unwrap()
    }

    /// Pushes a bundle of the model, signed or not.
    pub(crate) async fn push(
        &self,
        model: &str,
        files: &Files,
        key: Option<&SigningKey>,
    ) -> Digest {
        let manifest = fixture::manifest(model, files).to_json().unwrap();
        let digest = Digest::of(&manifest);
        let signature = key.map(|key| key.sign(&manifest));
        let mut writer = self
            .bundles
            .write(digest, manifest.into(), &Limits::default())
            .unwrap();
        if let Some(signature) = signature {
            writer = writer.signed(signature).unwrap();
        }
        for (path, content) in files {
            let content = content.clone().into();
            writer.write(&path.parse().unwrap(), content).await.unwrap();
        }
        writer.finish().await.unwrap().digest()
    }
}

/// Limits that suit tests.
pub(crate) fn quick() -> Config {
    Config {
        workers: 2,
        retry_first_millis: 50,
        retry_longest_millis: 200,
        retry_lasting_millis: 200,
        ..Config::default()
    }
}

/// What a slot is to serve: the version that answers, if there is one.
pub(crate) fn desired(generation: u64, stable: Option<(u64, Digest)>) -> DesiredSlot {
    let active = |(version, digest)| Active {
        digest,
        version: ModelVersion::new(version).unwrap(),
        arm: Arm::Stable,
        weight_basis_points: BASIS_POINTS,
    };
    DesiredSlot {
        generation: Generation(generation),
        active: stable.map(active).into_iter().collect(),
        issued_by: "test".into(),
        reason: "test".into(),
        ..DesiredSlot::default()
    }
}

/// A version to have ready.
pub(crate) fn prepared(version: u64, digest: Digest) -> Prepared {
    let version = ModelVersion::new(version).unwrap();
    Prepared { digest, version }
}

impl Scorer {
    /// Starts one with nothing to serve.
    pub(crate) async fn start() -> Self {
        Self::start_with(quick()).await
    }

    /// Starts one with limits of its own.
    pub(crate) async fn start_with(config: Config) -> Self {
        Self::start_in(World::new(), config).await
    }

    /// Starts one that keeps bundles and its state at hand.
    pub(crate) async fn start_member(world: World) -> Self {
        let config = world.config();
        Self::start_in(world, config).await
    }

    /// Starts one in a world that is there already.
    pub(crate) async fn start_in(world: World, config: Config) -> Self {
        let ((services, _), (servers, _)) = (Tasks::new(), Tasks::new());
        let telemetry = Telemetry::none();
        let (reporter, common) = server::common(&telemetry).unwrap();
        let app = App::build(
            config,
            testing::runtime(),
            Arc::new(world.store.clone()),
            world.bundles.clone(),
            reporter,
            services.clone(),
            &telemetry.meter(),
        )
        .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        servers.spawn(
            "server",
            server::serve(
                listener,
                common(app.routes()),
                Serving::default(),
                servers.stop_token(),
            ),
        );
        let channel = Channel::from_shared(format!("http://{address}"))
            .unwrap()
            .connect_lazy();
        Self {
            client: ScorerServiceClient::new(channel.clone()),
            inference: GrpcInferenceServiceClient::new(channel.clone()),
            health: HealthClient::new(channel),
            app,
            world,
            telemetry,
            services,
            servers,
        }
    }

    /// What it measures of itself, as Prometheus would read it.
    pub(crate) fn metrics(&self) -> String {
        let families = self.telemetry.prometheus().gather();
        TextEncoder::new().encode_to_string(&families).unwrap()
    }

    /// Waits until these lines are among what it measures.
    pub(crate) async fn measures(&self, lines: &[&str]) {
        eventually(&format!("it measures {lines:?}"), || async {
            let metrics = self.metrics();
            let has = |line: &&str| metrics.lines().any(|found| found == *line);
            lines.iter().all(has)
        })
        .await;
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
        self.world.push(model, files, None).await
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
        let path = self.world.folder.path().join("bundles/blobs/sha256");
        let path = path.join(&hex[..2]).join(&hex);
        assert!(path.exists(), "{} is not stored", path.display());
        path
    }

    /// Points the slot at a version.
    pub(crate) async fn set(&self, generation: u64, version: u64, digest: Digest) {
        let desired = desired(generation, Some((version, digest)));
        self.world.desire(&desired).await;
    }

    /// Empties the slot.
    pub(crate) async fn empty(&self, generation: u64) {
        self.world.desire(&desired(generation, None)).await;
    }

    /// Which version and generation answers now.
    pub(crate) async fn answering(&self) -> (u64, u64) {
        let answer = self.client.clone().score(score(1, &[100])).await.unwrap();
        let by = answer.into_inner().served_by.unwrap();
        (by.version, by.generation)
    }

    /// Waits until this version answers.
    pub(crate) async fn answers(&self, version: u64) {
        eventually(&format!("version {version} answers"), || async {
            let answer = self.client.clone().score(score(1, &[100])).await;
            answer.is_ok_and(|answer| answer.into_inner().served_by.unwrap().version == version)
        })
        .await;
    }

    /// Every version that it lists.
    pub(crate) async fn list(&self) -> Vec<wire::Servable> {
        let request = wire::ListServablesRequest {};
        let listed = self.client.clone().list_servables(request).await.unwrap();
        listed.into_inner().servables
    }

    /// Waits for a version's state, and returns what is listed then.
    pub(crate) async fn listed(&self, version: u64, state: wire::ServableState) -> wire::Servable {
        let mut found = None;
        for _ in 0..2_000 {
            let mut listed = self.list().await.into_iter();
            found = listed.find(|servable| number(servable) == version);
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

    /// Ends everything, but for what is around it.
    pub(crate) async fn stop(self) -> World {
        self.drain().await;
        self.servers.stop(PATIENCE).await.unwrap();
        self.world
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
    let values = wire::column::Values::StringValues(values.iter().collect());
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
