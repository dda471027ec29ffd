//! What the control plane costs: how soon a fleet follows an activation and a rollback, what the loss of etcd's leader costs,
//! and how much memory a large bundle takes on its way. Real processes on real etcd, all on this machine, so its load is
//! part of every figure and is printed beside them.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark prints its table, and ends when something is wrong"
)]

use std::time::{Duration, SystemTime};

use decant_coordination::keys::{self, VersionKey, VersionRecord};
use decant_coordination::{EtcdStore, Keyspace, MetaStore, Txn};
use decant_model::{Digest, Manifest, ModelName, ModelVersion};
use decant_proto::rollout::v1 as rollout;
use decant_tests::releases::{plan, release};
use decant_tests::tiny::MODEL;
use decant_tests::{Deployment, Operated, Recorder, Releases, Shape, Tiny, eventually};
use rollout::RolloutPhase;

const SWAPS: usize = 100;
const ROLLBACKS: usize = 50;
const KILLS: usize = 5;
const STARTS: usize = 9;
const MODELS: usize = 100;
const VERSIONS: usize = 100;
const LARGE: usize = 200 << 20;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    println!("| measure | n | p50 | p99 | max | load |");
    println!("|---|---|---|---|---|---|");
    runtime.block_on(async {
        activations().await;
        rollbacks().await;
        leaders().await;
    });
    runtime.block_on(starts());
    println!();
    runtime.block_on(memory());
}

/// The machine's load over the last minute.
fn load() -> String {
    let loads = std::fs::read_to_string("/proc/loadavg").unwrap();
    loads.split(' ').next().unwrap().to_owned()
}

fn row(measure: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |share: f64| {
        let place = ((times.len() as f64 * share).ceil() as usize).clamp(1, times.len()) - 1;
        format!("{:.1} ms", times[place].as_secs_f64() * 1e3)
    };
    println!(
        "| {measure} | {} | {} | {} | {} | {} |",
        times.len(),
        at(0.5),
        at(0.99),
        at(1.0),
        load()
    );
}

/// Activation committed -> the last of ten scorers answers with it. Both versions are resident: what is measured is the
/// pointer's way through etcd, and not the loading.
async fn activations() {
    let shape = Shape {
        etcd: 1,
        registries: 1,
        scorers: 10,
    };
    let cluster = Deployment::start(shape).await;
    for tiny in [Tiny::new(0.25), Tiny::new(-0.5)] {
        cluster.serve(&tiny).await;
    }
    let mut times = Vec::new();
    let mut requests = 0;
    for swap in 0..SWAPS {
        let clients = Recorder::start(cluster.scorer_addresses(), Duration::from_millis(4));
        eventually("all scorers are asked", || async {
            (clients.count() > 50).then_some(()).ok_or(())
        })
        .await;
        let slot = cluster.set(0, 1 + swap as u64 % 2).await.unwrap();
        let committed = SystemTime::now();
        cluster
            .converged(0, 1 + swap as u64 % 2, shape.scorers)
            .await;
        let seen = clients.count();
        eventually("all scorers answered since", || async {
            (clients.count() > seen + 50).then_some(()).ok_or(())
        })
        .await;
        let history = clients.stop().await;
        history.check_no_drop();
        requests += history.0.len();
        times.push(history.converged(slot.generation, committed).unwrap());
    }
    row(
        &format!(
            "activation -> last of 10 scorers answers with it ({requests} requests, 0 failed)"
        ),
        times,
    );
}

/// A rollback is asked for -> the registry has heard from the last of ten scorers that it serves the version of before, and
/// each of them has answered with it. Every second one takes back a canary under way, the others a version in full service.
async fn rollbacks() {
    let shape = Shape {
        etcd: 1,
        registries: 1,
        scorers: 10,
    };
    let cluster = Deployment::start(shape).await;
    let versions = [Tiny::new(0.25), Tiny::new(-0.5)];
    for tiny in &versions {
        cluster.serve(tiny).await;
    }
    let mut times = Vec::new();
    let mut requests = 0;
    for round in 0..ROLLBACKS {
        let (before, after) = (1 + round as u64 % 2, 2 - round as u64 % 2);
        cluster.set(0, before).await.unwrap();
        cluster.converged(0, before, shape.scorers).await;
        if round % 2 == 0 {
            let request = release(after, plan(&["50%", "pause"], Vec::new()));
            cluster.begin(0, request).await.unwrap();
            cluster.reaches(0, RolloutPhase::Paused).await;
        } else {
            cluster.set(0, after).await.unwrap();
            cluster.converged(0, after, shape.scorers).await;
        }
        let clients = Recorder::start(cluster.scorer_addresses(), Duration::from_millis(4));
        eventually("all scorers are asked", || async {
            (clients.count() > 50).then_some(()).ok_or(())
        })
        .await;
        let watched = rollout::WatchSlotStatusRequest {
            model: MODEL.to_owned(),
            slot: String::new(),
        };
        let watched = cluster.rollout(0).watch_slot_status(watched).await;
        let mut news = watched.unwrap().into_inner();
        let asked = SystemTime::now();
        let back = cluster.roll_back(0, before).await.unwrap();
        let generation = back.slot.unwrap().generation;
        loop {
            let status = news.message().await.unwrap().unwrap().status.unwrap();
            let mut scorers = status.scorers.iter();
            if status.scorers.len() == shape.scorers
                && scorers.all(|scorer| scorer.serving == generation)
            {
                break;
            }
        }
        let observed = asked.elapsed().unwrap();
        let seen = clients.count();
        eventually("all scorers answered since", || async {
            (clients.count() > seen + 50).then_some(()).ok_or(())
        })
        .await;
        let history = clients.stop().await;
        history.check_no_drop();
        history.check_against(&cluster.intended(0).await);
        history.check_exact(&versions);
        requests += history.0.len();
        let answered = history.converged(generation, asked).unwrap();
        times.push(observed.max(answered));
    }
    row(
        &format!(
            "rollback asked for -> all of 10 scorers serve and say so ({requests} requests, 0 failed)"
        ),
        times,
    );
}

/// etcd's leader is killed; a generation is written as soon as etcd takes it.
async fn leaders() {
    let shape = Shape {
        etcd: 3,
        registries: 2,
        scorers: 4,
    };
    let mut cluster = Deployment::start(shape).await;
    for tiny in [Tiny::new(0.25), Tiny::new(-0.5)] {
        cluster.serve(&tiny).await;
    }
    let clients = Recorder::start(cluster.scorer_addresses(), Duration::from_millis(5));
    let (mut written, mut reached) = (Vec::new(), Vec::new());
    let mut generations = Vec::new();
    for kill in 0..KILLS {
        let version = 1 + kill as u64 % 2;
        let leader = cluster.etcd.leader().await;
        let killed = SystemTime::now();
        cluster.etcd.kill(leader);
        let slot = eventually("the slot can be set", || async {
            cluster
                .set(0, version)
                .await
                .map_err(|status| status.to_string())
        })
        .await;
        let committed = SystemTime::now();
        written.push(committed.duration_since(killed).unwrap());
        generations.push((slot.generation, committed));
        cluster.converged(0, version, shape.scorers).await;
        cluster.etcd.restart(leader);
        cluster.etcd.healthy().await;
    }
    let history = clients.stop().await;
    history.check_no_drop();
    for (generation, committed) in generations {
        reached.push(history.converged(generation, committed).unwrap());
    }
    row("etcd's leader killed -> a generation is written", written);
    row(
        &format!(
            "that generation -> last of 4 scorers answers with it ({} requests, 0 failed)",
            history.0.len()
        ),
        reached,
    );
}

/// A scorer's start in a cluster that keeps few versions, and in one that keeps very many: it looks only at what is
/// wanted.
async fn starts() {
    let shape = Shape {
        etcd: 1,
        registries: 1,
        scorers: 1,
    };
    let mut cluster = Deployment::start(shape).await;
    cluster.serve(&Tiny::new(0.25)).await;
    for many in [false, true] {
        if many {
            crowd(&cluster).await;
        }
        let mut times = Vec::new();
        for _ in 0..STARTS {
            drop(cluster.scorers.pop());
            let begun = SystemTime::now();
            let scorer = cluster.start_scorer(0, []);
            cluster.scorers.push(scorer);
            cluster.ready(0).await;
            times.push(begun.elapsed().unwrap());
        }
        let versions = if many { MODELS * VERSIONS } else { 1 };
        row(&format!("a scorer's start, {versions} versions"), times);
    }
}

/// Writes very many versions straight into the store.
async fn crowd(cluster: &Deployment) {
    let store = EtcdStore::connect(&cluster.etcd.config()).await.unwrap();
    let keyspace = Keyspace::default();
    let tiny = Tiny::new(0.25);
    let manifest = Manifest::from_json(&tiny.manifest).unwrap();
    for model in 0..MODELS {
        let name: ModelName = format!("model-{model}").parse().unwrap();
        let numbers: Vec<u64> = (1..=VERSIONS as u64).collect();
        for some in numbers.chunks(20) {
            let mut txn = Txn::new();
            for number in some {
                let key = VersionKey {
                    model: name.clone(),
                    version: ModelVersion::new(*number).unwrap(),
                };
                let record = VersionRecord {
                    digest: Digest::of(format!("{name}/{number}").as_bytes()),
                    manifest: manifest.clone(),
                    signature: None,
                    created_at_millis: 0,
                };
                txn = txn.put(keyspace.key(&key), keys::encode(&key, &record).unwrap());
            }
            store.commit(txn).await.unwrap();
        }
    }
}

/// The peak of resident memory while a bundle of 200 MiB streams through a registry and into a scorer's cache.
async fn memory() {
    let shape = Shape {
        etcd: 1,
        registries: 1,
        scorers: 1,
    };
    let cluster = Deployment::start(shape).await;
    cluster.serve(&Tiny::new(0.25)).await;
    let large = Tiny::with_ballast(-0.5, LARGE);
    let peaks =
        || [&cluster.registries[0], &cluster.scorers[0]].map(|process| process.memory("VmHWM"));
    let before = peaks();
    cluster.serve(&large).await;
    let after = peaks();
    println!("| a bundle of 200 MiB passes through | peak memory before | after | growth |");
    println!("|---|---|---|---|");
    for (place, name) in ["registry", "scorer"].into_iter().enumerate() {
        let mebibytes = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
        println!(
            "| {name} | {} | {} | {} |",
            mebibytes(before[place]),
            mebibytes(after[place]),
            mebibytes(after[place] - before[place])
        );
    }
}
