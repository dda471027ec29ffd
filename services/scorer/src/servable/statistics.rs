//! What a version was asked since it was loaded, and how long that took.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Sizes of calls that are counted apart: 1, 2, 4 and so on rows, each with what lies between it and the one before.
const SIZES: usize = 32;

/// Counters, to which calls add without waiting for each other.
#[derive(Debug, Default)]
pub(crate) struct Statistics {
    succeeded: Counter,
    failed: Counter,
    queue_nanos: AtomicU64,
    rows: AtomicU64,
    last_millis: AtomicU64,
    /// Computing, by size.
    sizes: [Counter; SIZES],
}

#[derive(Debug, Default)]
struct Counter {
    count: AtomicU64,
    nanos: AtomicU64,
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
    /// Encoding and scoring, of the calls that were answered.
    pub(crate) compute: Total,
    /// Rows that were scored.
    pub(crate) rows: u64,
    /// When a call ended last; none before the first.
    pub(crate) last: Option<SystemTime>,
    /// Computing by size: rows, rounded up to a power of two, the smallest first.
    pub(crate) sizes: Vec<(u64, Total)>,
}

/// How often, and how long in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Total {
    pub(crate) count: u64,
    pub(crate) time: Duration,
}

impl Statistics {
    /// A call was answered. `total` is all of its time, of which it waited for `queue` and computed for `compute`.
    pub(crate) fn record_success(
        &self,
        rows: usize,
        queue: Duration,
        compute: Duration,
        total: Duration,
    ) {
        self.succeeded.add(total);
        self.queue_nanos.fetch_add(nanos(queue), Ordering::Relaxed);
        self.rows.fetch_add(rows as u64, Ordering::Relaxed);
        self.sizes[size(rows)].add(compute);
        self.ended_now();
    }

    /// A call failed after so much time.
    pub(crate) fn record_failure(&self, total: Duration) {
        self.failed.add(total);
        self.ended_now();
    }

    /// Calls that were answered.
    pub(crate) fn answered(&self) -> u64 {
        self.succeeded.count.load(Ordering::Relaxed)
    }

    /// What has been counted so far.
    pub(crate) fn totals(&self) -> Totals {
        let succeeded = self.succeeded.total();
        let sizes = self.sizes.iter().map(Counter::total).enumerate();
        let sizes: Vec<(u64, Total)> = sizes
            .filter(|(_, total)| total.count > 0)
            .map(|(size, total)| (1 << size, total))
            .collect();
        let queue = Duration::from_nanos(self.queue_nanos.load(Ordering::Relaxed));
        let last = self.last_millis.load(Ordering::Relaxed);
        Totals {
            succeeded,
            failed: self.failed.total(),
            queue: Total {
                count: succeeded.count,
                time: queue,
            },
            compute: Total {
                count: sizes.iter().map(|(_, total)| total.count).sum(),
                time: sizes.iter().map(|(_, total)| total.time).sum(),
            },
            rows: self.rows.load(Ordering::Relaxed),
            last: (last > 0).then(|| UNIX_EPOCH + Duration::from_millis(last)),
            sizes,
        }
    }

    fn ended_now(&self) {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let millis = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        self.last_millis.fetch_max(millis, Ordering::Relaxed);
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

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The place of a number of rows among the sizes; the last one takes everything above it.
fn size(rows: usize) -> usize {
    let rounded_up = rows.max(1).checked_next_power_of_two();
    rounded_up
        .map_or(SIZES, |size| size.ilog2() as usize)
        .min(SIZES - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_add_up_and_sizes_are_rounded_up() {
        let statistics = Statistics::default();
        assert_eq!(statistics.totals(), Totals::default());
        let [one, two, five] = [1, 2, 5].map(Duration::from_micros);
        for rows in [1, 3, 4, 5, 0] {
            statistics.record_success(rows, one, two, five);
        }
        statistics.record_failure(five);
        let totals = statistics.totals();
        let total = |count: u32, each: Duration| Total {
            count: count.into(),
            time: each * count,
        };
        assert_eq!(totals.succeeded, total(5, five));
        assert_eq!(totals.failed, total(1, five));
        assert_eq!(
            (totals.queue, totals.compute),
            (total(5, one), total(5, two))
        );
        assert_eq!(totals.rows, 13);
        assert_eq!(
            totals.sizes,
            [(1, total(2, two)), (4, total(2, two)), (8, total(1, two))]
        );
        assert!(totals.last.is_some_and(|last| last <= SystemTime::now()));
    }

    #[test]
    fn every_number_of_rows_has_a_size() {
        let sizes = [0, 1, 2, 3, 1 << 31, (1 << 31) + 1, usize::MAX].map(size);
        assert_eq!(sizes, [0, 0, 1, 2, 31, 31, 31]);
    }
}
