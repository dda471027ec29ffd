//! Leases: which exist and which keys are bound to them, in the file; when they expire, in memory. After a restart each
//! lease has its whole time to live again, as in etcd after a change of leader.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use redb::{
    MultimapTable, MultimapTableDefinition, ReadTransaction, ReadableTable, Table, TableDefinition,
    WriteTransaction,
};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::{Inner, off_runtime};
use crate::{LeaseId, StoreError, Txn, Write};

/// Lease -> its time to live, in milliseconds.
const LEASES: TableDefinition<'_, i64, u64> = TableDefinition::new("leases");
/// Key -> the lease that it is bound to.
const LEASE_OF_KEY: TableDefinition<'_, &str, i64> = TableDefinition::new("lease_of_key");
/// Lease -> its keys.
const KEYS_OF_LEASE: MultimapTableDefinition<'_, i64, &str> =
    MultimapTableDefinition::new("keys_of_lease");

/// When to try again to end a lease that could not be ended.
pub(super) const RETRY: Duration = Duration::from_secs(1);

/// Makes the tables, so that readers find them.
pub(super) fn prepare(writing: &WriteTransaction) -> Result<(), redb::Error> {
    writing.open_table(LEASES)?;
    writing.open_table(LEASE_OF_KEY)?;
    writing.open_multimap_table(KEYS_OF_LEASE)?;
    Ok(())
}

pub(super) fn all(reading: &ReadTransaction) -> Result<Vec<(LeaseId, u64)>, redb::Error> {
    let mut leases = Vec::new();
    for row in reading.open_table(LEASES)?.iter()? {
        let (lease, ttl) = row?;
        leases.push((LeaseId(lease.value()), ttl.value()));
    }
    Ok(leases)
}

/// Ids are drawn, not counted, so that a lease of before a wipe is never taken for one of now.
pub(super) fn grant(writing: &WriteTransaction, ttl_millis: u64) -> Result<LeaseId, redb::Error> {
    let mut leases = writing.open_table(LEASES)?;
    loop {
        let lease = i64::from_be_bytes(rand::random()) & i64::MAX;
        if lease > 0 && leases.get(lease)?.is_none() {
            leases.insert(lease, ttl_millis)?;
            return Ok(LeaseId(lease));
        }
    }
}

/// Deletes a lease, and returns the keys that are to go with it.
pub(super) fn delete(
    writing: &WriteTransaction,
    lease: LeaseId,
) -> Result<Vec<String>, redb::Error> {
    writing.open_table(LEASES)?.remove(lease.0)?;
    let keys_of_lease = writing.open_multimap_table(KEYS_OF_LEASE)?;
    let mut keys = Vec::new();
    for key in redb::ReadableMultimapTable::get(&keys_of_lease, lease.0)? {
        keys.push(key?.value().to_owned());
    }
    Ok(keys)
}

/// The first lease that a transaction wants to bind a key to, and that is gone.
pub(super) fn first_lost(
    writing: &WriteTransaction,
    txn: &Txn,
) -> Result<Option<LeaseId>, redb::Error> {
    let leases = writing.open_table(LEASES)?;
    for write in &txn.writes {
        if let Write::Put(_, _, Some(lease)) = write
            && leases.get(lease.0)?.is_none()
        {
            return Ok(Some(*lease));
        }
    }
    Ok(None)
}

/// Which keys are bound to which leases.
pub(super) struct Bindings<'txn> {
    lease_of_key: Table<'txn, &'static str, i64>,
    keys_of_lease: MultimapTable<'txn, i64, &'static str>,
}

impl<'txn> Bindings<'txn> {
    pub(super) fn open(writing: &'txn WriteTransaction) -> Result<Self, redb::Error> {
        Ok(Self {
            lease_of_key: writing.open_table(LEASE_OF_KEY)?,
            keys_of_lease: writing.open_multimap_table(KEYS_OF_LEASE)?,
        })
    }

    /// Binds a key to a lease, or to none, instead of what it was bound to.
    pub(super) fn bind(&mut self, key: &str, lease: Option<LeaseId>) -> Result<(), redb::Error> {
        let before = match lease {
            Some(lease) => self.lease_of_key.insert(key, lease.0)?,
            None => self.lease_of_key.remove(key)?,
        };
        if let Some(before) = before {
            self.keys_of_lease.remove(before.value(), key)?;
        }
        if let Some(lease) = lease {
            self.keys_of_lease.insert(lease.0, key)?;
        }
        Ok(())
    }
}

/// When each lease expires, and the task that sees to it.
#[derive(Default)]
pub(super) struct Expiry {
    leases: Mutex<BTreeMap<LeaseId, Life>>,
    changed: Notify,
    /// Started by the first that grants or keeps a lease, or works on a store that had leases: before that nobody can
    /// miss one, and opening a store needs no runtime.
    task: Mutex<Option<AbortOnDropHandle<()>>>,
}

struct Life {
    ttl: Duration,
    /// None until the task has seen the lease.
    expires: Option<Instant>,
}

impl Expiry {
    /// Takes in the leases that the file holds.
    pub(super) fn restore(leases: Vec<(LeaseId, u64)>) -> Self {
        let life = |ttl_millis| Life {
            ttl: Duration::from_millis(ttl_millis),
            expires: None,
        };
        let leases = leases
            .into_iter()
            .map(|(lease, ttl_millis)| (lease, life(ttl_millis)))
            .collect();
        Self {
            leases: Mutex::new(leases),
            ..Self::default()
        }
    }

    /// A lease was granted.
    pub(super) fn begin(&self, lease: LeaseId, ttl: Duration) {
        let expires = Some(Instant::now() + ttl);
        lock(&self.leases).insert(lease, Life { ttl, expires });
        self.changed.notify_one();
    }

    /// Gives a lease its whole time again.
    pub(super) fn renew(&self, lease: LeaseId) -> Result<Duration, StoreError> {
        let mut leases = lock(&self.leases);
        let life = leases
            .get_mut(&lease)
            .ok_or(StoreError::LeaseLost { lease })?;
        life.expires = Some(Instant::now() + life.ttl);
        Ok(life.ttl)
    }

    /// Forgets a lease; false when there is none.
    pub(super) fn end(&self, lease: LeaseId) -> bool {
        lock(&self.leases).remove(&lease).is_some()
    }

    /// Starts the task, if there is something to do and nobody did yet.
    pub(super) fn ensure_running(&self, inner: Weak<Inner>) {
        let mut task = lock(&self.task);
        if task.is_none() && !lock(&self.leases).is_empty() {
            // Owned by the store: it ends when the last clone goes.
            #[expect(clippy::disallowed_methods, reason = "the handle owns it")]
            let started = tokio::spawn(run(inner));
            *task = Some(AbortOnDropHandle::new(started));
        }
    }

    /// Leases that have expired by now, and when the next one does.
    fn due(&self) -> (Vec<LeaseId>, Option<Instant>) {
        let now = Instant::now();
        let mut leases = lock(&self.leases);
        let mut next: Option<Instant> = None;
        let mut due = Vec::new();
        for (lease, life) in leases.iter_mut() {
            let expires = *life.expires.get_or_insert(now + life.ttl);
            if expires <= now {
                due.push(*lease);
            } else {
                next = Some(next.map_or(expires, |next| next.min(expires)));
            }
        }
        leases.retain(|lease, _| !due.contains(lease));
        (due, next)
    }
}

/// Ends leases as they expire. It holds no store while it waits, so that the file is free once nobody else does.
async fn run(inner: Weak<Inner>) {
    while let Some(store) = inner.upgrade() {
        let (due, next) = store.expiry.due();
        for lease in due {
            tracing::info!(lease = format!("{:x}", lease.0), "lease expired");
            if let Err(error) = end(&store, lease).await {
                tracing::error!(%error, "an expired lease could not be ended; trying again");
                store.expiry.begin(lease, RETRY);
            }
        }
        let expiry = Arc::clone(&store.expiry);
        drop(store);
        let changed = expiry.changed.notified();
        match next {
            Some(next) => {
                // Either wakes it; which one does not matter.
                let _ = tokio::time::timeout_at(next, changed).await;
            }
            None => changed.await,
        }
    }
}

/// Ends a lease in the file, and tells the watches.
pub(super) async fn end(inner: &Arc<Inner>, lease: LeaseId) -> Result<(), StoreError> {
    let inner = Arc::clone(inner);
    off_runtime("end a lease", move || {
        let revision = inner.disk.end_lease(lease)?;
        inner.advance(revision);
        Ok(())
    })
    .await
}

/// Nothing is left half-changed under these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
