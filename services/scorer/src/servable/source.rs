//! Watches what is wanted, and decides whether to believe it.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use decant_coordination::keys::{ClusterKey, DesiredKey, RecordError};
use decant_coordination::{
    Entry, FollowOptions, FollowStats, Keyspace, MetaStore, Prefix, StoreError, View, follow_with,
};
use decant_model::{DesiredSlot, Generation};
use futures::StreamExt;
use thiserror::Error;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::trust::{Seen, Trust, Verdict};
use super::{Manager, Place};

/// How long to wait before a store that is doubted, or could not be read, is read again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How long reading it may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Tells the manager what is wanted. While the store is away, or is not to be believed, what was wanted last stands.
pub(crate) struct Source {
    store: Arc<dyn MetaStore>,
    keyspace: Keyspace,
    manager: Arc<Manager>,
    trust: Trust,
    slots: BTreeMap<Place, DesiredSlot>,
    seen: watch::Sender<Option<Seen>>,
    /// How well the store's watches tell.
    watched: FollowStats,
}

/// What is wanted, as far as it can be read.
#[derive(Default)]
struct Wanted {
    slots: BTreeMap<Place, DesiredSlot>,
    generations: BTreeMap<Place, Generation>,
}

/// Why the store could not be judged.
#[derive(Debug, Error)]
enum ReadError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error("it was exchanged while it was read")]
    Exchanged,
    #[error("it did not answer within {PATIENCE:?}")]
    Late,
}

impl Source {
    /// Goes on from what an earlier process remembered, if there is anything.
    pub(crate) fn new(
        store: Arc<dyn MetaStore>,
        keyspace: Keyspace,
        manager: Arc<Manager>,
        remembered: Option<(Seen, BTreeMap<Place, DesiredSlot>)>,
    ) -> Self {
        let (seen, slots) = remembered.unzip();
        Self {
            store,
            keyspace,
            manager,
            slots: slots.unwrap_or_default(),
            seen: watch::Sender::new(seen.clone()),
            trust: Trust::remembering(seen),
            watched: FollowStats::default(),
        }
    }

    /// How well the store's watches tell, now and later.
    pub(crate) fn watched(&self) -> FollowStats {
        self.watched.clone()
    }

    /// What was believed last, and each change of it.
    pub(crate) fn seen(&self) -> watch::Receiver<Option<Seen>> {
        self.seen.subscribe()
    }

    /// Passes on what is wanted, now and after each change, until it is told to stop.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> Result<(), String> {
        tokio::select! {
            () = stop.cancelled() => Ok(()),
            ended = self.watch() => ended,
        }
    }

    async fn watch(&mut self) -> Result<(), String> {
        loop {
            self.watch_one_store().await?;
            self.examine().await;
        }
    }

    /// Until another store, or an older copy of this one, has come in its place.
    async fn watch_one_store(&mut self) -> Result<(), String> {
        let cluster = Prefix::new(self.keyspace.key(&ClusterKey {}).as_str());
        let slots = self.keyspace.all::<DesiredKey>();
        let options = FollowOptions {
            stats: self.watched(),
            ..FollowOptions::default()
        };
        let follow = |prefix| follow_with(Arc::clone(&self.store), prefix, options.clone());
        let (mut clusters, mut views) = (pin!(follow(cluster)), pin!(follow(slots)));
        loop {
            let is_plain = tokio::select! {
                view = views.next() => {
                    let view = view.ok_or("the store's view ended")?;
                    if view.replaced.is_some() {
                        return Ok(());
                    }
                    self.take(&view)
                }
                cluster = clusters.next() => {
                    if cluster.ok_or("the cluster's view ended")?.replaced.is_some() {
                        return Ok(());
                    }
                    false
                }
                () = tokio::time::sleep(LOOK_AGAIN), if self.trust.doubt().is_some() => false,
            };
            if !is_plain {
                self.examine().await;
            }
        }
    }

    /// Takes in a view; false when it does not plainly go on from what is known.
    fn take(&mut self, view: &View) -> bool {
        let Wanted { slots, generations } = self.read(view.entries.values());
        let follows = self.trust.follows(view.store, view.revision, &generations);
        if follows {
            self.accept(slots);
        }
        follows
    }

    /// Reads all that there is to know of the store, and judges it; again and again until it could be read.
    async fn examine(&mut self) {
        loop {
            let read = tokio::time::timeout(PATIENCE, self.read_all()).await;
            match read.unwrap_or(Err(ReadError::Late)) {
                Ok((seen, slots)) => return self.judge(seen, slots),
                Err(error) => {
                    tracing::warn!(%error, "the store cannot be judged; what is in service goes on")
                }
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Reads the slots after the cluster's record, so that slots are never taken for those of a later incarnation; and
    /// makes sure that it was one store that answered.
    async fn read_all(&self) -> Result<(Seen, BTreeMap<Place, DesiredSlot>), ReadError> {
        let before = self.store.identity().await?;
        let cluster = self.store.get(&self.keyspace.key(&ClusterKey {})).await?;
        let listing = self.store.list(&self.keyspace.all::<DesiredKey>()).await?;
        if self.store.identity().await?.id != before.id {
            return Err(ReadError::Exchanged);
        }
        let cluster = cluster
            .map(|entry| self.keyspace.read::<ClusterKey>(&entry))
            .transpose()?;
        let Wanted { slots, generations } = self.read(listing.entries.iter());
        let seen = Seen {
            store: before.id,
            cluster: cluster.map(|(_, record)| record.into()),
            revision: listing.revision,
            generations,
        };
        Ok((seen, slots))
    }

    fn judge(&mut self, seen: Seen, slots: BTreeMap<Place, DesiredSlot>) {
        let before = self.trust.doubt().cloned();
        let verdict = self.trust.judge(seen);
        if verdict != Verdict::Doubted {
            if let Some(doubt) = before {
                tracing::warn!(%doubt, "the store is believed again");
                self.manager.set_frozen(None);
            }
            if verdict == Verdict::Adopted {
                self.manager.forget_generations();
            }
            self.accept(slots);
        } else if let Some(doubt) = self.trust.doubt()
            // Its figures may change with each look, and each change is written to the store: only another kind is news.
            && before.as_ref().map(std::mem::discriminant) != Some(std::mem::discriminant(doubt))
        {
            tracing::error!(%doubt, "frozen: what is in service goes on, and nothing new is taken in");
            self.manager.set_frozen(Some(doubt.to_string()));
        }
    }

    fn accept(&mut self, slots: BTreeMap<Place, DesiredSlot>) {
        self.slots.clone_from(&slots);
        self.manager.aspire(slots);
        self.seen.send_replace(self.trust.known().cloned());
    }

    /// What is wanted, as far as it can be read.
    fn read<'a>(&self, entries: impl Iterator<Item = &'a Entry>) -> Wanted {
        let mut wanted = Wanted::default();
        for entry in entries {
            let DesiredKey { model, slot } = match self.keyspace.parse(&entry.key) {
                Ok(key) => key,
                Err(error) => {
                    tracing::error!(%error, "not a slot; ignored");
                    continue;
                }
            };
            let place = Place { model, slot };
            match self.keyspace.read::<DesiredKey>(entry) {
                Ok((_, desired)) => {
                    wanted.generations.insert(place.clone(), desired.generation);
                    wanted.slots.insert(place, desired);
                }
                // Leaving it out would take the slot out of service.
                Err(error) => {
                    tracing::error!(%place, %error, "what is wanted cannot be read; what was wanted before stands");
                    let known = self.trust.known();
                    if let Some(generation) = known.and_then(|known| known.generations.get(&place))
                    {
                        wanted.generations.insert(place.clone(), *generation);
                    }
                    if let Some(before) = self.slots.get(&place) {
                        wanted.slots.insert(place, before.clone());
                    }
                }
            }
        }
        wanted
    }
}

#[cfg(test)]
mod tests;
