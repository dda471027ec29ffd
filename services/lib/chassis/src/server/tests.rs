use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use decant_proto::ops::v1::ops_service_client::OpsServiceClient;
use decant_proto::ops::v1::ops_service_server::{OpsService, OpsServiceServer};
use decant_proto::ops::v1::{
    GetLogFilterRequest, GetLogFilterResponse, SetLogFilterRequest, SetLogFilterResponse,
};
use futures::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};
use tonic::transport::Channel;
use tonic::{Code, Request, Response, Status};

use super::*;
use crate::tasks::Tasks;
use crate::telemetry::tests::counted;

/// The types of HTTP/2 frames (RFC 9113, section 6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;

/// A server of these, as the task of what is returned.
async fn start(routes: Routes, serving: Serving) -> (SocketAddr, Tasks) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (tasks, _failures) = Tasks::new();
    let serving = serve(listener, routes, serving, tasks.stop_token());
    tasks.spawn("server", serving);
    (address, tasks)
}

/// A frame of HTTP/2 (RFC 9113, section 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = &(payload.len() as u32).to_be_bytes()[1..];
    [length, &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// What every client says first, and then nothing of its own any more.
async fn greet(stream: &mut TcpStream) {
    let hello = [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        &frame(SETTINGS, 0, 0, &[])[..],
    ];
    stream.write_all(&hello.concat()).await.unwrap();
}

#[tokio::test]
async fn an_old_connection_is_told_to_go() {
    let serving = Serving {
        max_connection_age: Some(Duration::from_millis(20)),
        ..Serving::default()
    };
    let (address, tasks) = start(Routes::default(), serving).await;

    let mut stream = TcpStream::connect(address).await.unwrap();
    greet(&mut stream).await;
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

/// Panics at once when it is asked for the filter, and after a while where that is to be the filter; or waits until it may go
/// on; answers else.
#[derive(Default)]
struct Moody {
    /// Calls that wait.
    waiting: Arc<AtomicUsize>,
    go_on: Arc<Notify>,
}

/// A call that waits, until it is given up or goes on.
struct Waits(Arc<AtomicUsize>);

impl Waits {
    fn enter(waiting: &Arc<AtomicUsize>) -> Self {
        waiting.fetch_add(1, Relaxed);
        Self(Arc::clone(waiting))
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

#[tonic::async_trait]
impl OpsService for Moody {
    async fn get_log_filter(
        &self,
        _: Request<GetLogFilterRequest>,
    ) -> Result<Response<GetLogFilterResponse>, Status> {
        panic!("as the test wants it")
    }

    async fn set_log_filter(
        &self,
        request: Request<SetLogFilterRequest>,
    ) -> Result<Response<SetLogFilterResponse>, Status> {
        match request.into_inner().filter.as_str() {
            "panic later" => {
                tokio::task::yield_now().await;
                panic!("as the test wants it")
            }
            "wait" => {
                let _waits = Waits::enter(&self.waiting);
                self.go_on.notified().await;
                Ok(Response::new(SetLogFilterResponse::default()))
            }
            _ => Ok(Response::new(SetLogFilterResponse::default())),
        }
    }
}

/// A server of it, and its client's one connection.
struct Served {
    waiting: Arc<AtomicUsize>,
    go_on: Arc<Notify>,
    channel: Channel,
    tasks: Tasks,
}

impl Served {
    async fn start() -> Self {
        Self::start_with(Serving::default()).await
    }

    async fn start_with(serving: Serving) -> Self {
        let moody = Moody::default();
        let (waiting, go_on) = (Arc::clone(&moody.waiting), Arc::clone(&moody.go_on));
        let routes = Routes::new(OpsServiceServer::new(moody));
        let (address, tasks) = start(routes, serving).await;
        let channel = Channel::from_shared(format!("http://{address}")).unwrap();
        Self {
            waiting,
            go_on,
            channel: channel.connect().await.unwrap(),
            tasks,
        }
    }

    fn set(
        &self,
        filter: &str,
    ) -> impl Future<Output = Result<Response<SetLogFilterResponse>, Status>> + use<> {
        let mut client = OpsServiceClient::new(self.channel.clone());
        let filter = filter.to_owned();
        async move { client.set_log_filter(SetLogFilterRequest { filter }).await }
    }

    /// Until so many calls wait, while this one is looked at.
    async fn wait_for(&self, waiting: usize, mut call: impl Future + Unpin) {
        let waits = async {
            while self.waiting.load(Relaxed) != waiting {
                let _ = futures::poll!(&mut call);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(Duration::from_secs(20), waits).await.unwrap();
    }
}

#[tokio::test]
async fn a_call_that_panics_ends_alone() {
    let served = Served::start().await;
    // Beside them on the same connection, which it needs to the end.
    let mut waiting = pin!(served.set("wait"));
    served.wait_for(1, &mut waiting).await;
    let mut client = OpsServiceClient::new(served.channel.clone());
    let panicked = client.get_log_filter(GetLogFilterRequest {}).await;
    assert_eq!(panicked.unwrap_err().code(), Code::Internal);
    assert!(served.set("answer").await.is_ok());
    let panicked = served.set("panic later").await;
    assert_eq!(panicked.unwrap_err().code(), Code::Internal);
    assert!(served.set("answer").await.is_ok());
    assert!(futures::poll!(&mut waiting).is_pending());
}

#[tokio::test]
async fn calls_that_are_given_up_are_dropped_and_their_connection_goes_on() {
    let served = Served::start().await;
    let mut kept = pin!(served.set("wait"));
    served.wait_for(1, &mut kept).await;
    // In all more than a connection may have at once.
    for _ in 0..4 {
        let given_up = (0..500).map(|_| served.set("wait"));
        served.wait_for(501, Box::pin(join_all(given_up))).await;
        served.wait_for(1, &mut kept).await;
    }
    served.go_on.notify_waiters();
    assert!(kept.await.is_ok());
}

#[tokio::test]
async fn a_stop_lets_calls_that_wait_finish() {
    let served = Served::start().await;
    let mut waiting = pin!(served.set("wait"));
    served.wait_for(1, &mut waiting).await;
    let mut stopped = pin!(served.tasks.stop(Duration::from_secs(20)));
    assert!(futures::poll!(&mut stopped).is_pending());
    assert!(futures::poll!(&mut waiting).is_pending());
    served.go_on.notify_waiters();
    let (answer, stopped) = tokio::join!(waiting, stopped);
    assert!(answer.is_ok());
    stopped.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_whose_threads_do_not_sleep_answers_and_stops() {
    let serving = Serving {
        busy_poll: Duration::from_secs(3600),
        ..Serving::default()
    };
    let served = Served::start_with(serving).await;
    for _ in 0..10 {
        assert!(served.set("answer").await.is_ok());
    }
    let mut waiting = pin!(served.set("wait"));
    served.wait_for(1, &mut waiting).await;
    let (stopped, answer, ()) =
        tokio::join!(served.tasks.stop(Duration::from_secs(20)), waiting, async {
            served.go_on.notify_waiters()
        });
    stopped.unwrap();
    assert!(answer.is_ok());
}

/// Whoever asks for more and more that is to be sent to them, and takes nothing of it, is not read any more, and then closed.
#[tokio::test]
async fn a_client_that_takes_nothing_costs_little_and_not_for_long() {
    let telemetry = Telemetry::none();
    let serving = Serving {
        meter: telemetry.meter(),
        limits: Limits {
            stalled_millis: 1_000,
            ..Limits::default()
        },
        ..Serving::default()
    };
    let (address, tasks) = start(Routes::default(), serving).await;

    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4 << 10).unwrap();
    let mut stream = socket.connect(address).await.unwrap();
    // `:method: POST`, `:scheme: http` and `:path: /` of HPACK's static table (RFC 7541, appendix A).
    let call = frame(HEADERS, 0b101, u32::MAX >> 1, &[0x83, 0x86, 0x84]);
    greet(&mut stream).await;
    stream.write_all(&call).await.unwrap();
    let closed = timeout(Duration::from_secs(20), async {
        let (mut ids, mut sent) = ((1..).step_by(2), 0);
        loop {
            // Each of these is answered by a reset: its stream is none that there can be any more.
            let astray = ids.by_ref().take(1_000);
            let astray: Vec<u8> = astray.flat_map(|id| frame(DATA, 0, id, &[])).collect();
            if stream.write_all(&astray).await.is_err() {
                return;
            }
            sent += astray.len();
            // What the system keeps for both ends, and no more.
            assert!(sent < 32 << 20, "{sent} bytes were taken");
        }
    });
    closed.await.unwrap();
    let stalled = counted(&telemetry, "decant_connections_closed_total", "stalled");
    assert_eq!(stalled, 1.0);
    tasks.stop(Duration::from_secs(5)).await.unwrap();
}

#[tokio::test]
async fn a_silent_connection_does_not_hold_the_end_up() {
    let (address, tasks) = start(Routes::default(), Serving::default()).await;
    let mut silent = TcpStream::connect(address).await.unwrap();
    // It is served when the server's own first frame has come.
    silent.read_u8().await.unwrap();
    let patience = Duration::from_millis(Limits::default().handshake_millis) / 2;
    tasks.stop(patience).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_silent_client_is_asked_whether_it_lives() {
    let (address, tasks) = start(Routes::default(), Serving::default()).await;
    let mut dead = TcpStream::connect(address).await.unwrap();
    greet(&mut dead).await;
    let living = TcpStream::connect(address).await.unwrap();
    let (client, connection) = h2::client::handshake(living).await.unwrap();
    // Which answers pings.
    tasks.spawn_bounded("client", async {
        let _ = connection.await;
    });

    let begun = Instant::now();
    let mut told = Vec::new();
    dead.read_to_end(&mut told).await.unwrap();
    let silent = begun.elapsed();
    assert!(told.ends_with(&frame(PING, 0, 0, &told[told.len() - 8..])));
    // Time to be silent, once after its greeting and once more, and time to answer.
    assert!(
        silent > Duration::from_secs(40) && silent < Duration::from_secs(80),
        "{silent:?}"
    );

    sleep(Duration::from_secs(600)).await;
    let mut client = client.ready().await.unwrap();
    let request = http::Request::post(format!("http://{address}/nobody/answers"));
    let (answer, _) = client
        .send_request(request.body(()).unwrap(), true)
        .unwrap();
    let answer = answer.await.unwrap();
    let status = Status::from_header_map(answer.headers()).unwrap();
    assert_eq!(status.code(), Code::Unimplemented);
}
