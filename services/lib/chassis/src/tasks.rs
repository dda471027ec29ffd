//! Tasks with a name and an owner. A task that ends before it was asked to is an error.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use futures::FutureExt as _;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The tasks of one component. Clones share them.
#[derive(Clone)]
pub struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
    running: Arc<Mutex<BTreeMap<u64, &'static str>>>,
    failures: mpsc::UnboundedSender<TaskEnded>,
}

/// A task that ended unasked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskEnded {
    /// The task's name.
    pub name: &'static str,
    /// Why it ended.
    pub reason: String,
}

impl fmt::Display for TaskEnded {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "task {} ended unasked: {}",
            self.name, self.reason
        )
    }
}

/// Tells the owner of tasks which of them ended unasked.
pub struct Failures(mpsc::UnboundedReceiver<TaskEnded>);

impl Failures {
    /// Waits for a task to end unasked; for ever, if none does.
    pub async fn next(&mut self) -> TaskEnded {
        match self.0.recv().await {
            Some(ended) => ended,
            None => std::future::pending().await,
        }
    }
}

impl Tasks {
    /// An empty set, and the place where failures are heard of. Failures cannot pile up: each task sends at most one.
    pub fn new() -> (Self, Failures) {
        let (failures, heard) = mpsc::unbounded_channel();
        let tasks = Self {
            tracker: TaskTracker::new(),
            stop: CancellationToken::new(),
            running: Arc::default(),
            failures,
        };
        (tasks, Failures(heard))
    }

    /// Cancelled when the tasks are to stop.
    pub fn stop_token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Runs a task that goes on until the stop token is cancelled. It should watch that token itself.
    pub fn spawn<F>(&self, name: &'static str, future: F)
    where
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        let (tasks, running) = (self.clone(), Running::enter(self, name));
        self.run(async move {
            let outcome = AssertUnwindSafe(future).catch_unwind().await;
            let outcome = outcome.unwrap_or_else(|_| Err("it panicked".to_owned()));
            drop(running);
            if !tasks.stop.is_cancelled() {
                let reason = outcome.err().unwrap_or_else(|| "it returned".to_owned());
                // Nobody listens only once the owner is gone, and then nobody needs to know.
                let _ = tasks.failures.send(TaskEnded { name, reason });
            } else if let Err(reason) = outcome {
                tracing::warn!(task = name, reason, "task failed while stopping");
            }
        });
    }

    /// Runs a task that ends by itself, such as one that feeds a response stream. Stopping waits for it.
    pub fn spawn_bounded<F>(&self, name: &'static str, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let running = Running::enter(self, name);
        self.run(async move {
            future.await;
            drop(running);
        });
    }

    /// Runs a thread, of which it is an error too to end before the tasks are stopped. Whoever has the handle is to tell it to
    /// end then: stopping waits for it.
    ///
    /// # Errors
    /// When the operating system gives no thread.
    pub fn spawn_thread(
        &self,
        name: &'static str,
        body: impl FnOnce() + Send + 'static,
    ) -> io::Result<JoinHandle<()>> {
        let (lives, ended) = oneshot::channel::<Infallible>();
        let thread = thread::Builder::new().name(name.to_owned());
        let handle = thread.spawn(move || {
            let _lives = lives;
            body();
        })?;
        self.spawn(name, async {
            // Nothing is ever sent: this is for the end, by panic or not.
            let _ = ended.await;
            Ok(())
        });
        Ok(handle)
    }

    fn run(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.tracker.spawn(future);
    }

    /// Asks all tasks to stop and waits for them, at most so long.
    ///
    /// # Errors
    /// The names of the tasks that still run.
    pub async fn stop(&self, patience: Duration) -> Result<(), Vec<&'static str>> {
        self.stop.cancel();
        self.tracker.close();
        match tokio::time::timeout(patience, self.tracker.wait()).await {
            Ok(()) => Ok(()),
            Err(_) => Err(lock(&self.running).values().copied().collect()),
        }
    }
}

/// Lets the tasks that are ready now go first. Tokio's `yield_now` also lets those go that become ready meanwhile, and looks
/// for what came over the network.
pub async fn yield_turn() {
    let mut had_their_turn = false;
    poll_fn(|context| {
        if had_their_turn {
            return Poll::Ready(());
        }
        had_their_turn = true;
        // A task that wakes itself is put behind those that are ready.
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Holds a task's name among the running ones, also when the task panics or is dropped.
struct Running {
    names: Arc<Mutex<BTreeMap<u64, &'static str>>>,
    key: u64,
}

impl Running {
    fn enter(tasks: &Tasks, name: &'static str) -> Self {
        let names = Arc::clone(&tasks.running);
        let key = {
            let mut running = lock(&names);
            let key = running.last_key_value().map_or(0, |(last, _)| last + 1);
            running.insert(key, name);
            key
        };
        Self { names, key }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        lock(&self.names).remove(&self.key);
    }
}

/// The map is never left half-changed, so a panic elsewhere does not spoil it.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn a_task_that_ends_unasked_is_reported_by_name() {
        let (tasks, mut failures) = Tasks::new();
        tasks.spawn("watcher", async { Err("the stream was cut".to_owned()) });
        let ended = failures.next().await;
        assert_eq!(
            ended.to_string(),
            "task watcher ended unasked: the stream was cut"
        );
        tasks.spawn("watcher", async { panic!("a fault") });
        assert_eq!(failures.next().await.reason, "it panicked");
    }

    #[tokio::test]
    async fn a_thread_is_as_a_task() {
        let (tasks, mut failures) = Tasks::new();
        let thread = tasks.spawn_thread("worker", || panic!("a fault")).unwrap();
        assert_eq!(failures.next().await.name, "worker");
        assert!(thread.join().is_err());

        let (end, told) = std::sync::mpsc::channel::<()>();
        let wait = move || told.recv().unwrap_or_default();
        let thread = tasks.spawn_thread("worker", wait).unwrap();
        let stopped = tasks.stop(Duration::from_millis(20)).await;
        assert_eq!(stopped, Err(vec!["worker"]));
        drop(end);
        thread.join().unwrap();
        assert_eq!(tasks.stop(Duration::from_secs(20)).await, Ok(()));
        assert!(failures.next().now_or_never().is_none());
    }

    #[tokio::test(flavor = "current_thread", start_paused = true)]
    async fn stopping_waits_and_then_names_who_delays_it() {
        let (tasks, _failures) = Tasks::new();
        let stop = tasks.stop_token();
        tasks.spawn("polite", async move {
            stop.cancelled().await;
            Ok(())
        });
        tasks.spawn_bounded("stubborn", std::future::pending());
        assert_eq!(
            tasks.stop(Duration::from_secs(5)).await,
            Err(vec!["stubborn"])
        );
    }
}
