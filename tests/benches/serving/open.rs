//! Calls that come as a Poisson process, whether they are answered or not: how long each took since it was due.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use decant_chassis::client::channel;
use decant_load::poisson;
use decant_proto::inference;
use decant_proto::inference::grpc_inference_service_client::GrpcInferenceServiceClient;
use decant_proto::scorer::v1 as wire;
use decant_proto::scorer::v1::scorer_service_client::ScorerServiceClient;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use hdrhistogram::Histogram;
use tonic::Code;
use tonic::transport::Channel;

const CONNECTIONS: usize = 8;

/// When calls are due.
pub(crate) struct Load {
    due: Vec<Duration>,
}

/// What became of the calls.
pub(crate) struct Seen {
    calls: Vec<Call>,
}

struct Call {
    due: Duration,
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

pub(crate) async fn score(address: SocketAddr, request: &wire::ScoreRequest, load: Load) -> Seen {
    let clients = clients(address).map(ScorerServiceClient::new);
    run(clients.collect(), load, async |mut client| {
        client.score(request.clone()).await.map(|_| ())
    })
    .await
}

pub(crate) async fn rank(address: SocketAddr, request: &wire::RankRequest, load: Load) -> Seen {
    let clients = clients(address).map(ScorerServiceClient::new);
    run(clients.collect(), load, async |mut client| {
        client.rank(request.clone()).await.map(|_| ())
    })
    .await
}

pub(crate) async fn infer(
    address: SocketAddr,
    request: &inference::ModelInferRequest,
    load: Load,
) -> Seen {
    let clients = clients(address).map(GrpcInferenceServiceClient::new);
    run(clients.collect(), load, async |mut client| {
        client.model_infer(request.clone()).await.map(|_| ())
    })
    .await
}

fn clients(address: SocketAddr) -> impl Iterator<Item = Channel> {
    (0..CONNECTIONS).map(move |_| channel("scorer", &format!("http://{address}")).unwrap())
}

async fn run<C: Clone>(
    clients: Vec<C>,
    load: Load,
    call: impl AsyncFn(C) -> Result<(), tonic::Status>,
) -> Seen {
    for client in &clients {
        // Connects.
        let _ = call(client.clone()).await;
    }
    let started = Instant::now();
    let mut calls = Vec::with_capacity(load.due.len());
    let mut under_way = FuturesUnordered::new();
    let mut due = load.due.into_iter().enumerate().peekable();
    let call = &call;
    // Timers are a millisecond apart; calls are not. So the time is looked at over and over, between answers.
    while due.peek().is_some() || !under_way.is_empty() {
        while let Some((number, at)) = due.next_if(|(_, at)| started.elapsed() >= *at) {
            let client = clients[number % clients.len()].clone();
            under_way.push(async move {
                let outcome = call(client).await;
                Call {
                    due: at,
                    took: started.elapsed().saturating_sub(at),
                    code: outcome.err().map_or(Code::Ok, |status| status.code()),
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
        at(self.with(Code::Ok), quantile)
    }

    pub(crate) fn refused_quantile(&self, quantile: f64) -> Duration {
        at(self.with(Code::ResourceExhausted), quantile)
    }

    /// The calls that were due when the condition held, and the others.
    pub(crate) fn split(&self, condition: impl Fn(Duration) -> bool) -> (Seen, Seen) {
        let copy = |call: &Call| Call { ..*call };
        let (yes, no): (Vec<Call>, Vec<Call>) = self
            .calls
            .iter()
            .map(copy)
            .partition(|call| condition(call.due));
        (Seen { calls: yes }, Seen { calls: no })
    }

    fn with(&self, code: Code) -> impl Iterator<Item = Duration> {
        self.calls
            .iter()
            .filter(move |call| call.code == code)
            .map(|call| call.took)
    }
}

impl std::fmt::Display for Seen {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
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

/// A quantile of times, to three digits of a microsecond.
pub(crate) fn at(times: impl Iterator<Item = Duration>, quantile: f64) -> Duration {
    let mut histogram = Histogram::<u64>::new_with_bounds(1, 60_000_000_000, 3).unwrap();
    for time in times {
        histogram.saturating_record(time.as_nanos() as u64);
    }
    Duration::from_nanos(histogram.value_at_quantile(quantile))
}
