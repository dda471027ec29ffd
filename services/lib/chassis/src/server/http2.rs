//! HTTP/2 on one connection: calls as they come in, until the client goes, the connection is old, or the server stops.
//!
//! This is done with h2 itself, and not through a server that is made for any use of HTTP: tonic's puts several services of its own
//! before ours, and each call into a task before it looks at it; hyper's asks for each part of an answer anew whether the client
//! takes it. For a call that takes some microseconds in all, that is felt; most of all for calls that are refused, of which an
//! overloaded server has more than of others.

mod body;
mod call;
mod keep_alive;

use std::error::Error;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use h2::RecvStream;
use h2::server::{Builder, SendResponse};
use http::Request;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::body::Body;
use tower::Service;

use self::body::Incoming;
use self::call::Call;
use self::keep_alive::KeepAlive;
use super::busy_poll::BusyPoll;
use super::incoming::{Connection, Peer, Turns};
use super::{Limits, Services};

/// Calls that were given up before they were looked at, at least, before they end their connection: what h2 takes for no
/// attack.
const RESETS: usize = 20;

/// Bytes of requests that may come before any of them are read, of one call and of one connection.
const WINDOW: u32 = 1 << 20;

type Failed = Box<dyn Error + Send + Sync>;

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

    fn builder(&self) -> Builder {
        let streams = self.limits.streams_per_connection;
        let mut builder = Builder::new();
        builder
            .initial_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .max_concurrent_streams(streams)
            // Callers that give up under overload do so by the hundred, and this ends their connection.
            .max_pending_accept_reset_streams(RESETS.max(streams as usize))
            // Counted over a connection's whole life, and also when a refused request's last bytes come after its answer:
            // any limit would end a connection that lives for long. What waits to be sent to a client that resets over and
            // over is bounded by what is read of it at once.
            .max_local_error_reset_streams(None)
            .max_header_list_size(self.limits.header_bytes);
        builder
    }

    /// Answers the calls of a connection to its end. When it is old, or `stop` is cancelled, no new calls are taken, and those
    /// that are under way are finished.
    pub(super) async fn serve(&self, connection: Connection, stop: &CancellationToken) {
        if let Err(error) = self.answer(connection, stop).await {
            tracing::debug!(%error, "a connection failed");
        }
    }

    async fn answer(&self, connection: Connection, stop: &CancellationToken) -> Result<(), Failed> {
        let mut calls = Calls {
            peer: connection.peer(),
            services: self.services.clone(),
            tasks: self.tasks.clone(),
            waiting: TaskTracker::new(),
        };
        let (turns, waiting) = (connection.turns(), calls.waiting.clone());
        let leaving = async {
            tokio::select! {
                () = pass(self.max_age.map(spread)) => {}
                () = stop.cancelled() => {}
            }
        };
        let mut leaving = pin!(leaving.fuse());
        let mut handshake = self.builder().handshake(connection);
        let greeted = |context: &mut Context<'_>, _| {
            Pin::new(&mut handshake).poll(context).map_err(Failed::from)
        };
        let mut connection = self.in_turns(&turns, &waiting, greeted).await?;
        let mut keep_alive = connection.ping_pong().map(KeepAlive::new);
        let served = |context: &mut Context<'_>, heard| {
            if leaving.as_mut().poll(context).is_ready() {
                connection.graceful_shutdown();
            }
            if let Some(keep_alive) = &mut keep_alive
                && keep_alive.poll(context, heard).is_ready()
            {
                return Poll::Ready(Err("the client is silent, and does not answer pings".into()));
            }
            while let Some((request, respond)) =
                ready!(connection.poll_accept(context)).transpose()?
            {
                calls.begin(request, respond);
            }
            Poll::Ready(Ok(()))
        };
        self.in_turns(&turns, &waiting, served).await
    }

    /// Polls something that reads and writes a connection, telling it how many bytes have come so far. What it wrote is sent
    /// when it has nothing more to do.
    async fn in_turns<T>(
        &self,
        turns: &Turns,
        waiting: &TaskTracker,
        mut poll: impl FnMut(&mut Context<'_>, u64) -> Poll<Result<T, Failed>>,
    ) -> Result<T, Failed> {
        poll_fn(|context| {
            let heard = turns.begin();
            self.busy_poll.turn();
            if let Poll::Ready(ended) = poll(context, heard) {
                return Poll::Ready(ended);
            }
            match turns.end(context, !waiting.is_empty()) {
                Poll::Ready(Err(error)) => Poll::Ready(Err(error.into())),
                _ => Poll::Pending,
            }
        })
        .await
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

/// The calls of one connection.
struct Calls {
    peer: Option<Peer>,
    /// Called one call after the other, so that they need not be cloned for each. They are always ready, and not asked.
    services: Services,
    /// Those that wait for something, of all connections.
    tasks: TaskTracker,
    /// Those of this connection.
    waiting: TaskTracker,
}

impl Calls {
    /// Looks at a call at once, where its connection is read, and makes a task of it only if it has to wait for something.
    fn begin(&mut self, request: Request<RecvStream>, respond: SendResponse<Bytes>) {
        let mut request = request.map(|stream| Body::new(Incoming::new(stream)));
        if let Some(peer) = &self.peer {
            request.extensions_mut().insert(peer.clone());
        }
        // One that panics must end as it would in a task: alone.
        let looked = catch_unwind(AssertUnwindSafe(|| {
            let mut call = Box::pin(Call::new(self.services.call(request), respond));
            // Whatever it waits for, the task asks again.
            let mut nobody = Context::from_waker(Waker::noop());
            call.as_mut().poll(&mut nobody).is_pending().then_some(call)
        }));
        if let Ok(Some(call)) = looked {
            self.tasks.spawn(self.waiting.track_future(call));
        }
    }
}
