//! Calls through the client that come as a Poisson process, whether they are answered or not, and what became of each.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use decant_client::{Arm, Error, Ranked, Scorers};
use decant_load::poisson;
use decant_proto::rollout::v1 as rollout;
use decant_proto::scorer::v1::ServedBy;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::Code;

use crate::history::{Answer, History, Question};
use crate::tiny::Tiny;

/// Arrivals are drawn for so long at a time.
const DRAWN: Duration = Duration::from_secs(10);
/// For whom is asked; of every five calls, one is for nobody in particular.
const USERS: u64 = 500;

/// Those who ask for the scores of [`Tiny::request`] through one client.
pub struct Callers {
    answers: Arc<Mutex<Vec<Answer>>>,
    stop: CancellationToken,
    driver: JoinSet<()>,
}

impl Callers {
    /// Starts to ask so often a second, at times that the seed fixes.
    pub fn start(scorers: &Scorers, rate: f64, seed: u64) -> Self {
        let (answers, stop) = (Arc::default(), CancellationToken::new());
        let mut driver = JoinSet::new();
        driver.spawn(drive(
            scorers.clone(),
            rate,
            seed,
            Arc::clone(&answers),
            stop.clone(),
        ));
        Self {
            answers,
            stop,
            driver,
        }
    }

    /// How many calls are over so far.
    pub fn count(&self) -> usize {
        self.answers.lock().unwrap().len()
    }

    /// Asks no more, waits for what was asked, and returns everything. Nobody knows which scorer answered what; each answer
    /// stands there as that of a scorer of its own.
    pub async fn stop(mut self) -> History {
        self.stop.cancel();
        while let Some(ended) = self.driver.join_next().await {
            ended.unwrap();
        }
        History(std::mem::take(&mut *self.answers.lock().unwrap()))
    }
}

async fn drive(
    scorers: Scorers,
    rate: f64,
    seed: u64,
    answers: Arc<Mutex<Vec<Answer>>>,
    stop: CancellationToken,
) {
    let (begun, began) = (Instant::now(), SystemTime::now());
    let rounds = (0_u32..).flat_map(move |round| {
        let arrivals = poisson(rate, DRAWN, seed.wrapping_add(u64::from(round)));
        arrivals.into_iter().map(move |at| DRAWN * round + at)
    });
    let mut calls = JoinSet::new();
    for (number, due) in rounds.enumerate() {
        tokio::select! {
            () = tokio::time::sleep_until((begun + due).into()) => {}
            () = stop.cancelled() => break,
        }
        let question = Question {
            key: (!number.is_multiple_of(5)).then(|| user(seed, number as u64)),
            old: false,
        };
        // A call that is made late has waited too.
        let asked = began + due;
        let (scorers, answers) = (scorers.clone(), Arc::clone(&answers));
        calls.spawn(async move {
            let outcome = call(&scorers, &question).await;
            answers.lock().unwrap().push(Answer {
                question,
                scorer: number,
                asked,
                answered: SystemTime::now(),
                outcome,
            });
        });
        while let Some(ended) = calls.try_join_next() {
            ended.unwrap();
        }
    }
    while let Some(ended) = calls.join_next().await {
        ended.unwrap();
    }
}

/// Users come in no order, and in the same one in each run of a seed.
fn user(seed: u64, number: u64) -> String {
    let mixed = (seed ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    format!("user-{}", mixed % USERS)
}

async fn call(
    scorers: &Scorers,
    question: &Question,
) -> Result<(ServedBy, Vec<f32>), (Code, String)> {
    let rank = Tiny::rank();
    let ranked = match &question.key {
        Some(key) => scorers.with_routing_key(key).rank(&rank).await,
        None => scorers.rank(&rank).await,
    };
    ranked
        .map(on_the_wire)
        .map_err(|error| (code(&error), error.to_string()))
}

/// As a [`Recorder`](crate::Recorder) has it.
fn on_the_wire(ranked: Ranked) -> (ServedBy, Vec<f32>) {
    let mut items = ranked.items;
    items.sort_by_key(|item| item.position);
    let arm = match ranked.served_by.arm {
        Arm::Stable => rollout::Arm::Stable,
        Arm::Canary => rollout::Arm::Canary,
        Arm::Shadow => rollout::Arm::Shadow,
        Arm::Teacher => rollout::Arm::Teacher,
        _ => rollout::Arm::Unspecified,
    };
    let served_by = ServedBy {
        model: ranked.served_by.model,
        slot: ranked.served_by.slot,
        version: ranked.served_by.version,
        digest: ranked.served_by.digest,
        arm: arm.into(),
        generation: ranked.served_by.generation,
        ..ServedBy::default()
    };
    (served_by, items.iter().map(|item| item.score).collect())
}

fn code(error: &Error) -> Code {
    match error {
        Error::Invalid { .. } => Code::InvalidArgument,
        Error::NotFound { .. } => Code::NotFound,
        Error::Precondition { .. } => Code::FailedPrecondition,
        Error::NotReady { .. } => Code::Unavailable,
        Error::Busy { .. } => Code::ResourceExhausted,
        Error::Expired { .. } => Code::DeadlineExceeded,
        Error::Unexpected { code, .. } => *code,
        _ => Code::Unknown,
    }
}
