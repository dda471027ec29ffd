//! A watch: reads what the file's history holds, hands it out, and waits for more. It keeps no queue of its own, so a slow
//! reader costs nothing and is told when it has fallen too far behind.

use std::collections::VecDeque;
use std::sync::Arc;

use futures::{Stream, stream};
use tokio::sync::watch;

use super::disk::Disk;
use super::off_runtime;
use crate::{Changes, Prefix, Revision, StoreError};

struct State {
    disk: Arc<Disk>,
    head: watch::Receiver<Revision>,
    prefix: Prefix,
    next: Revision,
    ready: VecDeque<Changes>,
}

/// The changes of a prefix from a revision on.
pub(super) fn stream(
    disk: Arc<Disk>,
    head: watch::Receiver<Revision>,
    prefix: Prefix,
    from: Revision,
) -> impl Stream<Item = Result<Changes, StoreError>> + Send + 'static {
    let state = State {
        disk,
        head,
        prefix,
        next: from,
        ready: VecDeque::new(),
    };
    stream::unfold(Some(state), |state| async {
        let mut state = state?;
        match state.next().await {
            Ok(Some(changes)) => Some((Ok(changes), Some(state))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    })
}

impl State {
    /// The next changes; `None` once nobody can make any more.
    async fn next(&mut self) -> Result<Option<Changes>, StoreError> {
        loop {
            if let Some(changes) = self.ready.pop_front() {
                return Ok(Some(changes));
            }
            let head = *self.head.borrow_and_update();
            if head < self.next {
                if self.head.changed().await.is_err() {
                    return Ok(None);
                }
                continue;
            }
            let (disk, prefix, from) = (Arc::clone(&self.disk), self.prefix.clone(), self.next);
            let read = off_runtime("read changes", move || disk.changes(&prefix, from)).await?;
            self.next = read.next;
            self.ready = read.changes.into();
        }
    }
}
