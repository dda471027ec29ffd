//! What became of following, as numbers for whoever exports them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Counters of one or more followers. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct FollowStats {
    counts: Arc<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    divergences: AtomicU64,
    relists: AtomicU64,
    resumes: AtomicU64,
    last_heard: Mutex<Option<Instant>>,
}

impl FollowStats {
    /// How often a listing showed what the watch did not tell. More than none is a bug of the store.
    pub fn divergences(&self) -> u64 {
        self.counts.divergences.load(Ordering::Relaxed)
    }

    /// How often all was listed after the first time.
    pub fn relists(&self) -> u64 {
        self.counts.relists.load(Ordering::Relaxed)
    }

    /// How often a broken watch was taken up again where it was.
    pub fn resumes(&self) -> u64 {
        self.counts.resumes.load(Ordering::Relaxed)
    }

    /// How long ago the store was last heard of; `None` before the first time.
    pub fn silence(&self) -> Option<Duration> {
        let last_heard = self.counts.last_heard.lock();
        let last_heard = *last_heard.unwrap_or_else(PoisonError::into_inner);
        last_heard.map(|last| last.elapsed())
    }

    pub(super) fn diverged(&self) {
        self.counts.divergences.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn relisted(&self) {
        self.counts.relists.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn resumed(&self) {
        self.counts.resumes.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn heard(&self) {
        let mut last_heard = self
            .counts
            .last_heard
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *last_heard = Some(Instant::now());
    }
}
