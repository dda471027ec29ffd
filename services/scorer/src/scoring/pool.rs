//! The threads that score.

use std::io;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::job::Job;
use super::queue::{Queue, Refused};
use crate::error::CallError;

/// How soon a caller that found no room should come again: about as long as a full queue takes to empty.
const RETRY_AFTER: Duration = Duration::from_millis(50);

/// A fixed set of worker threads behind one queue.
pub(crate) struct Pool {
    queue: Arc<Queue>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Pool {
    /// Starts the workers.
    ///
    /// # Errors
    /// When the operating system gives no thread.
    pub(crate) fn start(workers: NonZeroUsize, queue_rows: usize) -> io::Result<Self> {
        let queue = Arc::new(Queue::new(queue_rows));
        let pool = Self {
            queue,
            threads: Mutex::default(),
        };
        for worker in 0..workers.get() {
            let queue = Arc::clone(&pool.queue);
            let started = thread::Builder::new()
                .name(format!("score-{worker}"))
                .spawn(move || run(worker, &queue));
            match started {
                Ok(thread) => pool
                    .threads
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(thread),
                Err(error) => {
                    pool.stop();
                    return Err(error);
                }
            }
        }
        Ok(pool)
    }

    /// Queues a job.
    ///
    /// # Errors
    /// When its rows find no room, or the pool stops.
    pub(crate) fn submit(&self, job: Job) -> Result<(), CallError> {
        let (rows, capacity) = (job.rows, self.queue.capacity());
        self.queue.push(job).map_err(|refused| match refused {
            Refused::Full { waiting } => CallError::Busy {
                rows,
                waiting,
                capacity,
                retry_after: RETRY_AFTER,
            },
            Refused::Closed => CallError::Draining,
        })
    }

    /// Refuses new jobs, finishes the queued ones and ends the threads. Blocks.
    pub(crate) fn stop(&self) {
        self.queue.close();
        let threads =
            std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a scoring thread panicked");
            }
        }
    }
}

fn run(worker: usize, queue: &Queue) {
    let mut scores = Vec::new();
    while let Some(job) = queue.pop() {
        // A panic is a fault of ours, but costs one request, not the worker: the job's sender is dropped with it, and
        // its caller told.
        if catch_unwind(AssertUnwindSafe(|| job.run(worker, &mut scores))).is_err() {
            tracing::error!(worker, "a request panicked");
        }
    }
}

#[cfg(test)]
mod tests;
