//! A part of the store as a view that heals itself: list at a revision, watch from the next; whatever goes wrong, begin
//! again. Readers get the whole view each time and compare it with what they have, so that no event can be missed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt, stream};

use crate::{Changes, Entry, Event, Key, MetaStore, Prefix, Revision, StoreError, Watch};

/// The first wait after a failure; it doubles with each further one.
const FIRST_WAIT: Duration = Duration::from_millis(50);
/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// All entries of a prefix at one revision.
#[derive(Clone, Debug)]
pub struct View {
    /// The revision that the entries are of.
    pub revision: Revision,
    /// The entries.
    pub entries: Arc<BTreeMap<Key, Entry>>,
}

/// The view now and after each transaction that changes it, without end. While the store cannot be read, the last view
/// stands. After changes were missed, the next view shows their outcome.
pub fn follow(
    store: Arc<dyn MetaStore>,
    prefix: Prefix,
) -> impl Stream<Item = View> + Send + 'static {
    let follower = Follower {
        store,
        prefix,
        watch: None,
        entries: Arc::default(),
        failures: 0,
    };
    stream::unfold(follower, |mut follower| async {
        let view = follower.next().await;
        Some((view, follower))
    })
}

struct Follower {
    store: Arc<dyn MetaStore>,
    prefix: Prefix,
    /// None before the first listing and after each failure.
    watch: Option<Watch>,
    entries: Arc<BTreeMap<Key, Entry>>,
    failures: u32,
}

impl Follower {
    async fn next(&mut self) -> View {
        loop {
            let view = match &mut self.watch {
                None => self.list().await,
                Some(watch) => match watch.next().await {
                    Some(Ok(changes)) => Ok(self.apply(changes)),
                    Some(Err(error)) => Err(error),
                    None => Err(StoreError::failed("watch")("the stream ended")),
                },
            };
            match view {
                Ok(view) => {
                    self.failures = 0;
                    return view;
                }
                Err(error) => self.heal(&error).await,
            }
        }
    }

    async fn list(&mut self) -> Result<View, StoreError> {
        let listing = self.store.list(&self.prefix).await?;
        self.watch = Some(
            self.store
                .watch(&self.prefix, listing.revision.next())
                .await?,
        );
        self.entries = Arc::new(
            listing
                .entries
                .into_iter()
                .map(|entry| (entry.key.clone(), entry))
                .collect(),
        );
        Ok(View {
            revision: listing.revision,
            entries: Arc::clone(&self.entries),
        })
    }

    fn apply(&mut self, changes: Changes) -> View {
        // Copies only while a reader holds on to an earlier view.
        let entries = Arc::make_mut(&mut self.entries);
        for event in changes.events {
            match event {
                Event::Put(entry) => entries.insert(entry.key.clone(), entry),
                Event::Delete(key) => entries.remove(&key),
            };
        }
        View {
            revision: changes.revision,
            entries: Arc::clone(&self.entries),
        }
    }

    async fn heal(&mut self, error: &StoreError) {
        self.watch = None;
        let wait = LONGEST_WAIT.min(FIRST_WAIT * 2_u32.saturating_pow(self.failures));
        self.failures = self.failures.saturating_add(1);
        tracing::warn!(prefix = %self.prefix, %error, ?wait, "listing the store again");
        tokio::time::sleep(wait).await;
    }
}

#[cfg(test)]
mod tests;
