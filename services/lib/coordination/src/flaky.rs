//! For tests: an embedded store that fails when told to.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use futures::{StreamExt, stream};
use tempfile::TempDir;

use crate::{
    Changes, EmbeddedStore, Entry, Event, Key, Lease, LeaseId, Listing, MetaStore, Options, Order,
    Page, Prefix, Revision, StoreCondition, StoreError, StoreIdentity, Txn, Watch,
};

/// A store that fails when told to.
pub(crate) struct Flaky {
    pub(crate) store: Mutex<EmbeddedStore>,
    faults: Mutex<Faults>,
}

#[derive(Default)]
pub(crate) struct Faults {
    /// How often it was listed.
    pub(crate) lists: u32,
    pub(crate) lists_to_fail: u32,
    pub(crate) watches_to_refuse: u32,
    /// The next watch ends with an error after so many changes.
    pub(crate) cut_after: Option<usize>,
    /// Watches do not tell of this key.
    pub(crate) hidden: Option<&'static str>,
    /// Watches tell everything so much later.
    pub(crate) delay: Duration,
    /// Nobody answers, except watches that are open.
    pub(crate) unreachable: bool,
}

impl Flaky {
    fn reach(&self) -> Result<EmbeddedStore, StoreError> {
        if self.faults().unreachable {
            return Err(unavailable());
        }
        Ok(self.store.lock().unwrap().clone())
    }

    pub(crate) fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap()
    }
}

fn unavailable() -> StoreError {
    StoreError::Unavailable {
        action: "test",
        reason: "the connection was cut".into(),
    }
}

#[async_trait]
impl MetaStore for Flaky {
    async fn get(&self, key: &Key) -> Result<Option<Entry>, StoreError> {
        self.reach()?.get(key).await
    }

    async fn list(&self, prefix: &Prefix) -> Result<Listing, StoreError> {
        let fails = {
            let mut faults = self.faults();
            faults.lists += 1;
            let fails = faults.lists_to_fail > 0;
            faults.lists_to_fail = faults.lists_to_fail.saturating_sub(1);
            fails
        };
        if fails {
            Err(unavailable())
        } else {
            self.reach()?.list(prefix).await
        }
    }

    async fn page(
        &self,
        prefix: &Prefix,
        after: Option<&Key>,
        order: Order,
        limit: usize,
    ) -> Result<Page, StoreError> {
        self.reach()?.page(prefix, after, order, limit).await
    }

    async fn identity(&self) -> Result<StoreIdentity, StoreError> {
        self.reach()?.identity().await
    }

    async fn condition(&self) -> Result<StoreCondition, StoreError> {
        self.reach()?.condition().await
    }

    async fn grant(&self, ttl: Duration) -> Result<Lease, StoreError> {
        self.reach()?.grant(ttl).await
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<Duration, StoreError> {
        self.reach()?.keep_alive(lease).await
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), StoreError> {
        self.reach()?.revoke(lease).await
    }

    async fn commit(&self, txn: Txn) -> Result<Revision, StoreError> {
        self.reach()?.commit(txn).await
    }

    async fn watch(&self, prefix: &Prefix, from: Revision) -> Result<Watch, StoreError> {
        let (cut_after, hidden, delay) = {
            let mut faults = self.faults();
            if faults.watches_to_refuse > 0 {
                faults.watches_to_refuse -= 1;
                return Err(unavailable());
            }
            (faults.cut_after.take(), faults.hidden, faults.delay)
        };
        let told = move |changes: &Changes| {
            let is_hidden = |event: &Event| match (event, hidden) {
                (Event::Put(Entry { key, .. }) | Event::Delete(key), Some(hidden)) => {
                    key.as_str().ends_with(hidden)
                }
                (_, None) => false,
            };
            !changes.events.iter().any(is_hidden)
        };
        let watch = self.reach()?.watch(prefix, from).await?;
        let watch = watch
            .filter(move |changes| std::future::ready(changes.as_ref().map_or(true, told)))
            .then(move |changes| async move {
                tokio::time::sleep(delay).await;
                changes
            });
        Ok(match cut_after {
            None => watch.boxed(),
            Some(count) => {
                let cut = stream::once(async { Err(unavailable()) });
                watch.take(count).chain(cut).boxed()
            }
        })
    }
}

pub(crate) fn flaky(faults: Faults) -> (TempDir, Arc<Flaky>) {
    let folder = tempfile::tempdir().unwrap();
    let flaky = Flaky {
        store: Mutex::new(open(&folder, "store.redb")),
        faults: Mutex::new(faults),
    };
    (folder, Arc::new(flaky))
}

pub(crate) fn open(folder: &TempDir, name: &str) -> EmbeddedStore {
    let options = Options { held_revisions: 3 };
    EmbeddedStore::open_with(&folder.path().join(name), options).unwrap()
}
