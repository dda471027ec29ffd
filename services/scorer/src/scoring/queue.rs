//! Jobs that wait, counted in rows: a row costs the same whichever request it came with, a request does not.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::job::Job;

/// A bounded first-in-first-out queue between the serving runtime and the workers.
pub(super) struct Queue {
    state: Mutex<State>,
    ready: Condvar,
    capacity: usize,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    rows: usize,
    closed: bool,
}

/// Why a job is not taken in.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// So many rows wait already.
    Full { waiting: usize },
    /// No work is taken in any more.
    Closed,
}

impl Queue {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            state: Mutex::default(),
            ready: Condvar::new(),
            capacity,
        }
    }

    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Takes a job in, unless its rows find no room. A job that is larger than the whole queue, such as a large
    /// catalog's, is taken in when nothing else waits: it would never be, otherwise.
    pub(super) fn push(&self, job: Job) -> Result<(), Refused> {
        let mut state = self.lock();
        if state.closed {
            return Err(Refused::Closed);
        }
        let rows = state.rows.saturating_add(job.rows);
        if rows > self.capacity && !state.jobs.is_empty() {
            return Err(Refused::Full {
                waiting: state.rows,
            });
        }
        state.rows = rows;
        state.jobs.push_back(job);
        drop(state);
        self.ready.notify_one();
        Ok(())
    }

    /// Waits for the next job; `None` once the queue is closed and empty.
    pub(super) fn pop(&self) -> Option<Job> {
        let mut state = self.lock();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                state.rows -= job.rows;
                return Some(job);
            }
            if state.closed {
                return None;
            }
            state = self
                .ready
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Takes nothing more in; what waits is still handed out.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.ready.notify_all();
    }

    /// The state is whole between any two statements here, so a panic elsewhere does not spoil it.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
