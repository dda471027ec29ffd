//! What is taken in. Work that could not be done in time is refused before anything is done for it.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use super::{Flow, Offer, PRESSED, Queue, flows_of, micros};

/// How long work may wait in a flow that stands, beside what it may in a burst: one part of so many.
const STANDING: u32 = 4;

/// What comes first. Under overload the lower ones are refused first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Priority {
    /// Before all others; may take all of the queue.
    Critical,
    /// The usual one; may take nine tenths.
    #[default]
    Normal,
    /// What nobody misses; may take half, and waits half as long.
    Sheddable,
}

impl Priority {
    pub(super) const COUNT: usize = 3;

    /// The priority of this name, if there is one.
    pub(crate) fn named(name: &[u8]) -> Option<Self> {
        match name {
            b"critical" => Some(Priority::Critical),
            b"normal" => Some(Priority::Normal),
            b"sheddable" => Some(Priority::Sheddable),
            _ => None,
        }
    }

    pub(super) fn index(self) -> usize {
        self as usize
    }

    /// Of the queue's rows, how many may wait when this is taken in.
    fn rows(self, capacity: usize) -> usize {
        match self {
            Priority::Critical => capacity,
            Priority::Normal => capacity - capacity / 10,
            Priority::Sheddable => capacity / 2,
        }
    }

    fn wait(self, longest: Duration) -> Duration {
        match self {
            Priority::Critical | Priority::Normal => longest,
            Priority::Sheddable => longest / 2,
        }
    }
}

/// Who calls: what is held against one client is not held against the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Client(u64);

impl Client {
    /// Somebody who has not said who they are, and is not limited.
    pub(crate) const UNKNOWN: Client = Client(0);

    /// The client of this name.
    pub(crate) fn named(name: &[u8]) -> Self {
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        Self(hasher.finish() | 1)
    }
}

/// What the queue may hold.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// How many runners take from it.
    pub(crate) runners: usize,
    /// Of these, how many may work for one model at once; 0 means all.
    pub(crate) model_runners: usize,
    /// Rows that may wait.
    pub(crate) rows: usize,
    /// Rows that one client may have waiting; 0 means all.
    pub(crate) client_rows: usize,
    /// The longest wait that is foreseen for what is taken in, in a burst; in a flow that stands it is shorter.
    pub(crate) wait: Duration,
    /// Rows of a batch, at most.
    pub(crate) batch_rows: usize,
    /// How long a batch is to take, at most.
    pub(crate) batch: Duration,
}

/// Why work is not taken in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Refused {
    /// So many rows wait already.
    Full {
        waiting: usize,
        retry_after: Duration,
    },
    /// So many rows of the same client wait already.
    Client {
        waiting: usize,
        retry_after: Duration,
    },
    /// It would wait so long, which is longer than is allowed, or than its deadline leaves.
    Slow {
        wait: Duration,
        retry_after: Duration,
        /// Whether it is the deadline that does not leave it.
        is_late: bool,
    },
    /// It would take longer than its deadline leaves, even if it need not wait.
    Expired,
    /// No work is taken in any more.
    Closed,
}

/// How foreseen waits compare with real ones: what happens beside the batches, such as reading requests, is not seen
/// when a wait is foreseen, but in how long it became.
#[derive(Clone, Copy, Debug)]
pub(super) struct Calibration {
    ratio: f64,
    /// When it was corrected last.
    at: Instant,
}

impl Calibration {
    /// Waits below this many microseconds tell nothing.
    const TELLING: f64 = 200.0;
    /// What was seen longer ago counts little. Time counts, not the number of waits: those that a pause of the machine made
    /// long come all at once.
    const MEMORY: Duration = Duration::from_millis(500);
    /// How much a single wait may count, though there was none for long.
    const MOST: f64 = 0.1;

    pub(super) fn new(now: Instant) -> Self {
        Self {
            ratio: 1.0,
            at: now,
        }
    }

    pub(super) fn apply(self, foreseen: f64) -> f64 {
        foreseen * self.ratio
    }

    pub(super) fn learn(&mut self, now: Instant, foreseen: f64, waited: f64) {
        if foreseen >= Self::TELLING {
            self.approach(now, (waited / foreseen).clamp(0.25, 8.0));
        }
    }

    /// Nothing waits any more: whatever made waits long has passed.
    pub(super) fn relax(&mut self, now: Instant) {
        self.approach(now, 1.0);
    }

    fn approach(&mut self, now: Instant, ratio: f64) {
        let passed = now.saturating_duration_since(self.at);
        self.at = self.at.max(now);
        let weight = passed.as_secs_f64() / Self::MEMORY.as_secs_f64();
        self.ratio += (ratio - self.ratio) * weight.min(Self::MOST);
    }
}

impl<J> Flow<J> {
    /// A burst may wait. What does not empty for as long as that is no burst: more comes than can be done, and waiting helps
    /// nobody, so what is taken in is to wait less (as in Maurer, Fail at Scale, ACM Queue 2015). As less is let wait, it
    /// empties now and then; it stands until nothing had to be refused for as long as a burst may wait.
    fn stands(&self, now: Instant, lane: usize, longest: Duration) -> bool {
        let is_busy = !self.lanes[lane].is_empty()
            && now.saturating_duration_since(self.busy_since[lane]) > longest;
        is_busy || now < self.stands_until[lane]
    }

    /// Whether it may be found to stand though nothing waits in it.
    pub(super) fn has_stood(&self, now: Instant) -> bool {
        self.stands_until.iter().any(|until| now < *until)
    }
}

impl<J> Queue<J> {
    /// Microseconds that the offer is foreseen to wait, before experience corrects them.
    pub(super) fn admit(&mut self, now: Instant, offer: &Offer) -> Result<f64, Refused> {
        if self.closed {
            return Err(Refused::Closed);
        }
        let foreseen = self.wait_of(offer);
        let wait = micros_long(self.calibration.apply(foreseen));
        let retry_after = wait.clamp(Duration::from_millis(1), Duration::from_secs(1));
        let rows = offer.rows;
        // A request that is larger than the whole queue is taken in when nothing else waits: it would never be, otherwise.
        if self.rows > 0 && self.rows.saturating_add(rows) > offer.priority.rows(self.limits.rows) {
            return Err(Refused::Full {
                waiting: self.rows,
                retry_after,
            });
        }
        if let Some(&waiting) = self.clients.get(&offer.client)
            && self.limits.client_rows > 0
            && waiting.saturating_add(rows) > self.limits.client_rows
        {
            return Err(Refused::Client {
                waiting,
                retry_after,
            });
        }
        if !self.may_wait(now, offer, wait) {
            return Err(Refused::Slow {
                wait,
                retry_after,
                is_late: false,
            });
        }
        if let Some(deadline) = offer.deadline {
            let left = deadline.saturating_duration_since(now);
            let work = micros_long(offer.until_done);
            if work > left {
                return Err(Refused::Expired);
            }
            if wait + work > left {
                return Err(Refused::Slow {
                    wait,
                    retry_after,
                    is_late: true,
                });
            }
        }
        Ok(foreseen)
    }

    /// Whether work may wait so long in its flow.
    fn may_wait(&mut self, now: Instant, offer: &Offer, wait: Duration) -> bool {
        let (lane, longest) = (offer.priority.index(), self.limits.wait);
        let flow = self.flows.get_mut(&offer.flow);
        match flow.filter(|flow| flow.stands(now, lane, longest)) {
            None => wait <= offer.priority.wait(longest),
            Some(flow) => {
                let may = wait <= offer.priority.wait(longest / STANDING);
                if !may {
                    flow.stands_until[lane] = now + longest;
                }
                may
            }
        }
    }

    /// Whether so much waits in a flow that stands that some of what may come for it now is refused.
    pub(super) fn stands(&self, now: Instant) -> bool {
        let longest = self.limits.wait;
        let enough = micros(longest / STANDING) * PRESSED;
        self.flows.values().any(|flow| {
            let waits = |lane: usize| {
                self.calibration.apply(flow.backlog[lane]) / self.limits.runners as f64
            };
            (0..Priority::COUNT)
                .any(|lane| flow.stands(now, lane, longest) && waits(lane) >= enough)
        })
    }

    /// While a flow works off what waits in it, each of the others of its model is served as much, at most; and each other model
    /// as much as this one.
    fn wait_of(&self, offer: &Offer) -> f64 {
        let lane = offer.priority.index();
        let own = self
            .flows
            .get(&offer.flow)
            .map_or(0.0, |flow| flow.backlog[lane]);
        let until_begun = own + offer.row_cost * offer.part(0).len() as f64;
        let above = |flow: &Flow<J>| flow.backlog[..lane].iter().sum::<f64>();
        let above: f64 = self.flows.values().map(above).sum();
        let beside: f64 = flows_of(&self.flows, offer.flow.model)
            .filter(|(key, _)| **key != offer.flow)
            .map(|(_, flow)| flow.backlog[lane].min(until_begun))
            .sum();
        // What waits is of models that are known.
        let others = self
            .models
            .keys()
            .filter(|model| **model != offer.flow.model);
        let waits = |model: &u64| {
            let flows = flows_of(&self.flows, *model);
            let waits: f64 = flows.map(|(_, flow)| flow.backlog[lane]).sum();
            waits.min(until_begun + beside)
        };
        let others: f64 = others.map(waits).sum();
        (above + own + beside + others) / self.limits.runners as f64
    }
}

/// Longer than any wait, and short enough to be added to others.
const FOREVER: Duration = Duration::from_secs(1 << 32);

fn micros_long(count: f64) -> Duration {
    Duration::try_from_secs_f64(count / 1e6).unwrap_or(FOREVER)
}
