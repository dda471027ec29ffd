//! Metrics over plain HTTP, for Prometheus. Anybody who reaches the address reads them: they name models and methods, and no
//! rows and no keys.

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use prometheus::{Registry, TEXT_FORMAT, TextEncoder};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Answers `GET /metrics`, and `GET /healthz` while the process lives at all, until `stop` is cancelled.
///
/// # Errors
/// What the transport reports.
pub async fn serve(
    listener: TcpListener,
    registry: Registry,
    stop: CancellationToken,
) -> Result<(), String> {
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(|| async { "ok\n" }))
        .with_state(registry);
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    use super::*;
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
        let serving = serve(listener, telemetry.prometheus(), tasks.stop_token());
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
        assert!(get("/other").await.starts_with("HTTP/1.1 404"));
        tasks.stop(Duration::from_secs(5)).await.unwrap();
    }
}
