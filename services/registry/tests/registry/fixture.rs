//! A registry for one test.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use decant_artifact::BundleStore;
use decant_chassis::client::Caller;
use decant_chassis::server::Routes;
use decant_chassis::server::{Serving, serve};
use decant_chassis::tasks::{Failures, Tasks};
use decant_chassis::telemetry::Telemetry;
use decant_coordination::{EmbeddedStore, MetaStore, Prefix};
use decant_model::{BundlePath, Digest, FileEntry, Lineage, Manifest, ModelName};
use decant_proto::admin::v1::admin_service_client::AdminServiceClient;
use decant_proto::admin::v1::{
    AuditEntry, GetClusterRequest, GetClusterResponse, ListAuditRequest,
};
use decant_proto::registry::push::push_version;
use decant_proto::registry::v1::push_version_request::Part;
use decant_proto::registry::v1::registry_service_client::RegistryServiceClient;
use decant_proto::registry::v1::*;
use decant_proto::rollout::v1::rollout_service_client::RolloutServiceClient;
use decant_registry::{App, Config};
use futures::stream;
use prometheus::TextEncoder;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

pub(crate) type Files = BTreeMap<BundlePath, Bytes>;

/// A running registry. Its calls are made on clones, as clients do.
pub(crate) struct Registry {
    folder: Arc<TempDir>,
    app: App,
    store: Arc<dyn MetaStore>,
    channel: Channel,
    telemetry: Telemetry,
    services: Tasks,
    servers: Tasks,
    _failures: (Failures, Failures),
}

impl Registry {
    pub(crate) async fn start() -> Self {
        Self::start_with(Config::default()).await
    }

    pub(crate) async fn start_with(config: Config) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), config).await
    }

    async fn start_in(folder: TempDir, config: Config) -> Self {
        let store = Arc::new(EmbeddedStore::open(&folder.path().join("store.redb")).unwrap());
        Self::start_on(Arc::new(folder), store, config).await
    }

    /// Another replica on the same store and bundles.
    pub(crate) async fn replica(&self, config: Config) -> Self {
        Self::start_on(Arc::clone(&self.folder), Arc::clone(&self.store), config).await
    }

    /// Another replica on the same bundles and a store of its own.
    pub(crate) async fn replica_on(&self, store: Arc<dyn MetaStore>, config: Config) -> Self {
        Self::start_on(Arc::clone(&self.folder), store, config).await
    }

    async fn start_on(folder: Arc<TempDir>, store: Arc<dyn MetaStore>, config: Config) -> Self {
        let bundles = BundleStore::local(&folder.path().join("bundles")).unwrap();
        let (services, service_failures) = Tasks::new();
        let (servers, server_failures) = Tasks::new();
        let telemetry = Telemetry::none();
        let app = App::build(
            config,
            Arc::clone(&store),
            bundles,
            Caller::plain(),
            services.clone(),
            &telemetry.meter(),
        )
        .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        servers.spawn(
            "server",
            serve(
                listener,
                app.routes(),
                Serving::default(),
                servers.stop_token(),
            ),
        );
        let channel = Endpoint::from_shared(format!("http://{address}"))
            .unwrap()
            .connect_lazy();
        let failures = (service_failures, server_failures);
        Self {
            folder,
            app,
            store,
            channel,
            telemetry,
            services,
            servers,
            _failures: failures,
        }
    }

    /// Stops and starts again on the same data.
    pub(crate) async fn restart(self) -> Self {
        let folder = self.stop().await;
        let folder = Arc::into_inner(folder).expect("no other replica runs");
        Self::start_in(folder, Config::default()).await
    }

    /// Stops, as a replica does that is told to.
    pub(crate) async fn stop(self) -> Arc<TempDir> {
        let Self {
            folder,
            app,
            store,
            channel,
            services,
            servers,
            ..
        } = self;
        drop(channel);
        let patience = Duration::from_secs(10);
        let (servers_stopped, services_stopped) =
            tokio::join!(servers.stop(patience), services.stop(patience));
        assert_eq!((servers_stopped, services_stopped), (Ok(()), Ok(())));
        drop((app, store, servers, services));
        folder
    }

    pub(crate) fn telemetry(&self) -> Telemetry {
        self.telemetry.clone()
    }

    /// What it measures of itself, as Prometheus would read it.
    pub(crate) fn metrics(&self) -> String {
        let families = self.telemetry.prometheus().gather();
        TextEncoder::new().encode_to_string(&families).unwrap()
    }

    /// Waits until these lines are among what it measures.
    pub(crate) async fn measures(&self, lines: &[&str]) {
        soon(&format!("it measures {lines:?}"), async || {
            let metrics = self.metrics();
            let has = |line: &&str| metrics.lines().any(|found| found == *line);
            lines.iter().all(has).then_some(())
        })
        .await;
    }

    /// Tells the streams without an end to end.
    pub(crate) fn stop_services(&self) {
        self.services.stop_token().cancel();
    }

    /// Its services, for calls without a server between.
    pub(crate) fn routes(&self) -> Routes {
        self.app.routes()
    }

    pub(crate) fn client(&self) -> RegistryServiceClient<Channel> {
        RegistryServiceClient::new(self.channel.clone())
    }

    pub(crate) fn slots(&self) -> RolloutServiceClient<Channel> {
        RolloutServiceClient::new(self.channel.clone())
    }

    pub(crate) fn admin(&self) -> AdminServiceClient<Channel> {
        AdminServiceClient::new(self.channel.clone())
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The bundles below.
    pub(crate) fn bundles(&self) -> BundleStore {
        BundleStore::local(&self.folder.path().join("bundles")).unwrap()
    }

    /// The cluster at a glance.
    pub(crate) async fn cluster(&self) -> GetClusterResponse {
        let response = self.admin().get_cluster(GetClusterRequest {}).await;
        response.unwrap().into_inner()
    }

    /// Waits until somebody leads, and returns who.
    pub(crate) async fn leader(&self) -> GetClusterResponse {
        soon("somebody leads", async || {
            Some(self.cluster().await).filter(|cluster| cluster.epoch > 0)
        })
        .await
    }

    /// The store below, for what no registry would write.
    pub(crate) fn store(&self) -> &Arc<dyn MetaStore> {
        &self.store
    }

    /// The audit entries of a subject, the newest first; all, if it is empty.
    pub(crate) async fn audit(&self, subject: &str) -> Vec<AuditEntry> {
        let request = ListAuditRequest {
            subject: subject.into(),
            page_size: 1000,
            ..ListAuditRequest::default()
        };
        let response = self.admin().list_audit(request).await.unwrap();
        response.into_inner().entries
    }

    pub(crate) async fn create(&self, name: &str, gates: Vec<Gate>) -> Model {
        let model = Model {
            name: name.into(),
            gates,
            ..Model::default()
        };
        let response = self
            .client()
            .create_model(CreateModelRequest {
                model: Some(model),
                ..CreateModelRequest::default()
            })
            .await;
        response.unwrap().into_inner().model.unwrap()
    }

    /// Pushes a whole bundle, as the trainer does.
    pub(crate) async fn push(&self, bundle: &Bundle) -> Result<Version, Status> {
        push_version(
            &mut self.client(),
            &movies(),
            bundle.manifest.clone(),
            None,
            bundle.files.clone(),
        )
        .await
    }

    /// Pushes just these messages.
    pub(crate) async fn send(&self, parts: Vec<Part>) -> Result<Version, Status> {
        let requests = parts
            .into_iter()
            .map(|part| PushVersionRequest { part: Some(part) });
        let response = self.client().push_version(stream::iter(requests)).await?;
        Ok(response.into_inner().version.unwrap())
    }

    /// Everything that calls leave behind: keys, and files of bundles.
    pub(crate) async fn kept(&self) -> (Vec<String>, Vec<String>) {
        let keys = self.store.list(&Prefix::new("/")).await.unwrap().entries;
        let keys = keys.into_iter().map(|entry| entry.key.to_string());
        // A registry makes these by itself.
        let calls = |key: &String| !key.ends_with("/leader") && !key.ends_with("/meta/cluster");
        (keys.filter(calls).collect(), self.bundle_files())
    }

    /// The files in the folder of bundles, hidden ones too.
    pub(crate) fn bundle_files(&self) -> Vec<String> {
        let mut files = Vec::new();
        list(&self.folder.path().join("bundles"), &mut files);
        files.sort();
        files
    }

    /// Whether an upload lies there that no reader sees.
    pub(crate) fn is_uploading(&self) -> bool {
        self.bundle_files().iter().any(|name| name.contains('#'))
    }

    /// Where a file of this content lies.
    pub(crate) fn blob(&self, content: &[u8]) -> PathBuf {
        let hex = Digest::of(content).hex();
        self.folder
            .path()
            .join("bundles/blobs/sha256")
            .join(&hex[..2])
            .join(hex)
    }
}

fn list(folder: &Path, files: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            list(&path, files)
        } else {
            files.push(path.display().to_string())
        }
    }
}

/// Waits until something holds.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..1000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what} did not come true");
}

/// Waits until a look at something gives anything.
pub(crate) async fn soon<T>(what: &str, look: impl AsyncFn() -> Option<T>) -> T {
    for _ in 0..2000 {
        if let Some(found) = look().await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{what}: this did not come true");
}

/// A configuration under which things happen soon.
pub(crate) fn quick(address: &str) -> Config {
    Config {
        advertise: address.into(),
        lease_ttl_millis: 1000,
        reconcile_interval_millis: 100,
        abandoned_after_millis: 200,
        ..Config::default()
    }
}

pub(crate) fn movies() -> ModelName {
    "movies".parse().unwrap()
}

/// A bundle as its sender has it.
#[derive(Clone)]
pub(crate) struct Bundle {
    pub(crate) manifest: Bytes,
    pub(crate) files: Files,
}

/// A complete bundle of the model `movies`; the word makes it differ from others.
pub(crate) fn bundle(word: &str) -> Bundle {
    bundle_with(word, |_| {})
}

/// A bundle whose manifest was tampered with.
pub(crate) fn bundle_with(word: &str, tamper: impl FnOnce(&mut Manifest)) -> Bundle {
    let contents = [
        ("features.json", "{}"),
        ("golden.json", "[]"),
        ("model.onnx", word),
    ];
    let files: Files = contents
        .map(|(path, text)| {
            (
                path.parse().unwrap(),
                Bytes::copy_from_slice(text.as_bytes()),
            )
        })
        .into();
    let entry = |bytes: &Bytes| FileEntry {
        sha256: Digest::of(bytes),
        size: bytes.len() as u64,
    };
    let mut manifest = Manifest {
        format: Manifest::FORMAT,
        model: movies(),
        files: files
            .iter()
            .map(|(path, bytes)| (path.clone(), entry(bytes)))
            .collect(),
        metrics: BTreeMap::from([("auc".into(), 0.8)]),
        lineage: Lineage {
            role: Default::default(),
            student: "d8".into(),
            teachers: Vec::new(),
            dataset: Digest::of(b"data"),
            job: "1".into(),
            spec: Digest::of(b"spec"),
            code_revision: "test".into(),
            parent: None,
        },
    };
    tamper(&mut manifest);
    Bundle {
        manifest: manifest.to_json().unwrap().into(),
        files,
    }
}

impl Bundle {
    pub(crate) fn digest(&self) -> Digest {
        Digest::of(&self.manifest)
    }

    pub(crate) fn header(&self) -> Part {
        header("movies", &self.manifest, &self.digest().to_string())
    }

    /// The messages of a push that is in order.
    pub(crate) fn parts(&self) -> Vec<Part> {
        let chunks = self
            .files
            .iter()
            .map(|(path, bytes)| chunk(path.as_str(), bytes));
        [self.header()].into_iter().chain(chunks).collect()
    }
}

pub(crate) fn header(model: &str, manifest: &Bytes, digest: &str) -> Part {
    Part::Header(PushHeader {
        model: model.into(),
        manifest: manifest.clone(),
        digest: digest.into(),
        ..PushHeader::default()
    })
}

pub(crate) fn chunk(path: &str, data: &[u8]) -> Part {
    Part::Chunk(FileChunk {
        path: path.into(),
        data: Bytes::copy_from_slice(data),
    })
}

pub(crate) fn at_least(metric: &str, min: f64) -> Gate {
    Gate {
        metric: metric.into(),
        min: Some(min),
        max: None,
    }
}
