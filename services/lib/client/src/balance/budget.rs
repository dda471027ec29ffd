//! How many retries are allowed: a share of the calls, so that retries cannot become a storm.

use std::time::{Duration, Instant};

/// How long a call counts: what it allowed fades with this time constant.
const MEMORY: Duration = Duration::from_secs(10);
/// Retries a second that are allowed however few the calls are.
const FLOOR: f64 = 1.0;

/// An account of retries. Each call pays a share of one in; what lies there fades, so that a quiet night does not pay for
/// a storm in the morning.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    share: f64,
    balance: f64,
    at: Instant,
}

impl Budget {
    /// An account to which each call adds `share` of a retry. It begins with what the floor alone would have saved.
    pub(crate) fn new(share: f64, now: Instant) -> Self {
        Self {
            share,
            balance: FLOOR * MEMORY.as_secs_f64(),
            at: now,
        }
    }

    /// Notes a call.
    pub(crate) fn call(&mut self, now: Instant) {
        self.fade(now);
        self.balance += self.share;
    }

    /// Whether there is a retry left.
    pub(crate) fn allows(&mut self, now: Instant) -> bool {
        self.fade(now);
        self.balance >= 1.0
    }

    /// Takes a retry out, after the account has been asked whether it [`allows`](Self::allows) one.
    pub(crate) fn withdraw(&mut self) {
        self.balance -= 1.0;
    }

    fn fade(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.at).as_secs_f64();
        let memory = MEMORY.as_secs_f64();
        let kept = (-elapsed / memory).exp();
        self.balance = self.balance * kept + FLOOR * memory * (1.0 - kept);
        self.at = self.at.max(now);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// How many of the retries that somebody wants are made.
    fn retry(budget: &mut Budget, wanted: u32, now: Instant) -> u32 {
        let mut made = 0;
        for _ in 0..wanted {
            if budget.allows(now) {
                budget.withdraw();
                made += 1;
            }
        }
        made
    }

    #[test]
    fn a_quiet_client_may_retry_a_little_and_a_long_rest_saves_no_more() {
        let start = Instant::now();
        let mut budget = Budget::new(0.2, start);
        assert_eq!(retry(&mut budget, 1000, start), 10);
        let later = start + Duration::from_secs(3600);
        assert!((9..=10).contains(&retry(&mut budget, 1000, later)));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn retries_stay_below_the_share_of_calls_and_the_floor(
            share in 0.0..1.0,
            steps in prop::collection::vec((0_u64..500, 0_u32..20, 0_u32..20), 1..100),
        ) {
            let start = Instant::now();
            let mut budget = Budget::new(share, start);
            let (mut now, mut calls, mut retries) = (start, 0, 0);
            for (millis, made, wanted) in steps {
                now += Duration::from_millis(millis);
                for _ in 0..made {
                    budget.call(now);
                    calls += 1;
                }
                retries += retry(&mut budget, wanted, now);
            }
            let seconds = (now - start).as_secs_f64();
            let most = share * f64::from(calls) + FLOOR * (MEMORY.as_secs_f64() + seconds);
            prop_assert!(f64::from(retries) <= most + 1e-6, "{retries} > {most}");
        }
    }
}
