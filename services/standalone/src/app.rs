//! The three services, assembled, run and stopped in order.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use decant_artifact::BundleStore;
use decant_chassis::server::{self, serve};
use decant_chassis::signal::Signals;
use decant_chassis::tasks::{Failures, Tasks};
use decant_coordination::{EmbeddedStore, MetaStore};
use decant_inference::Runtime;
use tokio::net::TcpListener;
use tokio::time::timeout;
use tonic::service::Routes;
use tonic_health::server::HealthReporter;

use crate::config::{Config, Drain, Listen};

/// The sockets, bound before anything else is done, so that a taken port is known at once.
pub struct Listeners {
    trainer: TcpListener,
    registry: TcpListener,
    scorer: TcpListener,
}

impl Listeners {
    /// Binds all three.
    ///
    /// # Errors
    /// Names the service and the address.
    pub async fn bind(listen: &Listen) -> anyhow::Result<Self> {
        async fn bind(service: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
            TcpListener::bind(address)
                .await
                .with_context(|| format!("the {service} cannot listen on {address}"))
        }
        Ok(Self {
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

/// How long calls may take to end before the services behind them are told to.
const STREAMS_MAY_LAST: Duration = Duration::from_millis(250);

/// The assembled process.
pub struct App {
    scorer: decant_scorer::App,
    addresses: Listen,
    drain: Drain,
    health: Vec<HealthReporter>,
    services: Tasks,
    servers: Tasks,
    failures: (Failures, Failures),
}

impl App {
    /// Opens the store and the bundles, builds the services on them and begins to serve.
    ///
    /// # Errors
    /// What cannot be opened or built.
    pub async fn build(config: Config, listeners: Listeners) -> anyhow::Result<Self> {
        let addresses = listeners.addresses().context("read the bound addresses")?;
        let runtime = Runtime::load(&config.onnx_runtime)?;
        let folder = |name: &str| config.data.join(name);
        std::fs::create_dir_all(&config.data)
            .with_context(|| format!("make the data folder {}", config.data.display()))?;
        let store: Arc<dyn MetaStore> = Arc::new(EmbeddedStore::open(&folder("store.redb"))?);
        let bundles = BundleStore::local(&folder("bundles"))?;

        // Two sets, because they stop one after the other: first the servers take no more calls, then the services end.
        let (services, service_failures) = Tasks::new();
        let (servers, server_failures) = Tasks::new();
        let mut health = Vec::new();
        let start = |name: &'static str, listener: TcpListener, routes: Routes| {
            servers.spawn(name, serve(listener, routes, servers.stop_token()));
        };

        let (reporter, with_common) = server::common()?;
        let registry = decant_registry::App::build(
            decant_registry::Config::default(),
            Arc::clone(&store),
            bundles.clone(),
            services.clone(),
        )?;
        start(
            "registry server",
            listeners.registry,
            with_common(registry.routes()),
        );
        health.push(reporter);

        let (reporter, with_common) = server::common()?;
        let scorer = decant_scorer::App::build(
            config.scorer,
            runtime.clone(),
            store,
            bundles,
            reporter.clone(),
            services.clone(),
        )?;
        start(
            "scorer server",
            listeners.scorer,
            with_common(scorer.routes()),
        );
        health.push(reporter);

        let (reporter, with_common) = server::common()?;
        let trainer = decant_trainer::Config {
            jobs: folder("jobs"),
            datasets: config.datasets,
            registry: format!("http://{}", addresses.registry),
            queue: config.job_queue,
        };
        let trainer = decant_trainer::App::build(trainer, runtime, services.clone())?;
        start(
            "trainer server",
            listeners.trainer,
            with_common(trainer.routes()),
        );
        health.push(reporter);

        for reporter in &health {
            server::set_status(reporter, "", true).await;
        }
        let failures = (service_failures, server_failures);
        Ok(Self {
            scorer,
            addresses,
            drain: config.drain,
            health,
            services,
            servers,
            failures,
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
    pub async fn run(mut self, mut stop: impl Stop) -> anyhow::Result<()> {
        tracing::info!(
            trainer = %self.addresses.trainer,
            registry = %self.addresses.registry,
            scorer = %self.addresses.scorer,
            "serving"
        );
        let failed = tokio::select! {
            reason = stop.next() => {
                tracing::info!(reason, "stopping");
                None
            }
            ended = self.failures.0.next() => Some(ended),
            ended = self.failures.1.next() => Some(ended),
        };
        tokio::select! {
            drained = self.drain() => drained?,
            reason = stop.next() => anyhow::bail!("{reason} while stopping: calls and tasks were cut off"),
        }
        match failed {
            Some(ended) => anyhow::bail!("{ended}"),
            None => Ok(()),
        }
    }

    /// In this order: say "not serving", let that be heard, take no more calls and finish those at work, stop the
    /// services' own tasks.
    async fn drain(&self) -> anyhow::Result<()> {
        for reporter in &self.health {
            server::set_status(reporter, "", false).await;
        }
        self.scorer.announce_drain().await;
        tokio::time::sleep(self.drain.propagation()).await;
        let patience = self.drain.patience();
        let cut_off = |what: &str, tasks: Vec<&'static str>| {
            anyhow::anyhow!(
                "{what} did not end within {patience:?}: {}",
                tasks.join(", ")
            )
        };
        let servers = self.servers.stop(patience);
        tokio::pin!(servers);
        // Streams that never end by themselves hold their server until the services stop.
        let ended = match timeout(STREAMS_MAY_LAST, &mut servers).await {
            Ok(ended) => (ended, self.services.stop(patience).await),
            Err(_) => tokio::join!(servers, self.services.stop(patience)),
        };
        ended.0.map_err(|tasks| cut_off("servers", tasks))?;
        ended.1.map_err(|tasks| cut_off("tasks", tasks))
    }
}

/// Reasons to stop, such as signals.
pub trait Stop: Send {
    /// Waits for the next reason.
    fn next(&mut self) -> impl Future<Output = &'static str> + Send;
}

impl Stop for Signals {
    async fn next(&mut self) -> &'static str {
        Signals::next(self).await
    }
}
