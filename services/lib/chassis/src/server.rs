//! A gRPC server on a given listener: health, reflection, limits, and an end that lets calls finish.

use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::server::NamedService;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::telemetry::rpc::ObserveLayer;
use crate::telemetry::{Telemetry, ops};

/// Streams that one connection may have open at once; a client that wants more opens another connection.
const STREAMS_PER_CONNECTION: u32 = 1024;
/// How often a silent connection is asked whether it still lives, and how long it may take to answer.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(10));

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
#[derive(Clone, Debug)]
pub struct Serving {
    /// Counts and traces calls; outermost, so that whatever ends a call is seen.
    pub observe: ObserveLayer,
    /// After how long clients are asked to connect anew: behind an address that stands for several servers, they come to
    /// spread over those that were added since. Calls that are under way are finished first.
    pub max_connection_age: Option<Duration>,
}

impl Default for Serving {
    /// Connections of any age, and calls that are counted for nobody.
    fn default() -> Self {
        Self {
            observe: Telemetry::none().observe(),
            max_connection_age: None,
        }
    }
}

/// Serves until `stop` is cancelled, then takes no new calls and lets those at work finish.
///
/// # Errors
/// What the transport reports.
pub async fn serve(
    listener: TcpListener,
    routes: Routes,
    serving: Serving,
    stop: CancellationToken,
) -> Result<(), String> {
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let mut server = Server::builder();
    if let Some(age) = serving.max_connection_age {
        server = server.max_connection_age(age);
    }
    server
        .layer(serving.observe)
        .max_concurrent_streams(STREAMS_PER_CONNECTION)
        .http2_keepalive_interval(Some(KEEP_ALIVE.0))
        .http2_keepalive_timeout(Some(KEEP_ALIVE.1))
        .add_routes(routes)
        .serve_with_incoming_shutdown(incoming, stop.cancelled())
        .await
        .map_err(|error| format!("gRPC server: {error}"))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::time::timeout;

    use super::*;
    use crate::tasks::Tasks;

    /// The types of HTTP/2 frames (RFC 9113, section 6).
    const SETTINGS: u8 = 4;
    const GOAWAY: u8 = 7;

    #[tokio::test]
    async fn an_old_connection_is_told_to_go() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (tasks, _failures) = Tasks::new();
        let serving = Serving {
            max_connection_age: Some(Duration::from_millis(20)),
            ..Serving::default()
        };
        let serving = serve(listener, Routes::default(), serving, tasks.stop_token());
        tasks.spawn("server", serving);

        let mut stream = TcpStream::connect(address).await.unwrap();
        stream
            .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            .await
            .unwrap();
        stream
            .write_all(&[0, 0, 0, SETTINGS, 0, 0, 0, 0, 0])
            .await
            .unwrap();
        let told = timeout(Duration::from_secs(20), async {
            loop {
                let mut header = [0; 9];
                stream.read_exact(&mut header).await.unwrap();
                if header[3] == GOAWAY {
                    return;
                }
                let length = u32::from_be_bytes([0, header[0], header[1], header[2]]);
                let mut payload = vec![0; length as usize];
                stream.read_exact(&mut payload).await.unwrap();
            }
        });
        told.await.unwrap();
        drop(stream);
        tasks.stop(Duration::from_secs(5)).await.unwrap();
    }
}
