//! One call: one attempt after the other, until a scorer answers, the deadline passes, or no attempt would help.

use std::future::{Future, pending};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::time::sleep_until;
use tonic::transport::Channel;
use tonic::{Response, Status};

use crate::answer::Answer;
use crate::balance::{Failure, Key, Outcome};
use crate::error::{Error, Refusal, Tried, error};
use crate::pool::{Again, InFlight, Pool};

/// Attempts of one call, whatever its deadline and the budget would allow.
const ATTEMPTS: u32 = 4;
/// The pause before scorers that have all failed are asked again; it doubles.
const PAUSE: Duration = Duration::from_millis(10);

/// Asks scorers of the pool until one answers. `send` makes an attempt over a channel, in the time that is left.
///
/// # Errors
/// What the last attempt failed with, or that the deadline passed.
pub(crate) async fn call<T, F>(
    pool: &Arc<Pool>,
    deadline: Duration,
    send: impl Fn(Channel, Duration) -> F,
) -> Result<(T, Tried), Error>
where
    T: Answer,
    F: Future<Output = Result<Response<T>, Status>>,
{
    let mut call = Call::new(pool, deadline);
    let start = |in_flight: InFlight, left: Duration| {
        let sent = send(in_flight.channel(), left);
        async move { (in_flight, sent.await) }
    };
    let first = call.first().await?;
    // Attempts that are dropped with this settle their scorers' accounts.
    let mut running = FuturesUnordered::new();
    running.push(start(first, call.left()));
    let mut next_attempt = call.hedge_at();
    let mut failed = None;
    loop {
        tokio::select! {
            biased;
            Some((in_flight, answer)) = running.next() => match answer {
                Ok(response) => {
                    let response: T = response.into_inner();
                    let tried = call.answered(in_flight, &response);
                    return Ok((response, tried));
                }
                Err(status) => {
                    let refusal = Refusal::of(&status);
                    let failure = call.failed(in_flight, &refusal, &status);
                    let Some(pause) = call.pause(&refusal) else {
                        // A scorer without time for it speaks for itself alone; and whoever is asked later has less.
                        if matches!(refusal, Refusal::Late) && !running.is_empty() {
                            next_attempt = None;
                            continue;
                        }
                        return Err(failure);
                    };
                    match call.again(false) {
                        Again::Ask(in_flight) => {
                            running.push(start(in_flight, call.left()));
                            next_attempt = call.hedge_at();
                        }
                        // Another attempt is still at work, and may yet succeed.
                        _ if !running.is_empty() => {}
                        Again::NobodyLeft if pause < call.left() => {
                            call.begin_round();
                            next_attempt = Some(Instant::now() + pause);
                        }
                        Again::NobodyLeft | Again::Forbidden => return Err(failure),
                    }
                    failed = Some(failure);
                }
            },
            () = until(next_attempt) => {
                next_attempt = None;
                let hedges = !running.is_empty();
                let again = if hedges { call.again(true) } else { call.resume() };
                match (again, failed.take()) {
                    (Again::Ask(in_flight), _) => {
                        running.push(start(in_flight, call.left()));
                        next_attempt = call.hedge_at();
                    }
                    (_, Some(failure)) if !hedges => return Err(failure),
                    _ => {}
                }
            }
            () = until(Some(call.end)) => return Err(call.expired()),
        }
    }
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time.into()).await,
        None => pending().await,
    }
}

struct Call<'a> {
    pool: &'a Arc<Pool>,
    deadline: Duration,
    end: Instant,
    /// Scorers that are not to be asked: those that were, since all have last been.
    round: Vec<Key>,
    rounds: u32,
    tried: Tried,
}

impl<'a> Call<'a> {
    fn new(pool: &'a Arc<Pool>, deadline: Duration) -> Self {
        Self {
            pool,
            deadline,
            end: Instant::now() + deadline,
            round: Vec::new(),
            rounds: 0,
            tried: Tried::default(),
        }
    }

    fn left(&self) -> Duration {
        self.end.saturating_duration_since(Instant::now())
    }

    /// When an attempt that begins now has been silent for so long that another scorer is asked as well.
    fn hedge_at(&self) -> Option<Instant> {
        Some(Instant::now() + self.left() / 2)
    }

    /// How long a scorer's silence lasts before it is blamed for it.
    fn patience(&self) -> Duration {
        self.deadline / 2
    }

    /// The scorer to be asked first, as soon as any is known.
    async fn first(&mut self) -> Result<InFlight, Error> {
        self.pool.begin_call();
        let not_ready = |message| Error::NotReady {
            message,
            tried: Tried::default(),
        };
        self.pool.known(self.end).await.map_err(not_ready)?;
        if self.left().is_zero() {
            return Err(self.expired());
        }
        let picked = self.pool.pick(&[], self.patience());
        let picked = picked.ok_or_else(|| not_ready("there is none any more".to_owned()))?;
        self.note(&picked);
        Ok(picked)
    }

    /// The scorer to be asked besides or after those that were. `hedges` when one of them may still answer: only a good
    /// one is worth asking then.
    fn again(&mut self, hedges: bool) -> Again {
        if self.tried.attempts >= ATTEMPTS {
            return Again::Forbidden;
        }
        let again = self.pool.pick_again(&self.round, self.patience(), hedges);
        if let Again::Ask(in_flight) = &again {
            self.note(in_flight);
        }
        again
    }

    /// All have failed. After a pause all may be asked again, the last one only if there is no other.
    fn begin_round(&mut self) {
        self.rounds += 1;
        self.round.drain(..self.round.len() - 1);
    }

    /// The scorer to be asked after that pause.
    fn resume(&mut self) -> Again {
        match self.again(false) {
            Again::NobodyLeft => {
                self.round.clear();
                self.again(false)
            }
            again => again,
        }
    }

    /// How long to wait before a scorer is asked again that has been asked already; `None` when that would not help.
    fn pause(&self, refusal: &Refusal) -> Option<Duration> {
        match refusal {
            Refusal::Unavailable | Refusal::Broken => {
                let pause = PAUSE.saturating_mul(1 << self.rounds.min(16));
                Some(pause.mul_f64(rand::random_range(0.5..1.0)))
            }
            Refusal::Busy(retry_after) => Some(*retry_after),
            Refusal::Silent | Refusal::Late | Refusal::Final => None,
        }
    }

    fn note(&mut self, in_flight: &InFlight) {
        self.round.push(in_flight.key());
        self.tried.attempts += 1;
        self.tried.scorer = Some(Arc::clone(in_flight.address()));
    }

    fn answered(&mut self, in_flight: InFlight, answer: &impl Answer) -> Tried {
        let load = answer.served_by().map(|served_by| served_by.load);
        let tried = self.blame(&in_flight);
        in_flight.finish(Outcome::Answered { load });
        tried
    }

    fn failed(&mut self, in_flight: InFlight, refusal: &Refusal, status: &Status) -> Error {
        let tried = self.blame(&in_flight);
        match refusal {
            Refusal::Unavailable => in_flight.finish(Outcome::Failed(Failure::Unavailable)),
            Refusal::Broken => in_flight.finish(Outcome::Failed(Failure::Broken)),
            Refusal::Busy(retry_after) => in_flight.finish(Outcome::Busy(*retry_after)),
            Refusal::Late | Refusal::Final => {
                in_flight.finish(Outcome::Answered { load: None });
            }
            Refusal::Silent => drop(in_flight),
        }
        error(status, self.deadline, tried)
    }

    fn expired(&self) -> Error {
        Error::Expired {
            deadline: self.deadline,
            tried: self.tried.clone(),
        }
    }

    /// Who was asked, where this attempt's scorer is the one to be named.
    fn blame(&self, in_flight: &InFlight) -> Tried {
        Tried {
            attempts: self.tried.attempts,
            scorer: Some(Arc::clone(in_flight.address())),
        }
    }
}
