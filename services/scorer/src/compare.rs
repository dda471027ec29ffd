//! How versions agree on the same requests. A sample of the requests that were answered is scored again by the versions of
//! the slot: off the request path, behind everything else that waits, and within a budget of time. What finds no time is
//! left out and counted.
//!
//! Reading order: [`Comparer`] is the request path's end; [`Comparisons`] is the task that does the work; [`asked`] is what
//! was asked, so that each version can be asked the same; [`Agreement`] compares scores; the [`budget`] says when it is
//! enough.

mod asked;
mod budget;

use std::sync::Arc;
use std::time::{Duration, Instant};

use decant_chassis::tasks::Tasks;
use decant_model::Arm;
use decant_model::rollout::evidence::Agreement;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use self::asked::{Asked, Rows};
use self::budget::Budget;
use crate::error::CallError;
use crate::evidence::{CANDIDATES, Counters, REFERENCES};
use crate::scoring::{Call, Client, Pool, Priority, Scored, Work};
use crate::servable::{Handle, Manager};
use crate::service::routing::random;

/// Samples that wait, at most: each holds a request's columns, and pins a version.
const WAITING: usize = 8;

/// How long a version may take for a sample. What is behind everything else could wait for ever.
const PATIENCE: Duration = Duration::from_secs(5);

/// Picks requests to be compared.
pub(crate) struct Comparer {
    samples: mpsc::Sender<Box<Sample>>,
    budget: Arc<Budget>,
}

/// A request that is to be compared once it has been answered.
pub(crate) struct Sample {
    /// The version that answers it.
    by: Handle,
    counters: Arc<Counters>,
    work: Work,
}

impl Comparer {
    /// Starts the task that compares, with so many per cent of one core's time.
    pub(crate) fn start(
        tasks: &Tasks,
        manager: Arc<Manager>,
        pool: Pool,
        cpu_percent: u32,
    ) -> Self {
        let (samples, received) = mpsc::channel(WAITING);
        let budget = Arc::new(Budget::new(cpu_percent, Instant::now()));
        let comparisons = Comparisons {
            manager,
            pool,
            budget: Arc::clone(&budget),
        };
        let running = comparisons.run(received, tasks.stop_token());
        tasks.spawn("scorer comparisons", running);
        Self { samples, budget }
    }

    /// A copy of a request's work, if it is one of those that are compared, and there is time for it.
    pub(crate) fn pick(&self, by: &Handle, work: &Work, now: Instant) -> Option<Box<Sample>> {
        let counters = by.counters()?;
        let answers = matches!(by.part().active.arm, Arm::Stable | Arm::Canary);
        if !answers || !counters.is_compared(random()) {
            return None;
        }
        if self.samples.capacity() == 0 || !self.budget.allows(now) {
            counters.skip();
            return None;
        }
        Some(Box::new(Sample {
            by: by.clone(),
            counters: Arc::clone(counters),
            work: work.clone(),
        }))
    }

    /// The request has been answered.
    pub(crate) fn hand_over(&self, sample: Box<Sample>) {
        if let Err(refused) = self.samples.try_send(sample) {
            refused.into_inner().counters.skip();
        }
    }
}

/// The one who has samples scored.
struct Comparisons {
    manager: Arc<Manager>,
    pool: Pool,
    budget: Arc<Budget>,
}

/// A sample is given up: others need the time.
struct NoTime;

impl Comparisons {
    /// Compares until it is told to stop; what waits then is dropped.
    async fn run(
        self,
        mut samples: mpsc::Receiver<Box<Sample>>,
        stop: CancellationToken,
    ) -> Result<(), String> {
        let comparing = async {
            while let Some(sample) = samples.recv().await {
                self.take(&sample).await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = comparing => {}
        }
        // Nobody is left who could hand over a sample.
        stop.cancelled().await;
        Ok(())
    }

    async fn take(&self, sample: &Sample) {
        let Some(handles) = self.contemporaries(sample) else {
            // Another generation is in service, and nobody asks for the counts of this one any more.
            return;
        };
        let outcome = if self.budget.allows(Instant::now()) {
            self.compare(sample, &handles).await
        } else {
            Err(NoTime)
        };
        if outcome.is_err() {
            sample.counters.skip();
        }
    }

    /// The versions of the generation that the request was answered in, as long as it is in service.
    fn contemporaries(&self, sample: &Sample) -> Option<Vec<Handle>> {
        let table = self.manager.table();
        let handles = table.get(&sample.by.part().place)?.handles();
        let is_same = |handle: &Handle| {
            let counters = handle.counters();
            counters.is_some_and(|counters| Arc::ptr_eq(counters, &sample.counters))
        };
        handles
            .first()
            .is_some_and(is_same)
            .then(|| handles.to_vec())
    }

    async fn compare(&self, sample: &Sample, handles: &[Handle]) -> Result<(), NoTime> {
        let asked = Asked::of(&sample.work, &sample.by, handles);
        let mut candidates = Vec::new();
        for candidate in in_parts(handles, CANDIDATES) {
            if let Some(scores) = self.scores(&asked, candidate).await? {
                candidates.push((candidate.part().active.digest, scores));
            }
        }
        if candidates.is_empty() {
            return Ok(());
        }
        for reference in in_parts(handles, REFERENCES) {
            let Some(expected) = self.scores(&asked, reference).await? else {
                continue;
            };
            let began = Instant::now();
            for (candidate, scores) in &candidates {
                if let Some(agreement) = Agreement::of(scores, &expected) {
                    let reference = &reference.part().active;
                    sample.counters.compare(*candidate, reference, &agreement);
                    sample.counters.add_compared_rows(scores.len());
                }
            }
            self.budget.spend(Instant::now(), began.elapsed());
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// A version's scores of the rows that are compared; none if it has none.
    async fn scores(&self, asked: &Asked<'_>, handle: &Handle) -> Result<Option<Vec<f32>>, NoTime> {
        match self.ask(asked, handle).await {
            Ok(scored) => Ok(scored.and_then(|scored| asked.by_row(scored))),
            Err(error) if is_no_time(&error) => Err(NoTime),
            // It was counted, if it is to be.
            Err(_) => Ok(None),
        }
    }

    /// Asks a version. What one does that answers nobody is counted here, as nobody else sees it.
    async fn ask(&self, asked: &Asked<'_>, handle: &Handle) -> Result<Option<Scored>, CallError> {
        let arm = handle.part().active.arm;
        let mut counted = match arm {
            Arm::Shadow | Arm::Teacher => handle.clone(),
            Arm::Stable | Arm::Canary => handle.unasked(),
        };
        // A shadow's times and scores stand beside those of requests, so it is asked the whole of one.
        if arm == Arm::Shadow
            && let Some(whole) = asked.whole(handle.servable())
        {
            self.count(&counted, whole).await?;
            counted = handle.unasked();
        }
        let rows = asked.rows(handle.servable());
        let rows = rows.inspect_err(|error| counted.count_failure(error))?;
        match rows {
            Some(rows) => self.count(&counted, rows).await.map(Some),
            None => Ok(None),
        }
    }

    /// Has a version score rows, and counts what became of it.
    async fn count(&self, handle: &Handle, rows: Rows) -> Result<Scored, CallError> {
        let (began, count) = (Instant::now(), rows.count);
        let outcome = self.scored(handle, rows, began).await;
        match &outcome {
            Ok(scored) => {
                let compute = scored.compute;
                let compute = compute.input + compute.infer + compute.output;
                self.budget.spend(Instant::now(), compute);
                handle.count_success(count, began.elapsed(), scored);
            }
            // It is no fault of the version's that there was no time.
            Err(error) if is_no_time(error) => {}
            Err(error) => {
                // How long it computed is not known, but no longer than this.
                self.budget.spend(Instant::now(), began.elapsed());
                handle.count_failure(error);
            }
        }
        outcome
    }

    async fn scored(
        &self,
        handle: &Handle,
        rows: Rows,
        began: Instant,
    ) -> Result<Scored, CallError> {
        let deadline = began + PATIENCE;
        let waiting = self.pool.submit(Call {
            handle: handle.clone(),
            work: rows.work,
            rows: rows.count,
            deadline: Some(deadline),
            priority: Priority::Sheddable,
            client: Client::UNKNOWN,
        })?;
        tokio::time::timeout_at(deadline.into(), waiting.answered())
            .await
            .unwrap_or(Err(CallError::Expired))
    }
}

/// Whether a version was not asked for want of time, and not because of what it was asked.
fn is_no_time(error: &CallError) -> bool {
    matches!(
        error,
        CallError::Busy { .. } | CallError::Expired | CallError::Draining
    )
}

fn in_parts(handles: &[Handle], arms: [Arm; 2]) -> impl Iterator<Item = &Handle> {
    let versions = handles.iter();
    versions.filter(move |handle| arms.contains(&handle.part().active.arm))
}
