//! A cluster as it is run in earnest: real etcd, several registries and scorers in processes of their own, and a folder as
//! the object store.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use decant_artifact::testing::S3Server;
use decant_chassis::client::channel;
use decant_coordination::testing::Etcd;
use decant_proto::rollout::v1 as rollout;
use tempfile::TempDir;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::failpoints;
use crate::movielens::datasets;
use crate::operated::Operated;
use crate::process::{Process, decant};
use crate::proxy::Proxy;
use crate::wait::eventually;

/// How long a lease lives in tests: short, so that what follows from its loss comes soon; etcd gives no less than 2 s.
pub(crate) const LEASE_MILLIS: &str = "2000";

/// How often the leader looks at a rollout in tests: often, so that steps follow one another soon.
pub(crate) const LOOK_MILLIS: &str = "100";

/// How many of each there are.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// etcd's members.
    pub etcd: usize,
    /// Registries.
    pub registries: usize,
    /// Scorers.
    pub scorers: usize,
}

/// An S3 server, and the way to it that scorers take.
struct Objects {
    server: S3Server,
    network: Arc<Proxy>,
}

/// A running cluster. What runs ends when it is dropped.
pub struct Deployment {
    folder: TempDir,
    objects: Option<Objects>,
    /// etcd.
    pub etcd: Etcd,
    /// The registries; a test may end some and start others.
    pub registries: Vec<Process>,
    /// The scorers, `scorer-0` and so on.
    pub scorers: Vec<Process>,
}

impl Operated for Deployment {
    fn registry_address(&self, place: usize) -> SocketAddr {
        self.registries[place].address()
    }

    fn scorer_addresses(&self) -> Vec<SocketAddr> {
        self.scorers.iter().map(Process::address).collect()
    }
}

impl Deployment {
    /// Starts everything, on a folder as the object store, and creates the model of the tiny bundles.
    pub async fn start(shape: Shape) -> Self {
        Self::start_on(shape, None, &|_| Vec::new()).await
    }

    /// The same, with variables on top of those that all have: of `registry-0`, `scorer-0` and so on.
    pub async fn start_with(
        shape: Shape,
        variables: &(dyn Fn(&str) -> Vec<(&'static str, String)> + Sync),
    ) -> Self {
        Self::start_on(shape, None, variables).await
    }

    /// The same on a real S3 server; scorers reach it through the proxy.
    pub async fn start_on_s3(shape: Shape) -> (Self, Arc<Proxy>) {
        let server = S3Server::start();
        let network = Arc::new(Proxy::start(server.address()));
        let objects = Objects {
            server,
            network: Arc::clone(&network),
        };
        let cluster = Self::start_on(shape, Some(objects), &|_| Vec::new()).await;
        (cluster, network)
    }

    async fn start_on(
        shape: Shape,
        objects: Option<Objects>,
        variables: &(dyn Fn(&str) -> Vec<(&'static str, String)> + Sync),
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let etcd = Etcd::cluster(shape.etcd).await;
        let mut cluster = Self {
            folder,
            objects,
            etcd,
            registries: Vec::new(),
            scorers: Vec::new(),
        };
        for place in 0..shape.registries {
            let registry = cluster.start_registry(variables(&format!("registry-{place}")));
            cluster.registries.push(registry);
        }
        for place in 0..shape.scorers {
            let scorer = cluster.start_scorer(place, variables(&format!("scorer-{place}")));
            cluster.scorers.push(scorer);
        }
        cluster.create_model().await;
        cluster
    }

    /// A folder for whatever the test needs.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts a further registry; these variables come on top of those that all have.
    pub fn start_registry<'a>(
        &self,
        variables: impl IntoIterator<Item = (&'a str, String)>,
    ) -> Process {
        let failpoint = failpoints::file(self.folder());
        let own = [
            ("DECANT_REGISTRY__LEASE_TTL_MILLIS", LEASE_MILLIS.to_owned()),
            (
                "DECANT_REGISTRY__ROLLOUT_INTERVAL_MILLIS",
                LOOK_MILLIS.to_owned(),
            ),
            (failpoints::VARIABLE, failpoint.to_str().unwrap().to_owned()),
        ];
        let variables = self.common().into_iter().chain(own).chain(variables);
        let bundles = self.bundles(|objects| objects.server.address());
        Process::start("decant-registry", &[], texts(variables).chain(bundles))
    }

    /// Starts the scorer of this number, with the cache that it had before; these variables come on top.
    pub fn start_scorer<'a>(
        &self,
        place: usize,
        variables: impl IntoIterator<Item = (&'a str, String)>,
    ) -> Process {
        let variables = self.scorer_variables(place).into_iter().chain(variables);
        let bundles = self.bundles(|objects| objects.network.address());
        Process::start("decant-scorer", &[], texts(variables).chain(bundles))
    }

    /// The same on one core only, as measurements need it.
    pub fn start_scorer_on_core(&self, place: usize, core: usize) -> Process {
        let bundles = self.bundles(|objects| objects.network.address());
        let variables = texts(self.scorer_variables(place)).chain(bundles);
        let wrapper = ["taskset", "--cpu-list", &core.to_string()];
        Process::start_in(&wrapper, "decant-scorer", variables)
    }

    /// The scorer of this number, whose cache has no more than a mebibyte of disk.
    pub fn start_cramped_scorer(&self, place: usize) -> Process {
        let cache = self.folder().join(format!("cramped-{place}"));
        std::fs::create_dir_all(&cache).unwrap();
        let cache = cache.to_str().unwrap().to_owned();
        let script = format!("mount -t tmpfs -o size=1m none '{cache}' && exec \"$0\"");
        let variables = self
            .scorer_variables(place)
            .into_iter()
            .chain([("DECANT_SCORER__CACHE__FOLDER", cache)]);
        let bundles = self.bundles(|objects| objects.network.address());
        let wrapper = ["unshare", "--mount", "sh", "-c", &script];
        Process::start_in(&wrapper, "decant-scorer", texts(variables).chain(bundles))
    }

    fn scorer_variables(&self, place: usize) -> Vec<(&'static str, String)> {
        let cache = self.folder().join(format!("cache-{place}"));
        let own = [
            ("DECANT_SCORER__NAME", format!("scorer-{place}")),
            ("DECANT_SCORER__LEASE_TTL_MILLIS", LEASE_MILLIS.to_owned()),
            ("DECANT_SCORER__WORKERS", "1".to_owned()),
            ("DECANT_SCORER__RETRY_FIRST_MILLIS", "200".to_owned()),
            ("DECANT_SCORER__RETRY_LONGEST_MILLIS", "1000".to_owned()),
            (
                "DECANT_SCORER__CACHE__FOLDER",
                cache.to_str().unwrap().to_owned(),
            ),
        ];
        self.common().into_iter().chain(own).collect()
    }

    /// Where the bundles lie, for a process that reaches an S3 server at this address.
    fn bundles(&self, address: impl Fn(&Objects) -> SocketAddr) -> Vec<(String, String)> {
        let Some(objects) = &self.objects else {
            let bundles = self.folder().join("bundles");
            std::fs::create_dir_all(&bundles).unwrap();
            return vec![(
                "DECANT_BUNDLES__URL".to_owned(),
                format!("file://{}", bundles.display()),
            )];
        };
        let config = objects.server.config_through(address(objects), "cluster");
        let mut variables = vec![
            ("DECANT_BUNDLES__URL".to_owned(), config.url),
            (
                "DECANT_BUNDLES__ENDPOINT".to_owned(),
                config.endpoint.unwrap_or_default(),
            ),
            (
                "DECANT_BUNDLES__REGION".to_owned(),
                config.region.unwrap_or_default(),
            ),
            ("DECANT_BUNDLES__ALLOW_HTTP".to_owned(), "true".to_owned()),
            // Short, so that a test sees the end of its patience.
            (
                "DECANT_BUNDLES__REQUEST_TIMEOUT_MILLIS".to_owned(),
                "1000".to_owned(),
            ),
        ];
        variables.extend(objects.server.env());
        variables
    }

    fn common(&self) -> Vec<(&'static str, String)> {
        vec![
            ("DECANT_LISTEN", "127.0.0.1:0".to_owned()),
            (
                "DECANT_STORE__ENDPOINTS",
                format!("{:?}", self.etcd.endpoints()),
            ),
        ]
    }

    /// Runs `decant` against all registries, with the addresses of other services if it needs them.
    pub fn decant_with(
        &self,
        others: &[(&'static str, SocketAddr)],
        arguments: &[&str],
    ) -> std::process::Output {
        let addresses: Vec<_> = self
            .registries
            .iter()
            .map(|registry| format!("http://{}", registry.address()))
            .collect();
        let mut addresses = vec![("registry", addresses.join(","))];
        addresses.extend(
            others
                .iter()
                .map(|(service, address)| (*service, format!("http://{address}"))),
        );
        decant(&addresses, arguments)
    }

    /// Runs `decant` against all registries.
    pub fn decant(&self, arguments: &[&str]) -> std::process::Output {
        self.decant_with(&[], arguments)
    }

    /// Starts a trainer that pushes to all registries, signed by the key in this file.
    pub fn start_trainer(&self, key: &Path) -> Process {
        let registries: Vec<_> = self
            .registries
            .iter()
            .map(|registry| format!("http://{}", registry.address()))
            .collect();
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        let variables = [
            ("DECANT_LISTEN", "127.0.0.1:0".to_owned()),
            ("DECANT_TRAINER__JOBS", text(&self.folder().join("jobs"))),
            ("DECANT_TRAINER__DATASETS", text(&datasets())),
            ("DECANT_TRAINER__REGISTRY", registries.join(",")),
            ("DECANT_TRAINER__SIGNING_KEY", text(key)),
        ];
        Process::start("decant-trainer", &[], variables)
    }

    /// Waits until a scorer says that it is ready, as load balancers do before they send it requests.
    pub async fn ready(&self, place: usize) {
        let address = format!("http://{}", self.scorers[place].address());
        let client = HealthClient::new(channel("scorer", &address).unwrap());
        let request = HealthCheckRequest {
            service: "decant.scorer.v1.ScorerService".to_owned(),
        };
        eventually("the scorer is ready", || {
            let (mut client, request) = (client.clone(), request.clone());
            async move {
                match client.check(request).await {
                    Ok(answer) if answer.get_ref().status() == ServingStatus::Serving => Ok(()),
                    other => Err(format!("{other:?}")),
                }
            }
        })
        .await;
    }

    /// Waits until a registry counts a scorer's process among the live ones; one that died before with the same name may
    /// stand in its way until its lease ends.
    pub async fn registered(&self, place: usize) {
        let address = self.scorers[place].address().to_string();
        eventually("the scorer is registered", || async {
            let scorers = self.status(0).await.unwrap().scorers;
            let named = |status: &&rollout::ScorerStatus| {
                status
                    .scorer
                    .as_ref()
                    .is_some_and(|scorer| scorer.address == address)
            };
            if scorers
                .iter()
                .find(named)
                .is_some_and(|status| status.serving > 0)
            {
                Ok(())
            } else {
                Err(scorers)
            }
        })
        .await;
    }
}

fn texts<'a>(
    variables: impl IntoIterator<Item = (&'a str, String)>,
) -> impl Iterator<Item = (String, String)> {
    variables
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
}
