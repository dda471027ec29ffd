//! The time, as one connection's turns have it.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};
use hyper_util::rt::TokioTimer;

/// Tokio's timer, by which no time passes within a turn. Hyper notes at each frame when it last heard of a client, for pings that
/// are half a minute apart: to look at the clock for each would be felt.
#[derive(Clone, Debug)]
pub(super) struct TurnTimer {
    timer: TokioTimer,
    made: Instant,
    /// When the turn began, in nanoseconds since then.
    turn: Arc<AtomicU64>,
}

impl TurnTimer {
    pub(super) fn new() -> Self {
        let timer = TokioTimer::new();
        Self {
            made: timer.now(),
            timer,
            turn: Arc::default(),
        }
    }

    /// Another turn begins.
    pub(super) fn turn(&self) {
        let passed = self.timer.now().saturating_duration_since(self.made);
        let nanos = u64::try_from(passed.as_nanos()).unwrap_or(u64::MAX);
        self.turn.store(nanos, Ordering::Relaxed);
    }
}

impl Timer for TurnTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.timer.sleep(duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        self.timer.sleep_until(deadline)
    }

    fn now(&self) -> Instant {
        self.made + Duration::from_nanos(self.turn.load(Ordering::Relaxed))
    }

    fn reset(&self, sleep: &mut Pin<Box<dyn Sleep>>, deadline: Instant) {
        self.timer.reset(sleep, deadline);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn time_passes_from_turn_to_turn() {
        let timer = TurnTimer::new();
        let began = timer.now();
        let second = Duration::from_secs(1);
        timer.sleep(second).await;
        assert_eq!(timer.now(), began, "the turn goes on");
        timer.turn();
        let next = timer.now();
        assert!(next - began >= second);
        timer.sleep_until(next + second).await;
        timer.clone().turn();
        assert!(timer.now() - next >= second, "clones have the same turns");
    }
}
