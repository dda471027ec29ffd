//! The trainer, assembled: jobs, the worker that runs them, and the service.

use std::sync::atomic::Ordering;

use decant_artifact::{KeyError, SigningKey};
use decant_chassis::client::{AddressError, Caller};
use decant_chassis::server::Routes;
use decant_chassis::tasks::Tasks;
use decant_inference::Runtime;
use decant_proto::trainer::v1::trainer_service_server::TrainerServiceServer;
use opentelemetry::metrics::Meter;
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::jobs::{Folder, FolderError, Jobs, Turns};
use crate::metrics::{self, Metrics};
use crate::publish::Publisher;
use crate::run::Runner;
use crate::service::Service;

/// A job file is a page of text; this leaves room for a thousand.
const LARGEST_REQUEST: usize = 4 << 20;

/// A trainer.
pub struct App {
    jobs: Jobs,
    tasks: Tasks,
}

/// Why a trainer cannot start.
#[derive(Debug, Error)]
pub enum BuildError {
    /// The jobs of before cannot be read.
    #[error(transparent)]
    Jobs(#[from] FolderError),
    /// The registry's address is none.
    #[error(transparent)]
    Registry(#[from] AddressError),
    /// The key that signs cannot be read.
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl App {
    /// Reads the jobs of before and starts the worker as a task of `tasks`. Versions are pushed through `caller`. What it
    /// measures of itself it tells the meter.
    ///
    /// # Errors
    /// When the jobs cannot be read or the registry's address is none.
    pub fn build(
        config: Config,
        runtime: Runtime,
        caller: &Caller,
        tasks: Tasks,
        meter: &Meter,
    ) -> Result<Self, BuildError> {
        let registries = config.registries(caller)?;
        let key = (!config.signing_key.as_os_str().is_empty())
            .then(|| SigningKey::load(&config.signing_key))
            .transpose()?;
        let publisher = Publisher::new(registries, key);
        let (jobs, turns) = Jobs::open(Folder::create(&config.jobs)?, config.queue)?;
        metrics::observe(meter, &jobs);
        let runner = Runner::new(config.datasets, publisher, runtime, Metrics::new(meter));
        tasks.spawn("trainer worker", work(turns, runner, tasks.stop_token()));
        Ok(Self { jobs, tasks })
    }

    /// The service.
    pub fn routes(&self) -> Routes {
        let service = Service::new(self.jobs.clone(), self.tasks.clone());
        Routes::new(TrainerServiceServer::new(service).max_decoding_message_size(LARGEST_REQUEST))
    }
}

/// Runs one job after the other. A job uses every core by itself, so two at once would only slow each other down.
async fn work(mut turns: Turns, runner: Runner, stop: CancellationToken) -> Result<(), String> {
    loop {
        let turn = tokio::select! {
            turn = turns.next() => turn.ok_or("the job queue was closed")?,
            () = stop.cancelled() => return Ok(()),
        };
        let cancel = turn.cancel_flag();
        let running = runner.run(turn);
        tokio::pin!(running);
        tokio::select! {
            () = &mut running => {}
            () = stop.cancelled() => {
                // The job notices at its next batch. Its file still says that it runs, and so the next start knows
                // that it was cut short.
                cancel.store(true, Ordering::Relaxed);
                runner.abandon();
                running.await;
                return Ok(());
            }
        }
    }
}
