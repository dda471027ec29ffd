//! A share of one core's time.

use std::time::{Duration, Instant};

/// Time that was not used is kept for this long.
const MEMORY: Duration = Duration::from_secs(1);

/// A bucket that fills with time, and from which what was computed is taken. It may be overdrawn by one computation, and is
/// empty until that is made good.
pub(super) struct Budget {
    share: f64,
    /// Seconds.
    left: f64,
    filled_at: Instant,
}

impl Budget {
    /// So many per cent; none at all when that is 0.
    pub(super) fn new(percent: u32, now: Instant) -> Self {
        Self {
            share: f64::from(percent) / 100.0,
            left: 0.0,
            filled_at: now,
        }
    }

    /// Whether anything may be computed now.
    pub(super) fn has_time(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.filled_at);
        self.filled_at = now;
        let most = self.share * MEMORY.as_secs_f64();
        self.left = (self.left + self.share * passed.as_secs_f64()).min(most);
        self.left > 0.0
    }

    /// Takes out what was computed.
    pub(super) fn spend(&mut self, time: Duration) {
        self.left -= time.as_secs_f64();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computations of a millisecond, tried each millisecond: a tenth of them is done.
    #[test]
    fn no_more_than_the_share_is_spent() {
        let begin = Instant::now();
        let mut budget = Budget::new(10, begin);
        let mut done = 0;
        for millis in 1..=10_000 {
            if budget.has_time(begin + Duration::from_millis(millis)) {
                budget.spend(Duration::from_millis(1));
                done += 1;
            }
        }
        assert!((990..=1_010).contains(&done), "{done}");
    }

    #[test]
    fn what_was_not_used_is_kept_for_a_second_and_debts_are_made_good() {
        let begin = Instant::now();
        let at = |seconds: u64| begin + Duration::from_secs(seconds);
        let mut budget = Budget::new(10, begin);
        assert!(!budget.has_time(begin));
        assert!(budget.has_time(at(1_000)));
        // A tenth of a second was there.
        budget.spend(Duration::from_millis(600));
        assert!(!budget.has_time(at(1_005)));
        assert!(budget.has_time(at(1_006)));
        assert!(!Budget::new(0, begin).has_time(at(1_000)));
    }
}
