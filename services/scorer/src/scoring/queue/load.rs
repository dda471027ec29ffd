//! How busy the runners are.

use std::time::{Duration, Instant};

/// What happened longer ago counts little.
const MEMORY: Duration = Duration::from_millis(500);

/// The share of the runners' time that was spent on batches lately.
#[derive(Debug)]
pub(super) struct Load {
    runners: usize,
    busy: usize,
    share: f64,
    at: Instant,
}

impl Load {
    pub(super) fn new(runners: usize, now: Instant) -> Self {
        Self {
            runners,
            busy: 0,
            share: 0.0,
            at: now,
        }
    }

    pub(super) fn began(&mut self, now: Instant) {
        self.advance(now);
        self.busy += 1;
    }

    pub(super) fn ended(&mut self, now: Instant) {
        self.advance(now);
        self.busy = self.busy.saturating_sub(1);
    }

    /// Between 0 and 1.
    pub(super) fn share(&mut self, now: Instant) -> f64 {
        self.advance(now);
        self.share
    }

    fn advance(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at);
        if passed.is_zero() {
            return;
        }
        self.at = self.at.max(now);
        let kept = (-passed.as_secs_f64() / MEMORY.as_secs_f64()).exp();
        let busy = self.busy as f64 / self.runners as f64;
        self.share = self.share * kept + busy * (1.0 - kept);
    }
}
