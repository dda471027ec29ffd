//! A part of the store as a view that heals itself: list at a revision, watch from the next. A broken watch is resumed from
//! where it was; only when that cannot be, all is listed again. And since stores have lost changes before, all is listed
//! from time to time anyway, and compared with what the watch told. Readers get the whole view each time and compare it
//! with what they have, so that no event can be missed.

mod audit;
mod stats;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt, stream};

use self::audit::{Audit, Step};
pub use self::stats::FollowStats;
use crate::{
    Changes, Entry, Event, Key, Listing, MetaStore, Prefix, Revision, StoreError, StoreIdentity,
    Watch,
};

/// The first wait after a failure; it doubles with each further one.
const FIRST_WAIT: Duration = Duration::from_millis(50);
/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// So often a watch that broke is resumed, if nothing is heard in between; then all is listed.
const RESUMES: u32 = 3;

/// All entries of a prefix at one revision.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// The revision that the entries are of. It never goes back.
    pub revision: Revision,
    /// Which store they are of: [`StoreIdentity::id`].
    pub store: u64,
    /// Set when another store, or an older copy of this one, has come in its place. The entries are those of before, and
    /// no further view comes: who has found out that the new store is the truth follows anew.
    pub replaced: Option<Replaced>,
    /// The entries.
    pub entries: Arc<BTreeMap<Key, Entry>>,
}

/// The store is not the one that it was, or has gone back to what it once was: somebody restored a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replaced {
    /// Which store was there, and the last revision known of it.
    pub before: StoreIdentity,
    /// What is there now.
    pub now: StoreIdentity,
}

/// What can be chosen about following.
#[derive(Clone, Debug)]
pub struct FollowOptions {
    /// How often all is listed again and compared, give or take a third.
    pub relist_every: Duration,
    /// Where to count.
    pub stats: FollowStats,
}

impl Default for FollowOptions {
    fn default() -> Self {
        Self {
            relist_every: Duration::from_secs(45),
            stats: FollowStats::default(),
        }
    }
}

/// The view now and after each transaction that changes it, without end. While the store cannot be read, the last view
/// stands. After changes were missed, the next view shows their outcome.
pub fn follow(
    store: Arc<dyn MetaStore>,
    prefix: Prefix,
) -> impl Stream<Item = View> + Send + 'static {
    follow_with(store, prefix, FollowOptions::default())
}

/// As [`follow`], with options.
pub fn follow_with(
    store: Arc<dyn MetaStore>,
    prefix: Prefix,
    options: FollowOptions,
) -> impl Stream<Item = View> + Send + 'static {
    let follower = Follower {
        audit: Audit::new(options.relist_every),
        stats: options.stats,
        store,
        prefix,
        watch: None,
        known: None,
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
    audit: Audit,
    stats: FollowStats,
    /// None before the first listing, and when changes may have been missed.
    known: Option<Known>,
    /// Since something was last heard.
    failures: u32,
}

/// What is known of the store.
struct Known {
    view: View,
    /// Whether the watch can go on from it.
    resumable: bool,
}

impl Follower {
    async fn next(&mut self) -> View {
        if self.is_replaced() {
            return std::future::pending().await;
        }
        loop {
            let step = match &mut self.watch {
                None => self.begin().await,
                Some(watch) => tokio::select! {
                    heard = watch.next() => match heard {
                        Some(Ok(changes)) => Ok(self.take_in(changes)),
                        Some(Err(error)) => Err(error),
                        None => Err(StoreError::failed("watch")("the stream ended")),
                    },
                    step = self.audit.next(&self.store, &self.prefix) => Ok(self.check(step)),
                },
            };
            match step {
                Ok(Some(view)) => return view,
                Ok(None) => {}
                Err(error) => self.heal(&error).await,
            }
        }
    }

    fn is_replaced(&self) -> bool {
        let view = self.known.as_ref().map(|known| &known.view);
        view.is_some_and(|view| view.replaced.is_some())
    }

    /// Goes on from what is known, or lists all.
    async fn begin(&mut self) -> Result<Option<View>, StoreError> {
        match &self.known {
            Some(known) if known.resumable => self.resume().await,
            _ => self.list().await,
        }
    }

    async fn resume(&mut self) -> Result<Option<View>, StoreError> {
        let identity = self.store.identity().await?;
        let Some(Known { view, .. }) = &mut self.known else {
            return Ok(None);
        };
        if let Some(replaced) = replaced_by(view.revision, view.store, identity) {
            return Ok(Some(freeze(view, replaced)));
        }
        let from = view.revision.next();
        self.watch = Some(self.store.watch(&self.prefix, from).await?);
        self.audit.restart(view.revision);
        self.stats.resumed();
        tracing::debug!(prefix = %self.prefix, revision = %view.revision, "watch resumed");
        Ok(None)
    }

    async fn list(&mut self) -> Result<Option<View>, StoreError> {
        let listing = self.store.list(&self.prefix).await?;
        let identity = self.store.identity().await?;
        if let Some(Known { view, .. }) = &mut self.known {
            self.stats.relisted();
            let now = at(identity, &listing);
            if let Some(replaced) = replaced_by(view.revision, view.store, now) {
                return Ok(Some(freeze(view, replaced)));
            }
        }
        let from = listing.revision.next();
        self.watch = Some(self.store.watch(&self.prefix, from).await?);
        self.audit.restart(listing.revision);
        self.heard();
        let revision = listing.revision;
        let entries = by_key(listing);
        let before = self.known.as_ref().map(|known| &known.view.entries);
        let changed = before.is_none_or(|before| **before != entries);
        let view = View {
            revision,
            store: identity.id,
            replaced: None,
            entries: Arc::new(entries),
        };
        self.known = Some(Known {
            view: view.clone(),
            resumable: true,
        });
        Ok(changed.then_some(view))
    }

    /// Takes in what the watch told.
    fn take_in(&mut self, changes: Changes) -> Option<View> {
        self.heard();
        // What the last listing showed already comes again from a watch that was behind it.
        if changes.revision <= self.known.as_ref()?.view.revision {
            return None;
        }
        if self.audit.is_passed_by(changes.revision) {
            self.settle();
        }
        let view = &mut self.known.as_mut()?.view;
        view.revision = changes.revision;
        self.audit.seen = changes.revision;
        if changes.events.is_empty() {
            return None;
        }
        // Copies only while a reader holds on to an earlier view.
        let entries = Arc::make_mut(&mut view.entries);
        for event in changes.events {
            match event {
                Event::Put(entry) => entries.insert(entry.key.clone(), entry),
                Event::Delete(key) => entries.remove(&key),
            };
        }
        Some(view.clone())
    }

    /// Compares a listing with what the watch told.
    fn check(&mut self, step: Step) -> Option<View> {
        match step {
            Step::Failed(error) => {
                tracing::debug!(prefix = %self.prefix, %error, "the store could not be listed to compare it");
                None
            }
            Step::Listed {
                since,
                listing,
                identity,
            } => {
                self.stats.relisted();
                self.stats.heard();
                let view = &mut self.known.as_mut()?.view;
                let now = at(identity, &listing);
                if let Some(replaced) = replaced_by(since, view.store, now) {
                    return Some(freeze(view, replaced));
                }
                let revision = listing.revision;
                let entries = by_key(listing);
                if *view.entries == entries {
                    view.revision = view.revision.max(revision);
                } else if revision > view.revision {
                    self.audit.settle_later(revision, entries);
                } else if revision == view.revision {
                    return self.settle_by(revision, entries);
                }
                // Else the watch was quicker than the listing, which says nothing about now.
                None
            }
            Step::Settle => self.settle(),
        }
    }

    /// Now the watch must have told what the listing shows.
    fn settle(&mut self) -> Option<View> {
        let (revision, entries) = self.audit.take()?;
        self.settle_by(revision, entries)
    }

    /// Counts a difference, and goes on from the listing.
    fn settle_by(&mut self, revision: Revision, entries: BTreeMap<Key, Entry>) -> Option<View> {
        let view = &mut self.known.as_mut()?.view;
        view.revision = view.revision.max(revision);
        if *view.entries == entries {
            return None;
        }
        self.stats.diverged();
        tracing::error!(
            prefix = %self.prefix,
            %revision,
            "the store's watch did not tell what its listing shows, going on from the listing"
        );
        view.entries = Arc::new(entries);
        Some(view.clone())
    }

    fn heard(&mut self) {
        self.failures = 0;
        self.stats.heard();
    }

    async fn heal(&mut self, error: &StoreError) {
        self.watch = None;
        let resumable = match error {
            StoreError::Compacted { .. } => false,
            // It will go on where it was, once it can be reached.
            StoreError::Unavailable { .. } => true,
            _ => self.failures < RESUMES,
        };
        if let Some(known) = &mut self.known {
            known.resumable &= resumable;
        }
        let wait = LONGEST_WAIT.min(FIRST_WAIT * 2_u32.saturating_pow(self.failures));
        let wait = wait.mul_f64(rand::random_range(0.5..1.5));
        self.failures = self.failures.saturating_add(1);
        tracing::warn!(prefix = %self.prefix, %error, ?wait, "the store's watch ended");
        tokio::time::sleep(wait).await;
    }
}

/// A store's identity as of a listing.
fn at(identity: StoreIdentity, listing: &Listing) -> StoreIdentity {
    StoreIdentity {
        id: identity.id,
        revision: listing.revision,
    }
}

/// Whether what is there now can be the store of which this revision was seen.
fn replaced_by(seen: Revision, store: u64, now: StoreIdentity) -> Option<Replaced> {
    let before = StoreIdentity {
        id: store,
        revision: seen,
    };
    (now.id != before.id || now.revision < seen).then_some(Replaced { before, now })
}

fn freeze(view: &mut View, replaced: Replaced) -> View {
    tracing::error!(
        ?replaced,
        "another store, or an older copy of it, is in its place"
    );
    view.replaced = Some(replaced);
    view.clone()
}

fn by_key(listing: Listing) -> BTreeMap<Key, Entry> {
    let entries = listing.entries.into_iter();
    entries.map(|entry| (entry.key.clone(), entry)).collect()
}
