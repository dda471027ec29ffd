//! The scorer, assembled, and taken apart again when it is told to stop.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use decant_artifact::BundleStore;
use decant_chassis::config::ConfigError;
use decant_chassis::server::Routes;
use decant_chassis::tasks::Tasks;
use decant_coordination::{Keyspace, LeaseKeeper, MetaStore};
use decant_inference::Runtime;
use opentelemetry::metrics::Meter;
use thiserror::Error;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic_health::server::HealthReporter;

use crate::config::Config;
use crate::health::Health;
use crate::membership::{Identity, Membership, keep_lease};
use crate::metrics::{self, Meters};
use crate::oip;
use crate::request_log::RequestLog;
use crate::scoring::Pool;
use crate::servable::bundles::Bundles;
use crate::servable::loader::{self, Loading};
use crate::servable::quarantine::Quarantine;
use crate::servable::snapshot::{self, Snapshot};
use crate::servable::source::Source;
use crate::servable::{Manager, reaper};
use crate::service::{Early, Process, Service};

/// A running scorer: it loads what the store says is wanted, and scores once its routes are served. Its tasks own it;
/// when they are stopped it refuses new calls, answers those that it has taken in, and ends its threads.
pub struct App {
    service: Service,
    health: Arc<Health>,
    max_request_bytes: usize,
}

/// Why a scorer could not be assembled.
#[derive(Debug, Error)]
pub enum BuildError {
    /// A value makes no sense.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The operating system gives no thread.
    #[error("the scorer's threads cannot be started: {0}")]
    Threads(#[from] io::Error),
}

impl App {
    /// Starts the threads that score, load and free, and the tasks that watch the store and report health. Must be
    /// called on a runtime, as tasks are spawned.
    ///
    /// Health is reported under `decant.scorer.v1.ScorerService` and `inference.GRPCInferenceService`, which serve once
    /// every version that is wanted at the start has been loaded or has failed, and under `MODEL/SLOT` for each slot, which
    /// serves while a version answers there. The empty name is the whole process's, and so left to it. With a cache, what
    /// was in service last is wanted from the start, whether the store answers or not.
    ///
    /// What it measures of itself it tells the meter, for as long as somebody has its routes or its tasks.
    ///
    /// When the tasks are stopped, the scorer's lease is given back last, after every call has been answered.
    ///
    /// # Errors
    /// When a value of the configuration makes no sense, or there is no thread to be had.
    pub fn build(
        config: Config,
        runtime: Runtime,
        store: Arc<dyn MetaStore>,
        bundles: BundleStore,
        reporter: HealthReporter,
        tasks: Tasks,
        meter: &Meter,
    ) -> Result<Self, BuildError> {
        config.check()?;
        let meters = Meters::new(meter);
        let identity = Identity::new(&config)?;
        let request_log = RequestLog::open(&config.request_log)?;
        let keyspace = Keyspace::new(&config.cluster);
        let workers = config.workers();
        let (manager, health) = (
            Arc::new(Manager::new(config.retry(), config.memory_budget())),
            Arc::new(Health::new(reporter)),
        );
        let kept = config.cache.folder();
        let remembered = kept.as_deref().and_then(remembered);
        if let Some(snapshot) = &remembered {
            manager.aspire(snapshot.slots.clone());
        }
        let pool = Pool::start(&tasks, config.limits());
        let mut threads = Threads {
            manager: Arc::clone(&manager),
            handles: Vec::new(),
        };
        threads
            .handles
            .push(reaper::start(&tasks, Arc::clone(&manager))?);
        let cached = match &kept {
            Some(folder) => Bundles::cached(bundles, folder.clone(), &config.cache),
            None => Bundles::uncached(bundles),
        };
        let cache = cached.watch();
        threads.handles.push(loader::start(
            &tasks,
            Arc::clone(&manager),
            Loading {
                runtime,
                bundles: cached,
                quarantine: Quarantine::load(kept.clone()),
                workers,
                max_golden_tolerance: config.max_golden_tolerance as f32,
                meters,
            },
        )?);
        let source = Source::new(
            Arc::clone(&store),
            keyspace.clone(),
            Arc::clone(&manager),
            remembered.map(|snapshot| (snapshot.seen, snapshot.slots)),
        );
        let (max_request_bytes, lease_ttl) = (config.max_request_bytes, config.lease_ttl());
        let service = Service::new(
            &tasks,
            Arc::clone(&manager),
            pool.clone(),
            Process {
                boot_id: identity.boot_id().to_owned(),
                watched: source.watched(),
            },
            request_log,
            config,
        );
        metrics::observe(meter, &service, cache);

        let (readiness, stop) = (manager.readiness(), tasks.stop_token());
        let reported = Arc::clone(&health);
        tasks.spawn("scorer health", async move {
            reported.follow(readiness, stop).await
        });
        if let Some(folder) = kept {
            tasks.spawn(
                "scorer snapshot",
                snapshot::follow(folder, source.seen(), manager.applied(), tasks.stop_token()),
            );
        }
        tasks.spawn("scorer source", source.run(tasks.stop_token()));
        let drained = CancellationToken::new();
        let keeper = LeaseKeeper::new(Arc::clone(&store), lease_ttl);
        let leases = keeper.lease();
        tasks.spawn("scorer lease", keep_lease(keeper, drained.clone()));
        tasks.spawn(
            "scorer membership",
            Membership::new(store, keyspace, identity).run(
                leases,
                manager.observed(),
                drained.clone(),
            ),
        );
        tasks.spawn(
            "scorer drain",
            drain(
                service.clone(),
                Arc::clone(&health),
                (pool, threads),
                tasks.stop_token(),
                drained.drop_guard(),
            ),
        );
        Ok(Self {
            service,
            health,
            max_request_bytes,
        })
    }

    /// The scorer's gRPC services.
    pub fn routes(&self) -> Routes {
        let (service, health) = (self.service.clone(), Arc::clone(&self.health));
        let scorer = Early::new(service.clone(), self.max_request_bytes);
        let inference = oip::Server::new(service, health, self.max_request_bytes);
        Routes::new(scorer).add_service(inference)
    }

    /// The first step of going away, before the tasks are stopped: health says "not serving" from now on, while calls
    /// are answered as before.
    pub async fn announce_drain(&self) {
        self.health.end().await;
    }
}

/// What an earlier process left, if it can be used.
fn remembered(folder: &Path) -> Option<Snapshot> {
    match snapshot::load(folder) {
        Ok(snapshot) => snapshot,
        Err(error) => {
            tracing::error!(%error, "ignored: starting from what the store says");
            None
        }
    }
}

/// Waits for the order to stop, and then lets what has been taken in be answered. Only then does `drained` go, and with it
/// the lease: as long as calls are answered, the registry is to know of it.
async fn drain(
    service: Service,
    health: Arc<Health>,
    (pool, threads): (Pool, Threads),
    stop: CancellationToken,
    drained: DropGuard,
) -> Result<(), String> {
    stop.cancelled().await;
    service.refuse();
    health.end().await;
    health.close().await;
    pool.close();
    pool.drained().await;
    // Joining blocks until a load in progress has reached its next step.
    let joined = tokio::task::spawn_blocking(move || drop(threads)).await;
    drop(drained);
    joined.map_err(|error| error.to_string())
}

/// Everything that does not end by itself when its handle is dropped.
struct Threads {
    manager: Arc<Manager>,
    handles: Vec<JoinHandle<()>>,
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.manager.stop();
        for handle in self.handles.drain(..) {
            if handle.join().is_err() {
                tracing::error!("a background thread of the scorer panicked");
            }
        }
    }
}
