//! What this registry measures of itself. What one replica does is counted where it is done; what the leader sees of slots,
//! scorers and rollouts it writes on a [`Board`] while it leads, and nobody else tells of it.
//!
//! Labels are names that the store holds, and words of ours; never what a caller says.

mod board;
mod observed;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use decant_coordination::FollowStats;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Meter};
use tokio::sync::Semaphore;

pub(crate) use self::board::{Board, Ended, RolloutSeen, SlotSeen};

/// The instruments, and what they are read from. Clones share it.
#[derive(Clone)]
pub(crate) struct Metrics {
    inner: Arc<Inner>,
}

struct Inner {
    mutations: Counter<u64>,
    pushed: Counter<u64>,
    watched: FollowStats,
    /// None while this replica does not lead.
    board: Mutex<Option<Board>>,
}

/// What became of a change that was planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutated {
    /// It was made.
    Done,
    /// Somebody else changed first what it depends on.
    Conflict,
    /// The store did not take it, or did not say.
    Failed,
}

/// A term of leading. What the leader has seen goes with it.
pub(crate) struct Leading {
    metrics: Metrics,
}

impl Metrics {
    /// Counts here what is done from now on. `pushes` has a permit for each further push that would be taken in, of so many
    /// in all.
    pub(crate) fn new(meter: &Meter, pushes: &Arc<Semaphore>, places: usize) -> Self {
        let mutations = meter
            .u64_counter("decant.registry.mutations")
            .with_description(
                "Changes that were planned, by what was to be done and what became of it.",
            )
            .build();
        let pushed = meter
            .u64_counter("decant.registry.pushed")
            .with_description("Bytes of files that pushes have brought.")
            .with_unit("By")
            .build();
        // A rate that begins with the first push would miss that one.
        pushed.add(0, &[]);
        let inner = Arc::new(Inner {
            mutations,
            pushed,
            watched: FollowStats::default(),
            board: Mutex::default(),
        });
        observed::observe(meter, &inner, (Arc::downgrade(pushes), places));
        Self { inner }
    }

    /// Where followers of the store count.
    pub(crate) fn watched(&self) -> FollowStats {
        self.inner.watched.clone()
    }

    /// A change of this kind was planned, and that became of it.
    pub(crate) fn mutated(&self, verb: &'static str, outcome: Mutated) {
        let outcome = match outcome {
            Mutated::Done => "done",
            Mutated::Conflict => "conflict",
            Mutated::Failed => "failed",
        };
        let labels = [
            KeyValue::new("verb", verb),
            KeyValue::new("outcome", outcome),
        ];
        self.inner.mutations.add(1, &labels);
    }

    /// A push has brought so many bytes.
    pub(crate) fn pushed(&self, bytes: usize) {
        self.inner.pushed.add(bytes as u64, &[]);
    }

    /// This replica leads, for as long as the term is kept.
    pub(crate) fn lead(&self) -> Leading {
        *self.inner.board() = Some(Board::default());
        Leading {
            metrics: self.clone(),
        }
    }

    /// Changes what the leader tells; nothing when this replica does not lead.
    pub(crate) fn show(&self, change: impl FnOnce(&mut Board)) {
        if let Some(board) = &mut *self.inner.board() {
            change(board);
        }
    }
}

impl Inner {
    /// No board is left half-changed by a panic that would matter: it is written anew with the next look.
    fn board(&self) -> MutexGuard<'_, Option<Board>> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Leading {
    fn drop(&mut self) {
        *self.metrics.inner.board() = None;
    }
}

/// Pushes that may yet be taken in, and how many there may be in all.
type Pushes = (Weak<Semaphore>, usize);
