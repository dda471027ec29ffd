//! The three services, assembled, run and stopped in order.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use decant_artifact::BundleStore;
use decant_chassis::host::{Drain, Host, Stop};
use decant_chassis::process::{BindError, bind};
use decant_chassis::server::{self, Serving};
use decant_chassis::telemetry::Telemetry;
use decant_coordination::{EmbeddedStore, MetaStore};
use decant_inference::Runtime;
use tokio::net::TcpListener;

use crate::config::{Config, Listen};

/// The sockets, bound before anything else is done, so that a taken port is known at once.
pub struct Listeners {
    trainer: TcpListener,
    registry: TcpListener,
    scorer: TcpListener,
    metrics: Option<TcpListener>,
}

impl Listeners {
    /// Binds all three, and the endpoint of metrics if there is to be one.
    ///
    /// # Errors
    /// Names the service and the address.
    pub async fn bind(listen: &Listen, metrics: Option<SocketAddr>) -> Result<Self, BindError> {
        let metrics = match metrics {
            Some(address) => Some(bind("metrics endpoint", address).await?),
            None => None,
        };
        Ok(Self {
            metrics,
            trainer: bind("trainer", listen.trainer).await?,
            registry: bind("registry", listen.registry).await?,
            scorer: bind("scorer", listen.scorer).await?,
        })
    }

    /// The addresses that were bound.
    ///
    /// # Errors
    /// What the operating system reports.
    pub fn addresses(&self) -> std::io::Result<Listen> {
        Ok(Listen {
            trainer: self.trainer.local_addr()?,
            registry: self.registry.local_addr()?,
            scorer: self.scorer.local_addr()?,
        })
    }
}

/// How long the lead of this process's registry lives. It has no network between itself and the store to be patient with.
const LEASE_MILLIS: u64 = 2_000;

/// The assembled process.
pub struct App {
    scorer: decant_scorer::App,
    addresses: Listen,
    drain: Drain,
    host: Host,
}

impl App {
    /// Opens the store and the bundles, builds the services on them and begins to serve.
    ///
    /// # Errors
    /// What cannot be opened or built.
    pub async fn build(
        config: Config,
        listeners: Listeners,
        telemetry: &Telemetry,
    ) -> anyhow::Result<Self> {
        let addresses = listeners.addresses().context("read the bound addresses")?;
        let runtime = Runtime::load(&config.onnx_runtime)?;
        let folder = |name: &str| config.data.join(name);
        std::fs::create_dir_all(&config.data)
            .with_context(|| format!("make the data folder {}", config.data.display()))?;
        let store: Arc<dyn MetaStore> = Arc::new(EmbeddedStore::open(&folder("store.redb"))?);
        let bundles = BundleStore::local(&folder("bundles"))?;

        let mut host = Host::new();
        let services = host.services();
        let meter = telemetry.meter();
        let identity = host.identify(&config.tls, telemetry)?;
        let caller = config.auth.caller(identity.clone())?;
        let (reporter, with_common) = server::common(telemetry)?;
        let registry = decant_registry::App::build(
            decant_registry::Config {
                advertise: addresses.registry.to_string(),
                // The lease outlives a crash in the store's file, and nobody leads until it has ended.
                lease_ttl_millis: LEASE_MILLIS,
                ..decant_registry::Config::default()
            },
            Arc::clone(&store),
            bundles.clone(),
            caller.clone(),
            services.clone(),
            &meter,
        )?;
        let (access, following) = registry.follow_access(config.auth.access()?);
        if config.auth.enabled {
            services.spawn("access", following);
        }
        let gate = |rules| config.auth.gate(access.clone(), rules, &meter);
        let serving = Serving::new(
            telemetry,
            identity,
            gate(decant_registry::rules),
            config.limits,
        );
        host.serve(
            "registry server",
            listeners.registry,
            with_common(registry.routes()),
            serving.clone(),
            reporter,
        );

        let (reporter, with_common) = server::common(telemetry)?;
        let mut scorer = config.scorer;
        if scorer.advertise.is_empty() {
            scorer.advertise = addresses.scorer.to_string();
        }
        let scorer_serving = scorer.serving(Serving {
            gate: gate(decant_scorer::rules),
            ..serving.clone()
        });
        let scorer = decant_scorer::App::build(
            scorer,
            runtime.clone(),
            store,
            bundles,
            reporter.clone(),
            services.clone(),
            &meter,
        )?;
        host.serve(
            "scorer server",
            listeners.scorer,
            with_common(scorer.routes()),
            scorer_serving,
            reporter,
        );

        let (reporter, with_common) = server::common(telemetry)?;
        let trainer = decant_trainer::Config {
            jobs: folder("jobs"),
            datasets: config.datasets,
            registry: format!("{}://{}", caller.scheme(), addresses.registry),
            signing_key: config.signing_key,
            queue: config.job_queue,
        };
        let trainer =
            decant_trainer::App::build(trainer, runtime, &caller, services.clone(), &meter)?;
        host.serve(
            "trainer server",
            listeners.trainer,
            with_common(trainer.routes()),
            Serving {
                gate: gate(decant_trainer::rules),
                ..serving.clone()
            },
            reporter,
        );
        if let Some(listener) = listeners.metrics {
            host.publish(listener, telemetry);
        }
        host.announce().await;
        Ok(Self {
            scorer,
            addresses,
            drain: config.drain,
            host,
        })
    }

    /// Where the services listen.
    pub fn addresses(&self) -> &Listen {
        &self.addresses
    }

    /// Serves until `stop` yields its first reason, or a task ends unasked, and then drains. A second reason ends the
    /// drain at once.
    ///
    /// # Errors
    /// The task that ended unasked, or those that did not end in time.
    pub async fn run(self, stop: impl Stop) -> anyhow::Result<()> {
        tracing::info!(
            trainer = %self.addresses.trainer,
            registry = %self.addresses.registry,
            scorer = %self.addresses.scorer,
            "serving"
        );
        let leaving = self.scorer.announce_drain();
        Ok(self.host.run(self.drain, leaving, stop).await?)
    }
}
