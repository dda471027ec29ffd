//! Metrics over plain HTTP, for Prometheus, and health for probes that speak neither TLS nor gRPC. Anybody who reaches the
//! address reads them: they name models and methods, and no rows and no keys.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use prometheus::{Registry, TEXT_FORMAT, TextEncoder};
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::Health as _;
use tonic_health::server::{HealthReporter, HealthService};

/// Answers `GET /metrics`, `GET /healthz` while the process lives at all, and `GET /readyz` while its servers serve, until `stop`
/// is cancelled. `/readyz?service=NAME` asks for what gRPC's health service calls so, at whichever server has the name.
///
/// # Errors
/// What the transport reports.
pub async fn serve(
    listener: TcpListener,
    registry: Registry,
    health: Vec<HealthReporter>,
    stop: CancellationToken,
) -> Result<(), String> {
    let health: Arc<[HealthService]> = health
        .into_iter()
        .map(HealthService::from_health_reporter)
        .collect();
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .with_state(registry)
        .route("/readyz", get(readiness).with_state(health));
    axum::serve(listener, router)
        .with_graceful_shutdown(stop.cancelled_owned())
        .await
        .map_err(|error| format!("metrics endpoint: {error}"))
}

async fn metrics(State(registry): State<Registry>) -> Response {
    match TextEncoder::new().encode_to_string(&registry.gather()) {
        Ok(text) => ([(header::CONTENT_TYPE, TEXT_FORMAT)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    service: String,
}

async fn readiness(
    State(health): State<Arc<[HealthService]>>,
    Query(Asked { service }): Query<Asked>,
) -> (StatusCode, &'static str) {
    let mut known = Vec::new();
    for server in health.iter() {
        let request = HealthCheckRequest {
            service: service.clone(),
        };
        if let Ok(answer) = server.check(tonic::Request::new(request)).await {
            known.push(answer.into_inner().status());
        }
    }
    if !known.is_empty() && known.iter().all(|status| *status == ServingStatus::Serving) {
        (StatusCode::OK, "ok\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not serving\n")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    use super::*;
    use crate::server;
    use crate::tasks::Tasks;
    use crate::telemetry::Telemetry;

    #[tokio::test]
    async fn metrics_and_health_are_answered() {
        let telemetry = Telemetry::none();
        telemetry
            .meter()
            .u64_counter("decant.test.rows")
            .build()
            .add(3, &[]);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (tasks, _failures) = Tasks::new();
        let (first, second) = (HealthReporter::new(), HealthReporter::new());
        let health = vec![first.clone(), second.clone()];
        let serving = serve(listener, telemetry.prometheus(), health, tasks.stop_token());
        tasks.spawn("metrics", serving);

        let get = async |path: &str| {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        };
        let metrics = get("/metrics").await;
        assert!(metrics.starts_with("HTTP/1.1 200"), "{metrics}");
        assert!(metrics.contains(TEXT_FORMAT), "{metrics}");
        assert!(
            metrics.contains("\ndecant_test_rows_total 3\n"),
            "{metrics}"
        );
        assert!(get("/healthz").await.ends_with("\r\n\r\nok\n"));

        for reporter in [&first, &second] {
            server::set_status(reporter, "", true).await;
        }
        server::set_status(&second, "films/main", false).await;
        let status = async |path: &str| get(path).await["HTTP/1.1 ".len()..][..3].to_owned();
        assert_eq!(status("/readyz").await, "200");
        assert_eq!(status("/readyz?service=films/main").await, "503");
        assert_eq!(
            status("/readyz?service=books/main").await,
            "503",
            "nobody knows"
        );
        server::set_status(&second, "films/main", true).await;
        assert_eq!(status("/readyz?service=films/main").await, "200");
        server::set_status(&first, "", false).await;
        assert_eq!(status("/readyz").await, "503", "one of the two is leaving");
        assert!(get("/other").await.starts_with("HTTP/1.1 404"));
        tasks.stop(Duration::from_secs(5)).await.unwrap();
    }
}
