//! A cluster as it is run in earnest: real etcd, several registries and scorers in processes of their own, and a folder as
//! the object store.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use decant_artifact::testing::S3Server;
use decant_chassis::client::channel;
use decant_coordination::testing::Etcd;
use decant_proto::admin::v1::admin_service_client::AdminServiceClient;
use decant_proto::registry::push::push_version;
use decant_proto::registry::v1 as registry;
use decant_proto::registry::v1::registry_service_client::RegistryServiceClient;
use decant_proto::rollout::v1 as rollout;
use decant_proto::rollout::v1::rollout_service_client::RolloutServiceClient;
use tempfile::TempDir;
use tonic::Status;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::process::{Process, decant};
use crate::proxy::Proxy;
use crate::tiny::{MODEL, Tiny, model};
use crate::wait::eventually;

/// How long a lease lives in tests: short, so that what follows from its loss comes soon; etcd gives no less than 2 s.
const LEASE_MILLIS: &str = "2000";

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

impl Deployment {
    /// Starts everything, on a folder as the object store, and creates the model of the tiny bundles.
    pub async fn start(shape: Shape) -> Self {
        Self::start_on(shape, None).await
    }

    /// The same on a real S3 server; scorers reach it through the proxy.
    pub async fn start_on_s3(shape: Shape) -> (Self, Arc<Proxy>) {
        let server = S3Server::start();
        let network = Arc::new(Proxy::start(server.address()));
        let objects = Objects {
            server,
            network: Arc::clone(&network),
        };
        (Self::start_on(shape, Some(objects)).await, network)
    }

    async fn start_on(shape: Shape, objects: Option<Objects>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let etcd = Etcd::cluster(shape.etcd).await;
        let mut cluster = Self {
            folder,
            objects,
            etcd,
            registries: Vec::new(),
            scorers: Vec::new(),
        };
        for _ in 0..shape.registries {
            let registry = cluster.start_registry([]);
            cluster.registries.push(registry);
        }
        for place in 0..shape.scorers {
            let scorer = cluster.start_scorer(place, []);
            cluster.scorers.push(scorer);
        }
        cluster.create_model().await;
        cluster
    }

    async fn create_model(&self) {
        let request = registry::CreateModelRequest {
            model: Some(registry::Model {
                name: MODEL.to_owned(),
                ..registry::Model::default()
            }),
            ..registry::CreateModelRequest::default()
        };
        self.registry(0).create_model(request).await.unwrap();
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
        let own = [("DECANT_REGISTRY__LEASE_TTL_MILLIS", LEASE_MILLIS.to_owned())];
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

    fn channel(&self, place: usize) -> Channel {
        let address = self.registries[place].address();
        channel("registry", &format!("http://{address}")).unwrap()
    }

    /// A client of one registry.
    pub fn registry(&self, place: usize) -> RegistryServiceClient<Channel> {
        RegistryServiceClient::new(self.channel(place))
    }

    /// A client of one registry's rollouts.
    pub fn rollout(&self, place: usize) -> RolloutServiceClient<Channel> {
        RolloutServiceClient::new(self.channel(place))
    }

    /// A client of one registry's administration.
    pub fn admin(&self, place: usize) -> AdminServiceClient<Channel> {
        AdminServiceClient::new(self.channel(place))
    }

    /// Runs `decant` against all registries.
    pub fn decant(&self, arguments: &[&str]) -> std::process::Output {
        let addresses: Vec<_> = self
            .registries
            .iter()
            .map(|registry| format!("http://{}", registry.address()))
            .collect();
        decant(&[("registry", addresses.join(","))], arguments)
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

    /// Where the scorers serve.
    pub fn scorer_addresses(&self) -> Vec<SocketAddr> {
        self.scorers.iter().map(Process::address).collect()
    }

    /// Pushes a bundle to one registry.
    pub async fn push(&self, place: usize, tiny: &Tiny) -> Result<registry::Version, Status> {
        push_version(
            &mut self.registry(place),
            &model(),
            tiny.manifest.clone(),
            None,
            tiny.files.clone(),
        )
        .await
    }

    /// Asks one registry to serve a version in the slot `main`.
    pub async fn set(&self, place: usize, version: u64) -> Result<rollout::Slot, Status> {
        let request = rollout::SetSlotRequest {
            model: MODEL.to_owned(),
            version,
            issued_by: format!("operator {place}"),
            ..rollout::SetSlotRequest::default()
        };
        let answer = self.rollout(place).set_slot(request).await?;
        Ok(answer.into_inner().slot.unwrap())
    }

    /// The slot `main` and what scorers make of it, as one registry sees it.
    pub async fn status(&self, place: usize) -> Result<rollout::SlotStatus, Status> {
        let request = rollout::GetSlotStatusRequest {
            model: MODEL.to_owned(),
            slot: String::new(),
        };
        let answer = self.rollout(place).get_slot_status(request).await?;
        Ok(answer.into_inner().status.unwrap())
    }

    /// Waits until so many scorers serve a version and nothing else is intended, as one registry sees it.
    pub async fn converged(&self, place: usize, version: u64, scorers: usize) -> rollout::Slot {
        eventually("the slot converges", || async {
            let status = self
                .status(place)
                .await
                .map_err(|status| Arc::from(status.to_string()))?;
            let slot = status.slot.clone().unwrap_or_default();
            let right = slot.active.len() == 1 && slot.active[0].version == version;
            if right && status.converged && status.scorers.len() == scorers {
                Ok(slot)
            } else {
                Err(Arc::<str>::from(format!("{status:#?}")))
            }
        })
        .await
    }

    /// Pushes a bundle, and serves it everywhere.
    pub async fn serve(&self, tiny: &Tiny) -> rollout::Slot {
        let version = self.push(0, tiny).await.unwrap().version;
        self.set(0, version).await.unwrap();
        self.converged(0, version, self.scorers.len()).await
    }

    /// Everything that was ever intended for the slot `main`.
    pub async fn intended(&self, place: usize) -> Vec<rollout::Slot> {
        let mut request = rollout::ListSlotHistoryRequest {
            model: MODEL.to_owned(),
            ..rollout::ListSlotHistoryRequest::default()
        };
        let mut slots = Vec::new();
        loop {
            let page = self
                .rollout(place)
                .list_slot_history(request.clone())
                .await
                .unwrap()
                .into_inner();
            slots.extend(page.slots);
            if page.next_page_token.is_empty() {
                return slots;
            }
            request.page_token = page.next_page_token;
        }
    }
}

fn texts<'a>(
    variables: impl IntoIterator<Item = (&'a str, String)>,
) -> impl Iterator<Item = (String, String)> {
    variables
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
}
