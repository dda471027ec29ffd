//! The store of one machine: one redb file, durable with each transaction, used by one process at a time.

mod disk;
mod leases;
mod changes;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use tokio::sync::watch;

use self::disk::Disk;
use self::leases::Expiry;
use crate::{
    Entry, Key, Lease, LeaseId, Listing, MetaStore, Order, Page, Prefix, Revision, StoreCondition,
    StoreError, StoreIdentity, Txn, Watch,
};

/// What can be chosen about an embedded store.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How many revisions back a watch can begin, and how far one may fall behind.
    pub held_revisions: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            held_revisions: 4096,
        }
    }
}

/// A store in a file. Clones share it; the file is free again when the last clone and the last watch are gone.
#[derive(Clone)]
pub struct EmbeddedStore {
    inner: Arc<Inner>,
}

struct Inner {
    disk: Arc<Disk>,
    /// Tells watches that there is something to read.
    head: watch::Sender<Revision>,
    expiry: Arc<Expiry>,
}

impl Inner {
    /// Tells the watches. Commits are one after the other, but their threads may come here out of order.
    fn advance(&self, revision: Revision) {
        self.head.send_if_modified(|head| {
            let newer = revision > *head;
            *head = revision.max(*head);
            newer
        });
    }
}

impl EmbeddedStore {
    /// Opens the store in a file, and makes it if there is none. Blocks.
    ///
    /// # Errors
    /// When the file is in use, is no store, is one of a newer Decant, or cannot be read or made.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Self::open_with(path, Options::default())
    }

    /// As [`EmbeddedStore::open`], with options.
    ///
    /// # Errors
    /// As [`EmbeddedStore::open`].
    pub fn open_with(path: &Path, options: Options) -> Result<Self, StoreError> {
        let (disk, revision) = Disk::open(path, options.held_revisions)?;
        let expiry = Expiry::restore(disk.leases()?);
        let inner = Inner {
            disk: Arc::new(disk),
            head: watch::Sender::new(revision),
            expiry: Arc::new(expiry),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// The file, for one piece of work.
    fn disk(&self) -> Arc<Disk> {
        self.inner
            .expiry
            .ensure_running(Arc::downgrade(&self.inner));
        Arc::clone(&self.inner.disk)
    }
}

#[async_trait]
impl MetaStore for EmbeddedStore {
    async fn get(&self, key: &Key) -> Result<Option<Entry>, StoreError> {
        let (disk, key) = (self.disk(), key.clone());
        off_runtime("read a key", move || disk.get(&key)).await
    }

    async fn list(&self, prefix: &Prefix) -> Result<Listing, StoreError> {
        let (disk, prefix) = (self.disk(), prefix.clone());
        off_runtime("list keys", move || disk.list(&prefix)).await
    }

    async fn page(
        &self,
        prefix: &Prefix,
        after: Option<&Key>,
        order: Order,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let (disk, prefix, after) = (self.disk(), prefix.clone(), after.cloned());
        off_runtime("list a page of keys", move || {
            disk.page(&prefix, after.as_ref(), order, limit)
        })
        .await
    }

    async fn commit(&self, txn: Txn) -> Result<Revision, StoreError> {
        txn.check()?;
        let (disk, inner) = (self.disk(), Arc::clone(&self.inner));
        off_runtime("commit a transaction", move || {
            let revision = disk.commit(&txn)?;
            // Here and not after the await: a caller that goes away does not take the news with it.
            inner.advance(revision);
            Ok(revision)
        })
        .await
    }

    async fn watch(&self, prefix: &Prefix, from: Revision) -> Result<Watch, StoreError> {
        let (disk, head) = (self.disk(), self.inner.head.subscribe());
        Ok(changes::stream(disk, head, prefix.clone(), from).boxed())
    }

    async fn identity(&self) -> Result<StoreIdentity, StoreError> {
        let disk = self.disk();
        off_runtime("read the store's identity", move || disk.identity()).await
    }

    async fn condition(&self) -> Result<StoreCondition, StoreError> {
        Ok(StoreCondition {
            kind: "embedded",
            ..StoreCondition::default()
        })
    }

    async fn grant(&self, ttl: Duration) -> Result<Lease, StoreError> {
        let disk = self.disk();
        let ttl_millis = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        let id = off_runtime("grant a lease", move || disk.grant(ttl_millis)).await?;
        self.inner.expiry.begin(id, ttl);
        self.inner
            .expiry
            .ensure_running(Arc::downgrade(&self.inner));
        Ok(Lease { id, ttl })
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<Duration, StoreError> {
        self.disk();
        self.inner.expiry.renew(lease)
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), StoreError> {
        self.disk();
        if !self.inner.expiry.end(lease) {
            return Ok(());
        }
        let ended = leases::end(&self.inner, lease).await;
        if ended.is_err() {
            // It still is in the file: whoever revokes it again, or the next expiry, must find it.
            self.inner.expiry.begin(lease, leases::RETRY);
        }
        ended
    }
}

/// Runs blocking work away from the threads that serve.
async fn off_runtime<T, F>(action: &'static str, work: F) -> Result<T, StoreError>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T, StoreError> + Send + 'static,
{
    tokio::task::spawn_blocking(work)
        .await
        .map_err(StoreError::failed(action))?
}
