//! How long a version takes for its rows, learnt from the batches that it ran.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How much older batches count: each new one leaves so much of what was known.
const MEMORY: f64 = 0.95;

/// A batch that took so many times what was expected was held up, by other threads or other machines: it counts as one
/// that took no longer than this. If batches have become slower for good, the next ones say so too.
const HELD_UP: f64 = 4.0;

/// In what way rows are computed: a row of one may take many times what one of another does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Each row with a query of its own.
    Pairs,
    /// Items that the request describes, with one query.
    Described,
    /// Items of the catalog, with one query.
    Catalog,
}

/// What each way costs.
#[derive(Debug)]
pub(crate) struct Costs([Mutex<Cost>; 3]);

impl Costs {
    /// The same for all ways, as long as nothing better is known.
    pub(crate) fn alike(cost: Cost) -> Self {
        Self([cost, cost, cost].map(Mutex::new))
    }

    pub(crate) fn of(&self, way: Way) -> Cost {
        *self.lock(way)
    }

    pub(crate) fn set(&self, way: Way, cost: Cost) {
        *self.lock(way) = cost;
    }

    /// Takes in a batch.
    pub(crate) fn learn(&self, way: Way, rows: usize, took: Duration) {
        self.lock(way).learn(rows, took);
    }

    fn lock(&self, way: Way) -> MutexGuard<'_, Cost> {
        let cost = &self.0[way as usize];
        cost.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The cost of a version's rows in one way. A batch has a cost of its own, which more rows share, so the cost of one row falls
/// as batches grow under load; what is learnt follows that, because it is the time of recent batches by their rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Cost {
    /// Sums over the batches, older ones fading: how many, their rows, their microseconds.
    batches: f64,
    rows: f64,
    micros: f64,
}

impl Cost {
    /// What warming up showed.
    pub(crate) fn measured(rows: usize, took: Duration) -> Self {
        Self {
            batches: 1.0,
            rows: (rows.max(1)) as f64,
            micros: micros(took),
        }
    }

    /// Takes in a batch.
    pub(crate) fn learn(&mut self, rows: usize, took: Duration) {
        let took = micros(took).min(self.until_done(rows) * HELD_UP);
        self.batches = self.batches * MEMORY + 1.0;
        self.rows = self.rows * MEMORY + rows.max(1) as f64;
        self.micros = self.micros * MEMORY + took;
    }

    /// Microseconds of so many rows.
    pub(crate) fn of(&self, rows: usize) -> f64 {
        self.micros / self.rows * rows as f64
    }

    /// Rows that take about so long; at least one.
    pub(crate) fn rows_within(&self, time: Duration) -> usize {
        ((micros(time) * self.rows / self.micros) as usize).max(1)
    }

    /// Microseconds from the start of so many rows to their end: theirs alone, but no less than the usual batch, as
    /// they may be part of one.
    pub(crate) fn until_done(&self, rows: usize) -> f64 {
        self.of(rows).max(self.micros / self.batches)
    }
}

/// Never nothing, so that it can be divided by.
fn micros(time: Duration) -> f64 {
    (time.as_nanos() as f64 / 1000.0).max(0.001)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_batches_take_is_learnt_and_stays_within_what_was_seen(
            batches in prop::collection::vec((1_usize..1000, 1_u64..1000), 1..50),
        ) {
            // Each batch takes some nanoseconds a row.
            let took = |rows: usize, each: u64| Duration::from_nanos(rows as u64 * each);
            let mut cost = Cost::measured(batches[0].0, took(batches[0].0, batches[0].1));
            for &(rows, each) in &batches {
                cost.learn(rows, took(rows, each));
            }
            let each = batches.iter().map(|batch| batch.1 as f64 / 1000.0);
            let (least, most) = (each.clone().fold(f64::MAX, f64::min), each.fold(0.0, f64::max));
            prop_assert!(cost.of(1) >= least * 0.999 && cost.of(1) <= most.max(0.001) * 1.001);
            prop_assert!(cost.until_done(1) >= cost.of(1));
            let rows = cost.rows_within(Duration::from_micros(50));
            prop_assert!(rows == 1 || cost.of(rows) <= 50.001);
        }
    }

    #[test]
    fn a_batch_that_was_held_up_counts_little_and_slower_batches_are_believed() {
        let usual = Duration::from_micros(10);
        let mut cost = Cost::measured(1, usual);
        for _ in 0..100 {
            cost.learn(1, usual);
        }
        cost.learn(1, Duration::from_millis(20));
        assert!(cost.of(1) < 12.0, "{}", cost.of(1));
        for _ in 0..200 {
            cost.learn(1, Duration::from_millis(20));
        }
        assert!(cost.of(1) > 19_000.0, "{}", cost.of(1));
    }

    #[test]
    fn what_one_way_costs_says_nothing_of_the_others() {
        let costs = Costs::alike(Cost::measured(1, Duration::from_micros(10)));
        costs.set(Way::Described, Cost::measured(1, Duration::from_micros(20)));
        for _ in 0..200 {
            costs.learn(Way::Catalog, 100, Duration::from_micros(10));
        }
        let of_one = [Way::Pairs, Way::Described, Way::Catalog].map(|way| costs.of(way).of(1));
        assert_eq!(of_one[..2], [10.0, 20.0]);
        assert!((of_one[2] - 0.1).abs() < 0.01, "{of_one:?}");
    }

    #[test]
    fn old_batches_are_forgotten() {
        let mut cost = Cost::measured(1, Duration::from_millis(100));
        for _ in 0..200 {
            cost.learn(10, Duration::from_micros(20));
        }
        assert!((cost.of(1) - 2.0).abs() < 0.1, "{}", cost.of(1));
    }
}
