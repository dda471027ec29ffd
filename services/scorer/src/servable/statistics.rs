//! What a version was asked since it was loaded, what was computed for that, and how long both took.

use std::ops::AddAssign;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// Batches of up to so many rows are counted apart by their exact size.
const EXACT: usize = 64;

/// Larger ones are rounded up to a power of two: 128, 256 and so on, so many of them. The last one takes all above it.
const ROUNDED: usize = 16;

/// Counters, to which requests and batches add without waiting for each other. Requests are counted where they are
/// answered, batches where they are computed: several requests may share a batch, and a large one has several.
#[derive(Debug)]
pub(crate) struct Statistics {
    succeeded: Counter,
    failed: Counter,
    queue_nanos: AtomicU64,
    compute: Steps,
    rows: AtomicU64,
    /// Since when calls are counted, by both clocks: to ask one is enough when a call ends.
    since: (Instant, SystemTime),
    /// When one ended last, in nanoseconds since then; 0 before the first.
    last: AtomicU64,
    /// By size.
    batches: Box<[Batches]>,
}

#[derive(Debug, Default)]
struct Counter {
    count: AtomicU64,
    nanos: AtomicU64,
}

/// Nanoseconds of each step.
#[derive(Debug, Default)]
struct Steps {
    input: AtomicU64,
    infer: AtomicU64,
    output: AtomicU64,
}

/// Batches of one size.
#[derive(Debug, Default)]
struct Batches {
    count: AtomicU64,
    steps: Steps,
}

/// How long the steps of computing a batch took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ComputeTimes {
    /// Encoding its rows.
    pub(crate) input: Duration,
    /// The session's run.
    pub(crate) infer: Duration,
    /// Checking its scores, giving each request its own, and finding the best of a ranking.
    pub(crate) output: Duration,
}

/// What the counters say. Calls go on meanwhile, so that sums may differ by those that are being counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// Calls that were answered, from their admission to their answer.
    pub(crate) succeeded: Total,
    /// Calls that failed after the version had taken them in.
    pub(crate) failed: Total,
    /// Waiting for a worker, of the calls that were answered.
    pub(crate) queue: Total,
    /// Computing, of the calls that were answered: for each call, all of the batches that it was part of.
    pub(crate) compute: Computed,
    /// Rows that were scored.
    pub(crate) rows: u64,
    /// When a call ended last; none before the first.
    pub(crate) last: Option<SystemTime>,
    /// Batches by their rows, the smallest first; above 64 rows, by the power of two that is next.
    pub(crate) batches: Vec<(u64, Computed)>,
}

/// How often, and how long in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Total {
    pub(crate) count: u64,
    pub(crate) time: Duration,
}

/// How often, and how long each step in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Computed {
    pub(crate) count: u64,
    pub(crate) times: ComputeTimes,
}

impl ComputeTimes {
    /// From rows to scores: what a batch's rows cost, before the scores are handed out.
    pub(crate) fn until_scored(&self) -> Duration {
        self.input + self.infer
    }
}

impl AddAssign for ComputeTimes {
    fn add_assign(&mut self, other: Self) {
        self.input += other.input;
        self.infer += other.infer;
        self.output += other.output;
    }
}

impl Default for Statistics {
    fn default() -> Self {
        Self {
            succeeded: Counter::default(),
            failed: Counter::default(),
            queue_nanos: AtomicU64::default(),
            compute: Steps::default(),
            rows: AtomicU64::default(),
            since: (Instant::now(), SystemTime::now()),
            last: AtomicU64::default(),
            batches: (0..EXACT + ROUNDED).map(|_| Batches::default()).collect(),
        }
    }
}

impl Statistics {
    /// A call was answered at `ended`. `total` is all of its time, in which it waited for `queue` and was part of batches that
    /// took `compute`.
    pub(crate) fn record_success(
        &self,
        rows: usize,
        queue: Duration,
        compute: ComputeTimes,
        total: Duration,
        ended: Instant,
    ) {
        self.succeeded.add(total);
        self.queue_nanos.fetch_add(nanos(queue), Ordering::Relaxed);
        self.compute.add(compute);
        self.rows.fetch_add(rows as u64, Ordering::Relaxed);
        self.ended(ended);
    }

    /// A call failed now, after so much time.
    pub(crate) fn record_failure(&self, total: Duration) {
        self.failed.add(total);
        self.ended(Instant::now());
    }

    /// A batch was computed, whatever becomes of its calls.
    pub(crate) fn record_batch(&self, rows: usize, times: ComputeTimes) {
        let batches = &self.batches[position(rows)];
        batches.count.fetch_add(1, Ordering::Relaxed);
        batches.steps.add(times);
    }

    /// Calls that were answered.
    pub(crate) fn answered(&self) -> u64 {
        self.succeeded.count.load(Ordering::Relaxed)
    }

    /// What has been counted so far.
    pub(crate) fn totals(&self) -> Totals {
        let succeeded = self.succeeded.total();
        let queue = Duration::from_nanos(self.queue_nanos.load(Ordering::Relaxed));
        let last = self.last.load(Ordering::Relaxed);
        let batches = self.batches.iter().map(Batches::total).enumerate();
        Totals {
            succeeded,
            failed: self.failed.total(),
            queue: Total {
                count: succeeded.count,
                time: queue,
            },
            compute: Computed {
                count: succeeded.count,
                times: self.compute.total(),
            },
            rows: self.rows.load(Ordering::Relaxed),
            last: (last > 0).then(|| self.since.1 + Duration::from_nanos(last)),
            batches: batches
                .filter(|(_, computed)| computed.count > 0)
                .map(|(position, computed)| (size(position), computed))
                .collect(),
        }
    }

    fn ended(&self, at: Instant) {
        let since = at.saturating_duration_since(self.since.0);
        self.last.fetch_max(nanos(since).max(1), Ordering::Relaxed);
    }
}

impl Counter {
    fn add(&self, time: Duration) {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.nanos.fetch_add(nanos(time), Ordering::Relaxed);
    }

    fn total(&self) -> Total {
        Total {
            count: self.count.load(Ordering::Relaxed),
            time: Duration::from_nanos(self.nanos.load(Ordering::Relaxed)),
        }
    }
}

impl Steps {
    fn add(&self, times: ComputeTimes) {
        self.input.fetch_add(nanos(times.input), Ordering::Relaxed);
        self.infer.fetch_add(nanos(times.infer), Ordering::Relaxed);
        self.output
            .fetch_add(nanos(times.output), Ordering::Relaxed);
    }

    fn total(&self) -> ComputeTimes {
        let time = |nanos: &AtomicU64| Duration::from_nanos(nanos.load(Ordering::Relaxed));
        ComputeTimes {
            input: time(&self.input),
            infer: time(&self.infer),
            output: time(&self.output),
        }
    }
}

impl Batches {
    fn total(&self) -> Computed {
        Computed {
            count: self.count.load(Ordering::Relaxed),
            times: self.steps.total(),
        }
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Where batches of so many rows are counted.
fn position(rows: usize) -> usize {
    if rows <= EXACT {
        return rows.saturating_sub(1);
    }
    let doublings = ((rows - 1) / EXACT).ilog2() as usize;
    (EXACT + doublings).min(EXACT + ROUNDED - 1)
}

/// The rows of the largest batch that is counted there.
fn size(position: usize) -> u64 {
    let exact = EXACT as u64;
    match position.checked_sub(EXACT) {
        None => position as u64 + 1,
        Some(doublings) => exact << (doublings + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(input: u64, infer: u64, output: u64) -> ComputeTimes {
        let [input, infer, output] = [input, infer, output].map(Duration::from_micros);
        ComputeTimes {
            input,
            infer,
            output,
        }
    }

    #[test]
    fn calls_and_batches_add_up_each_for_themselves() {
        let statistics = Statistics::default();
        assert_eq!(statistics.totals(), Totals::default());
        let now = Instant::now();
        let [one, nine] = [1, 9].map(Duration::from_micros);
        // Two calls of three rows share a batch; one of 70 rows has two.
        statistics.record_batch(6, times(1, 2, 3));
        statistics.record_batch(64, times(4, 5, 6));
        statistics.record_batch(6, times(7, 8, 9));
        statistics.record_success(3, one, times(1, 2, 3), nine, now);
        statistics.record_success(3, one, times(1, 2, 3), nine, now);
        statistics.record_success(70, one, times(11, 13, 15), nine, now);
        statistics.record_failure(nine);

        let totals = statistics.totals();
        let total = |count: u32, each: Duration| Total {
            count: count.into(),
            time: each * count,
        };
        assert_eq!(totals.succeeded, total(3, nine));
        assert_eq!(totals.failed, total(1, nine));
        assert_eq!(totals.queue, total(3, one));
        let computed = |count: u64, times: ComputeTimes| Computed { count, times };
        assert_eq!(totals.compute, computed(3, times(13, 17, 21)));
        assert_eq!(totals.rows, 76);
        let batches = [
            (6, computed(2, times(8, 10, 12))),
            (64, computed(1, times(4, 5, 6))),
        ];
        assert_eq!(totals.batches, batches);
        assert!(totals.last.is_some_and(|last| last <= SystemTime::now()));
    }

    #[test]
    fn small_sizes_are_exact_and_large_ones_are_rounded_up() {
        for rows in 1..=EXACT {
            assert_eq!(size(position(rows)), rows as u64);
        }
        let rounded = [0, 65, 128, 129, 256, 257, 4096, 4097];
        let sizes = rounded.map(|rows| size(position(rows)));
        assert_eq!(sizes, [1, 128, 128, 256, 256, 512, 4096, 8192]);
        let largest = (EXACT as u64) << ROUNDED;
        for rows in [1 << 22, (1 << 22) + 1, usize::MAX] {
            assert_eq!(size(position(rows)), largest);
        }
    }
}
