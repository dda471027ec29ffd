//! HTTP/2 on one connection: calls as they come in, until the client goes, the connection is old, or the server stops.
//!
//! This is done with hyper itself, and not through tonic's server, which puts several services of its own before ours, and
//! each call into a task before it looks at it. For a call that takes ten microseconds in all, both are felt; most of all for
//! calls that are refused, of which an overloaded server has more than of others.

use std::cell::RefCell;
use std::convert::Infallible;
use std::error::Error;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures::FutureExt as _;
use http::Request;
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::http2::Builder;
use hyper_util::rt::TokioIo;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::body::Body;
use tower::Service;

use super::busy_poll::BusyPoll;
use super::incoming::{Connection, Peer};
use super::timer::TurnTimer;
use super::{Limits, Services};

/// Calls that were given up before they were looked at, at least, before they end their connection: what h2 takes for no
/// attack.
const RESETS: usize = 20;

/// How often a silent connection is asked whether it still lives, and how long it may take to answer.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(10));

/// Answers the calls of connections.
pub(super) struct Http2 {
    limits: Limits,
    services: Services,
    /// Calls that wait for something.
    tasks: TaskTracker,
    /// After how long a client is asked to connect anew.
    max_age: Option<Duration>,
    busy_poll: BusyPoll,
}

impl Http2 {
    /// Answers with these services. Calls that wait are tasks of `tasks`.
    pub(super) fn new(
        services: Services,
        limits: &Limits,
        max_age: Option<Duration>,
        tasks: TaskTracker,
        busy_poll: BusyPoll,
    ) -> Self {
        Self {
            limits: limits.clone(),
            services,
            tasks,
            max_age,
            busy_poll,
        }
    }

    fn builder(&self, executor: AtOnce, timer: TurnTimer) -> Builder<AtOnce> {
        let streams = self.limits.streams_per_connection;
        let mut builder = Builder::new(executor);
        builder
            .timer(timer)
            .max_concurrent_streams(streams)
            // Callers that give up under overload do so by the hundred, and this ends their connection.
            .max_pending_accept_reset_streams(Some(RESETS.max(streams as usize)))
            // Counted over a connection's whole life, and also when a refused request's last bytes come after its answer:
            // any limit would end a connection that lives for long. What waits to be sent to a client that resets over and
            // over is bounded by what is read of it at once.
            .max_local_error_reset_streams(None)
            .max_header_list_size(self.limits.header_bytes)
            .keep_alive_interval(Some(KEEP_ALIVE.0))
            .keep_alive_timeout(KEEP_ALIVE.1)
            // gRPC has no use for it.
            .auto_date_header(false);
        builder
    }

    /// Answers the calls of a connection to its end. When it is old, or `stop` is cancelled, no new calls are taken, and those
    /// that are under way are finished.
    pub(super) async fn serve(&self, connection: Connection, stop: &CancellationToken) {
        let calls = Calls {
            peer: connection.peer(),
            services: RefCell::new(self.services.clone()),
        };
        let turns = connection.turns();
        let waiting = TaskTracker::new();
        let executor = AtOnce {
            tasks: self.tasks.clone(),
            waiting: waiting.clone(),
        };
        let timer = TurnTimer::new();
        let served = self
            .builder(executor, timer.clone())
            .serve_connection(TokioIo::new(connection), calls);
        let leaving = async {
            tokio::select! {
                () = pass(self.max_age.map(spread)) => {}
                () = stop.cancelled() => {}
            }
        };
        let (mut served, mut leaving) = (pin!(served), pin!(leaving.fuse()));
        let ended = poll_fn(|context| {
            turns.begin();
            timer.turn();
            self.busy_poll.turn();
            if leaving.as_mut().poll(context).is_ready() {
                served.as_mut().graceful_shutdown();
            }
            if let Poll::Ready(ended) = served.as_mut().poll(context) {
                return Poll::Ready(ended.map_err(Box::<dyn Error + Send + Sync>::from));
            }
            match turns.end(context, !waiting.is_empty()) {
                Poll::Ready(Err(error)) => Poll::Ready(Err(error.into())),
                _ => Poll::Pending,
            }
        })
        .await;
        if let Err(error) = ended {
            let cause = error.source().map(ToString::to_string);
            tracing::debug!(%error, cause, "a connection failed");
        }
    }
}

/// Up to a tenth less or more: connections that were made at the same time are not to be made anew at the same time.
fn spread(age: Duration) -> Duration {
    let spread = age.as_secs_f64() * rand::random_range(0.9..1.1);
    Duration::try_from_secs_f64(spread).unwrap_or(age)
}

/// Waits so long; for ever, if that is not said.
async fn pass(time: Option<Duration>) {
    match time {
        Some(time) => sleep(time).await,
        None => std::future::pending().await,
    }
}

/// The services as one connection calls them: one call after the other, so that they need not be cloned for each. They are
/// always ready, and not asked.
struct Calls {
    peer: Option<Peer>,
    services: RefCell<Services>,
}

impl hyper::service::Service<Request<Incoming>> for Calls {
    type Response = <Services as Service<Request<Body>>>::Response;
    type Error = Infallible;
    type Future = <Services as Service<Request<Body>>>::Future;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let mut request = request.map(Body::new);
        if let Some(peer) = &self.peer {
            request.extensions_mut().insert(peer.clone());
        }
        self.services.borrow_mut().call(request)
    }
}

/// Looks at a call at once, where its connection is read, and makes a task of it only if it has to wait for something.
#[derive(Clone)]
struct AtOnce {
    tasks: TaskTracker,
    /// Those of this connection.
    waiting: TaskTracker,
}

impl<F> Executor<F> for AtOnce
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, call: F) {
        let mut call = Box::pin(call);
        // Whatever it waits for, the task asks again.
        let mut nobody = Context::from_waker(Waker::noop());
        // One whose answer panics when that has begun must end as it would in a task: alone. What services do before they
        // return a future is not covered.
        let looked = catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(&mut nobody)));
        if looked.is_ok_and(|looked| looked.is_pending()) {
            self.tasks.spawn(self.waiting.track_future(call));
        }
    }
}
