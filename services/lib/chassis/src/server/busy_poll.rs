//! Looking at the network over and over, for a while after something came from it, instead of sleeping at once.
//!
//! A thread that sleeps has to be woken by whoever sends to it, and on most machines that takes longer than a small answer: the
//! core has gone to sleep too. On a core that nothing else needs, time spent looking is not missed. What Linux calls busy
//! polling of sockets is this, done in the kernel and for what a network card receives.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::yield_now;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::threads;

/// What looks, and for how long.
pub(super) struct BusyPoll(Option<Arc<Shared>>);

struct Shared {
    window: Duration,
    /// How many turns connections have had.
    turns: AtomicU64,
    /// Those that do not look now.
    asleep: AtomicUsize,
    wake: Notify,
}

impl BusyPoll {
    /// Looks for so long after a connection had its turn, with each of the runtime's threads, until `stop` is cancelled. Never,
    /// if that is no time.
    pub(super) fn start(window: Duration, tasks: &TaskTracker, stop: &CancellationToken) -> Self {
        if window.is_zero() {
            return Self(None);
        }
        let shared = Arc::new(Shared {
            window,
            turns: AtomicU64::new(0),
            asleep: AtomicUsize::new(0),
            wake: Notify::new(),
        });
        for _ in 0..Handle::current().metrics().num_workers() {
            tasks.spawn(Arc::clone(&shared).run(stop.clone()));
        }
        Self(Some(shared))
    }

    /// A connection has its turn: something came, or is sent.
    pub(super) fn turn(&self) {
        let Some(shared) = &self.0 else { return };
        shared.turns.fetch_add(1, Relaxed);
        // One that is about to sleep may be missed; the next turn wakes it.
        if shared.asleep.load(Relaxed) > 0 {
            shared.wake.notify_one();
        }
    }
}

impl Shared {
    async fn run(self: Arc<Self>, stop: CancellationToken) {
        while !stop.is_cancelled() {
            self.asleep.fetch_add(1, Relaxed);
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.wake.notified() => {}
            }
            self.asleep.fetch_sub(1, Relaxed);
            self.look(&stop).await;
        }
    }

    /// Looks until no connection has had a turn for long, or a thread of low priority has work: it would wait for the core as
    /// long as this goes on.
    async fn look(&self, stop: &CancellationToken) {
        let (mut turns, mut since) = (self.turns.load(Relaxed), Instant::now());
        while !threads::any_at_work() && !stop.is_cancelled() {
            // The runtime looks at the network before it goes on with a task that yields, if no other is ready.
            yield_now().await;
            let now = self.turns.load(Relaxed);
            if now != turns {
                (turns, since) = (now, Instant::now());
            } else if since.elapsed() >= self.window {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{sleep, timeout};

    use super::*;
    use crate::threads::AtWork;

    const LONG: Duration = Duration::from_secs(3600);

    struct Started {
        busy_poll: BusyPoll,
        tasks: TaskTracker,
        stop: CancellationToken,
    }

    impl Started {
        fn with(window: Duration) -> Self {
            let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
            Self {
                busy_poll: BusyPoll::start(window, &tasks, &stop),
                tasks,
                stop,
            }
        }

        /// Waits until so many look.
        async fn look(&self, count: usize) {
            let shared = self.busy_poll.0.as_ref().unwrap();
            let reached = async {
                while self.tasks.len() - shared.asleep.load(Relaxed) != count {
                    sleep(Duration::from_millis(1)).await;
                }
            };
            timeout(Duration::from_secs(20), reached).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_turn_is_followed_by_looking_for_so_long() {
        let started = Started::with(Duration::from_millis(500));
        started.look(0).await;
        started.busy_poll.turn();
        started.look(1).await;
        started.look(0).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn each_thread_looks() {
        let started = Started::with(LONG);
        started.look(0).await;
        started.busy_poll.turn();
        started.busy_poll.turn();
        started.look(2).await;
    }

    #[tokio::test]
    async fn who_looks_gives_way_to_work_of_low_priority_and_to_the_end() {
        let started = Started::with(LONG);
        started.look(0).await;
        started.busy_poll.turn();
        started.look(1).await;
        let work = AtWork::begin();
        started.look(0).await;
        started.busy_poll.turn();
        started.look(0).await;

        drop(work);
        started.busy_poll.turn();
        started.look(1).await;
        started.tasks.close();
        started.stop.cancel();
        timeout(Duration::from_secs(20), started.tasks.wait())
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn none_looks_unless_it_is_asked_for() {
        let started = Started::with(Duration::ZERO);
        started.busy_poll.turn();
        assert!(started.tasks.is_empty());
    }
}
