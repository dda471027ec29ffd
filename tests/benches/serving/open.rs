//! Calls that come as a Poisson process, whether they are answered or not: how long each took since it was due.
//!
//! The requests are encoded once and go straight to HTTP/2, so that one core can ask for several times what the other
//! answers. How late calls were sent is measured beside how long they took: no answer's time means more than that.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use decant_chassis::cork::Corked;
use decant_load::poisson;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use h2::client::{self, Connection, SendRequest};
use hdrhistogram::Histogram;
use http::{HeaderMap, Request, Uri};
use prost::Message;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tonic::Code;

const CONNECTIONS: usize = 8;

/// When calls are due.
pub(crate) struct Load {
    due: Vec<Duration>,
}

/// What became of the calls.
pub(crate) struct Seen {
    calls: Vec<Call>,
}

#[derive(Clone, Copy)]
struct Call {
    due: Duration,
    /// From when it was due to when it was sent.
    late: Duration,
    /// From when it was due to the end of the answer.
    took: Duration,
    code: Code,
}

impl Load {
    pub(crate) fn new(rate: f64, length: Duration, seed: u64) -> Self {
        Self {
            due: poisson(rate, length, seed),
        }
    }
}

/// A method with its request, encoded once.
#[derive(Clone)]
struct Asked {
    uri: Uri,
    body: Bytes,
}

/// Makes the calls, on several connections in turn.
pub(crate) async fn calls(
    address: SocketAddr,
    path: &str,
    message: &impl Message,
    load: Load,
) -> Seen {
    let mut body = BytesMut::new();
    body.put_u8(0);
    body.put_u32(message.encoded_len() as u32);
    message.encode(&mut body).unwrap();
    let asked = Asked {
        uri: format!("http://{address}{path}").parse().unwrap(),
        body: body.freeze(),
    };
    // The connections end with this set.
    let mut driven = JoinSet::new();
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        let (requests, connection) = connect(address).await;
        driven.spawn(connection);
        connections.push(requests);
    }
    let started = Instant::now();
    let mut calls = Vec::with_capacity(load.due.len());
    let mut under_way = FuturesUnordered::new();
    let mut due = load.due.into_iter().enumerate().peekable();
    // Timers are a millisecond apart; calls are not. So the time is looked at over and over, between answers.
    while due.peek().is_some() || !under_way.is_empty() {
        while let Some((number, due)) = due.next_if(|(_, due)| started.elapsed() >= *due) {
            let connection = connections[number % CONNECTIONS].clone();
            let asked = asked.clone();
            under_way.push(async move {
                let late = started.elapsed() - due;
                let code = call(connection, asked).await;
                let took = started.elapsed() - due;
                Call {
                    due,
                    late,
                    took,
                    code,
                }
            });
        }
        while let Some(Some(done)) = under_way.next().now_or_never() {
            calls.push(done);
        }
        tokio::task::yield_now().await;
    }
    Seen { calls }
}

type Driven = Connection<Corked<TcpStream>, Bytes>;

async fn connect(address: SocketAddr) -> (SendRequest<Bytes>, Driven) {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    client::Builder::new()
        .initial_window_size(1 << 20)
        .initial_connection_window_size(1 << 26)
        .handshake(Corked::new(stream))
        .await
        .unwrap()
}

async fn call(connection: SendRequest<Bytes>, asked: Asked) -> Code {
    code(connection, asked).await.unwrap_or(Code::Unavailable)
}

async fn code(connection: SendRequest<Bytes>, asked: Asked) -> Result<Code, h2::Error> {
    let request = Request::post(asked.uri)
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .unwrap();
    let mut connection = connection.ready().await?;
    let (answer, mut stream) = connection.send_request(request, false)?;
    stream.send_data(asked.body, true)?;
    let (head, mut body) = answer.await?.into_parts();
    while let Some(data) = body.data().await {
        body.flow_control().release_capacity(data?.len())?;
    }
    // An answer without a body has its status in its head.
    let trailers = body.trailers().await?.unwrap_or(head.headers);
    Ok(status(&trailers))
}

fn status(trailers: &HeaderMap) -> Code {
    let status = trailers.get("grpc-status");
    status.map_or(Code::Unknown, |status| Code::from_bytes(status.as_bytes()))
}

impl Seen {
    pub(crate) fn count(&self) -> usize {
        self.calls.len()
    }

    pub(crate) fn answered(&self) -> usize {
        self.with(Code::Ok).count()
    }

    pub(crate) fn failed(&self) -> usize {
        self.count() - self.answered()
    }

    pub(crate) fn refused(&self) -> usize {
        self.with(Code::ResourceExhausted).count()
    }

    /// Of the calls that were answered.
    pub(crate) fn quantile(&self, quantile: f64) -> Duration {
        at(self.with(Code::Ok).map(|call| call.took), quantile)
    }

    pub(crate) fn refused_quantile(&self, quantile: f64) -> Duration {
        let refused = self.with(Code::ResourceExhausted);
        at(refused.map(|call| call.took), quantile)
    }

    /// How late the calls were sent: the measuring side's own error.
    pub(crate) fn late(&self, quantile: f64) -> Duration {
        at(self.calls.iter().map(|call| call.late), quantile)
    }

    /// The calls that were due when the condition held, and the others.
    pub(crate) fn split(&self, condition: impl Fn(Duration) -> bool) -> (Seen, Seen) {
        let calls = self.calls.iter().copied();
        let (yes, no): (Vec<Call>, Vec<Call>) = calls.partition(|call| condition(call.due));
        (Seen { calls: yes }, Seen { calls: no })
    }

    fn with(&self, code: Code) -> impl Iterator<Item = &Call> {
        self.calls.iter().filter(move |call| call.code == code)
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} of {}", self.failed(), self.count())?;
        let mut codes = BTreeMap::new();
        for call in self.calls.iter().filter(|call| call.code != Code::Ok) {
            *codes.entry(format!("{:?}", call.code)).or_insert(0) += 1;
        }
        for (code, count) in codes {
            write!(formatter, ", {count} {code}")?;
        }
        Ok(())
    }
}

/// A quantile of times, to three digits.
pub(crate) fn at(times: impl Iterator<Item = Duration>, quantile: f64) -> Duration {
    let mut histogram = Histogram::<u64>::new_with_bounds(1, 60_000_000_000, 3).unwrap();
    for time in times {
        histogram.saturating_record(time.as_nanos() as u64);
    }
    Duration::from_nanos(histogram.value_at_quantile(quantile))
}
