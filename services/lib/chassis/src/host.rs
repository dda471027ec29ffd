//! A process that serves: its servers, the services behind them, and how it ends without dropping a call.

use std::future::Future;
use std::time::Duration;

use crate::server::Routes;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::time::timeout;
use tonic_health::server::HealthReporter;

use crate::config::ConfigError;
use crate::server::{self, Serving};
use crate::signal::Signals;
use crate::tasks::{Failures, TaskEnded, Tasks};
use crate::telemetry::{Telemetry, endpoint};
use crate::tls::{self, Identity};

/// How long calls may take to end before the services behind them are told to.
const STREAMS_MAY_LAST: Duration = Duration::from_millis(250);

/// How a process stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Drain {
    /// How long to go on serving after saying "not serving", so that load balancers hear of it; milliseconds.
    pub propagation_millis: u64,
    /// How long calls and tasks may take to end, milliseconds.
    pub patience_millis: u64,
}

impl Default for Drain {
    fn default() -> Self {
        // On one machine there is no load balancer to wait for.
        Self {
            propagation_millis: 0,
            patience_millis: 10_000,
        }
    }
}

/// Why a process did not run to an orderly end.
#[derive(Debug, Error)]
pub enum HostError {
    /// A task ended unasked.
    #[error("{0}")]
    Ended(TaskEnded),
    /// Something did not end in time.
    #[error("{what} did not end within {patience:?}: {}", .names.join(", "))]
    CutOff {
        /// Servers or tasks.
        what: &'static str,
        /// How long they had.
        patience: Duration,
        /// Which.
        names: Vec<&'static str>,
    },
    /// A second reason to stop came while stopping.
    #[error("{0} while stopping: calls and tasks were cut off")]
    Twice(&'static str),
}

/// The servers of a process and the services behind them. Two sets of tasks, because they stop one after the other: first
/// the servers take no more calls, then the services end.
pub struct Host {
    services: Tasks,
    servers: Tasks,
    failures: (Failures, Failures),
    health: Vec<HealthReporter>,
}

impl Default for Host {
    fn default() -> Self {
        Self::new()
    }
}

impl Host {
    /// A host of nothing yet.
    pub fn new() -> Self {
        let (services, service_failures) = Tasks::new();
        let (servers, server_failures) = Tasks::new();
        Self {
            services,
            servers,
            failures: (service_failures, server_failures),
            health: Vec::new(),
        }
    }

    /// The tasks of the services, for those that are assembled.
    pub fn services(&self) -> Tasks {
        self.services.clone()
    }

    /// Serves routes on a listener, as the task of this name. The reporter's server as a whole is marked as serving when
    /// the host runs.
    pub fn serve(
        &mut self,
        name: &'static str,
        listener: TcpListener,
        routes: Routes,
        serving: Serving,
        reporter: HealthReporter,
    ) {
        let stop = self.servers.stop_token();
        let serving = server::serve(listener, routes, serving, stop);
        self.servers.spawn(name, serving);
        self.health.push(reporter);
    }

    /// Reads what the process shows and whom it trusts, and keeps that up to date.
    ///
    /// # Errors
    /// Names the key, the file and the reason.
    pub fn identify(
        &self,
        config: &tls::Config,
        telemetry: &Telemetry,
    ) -> Result<Identity, ConfigError> {
        let identity = Identity::load(config)?;
        identity.observe(&telemetry.meter());
        let following = identity.clone().follow(self.services.stop_token());
        self.services.spawn("certificates", following);
        Ok(identity)
    }

    /// Lets the process's metrics be fetched, and the health of its servers be asked, until its services have stopped. Servers
    /// that are added later are not asked.
    pub fn publish(&self, listener: TcpListener, telemetry: &Telemetry) {
        let stop = self.services.stop_token();
        let serving = endpoint::serve(listener, telemetry.prometheus(), self.health.clone(), stop);
        self.services.spawn("metrics endpoint", serving);
    }

    /// Says to all that ask that this process serves.
    pub async fn announce(&self) {
        for reporter in &self.health {
            server::set_status(reporter, "", true).await;
        }
    }

    /// Serves until `stop` yields its first reason, or a task ends unasked, and then drains. A second reason ends the
    /// drain at once. `leaving` is awaited right after health says "not serving": a service's first step of going away.
    ///
    /// # Errors
    /// The task that ended unasked, or those that did not end in time.
    pub async fn run(
        mut self,
        drain: Drain,
        leaving: impl Future<Output = ()>,
        mut stop: impl Stop,
    ) -> Result<(), HostError> {
        let failed = tokio::select! {
            reason = stop.next() => {
                tracing::info!(reason, "stopping");
                None
            }
            ended = self.failures.0.next() => Some(ended),
            ended = self.failures.1.next() => Some(ended),
        };
        tokio::select! {
            drained = self.drain(drain, leaving) => drained?,
            reason = stop.next() => return Err(HostError::Twice(reason)),
        }
        failed.map_or(Ok(()), |ended| Err(HostError::Ended(ended)))
    }

    /// In this order: say "not serving", let that be heard, take no more calls and finish those at work, stop the
    /// services' own tasks.
    async fn drain(
        &self,
        drain: Drain,
        leaving: impl Future<Output = ()>,
    ) -> Result<(), HostError> {
        for reporter in &self.health {
            server::set_status(reporter, "", false).await;
        }
        leaving.await;
        tokio::time::sleep(Duration::from_millis(drain.propagation_millis)).await;
        // All that wanted to know have heard it. Who watches health would hold its connection, and with it the drain.
        for reporter in &self.health {
            server::forget_status(reporter, "").await;
        }
        let patience = Duration::from_millis(drain.patience_millis);
        let cut_off = |what: &'static str| {
            move |names| HostError::CutOff {
                what,
                patience,
                names,
            }
        };
        let servers = self.servers.stop(patience);
        tokio::pin!(servers);
        // Streams that never end by themselves hold their server until the services stop.
        let ended = match timeout(STREAMS_MAY_LAST, &mut servers).await {
            Ok(ended) => (ended, self.services.stop(patience).await),
            Err(_) => tokio::join!(servers, self.services.stop(patience)),
        };
        ended.0.map_err(cut_off("servers"))?;
        ended.1.map_err(cut_off("tasks"))
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
