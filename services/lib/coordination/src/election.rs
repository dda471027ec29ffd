//! Who leads: at most one of those that want to, known by the epoch that fences what it writes.
//!
//! The leader is whoever made the leader's key. The key is bound to a lease; its create revision is the epoch, so that each
//! leader's is greater than those before. A leader that was paused may believe for a moment that it still leads: what it
//! commits is fenced by its epoch, and fails. Never rely on [`Election::epoch`] alone.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::keys::{self, LeaderKey, LeaderRecord, RecordError};
use crate::{
    Entry, Expect, Key, Keyspace, LeaseId, LeaseKeeper, MetaStore, Prefix, Revision, StoreError,
    Txn, View, follow,
};

/// How long to wait after a failed try to become leader.
const TRY_AGAIN: Duration = Duration::from_millis(200);

/// A time of one leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Epoch {
    leader: Key,
    revision: Revision,
    lease: LeaseId,
}

impl Epoch {
    /// The number: each leader's is greater than those before.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// What the leader's key is bound to: whatever else is, goes when the leader does.
    pub fn lease(&self) -> LeaseId {
        self.lease
    }

    /// Makes a transaction fail with a conflict on the leader's key once this epoch is over.
    #[must_use]
    pub fn fence(&self, txn: Txn) -> Txn {
        txn.expect(self.leader.clone(), Expect::CreatedAt(self.revision))
    }
}

/// A candidate, or the leader.
pub struct Election {
    store: Arc<dyn MetaStore>,
    leader: Key,
    record: Bytes,
    keeper: LeaseKeeper,
    published: watch::Sender<Option<Epoch>>,
}

impl Election {
    /// A candidate. The record must name this process and no other; a leader that is gone is followed by another one after
    /// the time to live, at the latest.
    ///
    /// # Errors
    /// When the record cannot be written.
    pub fn new(
        store: Arc<dyn MetaStore>,
        keyspace: &Keyspace,
        record: &LeaderRecord,
        ttl: Duration,
    ) -> Result<Self, RecordError> {
        Ok(Self {
            leader: keyspace.key(&LeaderKey {}),
            record: keys::encode(&LeaderKey {}, record)?,
            keeper: LeaseKeeper::new(Arc::clone(&store), ttl),
            store,
            published: watch::Sender::new(None),
        })
    }

    /// The epoch, while this candidate leads: none from when its lease may have expired, by its own clock.
    pub fn epoch(&self) -> watch::Receiver<Option<Epoch>> {
        self.published.subscribe()
    }

    /// Wants to lead until it is told to stop; then gives the lead up at once. It never leads again once the store was
    /// replaced by another one or an older copy, where epochs would begin anew: who knows better makes a new candidate.
    pub async fn run(self, stop: CancellationToken) {
        let lease = self.keeper.lease();
        let campaign = Campaign {
            store: self.store,
            leader: self.leader,
            record: self.record,
            lease,
            published: self.published,
            seen: None,
        };
        let stop_keeping = CancellationToken::new();
        let keeping = self.keeper.run(stop_keeping.clone());
        let campaigning = async {
            // It publishes that it no longer leads before the key goes.
            stop.run_until_cancelled(campaign.run()).await;
            stop_keeping.cancel();
        };
        tokio::join!(keeping, campaigning);
    }
}

struct Campaign {
    store: Arc<dyn MetaStore>,
    leader: Key,
    record: Bytes,
    lease: watch::Receiver<Option<LeaseId>>,
    published: watch::Sender<Option<Epoch>>,
    /// The leader's key as last seen; `None` before it was looked for.
    seen: Option<Option<Entry>>,
}

impl Drop for Campaign {
    fn drop(&mut self) {
        self.published.send_replace(None);
    }
}

impl Campaign {
    async fn run(mut self) {
        let views = follow(Arc::clone(&self.store), Prefix::new(self.leader.as_str()));
        let mut views = pin!(views);
        loop {
            let lease = *self.lease.borrow_and_update();
            match lease {
                Some(lease) if self.may_lead() => match self.claim(lease).await {
                    Ok(Some(epoch)) => self.lead(epoch, lease, &mut views).await,
                    // Somebody else was quicker; the view will tell.
                    Ok(None) => {}
                    Err(error) => {
                        tracing::warn!(%error, "could not try to lead, trying again");
                        let pause = TRY_AGAIN.mul_f64(rand::random_range(0.5..1.5));
                        self.news(&mut views, sleep(pause)).await;
                    }
                },
                _ => self.news(&mut views, std::future::pending()).await,
            }
        }
    }

    /// Whether nobody else leads, as far as is known.
    fn may_lead(&self) -> bool {
        match &self.seen {
            None => false,
            Some(None) => true,
            // An earlier try, of which no answer came.
            Some(Some(entry)) => entry.value == self.record,
        }
    }

    /// Waits for news of the lease or the leader, or until the pause is over.
    async fn news(
        &mut self,
        views: &mut (impl Stream<Item = View> + Unpin),
        pause: impl Future<Output = ()>,
    ) {
        tokio::select! {
            Some(view) = views.next() => self.see(&view),
            Ok(()) = self.lease.changed() => {}
            () = pause => {}
        }
    }

    fn see(&mut self, view: &View) {
        self.seen = match view.replaced {
            // Nobody leads by a key of a store that is not the one.
            Some(_) => None,
            None => Some(view.entries.get(&self.leader).cloned()),
        };
    }

    /// Makes the leader's key, if there is none.
    async fn claim(&mut self, lease: LeaseId) -> Result<Option<Epoch>, StoreError> {
        let txn = Txn::new()
            .expect(self.leader.clone(), Expect::Absent)
            .put_leased(self.leader.clone(), self.record.clone(), lease);
        let revision = match self.store.commit(txn).await {
            Ok(revision) => revision,
            Err(StoreError::Conflict(conflict)) => match conflict.found {
                Some(entry) if entry.value == self.record => entry.create_revision,
                found => {
                    self.seen = Some(found);
                    return Ok(None);
                }
            },
            Err(error) => return Err(error),
        };
        Ok(Some(Epoch {
            leader: self.leader.clone(),
            revision,
            lease,
        }))
    }

    /// Leads until the key or the lease is gone.
    async fn lead(
        &mut self,
        epoch: Epoch,
        lease: LeaseId,
        views: &mut (impl Stream<Item = View> + Unpin),
    ) {
        // The answer may have taken its time.
        if *self.lease.borrow() != Some(lease) {
            return;
        }
        let revision = epoch.revision;
        tracing::info!(epoch = %revision, "leading");
        self.published.send_replace(Some(epoch));
        loop {
            tokio::select! {
                biased;
                Ok(()) = self.lease.changed() => {
                    if *self.lease.borrow_and_update() != Some(lease) {
                        break;
                    }
                }
                Some(view) = views.next() => {
                    // Of the time before it led, nothing matters.
                    if view.revision < revision && view.replaced.is_none() {
                        continue;
                    }
                    self.see(&view);
                    let found = self.seen.as_ref().and_then(Option::as_ref);
                    if found.map(|entry| entry.create_revision) != Some(revision) {
                        break;
                    }
                }
            }
        }
        self.published.send_replace(None);
        tracing::warn!(epoch = %revision, "no longer leading");
    }
}

#[cfg(test)]
mod tests;
