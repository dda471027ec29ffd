//! Which replica leads: the one whose lease holds the key `leader`. When that key came into being is its epoch.

use decant_coordination::keys::{self, LeaderKey, LeaderRecord};
use decant_coordination::{Expect, Key, LeaseId, Revision, StoreError, Txn};
use futures::StreamExt;
use tokio::sync::watch;
use tokio::time::{Duration, Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::error::CallError;
use crate::records::Records;

/// A term of leading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Epoch {
    key: Key,
    created: Revision,
}

impl Epoch {
    pub(crate) fn get(&self) -> u64 {
        self.created.0
    }

    pub(crate) fn key(&self) -> &Key {
        &self.key
    }

    /// Makes a transaction fail when another leads by now.
    pub(crate) fn fence(&self, txn: Txn) -> Txn {
        txn.expect(self.key.clone(), Expect::CreatedAt(self.created))
    }
}

/// A replica that wants to lead.
pub(crate) struct Candidate {
    pub(crate) records: Records,
    pub(crate) record: LeaderRecord,
    pub(crate) ttl: Duration,
    pub(crate) epochs: watch::Sender<Option<Epoch>>,
}

impl Candidate {
    pub(crate) async fn run(self, stop: CancellationToken) -> Result<(), String> {
        while !stop.is_cancelled() {
            if let Err(error) = self.stand(&stop).await {
                tracing::warn!(%error, "could not stand for election");
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = sleep(self.ttl / 3) => {}
                }
            }
            self.epochs.send_replace(None);
        }
        Ok(())
    }

    /// Stands once: leads until the lease is lost, or waits until nobody leads.
    async fn stand(&self, stop: &CancellationToken) -> Result<(), CallError> {
        let store = &*self.records.store;
        let key = self.records.key(&LeaderKey {});
        if let Some(found) = store.get(&key).await? {
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                vacant = self.vacancy(&key, found.mod_revision) => vacant?,
            }
        }
        let granted = Instant::now();
        let lease = store.grant(self.ttl).await?.id;
        let value = keys::encode(&LeaderKey {}, &self.record)?;
        let txn =
            Txn::new()
                .expect(key.clone(), Expect::Absent)
                .put_leased(key.clone(), value, lease);
        match store.commit(txn).await {
            Ok(created) => {
                tracing::info!(epoch = created.0, "leads");
                self.epochs.send_replace(Some(Epoch { key, created }));
                self.keep(lease, granted, stop).await;
                self.epochs.send_replace(None);
                tracing::info!(epoch = created.0, "leads no more");
                Ok(store.revoke(lease).await?)
            }
            Err(StoreError::Conflict(_)) => Ok(store.revoke(lease).await?),
            Err(error) => Err(error.into()),
        }
    }

    async fn vacancy(&self, key: &Key, seen: Revision) -> Result<(), StoreError> {
        let prefix = decant_coordination::Prefix::new(key.as_str());
        let mut changes = self.records.store.watch(&prefix, seen.next()).await?;
        while let Some(changes) = changes.next().await {
            if !changes?.events.is_empty() {
                break;
            }
        }
        Ok(())
    }

    /// Keeps the lease alive, until it is lost, may be lost, or is to be given back.
    async fn keep(&self, lease: LeaseId, granted: Instant, stop: &CancellationToken) {
        let mut alive = granted;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(self.ttl / 3) => {}
            }
            let asked = Instant::now();
            match self.records.store.keep_alive(lease).await {
                Ok(_) => alive = asked,
                Err(StoreError::LeaseLost { .. }) => return,
                Err(error) => {
                    tracing::warn!(%error, "could not renew the lease");
                    if alive.elapsed() >= self.ttl * 2 / 3 {
                        return;
                    }
                }
            }
        }
    }
}
