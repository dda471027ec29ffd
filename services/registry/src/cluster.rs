//! Which cluster this is, and whether the store still is the one that this process knows. A store that was put back to an
//! older copy, or exchanged for another, would have slots changed that are further on in truth: such changes are refused
//! until an operator says that this store is the truth (`decant admin adopt`).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use decant_coordination::keys::{self, ClusterKey, ClusterRecord};
use decant_coordination::{Expect, Replaced, StoreError, StoreIdentity, Txn};
use tokio::sync::watch;
use tokio::time::{Duration, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use ulid::Ulid;

use crate::clock::now_millis;
use crate::error::CallError;
use crate::records::{Found, Records};

/// The cluster as this process has seen it. Clones share it.
#[derive(Clone)]
pub(crate) struct Cluster {
    records: Records,
    seen: Arc<Mutex<Option<Seen>>>,
    /// How often another store was taken for the truth.
    adoptions: Arc<watch::Sender<u64>>,
}

/// The furthest that the store was seen.
#[derive(Clone)]
struct Seen {
    store: StoreIdentity,
    uuid: String,
    incarnation: u64,
    /// What is wrong since, and the incarnation that an operator has to go beyond.
    older: Option<Older>,
}

#[derive(Clone)]
struct Older {
    words: String,
    incarnation: u64,
}

impl Cluster {
    pub(crate) fn new(records: Records) -> Self {
        Self {
            records,
            seen: Arc::default(),
            adoptions: Arc::default(),
        }
    }

    /// The cluster's record, which is made if there is none.
    pub(crate) async fn record(&self) -> Result<Found<ClusterKey>, CallError> {
        loop {
            if let Some(found) = self.records.cluster().await? {
                return Ok(found);
            }
            let record = ClusterRecord {
                uuid: Ulid::generate().to_string().to_lowercase(),
                incarnation: 1,
                created_at_millis: now_millis(),
            };
            let key = self.records.key(&ClusterKey {});
            let txn = Txn::new()
                .expect(key.clone(), Expect::Absent)
                .put(key, keys::encode(&ClusterKey {}, &record)?);
            match self.records.store.commit(txn).await {
                // Read again: another replica may have been first.
                Ok(_) | Err(StoreError::Conflict(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Looks at the store: the cluster's record, how far the store is, and in words what is wrong with it, if anything is.
    pub(crate) async fn look(
        &self,
    ) -> Result<(ClusterRecord, StoreIdentity, Option<String>), CallError> {
        // Looks go on side by side, and an earlier one may end later: each is compared with what was known when it began.
        let known = self.seen().clone();
        let record = self.record().await?.value;
        let store = self.records.store.identity().await?;
        let mut seen = self.seen();
        let before = seen.as_ref().map(Seen::cluster);
        let words = Seen::update(&mut seen, known, &record, store);
        if before.is_some() && before != seen.as_ref().map(Seen::cluster) {
            tracing::warn!(
                uuid = record.uuid,
                incarnation = record.incarnation,
                "adopted the store"
            );
            self.adoptions.send_modify(|count| *count += 1);
        }
        drop(seen);
        Ok((record, store, words))
    }

    /// Changes when another store was taken for the truth: whoever follows the store begins anew.
    pub(crate) fn adoptions(&self) -> watch::Receiver<u64> {
        self.adoptions.subscribe()
    }

    /// Looks at the store every so often, so that this process knows how far it was, and hears of adoptions.
    pub(crate) async fn look_out(
        self,
        every: Duration,
        stop: CancellationToken,
    ) -> Result<(), String> {
        let mut timer = interval(every);
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(timer.tick()).await.is_some() {
            if let Some(Err(error)) = stop.run_until_cancelled(self.look()).await {
                tracing::warn!(%error, "could not look at the store");
            }
        }
        Ok(())
    }

    fn seen(&self) -> MutexGuard<'_, Option<Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses to go on with a store that looks like an older copy.
    pub(crate) async fn check(&self) -> Result<(), CallError> {
        match self.look().await?.2 {
            None => Ok(()),
            Some(words) => Err(CallError::StoreOlder(words)),
        }
    }

    /// The incarnation that an adopted store gets: above all that were seen.
    pub(crate) fn next_incarnation(&self, stored: u64) -> u64 {
        self.seen()
            .as_ref()
            .map_or(stored, |seen| seen.incarnation.max(stored))
            + 1
    }
}

/// A view shows that the store is not the one that it was.
pub(crate) fn replaced(replaced: &Replaced) -> CallError {
    let Replaced { before, now } = replaced;
    CallError::StoreOlder(format!(
        "it is {:x} at revision {}, but was {:x} at {}",
        now.id, now.revision, before.id, before.revision
    ))
}

impl Seen {
    fn cluster(&self) -> (String, u64) {
        (self.uuid.clone(), self.incarnation)
    }

    /// Takes note of a look that began when this was known, and says what is wrong with the store.
    fn update(
        seen: &mut Option<Self>,
        known: Option<Self>,
        record: &ClusterRecord,
        store: StoreIdentity,
    ) -> Option<String> {
        let fresh = Self {
            store,
            uuid: record.uuid.clone(),
            incarnation: record.incarnation,
            older: None,
        };
        let Some(known) = known else {
            seen.get_or_insert(fresh);
            return None;
        };
        let adopted = match &known.older {
            Some(older) => record.incarnation > older.incarnation,
            // Also of another cluster: so does an import make the metadata of one cluster that of this store.
            None => record.incarnation > known.incarnation,
        };
        if adopted {
            *seen = Some(fresh);
            return None;
        }
        let words = match &known.older {
            Some(older) => Some(older.words.clone()),
            None => known.difference(record, store),
        };
        let seen = seen.get_or_insert(known);
        match &words {
            None => seen.store.revision = seen.store.revision.max(store.revision),
            Some(words) if seen.older.is_none() => {
                tracing::error!(words, "the store looks like an older copy or another one");
                seen.older = Some(Older {
                    words: words.clone(),
                    incarnation: record.incarnation,
                });
            }
            Some(_) => {}
        }
        words
    }

    fn difference(&self, record: &ClusterRecord, store: StoreIdentity) -> Option<String> {
        if record.uuid != self.uuid {
            return Some(format!(
                "it holds cluster {}, but held cluster {}",
                record.uuid, self.uuid
            ));
        }
        if store.id != self.store.id {
            return Some(format!(
                "its id is {:x}, but was {:x}",
                store.id, self.store.id
            ));
        }
        (store.revision < self.store.revision).then(|| {
            format!(
                "it is at revision {}, but was at {}",
                store.revision, self.store.revision
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use decant_coordination::Revision;

    use super::*;

    fn look(
        seen: &mut Option<Seen>,
        uuid: &str,
        incarnation: u64,
        revision: u64,
    ) -> Option<String> {
        let record = ClusterRecord {
            uuid: uuid.into(),
            incarnation,
            created_at_millis: 0,
        };
        let store = StoreIdentity {
            id: 7,
            revision: Revision(revision),
        };
        let known = seen.clone();
        Seen::update(seen, known, &record, store)
    }

    #[test]
    fn a_store_that_goes_back_is_refused_until_it_is_adopted() {
        let mut seen = None;
        assert_eq!(look(&mut seen, "a", 1, 10), None);
        assert_eq!(look(&mut seen, "a", 1, 12), None);
        let older = look(&mut seen, "a", 1, 5);
        assert!(older.is_some_and(|words| words.contains("revision 5, but was at 12")));
        assert!(
            look(&mut seen, "a", 1, 20).is_some(),
            "it does not heal by growing"
        );
        assert_eq!(look(&mut seen, "a", 2, 21), None, "adopted");
        assert!(look(&mut seen, "b", 1, 30).is_some_and(|words| words.contains("cluster b")));
        assert_eq!(look(&mut seen, "b", 2, 31), None);
    }

    #[test]
    fn a_look_that_began_earlier_may_end_later() {
        let mut seen = None;
        look(&mut seen, "a", 1, 10);
        let known = seen.clone();
        look(&mut seen, "a", 1, 14);
        let record = ClusterRecord {
            uuid: "a".into(),
            incarnation: 1,
            created_at_millis: 0,
        };
        let store = StoreIdentity {
            id: 7,
            revision: Revision(13),
        };
        assert_eq!(Seen::update(&mut seen, known, &record, store), None);
        assert!(look(&mut seen, "a", 1, 13).is_some(), "but not begin later");
    }

    #[test]
    fn a_store_that_was_adopted_unseen_is_taken() {
        let mut seen = None;
        look(&mut seen, "a", 1, 10);
        assert_eq!(look(&mut seen, "a", 2, 5), None);
    }
}
