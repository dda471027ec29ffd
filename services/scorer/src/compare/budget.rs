//! How much time may be spent: a token bucket. Time fills it, computing empties it, and nothing is begun while it is empty.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The bucket holds what comes in within this time.
const SAVED: Duration = Duration::from_secs(1);

/// A share of one core's time. What was begun may take more than there was; it is paid for before anything else begins.
#[derive(Debug)]
pub(super) struct Budget {
    /// How much time pays for one of computing; none when nothing does.
    price: Option<f64>,
    since: Instant,
    /// Until when, in nanoseconds since then, all time has gone into what was computed: the bucket's level, as a time.
    paid_until: AtomicU64,
}

impl Budget {
    /// So many per cent of a core. The bucket is as good as empty.
    pub(super) fn new(percent: u32, now: Instant) -> Self {
        Self {
            price: (percent > 0).then(|| 100.0 / f64::from(percent)),
            since: now,
            paid_until: AtomicU64::new(0),
        }
    }

    /// Whether something may be begun.
    pub(super) fn allows(&self, now: Instant) -> bool {
        self.price.is_some() && self.paid_until.load(Ordering::Relaxed) <= self.nanos(now)
    }

    /// Takes out what was computed. One task alone spends; others only look.
    pub(super) fn spend(&self, now: Instant, computed: Duration) {
        let Some(price) = self.price else {
            return;
        };
        let oldest = self.nanos(now).saturating_sub(SAVED.as_nanos() as u64);
        let paid_until = self.paid_until.load(Ordering::Relaxed).max(oldest);
        let cost = (computed.as_nanos() as f64 * price) as u64;
        self.paid_until
            .store(paid_until.saturating_add(cost), Ordering::Relaxed);
    }

    fn nanos(&self, now: Instant) -> u64 {
        let passed = now.saturating_duration_since(self.since);
        u64::try_from(passed.as_nanos()).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn millis(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    #[test]
    fn what_was_computed_is_paid_for_before_anything_else_begins() {
        let start = Instant::now();
        let budget = Budget::new(10, start);
        assert!(budget.allows(start));
        budget.spend(start, millis(20));
        assert!(!budget.allows(start + millis(199)));
        assert!(budget.allows(start + millis(200)));
    }

    #[test]
    fn idle_time_is_saved_up_but_not_for_long() {
        let start = Instant::now();
        let budget = Budget::new(10, start);
        let later = start + millis(10_000);
        // A second's share.
        budget.spend(later, millis(60));
        assert!(budget.allows(later));
        budget.spend(later, millis(60));
        assert!(!budget.allows(later + millis(199)));
        assert!(budget.allows(later + millis(200)));
    }

    #[test]
    fn of_nothing_nothing_may_be_spent() {
        let start = Instant::now();
        let budget = Budget::new(0, start);
        assert!(!budget.allows(start + millis(10_000)));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Whoever asks before each piece of work stays within the share, but for what was saved and the last piece.
        #[test]
        fn the_share_is_kept_to(
            percent in 1_u32..=100,
            steps in prop::collection::vec((0_u64..500, 0_u64..200), 1..100),
        ) {
            let start = Instant::now();
            let budget = Budget::new(percent, start);
            let (mut now, mut spent, mut longest) = (start, Duration::ZERO, Duration::ZERO);
            for (pause, piece) in steps {
                now += millis(pause);
                if budget.allows(now) {
                    budget.spend(now, millis(piece));
                    spent += millis(piece);
                    longest = longest.max(millis(piece));
                }
            }
            let share = f64::from(percent) / 100.0;
            let most = (now - start + SAVED).as_secs_f64() * share + longest.as_secs_f64();
            prop_assert!(spent.as_secs_f64() <= most + 1e-6, "{spent:?}, not {most}");
        }
    }
}
