//! As many calls as are answered: h2load with one body, on the load's core.

use std::io::Write;
use std::net::SocketAddr;

use prost::Message;

const SECONDS: u32 = 5;

/// Calls under way on each of 8 connections: many of what takes no time, so that the server always finds some; few of what
/// takes long, as more would only wait.
pub(crate) const MANY: u32 = 16;
pub(crate) const FEW: u32 = 4;

/// Answers a second. What they say is not looked at: see [`Answered`](crate::server::Answered).
pub(crate) async fn rate(
    address: SocketAddr,
    path: &str,
    request: &impl Message,
    under_way: u32,
) -> f64 {
    let message = request.encode_to_vec();
    let mut body = tempfile::NamedTempFile::new().unwrap();
    body.write_all(&[0]).unwrap();
    body.write_all(&(message.len() as u32).to_be_bytes())
        .unwrap();
    body.write_all(&message).unwrap();
    body.flush().unwrap();
    let output = tokio::process::Command::new("h2load")
        .args(["--clients", "8"])
        .args(["--max-concurrent-streams", &under_way.to_string()])
        .args(["--duration", &SECONDS.to_string(), "--warm-up-time", "1"])
        .arg("--data")
        .arg(body.path())
        .args([
            "--header",
            "content-type: application/grpc",
            "--header",
            "te: trailers",
        ])
        .arg(format!("http://{address}{path}"))
        .output()
        .await
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let failed = field(&text, " failed,");
    assert!(output.status.success() && failed == Some(0.0), "{text}");
    field(&text, " req/s,").unwrap_or_else(|| panic!("{text}"))
}

/// The number before a word.
fn field(text: &str, word: &str) -> Option<f64> {
    let before = text
        .split(word)
        .next()
        .filter(|before| before.len() < text.len())?;
    before.rsplit(' ').next()?.parse().ok()
}
