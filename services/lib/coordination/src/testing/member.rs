//! One process of etcd.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Signed;
use super::program;

/// How long a member may take to say how it is.
const ANSWERS_WITHIN: Duration = Duration::from_secs(2);

pub(super) struct Member {
    index: usize,
    /// For clients, for other members, and for questions about its health.
    ports: [u16; 3],
    tls: bool,
    data: PathBuf,
    log: PathBuf,
    process: Option<Child>,
    stalled: bool,
}

impl Member {
    pub(super) fn new(index: usize, folder: &Path, tls: bool) -> Self {
        Self {
            index,
            ports: free_ports(),
            tls,
            data: folder.join(format!("member-{index}")),
            log: folder.join(format!("member-{index}.log")),
            process: None,
            stalled: false,
        }
    }

    pub(super) fn name(&self) -> String {
        format!("member-{}", self.index)
    }

    pub(super) fn client_url(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{}", self.ports[0])
    }

    pub(super) fn peer_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.ports[1])
    }

    pub(super) fn data(&self) -> &Path {
        &self.data
    }

    pub(super) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub(super) fn spawn(
        &mut self,
        cluster: &str,
        login_seconds: Option<u32>,
        certificates: Option<&Signed>,
    ) {
        assert!(self.process.is_none(), "{} runs already", self.name());
        let log = File::options()
            .create(true)
            .append(true)
            .open(&self.log)
            .expect("a file can be written");
        let mut command = Command::new(program("DECANT_ETCD", "etcd"));
        command
            .args(["--name", &self.name()])
            .arg("--data-dir")
            .arg(&self.data)
            .args(["--listen-client-urls", &self.client_url()])
            .args(["--advertise-client-urls", &self.client_url()])
            .args(["--listen-peer-urls", &self.peer_url()])
            .args(["--initial-advertise-peer-urls", &self.peer_url()])
            .args([
                "--listen-metrics-urls",
                &format!("http://127.0.0.1:{}", self.ports[2]),
            ])
            .args(["--initial-cluster", cluster])
            // Ten times what etcd expects of a network: this is one machine. Not less, for it may be a busy one.
            .args(["--heartbeat-interval", "50", "--election-timeout", "500"])
            .args(["--logger", "zap", "--log-outputs", "stderr"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        if let Some(seconds) = login_seconds {
            command.args(["--auth-token-ttl", &seconds.to_string()]);
            // As cheap as it can be.
            command.args(["--bcrypt-cost", "4"]);
        }
        if let Some(certificates) = certificates {
            command
                .arg("--client-cert-auth")
                .arg("--trusted-ca-file")
                .arg(&certificates.ca)
                .arg("--cert-file")
                .arg(&certificates.certificate)
                .arg("--key-file")
                .arg(&certificates.key);
        }
        let process = command
            .spawn()
            .unwrap_or_else(|error| panic!("etcd cannot be started: {error}"));
        self.process = Some(process);
        self.stalled = false;
    }

    /// Whether it runs and is not stalled.
    pub(super) fn serves(&self) -> bool {
        self.process.is_some() && !self.stalled
    }

    pub(super) async fn is_healthy(&self) -> bool {
        self.ask("/health").await.contains(r#""health":"true""#)
    }

    pub(super) async fn leads(&self) -> bool {
        let metrics = self.ask("/metrics").await;
        metrics
            .lines()
            .any(|line| line == "etcd_server_is_leader 1")
    }

    /// Asks what it tells everybody; nothing when it does not answer.
    async fn ask(&self, what: &str) -> String {
        let ask = async {
            let mut stream = TcpStream::connect(("127.0.0.1", self.ports[2])).await?;
            let request = format!("GET {what} HTTP/1.0\r\n\r\n");
            stream.write_all(request.as_bytes()).await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            Ok::<_, std::io::Error>(answer)
        };
        match timeout(ANSWERS_WITHIN, ask).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) | Err(_) => String::new(),
        }
    }

    pub(super) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            // That it is gone already is fine.
            let _ = process.kill();
            process.wait().expect("a child can be waited for");
        }
        self.stalled = false;
    }

    pub(super) fn stall(&mut self) {
        self.signal(Signal::STOP);
        self.stalled = true;
    }

    pub(super) fn resume(&mut self) {
        self.signal(Signal::CONT);
        self.stalled = false;
    }

    fn signal(&self, signal: Signal) {
        let process = self.process.as_ref().expect("the member runs");
        let id = i32::try_from(process.id())
            .ok()
            .and_then(Pid::from_raw)
            .expect("a process has an id");
        kill_process(id, signal).expect("a child can be signalled");
    }

    /// Forgets its files.
    pub(super) fn wipe(&self) {
        if self.data.exists() {
            fs::remove_dir_all(&self.data).expect("a folder can be removed");
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Ports that nobody listens on now, and that the system gives to no connection: a member that is restarted finds them free.
fn free_ports() -> [u16; 3] {
    let mut held = Vec::new();
    while held.len() < 3 {
        let port = rand::random_range(10_000..32_000);
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)) {
            held.push((port, listener));
        }
    }
    [held[0].0, held[1].0, held[2].0]
}
