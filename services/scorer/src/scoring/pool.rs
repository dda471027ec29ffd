//! The runners, and how requests reach them.
//!
//! A runner is a task of the serving runtime, not a thread beside it: a small batch takes less time than a thread takes to
//! wake up, and two threads on one core would only take it from each other. Before a runner takes a batch it lets the
//! other tasks go first, so that what has arrived is read, and is part of the batch; of small ones several go at a stretch.
//! Batches are kept short, and one that cannot be short is announced to the runtime, which goes on with the other tasks
//! elsewhere.

mod refusal;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use decant_chassis::tasks::{Tasks, yield_turn};
use tokio::runtime::{Handle as Runtime, RuntimeFlavor};
use tokio::sync::{Notify, oneshot};
use tokio_util::task::TaskTracker;

use self::refusal::refusal;
use super::batch::Workbench;
use super::cost::{Cost, Way};
use super::job::{Job, Part, Scored, Work};
use super::queue::{
    Batch, Client, FlowKey, Kind, Limits, Offer, Priority, Queue, Refused, Taken, Ticket,
};
use crate::error::CallError;
use crate::servable::{Handle, Servable};

/// A batch that is expected to take so many times its limit holds up other tasks too long.
const LONG: f64 = 4.0;

/// A runner that has not had its turn for so many batches' time is late.
const LATE: u32 = 4;

/// So many requests are computed where they were read before a runner has its turn. What is computed at once never waits in the
/// queue, and what waits in the network meanwhile nobody sees: now and then all of it is to be read first.
const AT_ONCE: u32 = 32;

/// A request, as the runners are asked for it.
pub(crate) struct Call {
    /// The version that is to answer.
    pub(crate) handle: Handle,
    pub(crate) work: Work,
    /// Rows to score.
    pub(crate) rows: usize,
    /// When the caller stops waiting.
    pub(crate) deadline: Option<Instant>,
    pub(crate) priority: Priority,
    pub(crate) client: Client,
}

/// What the queue needs to know of a request.
pub(crate) struct Outline<'a> {
    pub(crate) servable: &'a Servable,
    /// In what way its rows are computed; pairs may share a batch with those of others.
    pub(crate) way: Way,
    pub(crate) rows: usize,
    pub(crate) deadline: Option<Instant>,
    pub(crate) priority: Priority,
    pub(crate) client: Client,
}

impl Call {
    fn outline(&self) -> Outline<'_> {
        Outline {
            servable: self.handle.servable(),
            way: self.work.way(),
            rows: self.rows,
            deadline: self.deadline,
            priority: self.priority,
            client: self.client,
        }
    }

    /// Whether it is done in less time than it takes to have a runner do it.
    fn is_quick(&self) -> bool {
        let servable = self.handle.servable();
        match self.work.way() {
            Way::Pairs => servable.is_quick(self.rows, self.rows),
            Way::Described => servable.is_quick(1, self.rows),
            Way::Catalog => false,
        }
    }
}

/// A fixed number of runners behind one queue. Clones share them.
#[derive(Clone)]
pub(crate) struct Pool {
    shared: Arc<Shared>,
    runners: TaskTracker,
}

struct Shared {
    limits: Limits,
    queue: Mutex<Queue<Part>>,
    /// Wakes a runner for each part that came, and all of them at the end.
    wake: Notify,
    /// The load when it was looked at last, as the bits of a float.
    load: AtomicU32,
    /// Whether the queue was pressed then, or has refused somebody since.
    pressed: AtomicBool,
    /// Calls that asked for room.
    came: AtomicU64,
    /// Requests that were computed where they were read since a runner had its turn.
    at_once: AtomicU32,
    /// What each runner computes with.
    workbenches: Vec<Mutex<Workbench>>,
    started: Instant,
    /// When a batch ended last, in microseconds since the start.
    computed: AtomicU64,
}

/// A queued request. Dropping it takes the request back.
pub(crate) struct Waiting {
    shared: Arc<Shared>,
    ticket: Option<Ticket>,
    answer: oneshot::Receiver<Result<Scored, CallError>>,
}

impl Pool {
    /// Starts the runners as tasks. They go on until the pool is closed, and finish what is queued then.
    pub(crate) fn start(tasks: &Tasks, limits: Limits) -> Self {
        let runners = limits.runners;
        let pool = Self {
            shared: Arc::new(Shared {
                queue: Mutex::new(Queue::new(limits.clone(), Instant::now())),
                limits,
                wake: Notify::new(),
                load: AtomicU32::new(0),
                pressed: AtomicBool::new(false),
                came: AtomicU64::new(0),
                at_once: AtomicU32::new(0),
                workbenches: (0..runners).map(|_| Mutex::default()).collect(),
                started: Instant::now(),
                computed: AtomicU64::new(0),
            }),
            runners: TaskTracker::new(),
        };
        for runner in 0..runners {
            let running = run(runner, Arc::clone(&pool.shared));
            tasks.spawn("scorer runner", pool.runners.track_future(running));
        }
        pool
    }

    /// Queues a request, or computes it at once if that is quick, and nothing waits before it.
    ///
    /// # Errors
    /// When it could not be answered in time, or finds no room, or the pool is closed.
    pub(crate) fn submit(&self, call: Call) -> Result<Waiting, CallError> {
        let (rows, is_quick) = (call.rows, call.is_quick());
        let offer = self.offer(&call.outline());
        let (answer, answered) = oneshot::channel();
        let job = || {
            Arc::new(Job::new(
                call.handle,
                call.work,
                rows,
                offer.parts(),
                answer,
            ))
        };
        let waiting = |ticket| Waiting {
            shared: Arc::clone(&self.shared),
            ticket,
            answer: answered,
        };
        if is_quick && let Some((runner, mut workbench)) = self.shared.workbench_at_once() {
            let now = Instant::now();
            if self.shared.pass(now, &offer)? {
                let part = Part {
                    job: job(),
                    rows: offer.part(0),
                };
                let batch = Batch {
                    flow: offer.flow,
                    jobs: vec![Taken {
                        job: part,
                        waited: Duration::ZERO,
                    }],
                    taken_at: now,
                    rows,
                    cost: offer.row_cost * rows as f64,
                };
                self.shared.compute_at_once(runner, &mut workbench, batch);
                return Ok(waiting(None));
            }
        }
        let parts = || {
            let (job, offer) = (job(), &offer);
            (0..offer.parts()).map(move |number| Part {
                job: Arc::clone(&job),
                rows: offer.part(number),
            })
        };
        let offered = self.shared.lock().offer(Instant::now(), &offer, parts);
        let ticket = offered.map_err(|refused| self.shared.refused(refused, rows))?;
        for _ in 0..offer.parts().clamp(1, self.shared.limits.runners) {
            self.shared.wake.notify_one();
        }
        Ok(waiting(Some(ticket)))
    }

    /// How many rows wait now, and how busy the runners are.
    pub(crate) fn pressure(&self) -> (usize, f32) {
        let mut queue = self.shared.lock();
        (queue.rows(), queue.load(Instant::now()).0)
    }

    /// Whether so much waits that it is worth asking [`would_admit`](Self::would_admit) before a request is read.
    pub(crate) fn is_pressed(&self) -> bool {
        self.shared.is_pressed()
    }

    /// Whether a request would be taken in now. One of more rows than a batch holds would be queued elsewhere: of that
    /// nothing is said.
    ///
    /// # Errors
    /// As [`submit`](Self::submit).
    pub(crate) fn would_admit(&self, outline: &Outline<'_>) -> Result<(), CallError> {
        let offer = self.offer(outline);
        let admitted = self.shared.lock().would_admit(Instant::now(), &offer);
        admitted.map_err(|refused| {
            self.shared.catch_up();
            refusal(refused, outline.rows)
        })
    }

    /// Rows of a version that may be computed at once.
    pub(crate) fn batch_rows(&self, servable: &Servable, way: Way) -> usize {
        self.part_rows(&servable.costs().of(way))
    }

    fn part_rows(&self, cost: &Cost) -> usize {
        let limits = &self.shared.limits;
        cost.rows_within(limits.batch).min(limits.batch_rows)
    }

    fn offer(&self, outline: &Outline<'_>) -> Offer {
        self.shared.came.fetch_add(1, Ordering::Relaxed);
        let cost = outline.servable.costs().of(outline.way);
        let rows = outline.rows;
        let part_rows = self.part_rows(&cost);
        let kind = if rows > part_rows {
            Kind::Part
        } else if outline.way == Way::Pairs {
            Kind::Paired
        } else {
            Kind::Alone
        };
        let at_once = rows
            .div_ceil(part_rows)
            .clamp(1, self.shared.limits.runners);
        Offer {
            flow: FlowKey {
                model: outline.servable.model(),
                version: outline.servable.id(),
                kind,
            },
            priority: outline.priority,
            client: outline.client,
            deadline: outline.deadline,
            rows,
            part_rows,
            row_cost: cost.of(1),
            until_done: cost.until_done(rows.div_ceil(at_once)),
        }
    }

    /// Refuses new requests; queued ones are finished.
    pub(crate) fn close(&self) {
        self.shared.lock().close();
        self.shared.wake.notify_waiters();
        self.runners.close();
    }

    /// Waits until all queued requests have been answered, after [`close`](Self::close).
    pub(crate) async fn drained(&self) {
        self.runners.wait().await;
    }
}

impl Waiting {
    /// Waits for the answer.
    ///
    /// # Errors
    /// What went wrong with the request, or with its batch.
    pub(crate) async fn answered(mut self) -> Result<Scored, CallError> {
        // A sender dropped without an answer is a batch that panicked.
        let answer = (&mut self.answer).await.unwrap_or(Err(CallError::Broken));
        if answer.is_ok() {
            // Nothing of it waits any more; of one that has failed, other parts may.
            self.ticket = None;
        }
        answer
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            let mut queue = self.shared.lock();
            queue.cancel(Instant::now(), ticket);
            self.shared.tell_of_end(&queue);
        }
    }
}

impl Shared {
    /// The next batch, and the load with it. Those whose time is up are told.
    fn take(&self) -> Option<Batch<Part>> {
        let mut expired = Vec::new();
        let batch = {
            let mut queue = self.lock();
            let now = Instant::now();
            let batch = queue.take(now, &mut expired);
            self.look_at(&mut queue, now);
            self.tell_of_end(&queue);
            if self.limits.model_runners > 0 && batch.is_some() && queue.has_work() {
                // What waited for its model woke a runner in vain, and may run beside this.
                self.wake.notify_one();
            }
            batch
        };
        for part in expired {
            part.failed(CallError::Expired);
        }
        batch
    }

    /// Whether work may be computed now without being queued.
    fn pass(&self, now: Instant, offer: &Offer) -> Result<bool, CallError> {
        let mut queue = self.lock();
        let passed = queue.pass(now, offer);
        let passed = passed.map_err(|refused| self.refused(refused, offer.rows))?;
        if passed {
            self.look_at(&mut queue, now);
        }
        Ok(passed)
    }

    /// Notes how busy the queue is, for those who do not ask it.
    fn look_at(&self, queue: &mut Queue<Part>, now: Instant) {
        let (load, pressed) = queue.load(now);
        self.load.store(load.to_bits(), Ordering::Relaxed);
        self.pressed.store(pressed, Ordering::Relaxed);
    }

    /// What a request that is not taken in is told.
    fn refused(&self, refused: Refused, rows: usize) -> CallError {
        // Many may come before a runner has its turn: the next ones are to be looked at before they are read.
        self.pressed.store(true, Ordering::Relaxed);
        refusal(refused, rows)
    }

    /// For how long a runner computes what waits before it lets others have their turn. Several small batches go before the
    /// next look at the network: answers that are sent one after the other wake their receiver once, which costs as much as
    /// to compute one. Where more waits than can be answered soon, as long as a large batch may take: refusals wait
    /// meanwhile, but each look at the network costs what some answers do. Else little, as the first answer waits for the last.
    fn at_a_stretch(&self) -> Duration {
        if self.is_pressed() {
            self.limits.batch
        } else {
            self.limits.batch / 8
        }
    }

    /// Lets answers be sent, and takes in or refuses all calls that have arrived: those that stay in the network are not
    /// told how long they wait. Not for longer than a batch takes, as from those who ask for more than can be refused there
    /// is always another.
    async fn let_calls_in(&self) {
        // The network is looked at when no task is ready, or after some dozens of them.
        tokio::task::yield_now().await;
        let began = Instant::now();
        loop {
            let before = self.came.load(Ordering::Relaxed);
            // One turn to read calls, most of which are looked at in it, and one for those that had to wait for their end.
            yield_turn().await;
            yield_turn().await;
            let came = self.came.load(Ordering::Relaxed);
            if came == before || began.elapsed() >= self.limits.batch {
                return;
            }
        }
    }

    /// Computes what waits when no runner has had its turn for long: it is behind all calls that have been read, and those may
    /// be thousands. So answers have a third of the time, however many calls there are to refuse.
    fn catch_up(&self) {
        let idle = self.idle();
        if idle < self.limits.batch * LATE {
            return;
        }
        let Some((runner, mut workbench)) = self.free_workbench() else {
            return;
        };
        let began = Instant::now();
        let mut has_more = false;
        while began.elapsed() < (idle / 2).min(self.limits.batch * LATE)
            && let Some(batch) = self.take()
        {
            has_more = compute(runner, self, &mut workbench, batch);
        }
        if has_more {
            self.wake.notify_one();
        }
    }

    /// What to compute a request with where it was read, unless that was done often since a runner had its turn.
    fn workbench_at_once(&self) -> Option<(usize, MutexGuard<'_, Workbench>)> {
        let is_one_more = self.at_once.fetch_add(1, Ordering::Relaxed) < AT_ONCE;
        is_one_more.then(|| self.free_workbench()).flatten()
    }

    /// Computes a batch where its request was read. What waited for its model woke a runner in vain, and may run now.
    fn compute_at_once(&self, runner: usize, workbench: &mut Workbench, batch: Batch<Part>) {
        if compute(runner, self, workbench, batch) {
            self.wake.notify_one();
        }
    }

    /// What a runner computes with: its own, or another one if somebody computes with its own where a request was read.
    fn workbench(&self, runner: usize) -> (usize, MutexGuard<'_, Workbench>) {
        let own = &self.workbenches[runner];
        if let Ok(workbench) = own.try_lock() {
            return (runner, workbench);
        }
        self.free_workbench()
            .unwrap_or_else(|| (runner, own.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    /// That of a runner that does not compute now.
    fn free_workbench(&self) -> Option<(usize, MutexGuard<'_, Workbench>)> {
        let mut benches = self.workbenches.iter().enumerate();
        benches.find_map(|(runner, bench)| Some((runner, bench.try_lock().ok()?)))
    }

    /// For how long no batch has ended.
    fn idle(&self) -> Duration {
        let computed = Duration::from_micros(self.computed.load(Ordering::Relaxed));
        self.started.elapsed().saturating_sub(computed)
    }

    fn is_pressed(&self) -> bool {
        self.pressed.load(Ordering::Relaxed)
    }

    /// Wakes all runners when nothing waits, and nothing can come: they may have looked while something waited for its model.
    fn tell_of_end(&self, queue: &Queue<Part>) {
        if queue.is_over() {
            self.wake.notify_waiters();
        }
    }

    /// The state is whole between any two statements under this lock, so a panic elsewhere does not spoil it.
    fn lock(&self) -> MutexGuard<'_, Queue<Part>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn run(runner: usize, shared: Arc<Shared>) -> Result<(), String> {
    loop {
        // What came in the same packets is read before a batch is made of it.
        yield_turn().await;
        shared.at_once.store(0, Ordering::Relaxed);
        let mut since = Instant::now();
        while let Some(batch) = shared.take() {
            let has_more = {
                let (bench, mut workbench) = shared.workbench(runner);
                compute(bench, &shared, &mut workbench, batch)
            };
            if !has_more {
                break;
            }
            if since.elapsed() >= shared.at_a_stretch() {
                shared.let_calls_in().await;
                since = Instant::now();
            }
        }
        let wake = shared.wake.notified();
        tokio::pin!(wake);
        // Not before: a notice goes to whoever has waited longest, and is of no use to one that is at work. From here on none is
        // missed, and what came before is seen now.
        wake.as_mut().enable();
        let (is_over, has_work) = {
            let queue = shared.lock();
            (queue.is_over(), queue.has_work())
        };
        if is_over {
            return Ok(());
        }
        if !has_work {
            wake.await;
        }
    }
}

/// Computes a batch. Whether more waits, and so others are to have their turn before it.
fn compute(runner: usize, shared: &Shared, workbench: &mut Workbench, batch: Batch<Part>) -> bool {
    let flow = batch.flow;
    let is_long = batch.cost > shared.limits.batch.as_secs_f64() * 1e6 * LONG;
    let load = f32::from_bits(shared.load.load(Ordering::Relaxed));
    // A panic is a fault of ours, but costs one batch, not the runner: the jobs' senders are dropped with it, and their
    // callers told.
    let work = || {
        let run = AssertUnwindSafe(|| workbench.run(runner, batch.jobs, batch.taken_at, load));
        if catch_unwind(run).is_err() {
            tracing::error!(runner, "a batch panicked");
        }
    };
    if is_long && Runtime::current().runtime_flavor() == RuntimeFlavor::MultiThread {
        tokio::task::block_in_place(work);
    } else {
        work();
    }
    let now = Instant::now();
    let computed = now.saturating_duration_since(shared.started).as_micros();
    shared.computed.store(computed as u64, Ordering::Relaxed);
    let mut queue = shared.lock();
    queue.done(now, flow);
    queue.has_waiting()
}

#[cfg(test)]
mod tests;
