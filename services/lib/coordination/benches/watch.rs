//! How long it takes from a put to the last of many watchers: `cargo bench -p decant-coordination --bench watch --profile
//! dev`. Starts an etcd of its own.
#![expect(clippy::print_stdout, reason = "a bench prints its table")]

use std::time::{Duration, Instant};

use decant_coordination::testing::Etcd;
use decant_coordination::{EtcdStore, Event, Key, MetaStore, Prefix, StoreError, Txn};
use futures::StreamExt;
use futures::stream::FuturesUnordered;

const PUTS: usize = 300;
const VALUE_BYTES: usize = 512;

fn main() -> Result<(), StoreError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| StoreError::Failed {
            action: "start a runtime",
            source: error.into(),
        })?;
    runtime.block_on(run())
}

async fn run() -> Result<(), StoreError> {
    println!("put of {VALUE_BYTES} bytes, {PUTS} times; milliseconds");
    println!(
        "{:>8}  {:>22}  {:>22}",
        "", "put answered", "last watcher told"
    );
    println!(
        "{:>8}  {:>6} {:>6} {:>8}  {:>6} {:>6} {:>8}",
        "watchers", "p50", "p99", "longest", "p50", "p99", "longest"
    );
    for watchers in [1, 10, 50] {
        let (answered, told) = measure(watchers).await?;
        println!("{watchers:>8}  {}  {}", row(answered), row(told));
    }
    Ok(())
}

/// How long each put took to be answered, and until the last watcher was told.
async fn measure(watchers: usize) -> Result<(Vec<Duration>, Vec<Duration>), StoreError> {
    let etcd = Etcd::single().await;
    let store = EtcdStore::connect(&etcd.config()).await?;
    let prefix = Prefix::new("/decant/bench/");
    let from = store.list(&prefix).await?.revision.next();
    let mut watches = Vec::new();
    for _ in 0..watchers {
        watches.push(store.watch(&prefix, from).await?);
    }
    let (mut answered, mut told) = (Vec::new(), Vec::new());
    for _ in 0..PUTS {
        let begin = Instant::now();
        let put = async {
            let txn = Txn::new().put(Key::new("/decant/bench/slot"), vec![7; VALUE_BYTES]);
            let revision = store.commit(txn).await?;
            Ok::<_, StoreError>((revision, begin.elapsed()))
        };
        let hear = async {
            let all: FuturesUnordered<_> = watches.iter_mut().map(|watch| watch.next()).collect();
            let heard: Vec<_> = all.collect().await;
            (heard, begin.elapsed())
        };
        let (put, (heard, last)) = futures::future::join(put, hear).await;
        let (revision, took) = put?;
        for changes in heard.into_iter().flatten() {
            let changes = changes?;
            assert!(changes.revision == revision && matches!(changes.events[..], [Event::Put(_)]));
        }
        answered.push(took);
        told.push(last);
    }
    Ok((answered, told))
}

fn row(mut times: Vec<Duration>) -> String {
    times.sort();
    let at = |share: f64| {
        let index = ((times.len() - 1) as f64 * share).round() as usize;
        times[index].as_secs_f64() * 1e3
    };
    format!("{:>6.2} {:>6.2} {:>8.2}", at(0.5), at(0.99), at(1.0))
}
