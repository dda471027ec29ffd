//! The three services in this process.

use std::path::{Path, PathBuf};

use decant_chassis::client::{Channel, channel};
use decant_chassis::telemetry::Telemetry;
use decant_proto::admin::v1::admin_service_client::AdminServiceClient;
use decant_proto::registry::v1::registry_service_client::RegistryServiceClient;
use decant_proto::rollout::v1 as rollout;
use decant_proto::rollout::v1::rollout_service_client::RolloutServiceClient;
use decant_proto::scorer::v1 as scorer;
use decant_proto::scorer::v1::scorer_service_client::ScorerServiceClient;
use decant_proto::trainer::v1 as trainer;
use decant_proto::trainer::v1::trainer_service_client::TrainerServiceClient;
use decant_standalone::{App, Config, Listen, Listeners, Stop};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::wait::eventually;

/// A running Decant. Stop it with [`Cluster::stop`], or drop it where the end does not matter.
pub struct Cluster {
    /// Where the services listen.
    pub addresses: Listen,
    folder: TempDir,
    stop: CancellationToken,
    running: JoinHandle<anyhow::Result<()>>,
}

/// Stops once.
struct Token(Option<CancellationToken>);

impl Stop for Token {
    async fn next(&mut self) -> &'static str {
        match self.0.take() {
            Some(token) => token.cancelled().await,
            None => std::future::pending().await,
        }
        "the test is over"
    }
}

impl Cluster {
    /// Starts on an empty folder; jobs read their data from `datasets`.
    pub async fn start(datasets: &Path) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), datasets).await
    }

    /// Starts on a folder that holds what was kept.
    pub async fn start_in(folder: TempDir, datasets: &Path) -> Self {
        let free = "127.0.0.1:0".parse().unwrap();
        let config = Config {
            data: folder.path().to_owned(),
            datasets: datasets.to_owned(),
            onnx_runtime: onnx_runtime(),
            listen: Listen {
                trainer: free,
                registry: free,
                scorer: free,
            },
            ..Config::default()
        };
        config.check().unwrap();
        let listeners = Listeners::bind(&config.listen, None).await.unwrap();
        let app = App::build(config, listeners, &Telemetry::none())
            .await
            .unwrap();
        let (addresses, stop) = (app.addresses().clone(), CancellationToken::new());
        #[expect(
            clippy::disallowed_methods,
            reason = "the cluster owns this task, and stop() awaits it"
        )]
        let running = tokio::spawn(app.run(Token(Some(stop.clone()))));
        Self {
            addresses,
            folder,
            stop,
            running,
        }
    }

    /// Drains, and returns the folder with all that was kept.
    pub async fn stop(self) -> TempDir {
        self.stop.cancel();
        self.running.await.unwrap().unwrap();
        self.folder
    }

    /// Drains, and starts again on the same folder.
    pub async fn restart(self, datasets: &Path) -> Self {
        Self::start_in(self.stop().await, datasets).await
    }

    /// Everything that is kept lies here.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A client of the trainer.
    pub fn trainer(&self) -> TrainerServiceClient<Channel> {
        TrainerServiceClient::new(
            channel("trainer", &format!("http://{}", self.addresses.trainer)).unwrap(),
        )
    }

    /// A client of the registry.
    pub fn registry(&self) -> RegistryServiceClient<Channel> {
        RegistryServiceClient::new(
            channel("registry", &format!("http://{}", self.addresses.registry)).unwrap(),
        )
    }

    /// A client of the rollouts.
    pub fn rollout(&self) -> RolloutServiceClient<Channel> {
        RolloutServiceClient::new(
            channel("registry", &format!("http://{}", self.addresses.registry)).unwrap(),
        )
    }

    /// A client of the care for the store.
    pub fn admin(&self) -> AdminServiceClient<Channel> {
        AdminServiceClient::new(
            channel("registry", &format!("http://{}", self.addresses.registry)).unwrap(),
        )
    }

    /// A client of the scorer.
    pub fn scorer(&self) -> ScorerServiceClient<Channel> {
        ScorerServiceClient::new(
            channel("scorer", &format!("http://{}", self.addresses.scorer)).unwrap(),
        )
    }

    /// Submits a job and waits for its end.
    pub async fn train(&self, spec_toml: &str) -> trainer::Job {
        let mut client = self.trainer();
        let request = trainer::SubmitJobRequest {
            spec_toml: spec_toml.to_owned(),
        };
        let id = client
            .submit_job(request)
            .await
            .unwrap()
            .into_inner()
            .job
            .unwrap()
            .id;
        let mut news = client
            .watch_job(trainer::WatchJobRequest { id })
            .await
            .unwrap()
            .into_inner();
        let mut last = None;
        while let Some(message) = news.message().await.unwrap() {
            if let Some(trainer::watch_job_response::News::Job(job)) = message.news {
                last = Some(job);
            }
        }
        last.unwrap()
    }

    /// Points the slot `main` at a version and waits until the scorer serves it.
    pub async fn promote(&self, model: &str, version: u64) -> rollout::Slot {
        let request = rollout::SetSlotRequest {
            model: model.to_owned(),
            version,
            ..rollout::SetSlotRequest::default()
        };
        self.rollout().set_slot(request).await.unwrap();
        eventually("the version serves", || async {
            let request = rollout::GetSlotStatusRequest {
                model: model.to_owned(),
                slot: String::new(),
            };
            let answer = self.rollout().get_slot_status(request).await.unwrap();
            let status = answer.into_inner().status.unwrap();
            let slot = status.slot.clone().unwrap();
            let serves = slot.active.iter().any(|active| active.version == version);
            if serves && status.converged && status.scorers.len() == 1 {
                Ok(slot)
            } else {
                Err(status)
            }
        })
        .await
    }

    /// What the scorer has, wants or failed to load.
    pub async fn servables(&self) -> Vec<scorer::Servable> {
        let answer = self
            .scorer()
            .list_servables(scorer::ListServablesRequest {})
            .await
            .unwrap();
        answer.into_inner().servables
    }
}

fn onnx_runtime() -> PathBuf {
    let variable = std::env::var_os("ORT_DYLIB_PATH");
    variable.map(PathBuf::from).expect(
        "ORT_DYLIB_PATH is not set; run `make test`, or eval \"$(deploy/bootstrap.sh env)\"",
    )
}
