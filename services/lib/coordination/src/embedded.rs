//! The store of one machine: one redb file, durable with each transaction, used by one process at a time.

mod disk;
mod changes;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt;
use tokio::sync::watch;

use self::disk::Disk;
use crate::{Entry, Key, Listing, MetaStore, Prefix, Revision, StoreError, Txn, Watch};

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
    disk: Arc<Disk>,
    /// Tells watches that there is something to read.
    head: watch::Sender<Revision>,
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
        Ok(Self {
            disk: Arc::new(disk),
            head: watch::Sender::new(revision),
        })
    }
}

#[async_trait]
impl MetaStore for EmbeddedStore {
    async fn get(&self, key: &Key) -> Result<Option<Entry>, StoreError> {
        let (disk, key) = (Arc::clone(&self.disk), key.clone());
        off_runtime("read a key", move || disk.get(&key)).await
    }

    async fn list(&self, prefix: &Prefix) -> Result<Listing, StoreError> {
        let (disk, prefix) = (Arc::clone(&self.disk), prefix.clone());
        off_runtime("list keys", move || disk.list(&prefix)).await
    }

    async fn commit(&self, txn: Txn) -> Result<Revision, StoreError> {
        txn.check()?;
        let (disk, head) = (Arc::clone(&self.disk), self.head.clone());
        off_runtime("commit a transaction", move || {
            let revision = disk.commit(&txn)?;
            // Here and not after the await: a caller that goes away does not take the news with it. Commits are one after
            // the other, but their threads may come here out of order.
            head.send_if_modified(|head| {
                let newer = revision > *head;
                *head = revision.max(*head);
                newer
            });
            Ok(revision)
        })
        .await
    }

    async fn watch(&self, prefix: &Prefix, from: Revision) -> Result<Watch, StoreError> {
        let (disk, head) = (Arc::clone(&self.disk), self.head.subscribe());
        Ok(changes::stream(disk, head, prefix.clone(), from).boxed())
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
