//! What waits: what is taken in, what goes next, and what goes together. Pure bookkeeping: no lock, no I/O, and no clock
//! but the times that it is told.
//!
//! Work of one kind for one version is a *flow*. Models share the runners fairly, by the time that their work takes
//! (start-time fair queueing, Goyal et al. 1996), and so do the flows of a model what it gets: neither a busy model nor a huge
//! request holds up the others, and a model with more versions and kinds of requests has no more than one with few.
//! Priorities come before fairness. There is no delay to fill a batch: it is what waits when a runner comes.

mod admission;
mod load;

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use admission::Calibration;
pub(super) use admission::Refused;
pub(crate) use admission::{Client, Limits, Priority};
use foldhash::{HashMap, HashMapExt};
use load::Load;

/// From so much of the longest wait on, a queue is pressed: what is sheddable is refused at half.
const PRESSED: f64 = 0.5;

/// Work that runs together shares one flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct FlowKey {
    /// The model, whatever its slots and versions.
    pub(super) model: u64,
    pub(super) version: u64,
    pub(super) kind: Kind,
}

/// What work can share a batch with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Rows that bring their own query: with others of their kind.
    Paired,
    /// One query for all rows: with nothing.
    Alone,
    /// A part of a request that is too large to run at once: with nothing, and not ahead of the small ones.
    Part,
}

/// Something to be queued.
#[derive(Debug)]
pub(super) struct Offer {
    pub(super) flow: FlowKey,
    pub(super) priority: Priority,
    pub(super) client: Client,
    pub(super) deadline: Option<Instant>,
    /// Rows in all, and of each part but the last; one part, unless the work is to be split.
    pub(super) rows: usize,
    pub(super) part_rows: usize,
    /// Microseconds of one row.
    pub(super) row_cost: f64,
    /// Microseconds from the start of the last part to its end.
    pub(super) until_done: f64,
}

impl Offer {
    /// How many parts it has.
    pub(super) fn parts(&self) -> usize {
        self.rows.div_ceil(self.part_rows).max(1)
    }

    /// The rows of a part.
    pub(super) fn part(&self, number: usize) -> Range<usize> {
        let start = number * self.part_rows;
        start..(start + self.part_rows).min(self.rows)
    }
}

/// What was queued, for the one who may want it back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    flow: FlowKey,
    priority: Priority,
    first: u64,
    parts: u64,
}

/// A queued part.
#[derive(Debug)]
struct Entry<J> {
    job: J,
    rows: usize,
    cost: f64,
    client: Client,
    deadline: Option<Instant>,
    queued_at: Instant,
    /// The wait that was foreseen, before it was corrected by experience.
    foreseen: f64,
}

#[derive(Debug)]
struct Flow<J> {
    /// When its next work is due, in microseconds of service received: by its model's clock.
    due: f64,
    /// By number, for each priority.
    lanes: [BTreeMap<u64, Entry<J>>; Priority::COUNT],
    /// Microseconds of what waits, for each priority.
    backlog: [f64; Priority::COUNT],
    /// Since when something of each priority has waited without a break.
    busy_since: [Instant; Priority::COUNT],
    /// Until when each priority counts as one that stands, though nothing of it should wait for a moment.
    stands_until: [Instant; Priority::COUNT],
}

/// A model at work, or of which something waits.
#[derive(Debug, Default)]
struct Model {
    /// When its next work is due: by the queue's clock.
    due: f64,
    /// The due time of that of its flows that was served last.
    clock: f64,
    /// Parts that wait.
    waiting: usize,
    /// Batches at work.
    running: usize,
}

/// Work that a runner is to do at once.
#[derive(Debug)]
pub(super) struct Batch<J> {
    pub(super) flow: FlowKey,
    pub(super) jobs: Vec<Taken<J>>,
    /// When they left the queue.
    pub(super) taken_at: Instant,
    pub(super) rows: usize,
    /// Microseconds that it is expected to take.
    pub(super) cost: f64,
}

/// Work that has left the queue.
#[derive(Debug)]
pub(super) struct Taken<J> {
    pub(super) job: J,
    pub(super) waited: Duration,
}

/// What waits, and what may.
#[derive(Debug)]
pub(super) struct Queue<J> {
    limits: Limits,
    flows: BTreeMap<FlowKey, Flow<J>>,
    models: HashMap<u64, Model>,
    /// Rows that wait, of each client that has some.
    clients: HashMap<Client, usize>,
    rows: usize,
    next: u64,
    /// The due time of the model that was served last.
    clock: f64,
    calibration: Calibration,
    load: Load,
    /// Parts that wait.
    waiting: usize,
    closed: bool,
}

impl<J> Flow<J> {
    fn new(now: Instant) -> Self {
        Self {
            due: 0.0,
            lanes: [const { BTreeMap::new() }; Priority::COUNT],
            backlog: [0.0; Priority::COUNT],
            busy_since: [now; Priority::COUNT],
            stands_until: [now; Priority::COUNT],
        }
    }

    fn is_empty(&self) -> bool {
        self.lanes.iter().all(BTreeMap::is_empty)
    }

    /// What waits of this priority and above.
    fn ahead_of(&self, priority: Priority) -> f64 {
        self.backlog[..=priority.index()].iter().sum()
    }
}

impl<J> Queue<J> {
    pub(super) fn new(limits: Limits, now: Instant) -> Self {
        Self {
            load: Load::new(limits.runners, now),
            limits,
            flows: BTreeMap::new(),
            models: HashMap::new(),
            clients: HashMap::new(),
            rows: 0,
            next: 0,
            clock: 0.0,
            calibration: Calibration::new(now),
            waiting: 0,
            closed: false,
        }
    }

    /// Takes work in, or says why not before anything is done for it. `parts` are made only when it is taken in; there are
    /// as many as the offer says.
    pub(super) fn offer<P: IntoIterator<Item = J>>(
        &mut self,
        now: Instant,
        offer: &Offer,
        parts: impl FnOnce() -> P,
    ) -> Result<Ticket, Refused> {
        let foreseen = self.admit(now, offer)?;
        let first = self.next;
        let model = self.models.entry(offer.flow.model).or_default();
        // Idle time is no credit: it would let what comes back hold up all others.
        if model.waiting == 0 {
            model.due = model.due.max(self.clock);
        }
        let flow = self.flows.entry(offer.flow);
        let flow = flow.or_insert_with(|| Flow::new(now));
        if flow.is_empty() {
            flow.due = flow.due.max(model.clock);
        }
        let lane = offer.priority.index();
        if flow.lanes[lane].is_empty() {
            flow.busy_since[lane] = now;
        }
        for (number, job) in parts().into_iter().enumerate() {
            let rows = offer.part(number).len();
            let entry = Entry {
                job,
                rows,
                cost: offer.row_cost * rows as f64,
                client: offer.client,
                deadline: offer.deadline,
                queued_at: now,
                foreseen,
            };
            flow.backlog[lane] += entry.cost;
            flow.lanes[lane].insert(self.next, entry);
            self.rows += rows;
            self.waiting += 1;
            model.waiting += 1;
            self.next += 1;
        }
        if offer.client != Client::UNKNOWN {
            *self.clients.entry(offer.client).or_default() += offer.rows;
        }
        Ok(Ticket {
            flow: offer.flow,
            priority: offer.priority,
            first,
            parts: self.next - first,
        })
    }

    /// Takes work in that is the next batch at once, without its being kept here: as [`offer`](Self::offer) and
    /// [`take`](Self::take), for what is one part, when nothing waits and its model may run. Else it is not done, and whoever
    /// asks is to offer it.
    pub(super) fn pass(&mut self, now: Instant, offer: &Offer) -> Result<bool, Refused> {
        if self.waiting > 0 || offer.parts() > 1 || !self.may_run(offer.flow.model) {
            return Ok(false);
        }
        self.admit(now, offer)?;
        self.calibration.relax(now);
        self.begin(now, offer.flow.model);
        Ok(true)
    }

    /// Takes work back that nobody waits for any more. What has left the queue is not affected.
    pub(super) fn cancel(&mut self, now: Instant, ticket: Ticket) {
        for number in ticket.first..ticket.first + ticket.parts {
            let lane = ticket.priority.index();
            let Some(flow) = self.flows.get_mut(&ticket.flow) else {
                return;
            };
            if let Some(entry) = flow.lanes[lane].remove(&number) {
                self.left(ticket.flow, lane, &entry);
            }
        }
        self.sweep(now);
    }

    /// The next batch; `None` when nothing waits that may run now. What cannot be done in time any more goes to
    /// `expired`.
    pub(super) fn take(&mut self, now: Instant, expired: &mut Vec<J>) -> Option<Batch<J>> {
        loop {
            let (key, lane) = self.next_flow()?;
            let batch = self.take_from(key, lane, now, expired);
            self.sweep(now);
            if self.waiting == 0 {
                self.calibration.relax(now);
            }
            if let Some(batch) = batch {
                self.begin(now, key.model);
                return Some(batch);
            }
        }
    }

    /// A batch of the model begins.
    fn begin(&mut self, now: Instant, model: u64) {
        self.models.entry(model).or_default().running += 1;
        self.load.began(now);
    }

    /// A batch is done.
    pub(super) fn done(&mut self, now: Instant, flow: FlowKey) {
        if let Some(model) = self.models.get_mut(&flow.model) {
            model.running -= 1;
            let has_flows = flows_of(&self.flows, flow.model).next().is_some();
            if !model.is_remembered(self.clock) && !has_flows {
                self.models.remove(&flow.model);
            }
        }
        self.load.ended(now);
    }

    /// Takes nothing more in.
    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    /// Rows that wait.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Whether something waits.
    pub(super) fn has_waiting(&self) -> bool {
        self.waiting > 0
    }

    /// Whether something waits that may run now.
    pub(super) fn has_work(&self) -> bool {
        self.next_flow().is_some()
    }

    /// Whether nothing waits, and nothing can come.
    pub(super) fn is_over(&self) -> bool {
        self.closed && self.waiting == 0
    }

    /// How busy the runners are, plus what waits in units of the longest wait allowed; and whether so much waits that some
    /// of what may come now is refused.
    pub(super) fn load(&mut self, now: Instant) -> (f32, bool) {
        let fullness = self.fullness();
        let is_pressed =
            fullness >= PRESSED || self.rows >= self.limits.rows / 2 || self.stands(now);
        ((self.load.share(now) + fullness) as f32, is_pressed)
    }

    /// Whether an offer would be taken in now.
    pub(super) fn would_admit(&mut self, now: Instant, offer: &Offer) -> Result<(), Refused> {
        self.admit(now, offer).map(drop)
    }

    /// The time that all of what waits will take, in units of the longest wait allowed.
    fn fullness(&self) -> f64 {
        let waits: f64 = self
            .flows
            .values()
            .map(|flow| flow.ahead_of(Priority::Sheddable))
            .sum();
        let waits = self.calibration.apply(waits / self.limits.runners as f64);
        waits / micros(self.limits.wait)
    }

    /// Of the highest priority at which something may run: of the model that has had the least service, the flow that has.
    fn next_flow(&self) -> Option<(FlowKey, usize)> {
        let model_due = |key: &FlowKey| self.models.get(&key.model).map_or(0.0, |model| model.due);
        (0..Priority::COUNT).find_map(|lane| {
            let waiting = self.flows.iter();
            let waiting = waiting
                .filter(|(key, flow)| !flow.lanes[lane].is_empty() && self.may_run(key.model));
            let due = waiting.map(|(key, flow)| (model_due(key), flow.due, *key));
            let (.., key) = due.min_by(|(model, flow, _), (other_model, other_flow, _)| {
                model
                    .total_cmp(other_model)
                    .then(flow.total_cmp(other_flow))
            })?;
            Some((key, lane))
        })
    }

    /// Whether the model may have one more batch at work.
    fn may_run(&self, model: u64) -> bool {
        let running = || self.models.get(&model).map_or(0, |model| model.running);
        self.limits.model_runners == 0 || running() < self.limits.model_runners
    }

    fn take_from(
        &mut self,
        key: FlowKey,
        lane: usize,
        now: Instant,
        expired: &mut Vec<J>,
    ) -> Option<Batch<J>> {
        let target = micros(self.limits.batch);
        let mut batch = Batch {
            flow: key,
            jobs: Vec::new(),
            taken_at: now,
            rows: 0,
            cost: 0.0,
        };
        while let Some(flow) = self.flows.get_mut(&key)
            && let Some(first) = flow.lanes[lane].first_entry()
        {
            let next = first.get();
            let fits = batch.rows + next.rows <= self.limits.batch_rows
                && batch.cost + next.cost <= target;
            if !batch.jobs.is_empty() && (key.kind != Kind::Paired || !fits) {
                break;
            }
            let entry = first.remove();
            self.left(key, lane, &entry);
            if entry.deadline.is_some_and(|deadline| now >= deadline) {
                expired.push(entry.job);
                continue;
            }
            let waited = now.saturating_duration_since(entry.queued_at);
            if batch.jobs.is_empty() {
                // Those behind it in the batch waited for the same reason: one lesson, not many.
                self.calibration.learn(now, entry.foreseen, micros(waited));
            }
            batch.rows += entry.rows;
            batch.cost += entry.cost;
            batch.jobs.push(Taken {
                job: entry.job,
                waited,
            });
        }
        if batch.jobs.is_empty() {
            return None;
        }
        if let Some(flow) = self.flows.get_mut(&key)
            && let Some(model) = self.models.get_mut(&key.model)
        {
            (self.clock, model.clock) = (model.due, flow.due);
            model.due += batch.cost;
            flow.due += batch.cost;
        }
        Some(batch)
    }

    /// Bookkeeping for an entry that has been removed.
    fn left(&mut self, key: FlowKey, lane: usize, entry: &Entry<J>) {
        if let Some(flow) = self.flows.get_mut(&key) {
            flow.backlog[lane] -= entry.cost;
            if flow.lanes[lane].is_empty() {
                // No rounding error outlives what it came from.
                flow.backlog[lane] = 0.0;
            }
        }
        self.rows -= entry.rows;
        self.waiting -= 1;
        if let Some(model) = self.models.get_mut(&key.model) {
            model.waiting -= 1;
        }
        if let Some(rows) = self.clients.get_mut(&entry.client) {
            *rows -= entry.rows;
            if *rows == 0 {
                self.clients.remove(&entry.client);
            }
        }
    }

    /// What has no work is kept as long as it is ahead of others that have, or has refused somebody lately: if it came back
    /// without a past, it would be ahead again, or take in more than it can do.
    fn sweep(&mut self, now: Instant) {
        if self.waiting == 0 {
            self.clock = 0.0;
            self.flows.values_mut().for_each(|flow| flow.due = 0.0);
            for model in self.models.values_mut() {
                (model.due, model.clock) = (0.0, 0.0);
            }
        }
        let (models, clock) = (&mut self.models, self.clock);
        self.flows.retain(|key, flow| {
            let is_ahead = models
                .get(&key.model)
                .is_some_and(|model| model.waiting > 0 && flow.due > model.clock);
            !flow.is_empty() || is_ahead || flow.has_stood(now)
        });
        let flows = &self.flows;
        models.retain(|key, model| {
            model.is_remembered(clock) || flows_of(flows, *key).next().is_some()
        });
    }
}

impl Model {
    /// Whether it has work, or is ahead of the others.
    fn is_remembered(&self, clock: f64) -> bool {
        self.running > 0 || self.waiting > 0 || self.due > clock
    }
}

fn flows_of<J>(
    flows: &BTreeMap<FlowKey, Flow<J>>,
    model: u64,
) -> impl Iterator<Item = (&FlowKey, &Flow<J>)> {
    let first = FlowKey {
        model,
        version: 0,
        kind: Kind::Paired,
    };
    flows
        .range(first..)
        .take_while(move |(key, _)| key.model == model)
}

fn micros(time: Duration) -> f64 {
    time.as_nanos() as f64 / 1000.0
}

#[cfg(test)]
mod tests;
