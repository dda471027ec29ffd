//! What the scorer costs and how calm it stays, beside what it is compared with: the server on one core, the load on the
//! other, ratios between measurements of one run. Real processes; the machine's load is printed with each row.
//!
//! Reading order: [`server`] is what is measured and its yardsticks; [`closed`] asks as fast as answers come, [`open`] as a
//! Poisson process whether they come or not, over [`http2`]; each function here fills rows of the table.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark prints its table, and ends when something is wrong"
)]

mod closed;
mod http2;
mod open;
mod peers;
mod server;

use std::net::SocketAddr;
use std::ops::Range;
use std::thread;
use std::time::{Duration, Instant};

use decant_proto::scorer::v1 as wire;
use decant_tests::{Deployment, Operated, Shape, Standalone, Tiny, tiny};
use prost::Message;
use tokio::runtime::Runtime;

use crate::open::{Load, Seen};
use crate::server::{Alone, Answered, Bundle, Echo};

/// The core of what is measured, and that of the load.
const SERVER: usize = 0;
const CLIENT: usize = 1;

const ROUNDS: usize = 3;
const LATENCY_ROUNDS: u64 = 7;
/// The machine's other tenants, and its own kernel, take a core for some milliseconds several times a second, and whatever is due
/// then waits that long. What a quantile is without them, the median of the quantiles of so short times says; longer ones for a
/// peer, of which few calls are asked for.
const WINDOW: Duration = Duration::from_millis(50);
const PEERS_WINDOW: Duration = Duration::from_millis(250);
/// For how long threads of a scorer look at the network before they sleep, where the row says so: between most calls at a
/// thousand a second, and so all the time at more.
const BUSY_POLL_MICROS: &str = "5000";
const SWAPS: u32 = 100;
const MEMORY_SWAPS: u32 = 1_000;
const CANDIDATES: usize = 500;
/// How many times as many calls as can be answered.
const OVERLOADS: [f64; 3] = [2.0, 3.0, 5.0];
const OVERLOAD: Duration = Duration::from_secs(3);
const OVERLOAD_ROUNDS: usize = 5;

const SCORE: &str = "/decant.scorer.v1.ScorerService/Score";
const INFER: &str = "/inference.GRPCInferenceService/ModelInfer";
const RECOMMEND: &str = "/decant.scorer.v1.ScorerService/Recommend";
const RANK: &str = "/decant.scorer.v1.ScorerService/Rank";

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.iter().any(|argument| argument == Echo::ROLE) {
        return server::echo();
    }
    pin(CLIENT);
    let only = arguments
        .iter()
        .skip(1)
        .find(|argument| !argument.starts_with('-'));
    let wanted = |name: &str| only.is_none_or(|only| only == name);
    let runtime = runtime();
    println!("| measure | value | target | load |");
    println!("|---|---|---|---|");
    if wanted("score") {
        runtime.block_on(score());
    }
    if wanted("peers") {
        runtime.block_on(peers());
    }
    if wanted("swaps") {
        runtime.block_on(swaps());
    }
    if wanted("memory") {
        runtime.block_on(memory());
    }
    if wanted("rank") {
        runtime.block_on(rank());
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

/// Keeps this process, and what it starts, to one core.
fn pin(core: usize) {
    let mut cores = rustix::thread::CpuSet::new();
    cores.set(core);
    rustix::thread::sched_setaffinity(None, &cores).unwrap();
}

fn row(measure: &str, value: String, target: &str) {
    let loads = std::fs::read_to_string("/proc/loadavg").unwrap();
    let load = loads.split(' ').next().unwrap();
    println!("| {measure} | {value} | {target} | {load} |");
}

fn micros(time: Duration) -> String {
    format!("{:.0} us", time.as_secs_f64() * 1e6)
}

/// A time of the calls: the median over windows, and that of all.
fn typically_and_of_all(
    seen: &Seen,
    window: Duration,
    time: impl Fn(&Seen) -> Duration,
) -> [Duration; 2] {
    let windows = seen
        .windows(window)
        .map(|window| time(&window).as_secs_f64());
    [
        Duration::from_secs_f64(median(windows.collect())),
        time(seen),
    ]
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A scorer that serves the wide bundle, and whose threads look at the network for so many microseconds before they sleep.
async fn wide(busy_poll_micros: &str) -> (tempfile::TempDir, Standalone) {
    let folder = tempfile::tempdir().unwrap();
    let variables = [("DECANT_SCORER__BUSY_POLL_MICROS", busy_poll_micros)];
    let standalone = Standalone::start_on_core(SERVER, folder.path(), &variables);
    standalone.create_model().await;
    standalone.serve(&Tiny::wide(1)).await;
    (folder, standalone)
}

/// A scorer in a process of its own on its core, with etcd and a registry on the other, that serves the wide bundle.
async fn apart() -> Deployment {
    let shape = Shape {
        etcd: 1,
        registries: 1,
        scorers: 0,
    };
    let mut cluster = Deployment::start(shape).await;
    cluster
        .scorers
        .push(cluster.start_scorer_on_core(0, SERVER));
    cluster.serve(&Tiny::wide(1)).await;
    cluster
}

/// Pushes so many versions, each unlike the one that serves.
async fn push(cluster: &Deployment, count: u32) -> Vec<u64> {
    let mut versions = Vec::new();
    for seed in 0..count {
        let pushed = cluster.push(0, &Tiny::wide(2 + seed)).await;
        versions.push(pushed.unwrap().version);
    }
    versions
}

/// One row of 64 floats: throughput beside a bare echo of the same messages, and what is added to ONNX Runtime's time.
async fn score() {
    let (_folder, standalone) = wide("0").await;
    let address = standalone.scorer_addresses()[0];
    let (_other_folder, awake) = wide(BUSY_POLL_MICROS).await;
    let awake = awake.scorer_addresses()[0];
    let echo = Echo::start(SERVER);
    let request = Tiny::wide_request();
    let mut answered = Answered::of(address, tiny::MODEL);
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        bare.push(closed::rate(echo.address, SCORE, &request, closed::MANY).await);
        let rate = closed::rate(address, SCORE, &request, closed::MANY).await;
        ours.push(rate * answered.share().await);
    }
    let (ours, bare) = (median(ours), median(bare));
    row(
        "Score, 1 row of 64 floats, saturated, beside a bare tonic echo",
        format!("{ours:.0}/s : {bare:.0}/s = {:.2}", ours / bare),
        ">= 0.85",
    );
    // At half of what the echo can do, a server that is faster has more of its core left.
    let loads = [
        ("half load", ours / 2.0),
        ("half of what the echo can do", bare / 2.0),
    ];
    let servers = [awake, address, echo.address];
    let alone = Alone::wide(&Tiny::wide(1));
    for (load, rate) in loads {
        added(&alone, &mut answered, servers, load, rate).await;
    }
}

/// What calls at this rate add to ONNX Runtime's time: to a scorer that is awake and one as it comes, and to the echo.
async fn added(
    alone: &Alone,
    answered: &mut Answered,
    servers: [SocketAddr; 3],
    load: &str,
    rate: f64,
) {
    let request = Tiny::wide_request();
    answered.infer_time().await;
    let mut seen = servers.map(|_| Vec::new());
    for round in 0..LATENCY_ROUNDS {
        for (server, seen) in servers.iter().zip(&mut seen) {
            let load = Load::new(rate, Duration::from_secs(3), round);
            seen.push(open::calls(*server, SCORE, &request, load));
        }
    }
    let infer = answered.infer_time().await;
    for (quantile, name, target) in [(0.5, "p50", "<= 60 us"), (0.99, "p99", "<= 250 us")] {
        let own = alone.quantile(quantile);
        let [awake, asleep, echo] = seen.each_ref().map(|rounds| {
            let time = |seen: &Seen| seen.quantile(quantile).saturating_sub(own);
            let all = Seen::together(rounds);
            let [typically, of_all] = typically_and_of_all(&all, WINDOW, time).map(micros);
            let late = micros(all.late(quantile));
            format!("{typically} ({of_all} of all; calls were late by {late}; failed: {all})")
        });
        row(
            &format!("the same at {load}, {rate:.0}/s: {name} added to in-process ONNX Runtime"),
            format!(
                "{awake} with threads that look at the network for {BUSY_POLL_MICROS} us; {asleep} with threads that \
                 sleep; the echo {echo}; in process {}, in the scorer {}",
                micros(own),
                micros(infer),
            ),
            target,
        );
    }
}

/// Other servers, with the same model and the same requests of the Open Inference Protocol. Each has the core for itself: what
/// others do now and then, though nobody asks them, is seen in the tails of both.
async fn peers() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model.onnx");
    std::fs::write(&model, &Tiny::wide(1).files[&"model.onnx".parse().unwrap()]).unwrap();
    for name in peers::NAMES {
        let Some(peer) = peers::Peer::start(name, SERVER, &model) else {
            row(&format!("beside {name}"), "not set up here".to_owned(), "");
            continue;
        };
        let request = peers::request("bench");
        let theirs = closed::rate(peer.address, INFER, &request, closed::MANY).await;
        let load = || Load::new(theirs / 2.0, Duration::from_secs(10), 5);
        let slow = open::calls(peer.address, INFER, &request, load());
        let versions = peer.versions.clone();
        drop(peer);
        let (_, awake) = beside(BUSY_POLL_MICROS, load()).await;
        let (ours, asleep) = beside("0", load()).await;
        row(
            &format!("beside {versions}: requests a second, saturated"),
            format!("{ours:.0}/s : {theirs:.0}/s = {:.1}", ours / theirs),
            ">= 30",
        );
        if slow.failed() > 0 {
            row(
                &format!("the same, p99: {name} failed"),
                slow.to_string(),
                "",
            );
            continue;
        }
        let p99 = |seen: &Seen| seen.quantile(0.99);
        let theirs = typically_and_of_all(&slow, PEERS_WINDOW, p99);
        let [awake, asleep] = [awake, asleep].map(|quick| {
            assert_eq!(quick.failed(), 0, "failed: {quick}");
            let ours = typically_and_of_all(&quick, PEERS_WINDOW, p99);
            let [typically, of_all] = [0, 1].map(|which| {
                let (ours, theirs) = (ours[which], theirs[which]);
                let ratio = theirs.as_secs_f64() / ours.as_secs_f64();
                format!("{} : {} = 1/{ratio:.0}", micros(ours), micros(theirs))
            });
            format!("{typically} ({of_all} of all)")
        });
        row(
            &format!("the same, p99 at half of what {name} can do"),
            format!(
                "{awake} with threads that look at the network for {BUSY_POLL_MICROS} us; {asleep} with threads \
                 that sleep"
            ),
            "<= 1/20",
        );
    }
}

/// What a scorer of ours can do that is asked as its peers are, and what it does under their load.
async fn beside(busy_poll_micros: &str, load: Load) -> (f64, Seen) {
    let (_folder, standalone) = wide(busy_poll_micros).await;
    let (address, request) = (standalone.scorer_addresses()[0], peers::request("films"));
    let rate = closed::rate(address, INFER, &request, closed::MANY).await;
    (rate, open::calls(address, INFER, &request, load))
}

/// Versions that are loaded, swapped in and freed under load.
async fn swaps() {
    let cluster = apart().await;
    let address = cluster.scorer_addresses()[0];
    let request = Tiny::wide_request();
    let half = closed::rate(address, SCORE, &request, closed::MANY).await / 2.0;
    let versions = push(&cluster, SWAPS).await;
    let length = Duration::from_secs_f64((1.05e6 / half).max(f64::from(SWAPS)));
    let started = Instant::now();
    // On a thread of its own: what the operator does must not make calls late.
    let operator = thread::spawn(move || {
        let windows = swap(&cluster, &versions, started, length);
        (cluster, windows)
    });
    let load = Load::new(half, length, 7);
    let seen = open::calls(address, SCORE, &request, load);
    let (_cluster, windows) = operator.join().unwrap();
    let in_window = |due: Duration| windows.iter().any(|window| window.contains(&due));
    let (during, steady) = seen.split(in_window);
    let share = |some: &Seen, of: &Seen| some.count() as f64 / of.count() as f64 * 100.0;
    let in_windows = share(&during, &seen);
    // The registry and etcd work on the load's core, and most of all while a version is swapped.
    let [clear, clear_else] = [&during, &steady].map(Seen::undisturbed);
    row(
        &format!("{SWAPS} swaps under half load, {half:.0}/s: failed"),
        seen.to_string(),
        "0 of >= 1,000,000",
    );
    let p99 = |seen: &Seen| seen.quantile(0.99);
    let [typically, of_all] = {
        let during = typically_and_of_all(&clear, WINDOW, p99);
        let steady = typically_and_of_all(&clear_else, WINDOW, p99);
        [0, 1].map(|which| {
            let (during, steady) = (during[which], steady[which]);
            let ratio = during.as_secs_f64() / steady.as_secs_f64();
            format!("{} : {} = {ratio:.2}", micros(during), micros(steady))
        })
    };
    row(
        &format!("p99 in swap windows ({in_windows:.0} % of the calls) : p99 else"),
        format!(
            "{typically} ({of_all} of all), of the {:.1} : {:.1} % of the calls during which the load had its core; with the \
             others {} : {}",
            share(&clear, &during),
            share(&clear_else, &steady),
            micros(p99(&during)),
            micros(p99(&steady)),
        ),
        "<= 1.3",
    );
}

/// Swaps the versions in, evenly over this length. A window is from the order to a tenth of a second after the scorer has
/// said that it serves.
fn swap(
    cluster: &Deployment,
    versions: &[u64],
    started: Instant,
    length: Duration,
) -> Vec<Range<Duration>> {
    let every = length / (SWAPS + 1);
    let mut windows = Vec::new();
    runtime().block_on(async {
        for (version, due) in versions.iter().zip(1..) {
            tokio::time::sleep_until((started + every * due).into()).await;
            let begun = started.elapsed();
            cluster.set(0, *version).await.unwrap();
            cluster.converged(0, *version, 1).await;
            windows.push(begun..started.elapsed() + Duration::from_millis(100));
        }
    });
    windows
}

/// Memory after many swaps, beside that after a few.
async fn memory() {
    let cluster = apart().await;
    let versions = push(&cluster, 20).await;
    let mut early = 0;
    let mut late = 0;
    for swap in 0..MEMORY_SWAPS {
        let version = versions[swap as usize % versions.len()];
        cluster.set(0, version).await.unwrap();
        cluster.converged(0, version, 1).await;
        late = cluster.scorers[0].memory("VmRSS");
        if swap == 19 {
            early = late;
        }
    }
    let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    row(
        &format!("resident memory after {MEMORY_SWAPS} swaps : after 20"),
        format!(
            "{:.1} MiB : {:.1} MiB = {:.2}",
            mebibytes(late),
            mebibytes(early),
            late as f64 / early as f64
        ),
        "<= 1.1",
    );
}

/// A trained student, one user and 500 candidates by id: rows a second beside ONNX Runtime, and what overload does.
async fn rank() {
    let folder = tempfile::tempdir().unwrap();
    server::train(folder.path());
    let standalone = Standalone::start_on_core(SERVER, folder.path(), &[]);
    let address = standalone.scorer_addresses()[0];
    let bundle = Bundle::serve(&standalone, folder.path());
    let request = |top_k: u32| wire::RankRequest {
        top_k,
        ..bundle.request(CANDIDATES)
    };
    let alone = Alone::rank(&bundle, CANDIDATES);
    let in_process = CANDIDATES as f64 / alone.mean().as_secs_f64();
    let mut answered = Answered::of(address, server::MODEL);
    for top_k in [20, 0] {
        let mut rates = Vec::new();
        for _ in 0..ROUNDS {
            let rate = closed::rate(address, RANK, &request(top_k), closed::FEW).await;
            rates.push(rate * answered.share().await);
        }
        let rows = median(rates) * CANDIDATES as f64;
        let answered = if top_k == 0 {
            "all".to_owned()
        } else {
            format!("the best {top_k}")
        };
        row(
            &format!(
                "Rank by id, 1 user x {CANDIDATES}, {answered}: rows beside in-process ONNX Runtime"
            ),
            format!("{rows:.0}/s : {in_process:.0}/s = {:.2}", rows / in_process),
            ">= 0.7",
        );
    }
    overload(address, "Rank by id", RANK, &request(20)).await;
    let whole = bundle.recommend(20);
    overload(address, "Recommend of the whole catalog", RECOMMEND, &whole).await;
}

/// What becomes of calls of which there are more than can be answered. A machine's speed changes from one minute to the next, so
/// each round has its own capacity: that of its beginning and its end.
async fn overload(address: SocketAddr, name: &str, path: &str, request: &impl Message) {
    let mut answered = Answered::of(address, server::MODEL);
    let mut capacity = async || {
        answered.share().await;
        let rate = closed::rate(address, path, request, closed::FEW).await;
        rate * answered.share().await
    };
    let mut measured = vec![capacity().await];
    let mut at_capacity = Vec::new();
    let mut over = OVERLOADS.map(|_| Vec::new());
    for round in 0..OVERLOAD_ROUNDS {
        let begun = measured[round];
        let calls = |factor: f64| {
            let load = Load::new(begun * factor, OVERLOAD, round as u64);
            open::calls(address, path, request, load)
        };
        at_capacity.push(calls(1.0).quantile(0.99).as_secs_f64());
        for (factor, seen) in OVERLOADS.into_iter().zip(&mut over) {
            seen.push(calls(factor));
        }
        measured.push(capacity().await);
    }
    let ends = measured.windows(2);
    let capacities: Vec<f64> = ends.map(|ends| (ends[0] + ends[1]) / 2.0).collect();
    for (factor, rounds) in OVERLOADS.into_iter().zip(&over) {
        let target = |target| if factor == 3.0 { target } else { "" };
        let beside = |values: &[f64], of: fn(&Seen) -> f64| {
            let ratios = rounds.iter().map(of).zip(values);
            median(ratios.map(|(seen, value)| seen / value).collect())
        };
        let all = Seen::together(rounds);
        let goodput = beside(&capacities, |seen| {
            seen.answered() as f64 / OVERLOAD.as_secs_f64()
        });
        row(
            &format!("{name}, overload at {factor} times capacity: goodput"),
            format!(
                "{goodput:.2} of {:.0}/s (calls were late by {})",
                median(capacities.clone()),
                micros(all.late(0.99))
            ),
            target(">= 0.9"),
        );
        let accepted = beside(&at_capacity, |seen| seen.quantile(0.99).as_secs_f64());
        row(
            "accepted requests' p99 beside that at capacity",
            format!(
                "{accepted:.2} of {}",
                micros(Duration::from_secs_f64(median(at_capacity.clone())))
            ),
            target("<= 2"),
        );
        row(
            &format!(
                "refused with RESOURCE_EXHAUSTED ({} of {}, otherwise {}): p50, p99",
                all.refused(),
                all.count(),
                all.failed() - all.refused()
            ),
            format!(
                "{}, {}",
                micros(all.refused_quantile(0.5)),
                micros(all.refused_quantile(0.99))
            ),
            target("< 5 ms"),
        );
    }
}
