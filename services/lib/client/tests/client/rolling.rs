//! One scorer after the other is replaced under load, and no caller notices.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use decant_client::{Error, Scorers};
use tokio::task::JoinSet;

use crate::running::{Running, builder, ejected, page, until};

const WORKERS: usize = 6;
const DEADLINE: Duration = Duration::from_secs(5);

/// Calls without a pause until it is told to stop.
struct Load {
    workers: JoinSet<Result<BTreeMap<u64, u32>, Error>>,
    over: Arc<AtomicBool>,
}

impl Load {
    fn start(scorers: &Scorers) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let mut workers = JoinSet::new();
        for _ in 0..WORKERS {
            let (scorers, over) = (scorers.clone(), Arc::clone(&over));
            workers.spawn(async move {
                let mut answers = BTreeMap::new();
                while !over.load(Ordering::Relaxed) {
                    let ranked = scorers.rank(&page()).await?;
                    *answers.entry(ranked.served_by.version).or_insert(0) += 1;
                }
                Ok(answers)
            });
        }
        Self { workers, over }
    }

    /// How many calls each scorer has answered. No call may have failed.
    async fn stop(mut self) -> BTreeMap<u64, u32> {
        self.over.store(true, Ordering::Relaxed);
        let mut all = BTreeMap::new();
        while let Some(answers) = self.workers.join_next().await {
            for (version, count) in answers.unwrap().unwrap() {
                *all.entry(version).or_insert(0) += count;
            }
        }
        all
    }
}

async fn three() -> [Running; 3] {
    [
        Running::start(1).await,
        Running::start(2).await,
        Running::start(3).await,
    ]
}

/// It is asked for calls again.
async fn answers_again(server: &Running) {
    let asked = server.asked().len();
    until("it is asked again", || server.asked().len() > asked).await;
}

/// One that is down and out starts anew, loads its model, and is asked for calls again.
async fn come_back(server: &mut Running, scorers: &Scorers) {
    server.load_model();
    server.restart().await;
    server.serve();
    until("it is back", || !ejected(scorers, server)).await;
    answers_again(server).await;
}

#[tokio::test]
async fn no_call_fails_while_scorers_are_restarted() {
    let mut servers = three().await;
    let scorers = builder(&servers).deadline(DEADLINE).build().unwrap();
    let load = Load::start(&scorers);
    for server in &mut servers {
        answers_again(server).await;
        server.drain();
        until("it is out", || ejected(&scorers, server)).await;
        server.stop().await;
        come_back(server, &scorers).await;
    }
    let answers = load.stop().await;
    assert_eq!(answers.len(), 3, "{answers:?}");
}

#[tokio::test]
async fn no_call_fails_while_scorers_are_killed() {
    let mut servers = three().await;
    let scorers = builder(&servers).deadline(DEADLINE).build().unwrap();
    let load = Load::start(&scorers);
    for server in &mut servers {
        answers_again(server).await;
        server.kill();
        until("it is out", || ejected(&scorers, server)).await;
        come_back(server, &scorers).await;
    }
    let answers = load.stop().await;
    assert_eq!(answers.len(), 3, "{answers:?}");
}

#[tokio::test]
async fn no_call_fails_when_a_connection_is_closed_in_good_order() {
    let mut servers = three().await;
    let scorers = builder(&servers).deadline(DEADLINE).build().unwrap();
    let load = Load::start(&scorers);
    for server in &mut servers {
        answers_again(server).await;
        // As when a scorer limits how old a connection gets: it answers to the end.
        server.stop().await;
        server.restart().await;
        answers_again(server).await;
    }
    load.stop().await;
}
