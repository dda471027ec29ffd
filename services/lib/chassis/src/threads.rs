//! Threads for work that must not get in the way of answers.

/// The nice value of work that may take whatever is left over.
const LOWEST_PRIORITY: i32 = 19;

/// Lowers the priority of the calling thread, and of the threads that it starts from now on. On Linux each thread has a
/// priority of its own.
pub fn lower_priority() {
    if let Err(error) = rustix::process::setpriority_process(None, LOWEST_PRIORITY) {
        tracing::warn!(%error, "background work goes on at normal priority");
    }
}
