//! How versions agree on the same requests, while one of them is released. None of this is on the path of a request: an
//! answered request leaves a copy behind, and a task of its own has all versions of the slot score it, row by row, at the
//! lowest priority and within a share of a core's time. What there is no time for is counted and let go.
//!
//! Reading order: a [`Sample`] is a request's copy; [`asked`] turns it into work for any version; [`agreement`] compares two
//! versions' scores; [`budget`] keeps the time.

mod agreement;
mod asked;
mod budget;

use std::sync::Arc;
use std::time::{Duration, Instant};

use decant_chassis::tasks::Tasks;
use decant_model::Arm;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub(crate) use asked::Asked;

use crate::error::CallError;
use crate::scoring::{Call, Client, Pool, Priority};
use crate::servable::{Entry, Handle, Manager, Place, Release};
use budget::Budget;

/// Copies that wait, at most.
const WAITING: usize = 64;
/// The name that the pool knows these calls by, where limits count by client.
const CLIENT: &[u8] = b"decant-comparisons";

/// A copy of a request that was answered while a version is being released.
pub(crate) struct Sample {
    pub(crate) asked: Asked,
    pub(crate) place: Place,
    /// The release that it belongs to: once that is over, nobody wants to know.
    pub(crate) release: Arc<Release>,
    /// Rows of one request, at most.
    pub(crate) max_rows: usize,
}

/// Takes copies of requests. Clones give to the same task.
#[derive(Clone)]
pub(crate) struct Comparer {
    samples: mpsc::Sender<Sample>,
}

/// The task that compares.
struct Comparing {
    manager: Arc<Manager>,
    pool: Pool,
    budget: Budget,
}

impl Comparer {
    /// Starts the task, which may take so many per cent of one core's time.
    pub(crate) fn start(
        tasks: &Tasks,
        manager: Arc<Manager>,
        pool: Pool,
        cpu_percent: u32,
    ) -> Self {
        let (samples, received) = mpsc::channel(WAITING);
        let comparing = Comparing {
            manager,
            pool,
            budget: Budget::new(cpu_percent, Instant::now()),
        };
        tasks.spawn(
            "scorer comparisons",
            comparing.run(received, tasks.stop_token()),
        );
        Self { samples }
    }

    /// Has a request compared, unless too many wait already.
    pub(crate) fn offer(&self, sample: Sample) {
        if let Err(refused) = self.samples.try_send(sample) {
            refused.into_inner().release.tally().skipped();
        }
    }
}

impl Comparing {
    async fn run(
        mut self,
        mut samples: mpsc::Receiver<Sample>,
        stop: CancellationToken,
    ) -> Result<(), String> {
        loop {
            let sample = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                sample = samples.recv() => sample,
            };
            let Some(sample) = sample else {
                // Nobody is left to answer requests, which is the end of the scorer.
                stop.cancelled().await;
                return Ok(());
            };
            if !self.budget.has_time(Instant::now()) {
                sample.release.tally().skipped();
                continue;
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                spent = self.compare(&sample) => self.budget.spend(spent),
            }
        }
    }

    /// Has the released version, the stable one and the teacher score a request, and notes how they agree. How long they
    /// computed.
    async fn compare(&self, sample: &Sample) -> Duration {
        let mut spent = Duration::ZERO;
        let table = self.manager.table();
        let is_current = |entry: &&Entry| {
            let release = entry.release();
            release.is_some_and(|release| Arc::ptr_eq(release, &sample.release))
        };
        let Some(entry) = table.get(&sample.place).filter(is_current) else {
            return spent;
        };
        let candidate = entry
            .in_arm(Arm::Canary)
            .or_else(|| entry.in_arm(Arm::Shadow));
        let Some(candidate) = candidate else {
            return spent;
        };
        let Some(asked) = sample.asked.for_all(entry.handles(), sample.max_rows) else {
            return spent;
        };
        let Some(ours) = self.scores(sample, &asked, candidate, &mut spent).await else {
            return spent;
        };
        for arm in [Arm::Stable, Arm::Teacher] {
            let Some(reference) = entry.in_arm(arm) else {
                continue;
            };
            let Some(theirs) = self.scores(sample, &asked, reference, &mut spent).await else {
                continue;
            };
            let digests = [candidate, reference].map(|handle| handle.part().active.digest);
            sample
                .release
                .tally()
                .compared(digests.into(), arm, |comparison| {
                    agreement::add(comparison, &theirs, &ours);
                });
        }
        spent
    }

    /// A version's scores of all rows, in the request's order. What versions do that answer no requests is counted here.
    async fn scores(
        &self,
        sample: &Sample,
        asked: &Asked,
        handle: &Handle,
        spent: &mut Duration,
    ) -> Option<Vec<f32>> {
        let began = Instant::now();
        let outcome = self.scored(sample, asked, handle, spent).await;
        let active = &handle.part().active;
        let tally = sample.release.tally();
        let is_counted = matches!(active.arm, Arm::Shadow | Arm::Teacher);
        match outcome {
            Ok(scores) => {
                if is_counted {
                    let first = asked.first(&scores);
                    tally.succeeded(active.digest, began.elapsed(), first);
                }
                Some(scores)
            }
            // Other calls had the time; that says nothing of the version.
            Err(CallError::Busy { .. } | CallError::Draining) => {
                tally.skipped();
                None
            }
            Err(error) => {
                if is_counted {
                    tally.failed(active.digest, error.code());
                }
                None
            }
        }
    }

    async fn scored(
        &self,
        sample: &Sample,
        asked: &Asked,
        handle: &Handle,
        spent: &mut Duration,
    ) -> Result<Vec<f32>, CallError> {
        let (work, rows) = asked.work(handle.servable(), sample.max_rows)?;
        let waiting = self.pool.submit(Call {
            handle: handle.clone(),
            work,
            rows,
            deadline: None,
            priority: Priority::Sheddable,
            client: Client::named(CLIENT),
        })?;
        let scored = waiting.answered().await?;
        *spent += scored.compute.until_scored();
        Ok(scored.answer.into_rows(rows))
    }
}
