//! A store that can go away, and that can be put in another's place, as etcd can be behind its address.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use decant_coordination::{
    Entry, Key, Lease, LeaseId, Listing, MetaStore, Order, Page, Prefix, Revision, StoreError,
    StoreIdentity, Txn, Watch,
};
use futures::StreamExt;
use tokio_util::sync::CancellationToken;

/// Whatever answers at the store's address.
#[derive(Clone)]
pub(crate) struct Switch {
    state: Arc<Mutex<State>>,
}

struct State {
    stalls: bool,
    store: Option<Arc<dyn MetaStore>>,
    /// Ends the watches of the store that answered.
    ended: CancellationToken,
    granted: Vec<LeaseId>,
}

impl Switch {
    pub(crate) fn new(store: Arc<dyn MetaStore>) -> Self {
        let state = State {
            stalls: false,
            store: Some(store),
            ended: CancellationToken::new(),
            granted: Vec::new(),
        };
        Self {
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// Another store answers from now on; with none, every call fails.
    pub(crate) fn put(&self, store: Option<Arc<dyn MetaStore>>) {
        let mut state = self.state.lock().unwrap();
        state.store = store;
        std::mem::take(&mut state.ended).cancel();
    }

    /// No call is answered from now on, nor refused; watches stay silent.
    pub(crate) fn stall(&self) {
        self.state.lock().unwrap().stalls = true;
    }

    /// The store that answers now.
    pub(crate) fn store(&self) -> Arc<dyn MetaStore> {
        self.state.lock().unwrap().store.clone().unwrap()
    }

    /// The lease that was granted last.
    pub(crate) fn last_lease(&self) -> Option<LeaseId> {
        self.state.lock().unwrap().granted.last().copied()
    }

    async fn now(&self) -> Result<(Arc<dyn MetaStore>, CancellationToken), StoreError> {
        let (store, ended, stalls) = {
            let state = self.state.lock().unwrap();
            (state.store.clone(), state.ended.clone(), state.stalls)
        };
        if stalls {
            std::future::pending::<()>().await;
        }
        let away = || StoreError::Unavailable {
            action: "answer",
            reason: "it is away".into(),
        };
        Ok((store.ok_or_else(away)?, ended))
    }
}

#[async_trait]
impl MetaStore for Switch {
    async fn get(&self, key: &Key) -> Result<Option<Entry>, StoreError> {
        self.now().await?.0.get(key).await
    }

    async fn list(&self, prefix: &Prefix) -> Result<Listing, StoreError> {
        self.now().await?.0.list(prefix).await
    }

    async fn page(
        &self,
        prefix: &Prefix,
        after: Option<&Key>,
        order: Order,
        limit: usize,
    ) -> Result<Page, StoreError> {
        self.now().await?.0.page(prefix, after, order, limit).await
    }

    async fn commit(&self, txn: Txn) -> Result<Revision, StoreError> {
        self.now().await?.0.commit(txn).await
    }

    async fn watch(&self, prefix: &Prefix, from: Revision) -> Result<Watch, StoreError> {
        let (store, ended) = self.now().await?;
        let watch = store.watch(prefix, from).await?;
        Ok(watch.take_until(ended.cancelled_owned()).boxed())
    }

    async fn identity(&self) -> Result<StoreIdentity, StoreError> {
        self.now().await?.0.identity().await
    }

    async fn grant(&self, ttl: Duration) -> Result<Lease, StoreError> {
        let lease = self.now().await?.0.grant(ttl).await?;
        self.state.lock().unwrap().granted.push(lease.id);
        Ok(lease)
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<Duration, StoreError> {
        self.now().await?.0.keep_alive(lease).await
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), StoreError> {
        self.now().await?.0.revoke(lease).await
    }
}
