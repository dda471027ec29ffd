//! Threads for work that must not get in the way of answers.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The nice value of work that may take whatever is left over.
const LOWEST_PRIORITY: i32 = 19;

/// Lowers the priority of the calling thread, and of the threads that it starts from now on. On Linux each thread has a
/// priority of its own.
pub fn lower_priority() {
    if let Err(error) = rustix::process::setpriority_process(None, LOWEST_PRIORITY) {
        tracing::warn!(%error, "background work goes on at normal priority");
    }
}

/// Threads of low priority that have work now, in this process.
static AT_WORK: AtomicUsize = AtomicUsize::new(0);

/// Work on a thread of low priority, for as long as this is kept.
pub struct AtWork(());

impl AtWork {
    /// Work begins.
    pub fn begin() -> Self {
        AT_WORK.fetch_add(1, Relaxed);
        Self(())
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        AT_WORK.fetch_sub(1, Relaxed);
    }
}

/// Whether a thread of low priority has work. It gets next to nothing of a core on which another thread never sleeps.
pub(crate) fn any_at_work() -> bool {
    AT_WORK.load(Relaxed) > 0
}
