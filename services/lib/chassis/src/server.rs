//! A gRPC server on a given listener: health, reflection, limits, and an end that lets calls finish.

mod busy_poll;
mod deadline;
mod http2;
mod incoming;
mod routes;
mod unary;
#[cfg(test)]
mod tests;

pub use self::deadline::timeout;
pub use self::incoming::{Limits, Peer};
pub use self::routes::Routes;
pub use self::unary::{Begun, PREFIX, Read, unary};

use std::time::Duration;

use opentelemetry::metrics::Meter;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::server::NamedService;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use tower::Layer;

use self::busy_poll::BusyPoll;
use self::deadline::InTime;
use self::http2::Http2;
use self::incoming::{Closed, Door};
use crate::auth::{Gate, GateLayer};
use crate::telemetry::rpc::{Observe, ObserveLayer};
use crate::telemetry::{Telemetry, ops};
use crate::tls;

/// What answers calls: services, behind all that looks at every call.
type Services = Observe<Gate<InTime<Routes>>>;

/// Marks a service as serving or not in the health service.
pub async fn set_serving<S: NamedService>(health: &HealthReporter, serving: bool) {
    set_status(health, S::NAME, serving).await;
}

/// Marks a name as serving or not in the health service; the empty name is the whole server.
pub async fn set_status(health: &HealthReporter, name: &str, serving: bool) {
    let status = if serving {
        ServingStatus::Serving
    } else {
        ServingStatus::NotServing
    };
    health.set_service_status(name, status).await;
}

/// Ends the streams of those that watch a name in the health service.
pub async fn forget_status(health: &HealthReporter, name: &str) {
    health.clone().clear_service_status(name).await;
}

/// What every server has besides its own services: a health reporter, and a function that adds health, reflection and what
/// changes the process's log filter to the services' routes. The reporter comes first because services report while they
/// are being built.
///
/// # Errors
/// When the descriptors cannot be read, which only a broken build causes.
pub fn common(
    telemetry: &Telemetry,
) -> Result<(HealthReporter, impl FnOnce(Routes) -> Routes + use<>), tonic_reflection::server::Error>
{
    let ops = ops::service(telemetry.logs());
    let (health, health_service) = tonic_health::server::health_reporter();
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(decant_proto::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()?;
    Ok((health, |routes: Routes| {
        routes
            .add_service(health_service)
            .add_service(reflection)
            .add_service(ops)
    }))
}

/// How a server serves.
#[derive(Clone)]
pub struct Serving {
    /// Counts and traces calls; outermost, so that whatever ends a call is seen.
    pub observe: ObserveLayer,
    /// Where what becomes of connections is counted.
    pub meter: Meter,
    /// What the server shows, and whom it trusts.
    pub tls: tls::Identity,
    /// Who is let in.
    pub gate: GateLayer,
    /// What it takes from its clients.
    pub limits: Limits,
    /// After how long clients are asked to connect anew: behind an address that stands for several servers, they come to
    /// spread over those that were added since. Calls that are under way are finished first.
    pub max_connection_age: Option<Duration>,
    /// For how long the runtime's threads go on looking at the network after something came from it, before they sleep: for
    /// servers whose cores nobody else needs. No time means that they sleep at once.
    pub busy_poll: Duration,
}

impl Serving {
    /// With connections of any age, and threads that sleep.
    pub fn new(telemetry: &Telemetry, tls: tls::Identity, gate: GateLayer, limits: Limits) -> Self {
        Self {
            observe: telemetry.observe(),
            meter: telemetry.meter(),
            tls,
            gate,
            limits,
            max_connection_age: None,
            busy_poll: Duration::ZERO,
        }
    }
}

impl Default for Serving {
    /// The same, in plain text, for everybody, and with calls that are counted for nobody.
    fn default() -> Self {
        Self::new(
            &Telemetry::none(),
            tls::Identity::none(),
            GateLayer::open(),
            Limits::default(),
        )
    }
}

/// Serves until `stop` is cancelled, then takes no new calls and lets those at work finish.
///
/// # Errors
/// None: it is for the sake of tasks, which may fail.
pub async fn serve(
    listener: TcpListener,
    routes: Routes,
    serving: Serving,
    stop: CancellationToken,
) -> Result<(), String> {
    let gated = serving.gate.layer(InTime(routes));
    let services = serving.observe.layer(gated);
    let tasks = TaskTracker::new();
    // Whoever drops this server ends its tasks too.
    let stop = stop.child_token();
    let _stop = stop.clone().drop_guard();
    let busy_poll = BusyPoll::start(serving.busy_poll, &tasks, &stop);
    let max_age = serving.max_connection_age;
    let door = Door {
        http2: Http2::new(services, &serving.limits, max_age, tasks.clone(), busy_poll),
        tasks,
        closed: Closed::new(&serving.meter),
        tls: serving.tls,
        limits: serving.limits,
    };
    door.attend(listener, stop).await;
    Ok(())
}
