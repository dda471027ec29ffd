//! Servers that can be stopped, killed and started again at the same address.

use std::net::SocketAddr;
use std::ops::Deref;
use std::thread;
use std::time::{Duration, Instant};

use decant_client::{Builder, Rank, Row, Scorers};
use decant_proto::scorer::v1::scorer_service_server::ScorerServiceServer;
use tokio::net::TcpListener;
use tokio::runtime::{self, Runtime};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic_health::pb::health_server::HealthServer;

use crate::scorer::Fake;

/// More than anything that ends takes.
pub(crate) const LONG: Duration = Duration::from_secs(30);

/// A fake scorer that runs. It has a runtime of its own, so that it can end like a process: all at once.
pub(crate) struct Running {
    fake: Fake,
    pub(crate) address: SocketAddr,
    runtime: Option<Runtime>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Deref for Running {
    type Target = Fake;

    fn deref(&self) -> &Fake {
        &self.fake
    }
}

impl Running {
    pub(crate) async fn start(version: u64) -> Self {
        let mut running = Self {
            fake: Fake::new(version),
            address: ([127, 0, 0, 1], 0).into(),
            runtime: None,
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        running.restart().await;
        running
    }

    /// Starts again where it was, after [`stop`](Self::stop) or [`kill`](Self::kill).
    pub(crate) async fn restart(&mut self) {
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        self.stop = CancellationToken::new();
        self.tasks = TaskTracker::new();
        let address = self.address;
        let bound = self
            .tasks
            .spawn_on(TcpListener::bind(address), runtime.handle());
        let listener = bound.await.unwrap().unwrap();
        self.address = listener.local_addr().unwrap();
        let (fake, stop) = (self.fake.clone(), self.stop.clone());
        let served = async move {
            Server::builder()
                .add_service(ScorerServiceServer::new(fake.clone()))
                .add_service(HealthServer::new(fake))
                .serve_with_incoming_shutdown(TcpIncoming::from(listener), stop.cancelled())
                .await
                .unwrap();
        };
        self.tasks.spawn_on(served, runtime.handle());
        self.runtime = Some(runtime);
    }

    /// Tells connections that it goes, answers what it has taken in, and ends.
    pub(crate) async fn stop(&mut self) {
        self.stop.cancel();
        self.tasks.close();
        tokio::time::timeout(LONG, self.tasks.wait()).await.unwrap();
        self.kill();
    }

    /// Ends at once; connections break.
    pub(crate) fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // A runtime must not be waited for inside another. Waiting matters: afterwards the port is free.
            let ended = thread::spawn(move || runtime.shutdown_timeout(LONG));
            ended.join().unwrap();
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A client of these scorers that is patient, so that only faults matter.
pub(crate) fn builder<'a>(servers: impl IntoIterator<Item = &'a Running>) -> Builder {
    let builder = Scorers::builder().model("movielens").deadline(LONG);
    servers
        .into_iter()
        .fold(builder, |builder, server| builder.endpoint(server.url()))
}

/// A call whose answer tells little.
pub(crate) fn page() -> Rank {
    Rank::items(Row::new().text("user_id", "13"), ["50", "181", "258"])
}

/// The version, and so the scorer, that answers a call.
pub(crate) async fn answering(scorers: &Scorers) -> u64 {
    scorers.rank(&page()).await.unwrap().served_by.version
}

/// Whether the scorer is out of rotation.
pub(crate) fn ejected(scorers: &Scorers, server: &Running) -> bool {
    let statuses = scorers.statuses();
    let status = statuses
        .iter()
        .find(|status| status.address == server.url());
    status.unwrap().ejected
}

/// Waits for a condition.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    let pause = async || tokio::time::sleep(Duration::from_millis(2)).await;
    repeat_until(what, condition, pause).await;
}

/// Does something over and over until a condition holds.
pub(crate) async fn repeat_until(
    what: &str,
    condition: impl Fn() -> bool,
    mut step: impl AsyncFnMut(),
) {
    let end = Instant::now() + LONG;
    while !condition() {
        assert!(Instant::now() < end, "never came: {what}");
        step().await;
    }
}
