//! A store that does what it is told, or does not, and then fails to say so.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use decant_coordination::{
    Key, Lease, LeaseId, Listing, MetaStore, Order, Page, Prefix, Revision, StoreError,
    StoreIdentity, Txn, Watch,
};
use decant_proto::registry::v1::*;
use tonic::{Code, Status, async_trait};

use super::fixture::{Registry, quick};

/// What becomes of the next transaction that writes a model.
const FINE: u8 = 0;
const MADE: u8 = 1;
const LOST: u8 = 2;

struct Mute {
    below: Arc<dyn MetaStore>,
    next: AtomicU8,
}

#[async_trait]
impl MetaStore for Mute {
    async fn get(&self, key: &Key) -> Result<Option<decant_coordination::Entry>, StoreError> {
        self.below.get(key).await
    }

    async fn list(&self, prefix: &Prefix) -> Result<Listing, StoreError> {
        self.below.list(prefix).await
    }

    async fn page(
        &self,
        prefix: &Prefix,
        after: Option<&Key>,
        order: Order,
        limit: usize,
    ) -> Result<Page, StoreError> {
        self.below.page(prefix, after, order, limit).await
    }

    async fn commit(&self, txn: Txn) -> Result<Revision, StoreError> {
        // The election and the cluster's record are not what this is about.
        if !format!("{txn:?}").contains("/models/") {
            return self.below.commit(txn).await;
        }
        let next = self.next.swap(FINE, Ordering::SeqCst);
        if next != LOST {
            let made = self.below.commit(txn).await?;
            if next == FINE {
                return Ok(made);
            }
        }
        Err(StoreError::Unavailable {
            action: "commit a transaction",
            reason: "the connection was cut".into(),
        })
    }

    async fn watch(&self, prefix: &Prefix, from: Revision) -> Result<Watch, StoreError> {
        self.below.watch(prefix, from).await
    }

    async fn identity(&self) -> Result<StoreIdentity, StoreError> {
        self.below.identity().await
    }

    async fn grant(&self, ttl: Duration) -> Result<Lease, StoreError> {
        self.below.grant(ttl).await
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<Duration, StoreError> {
        self.below.keep_alive(lease).await
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), StoreError> {
        self.below.revoke(lease).await
    }
}

async fn create(registry: &Registry, name: &str) -> Result<Model, Status> {
    let model = Model {
        name: name.into(),
        ..Model::default()
    };
    let request = CreateModelRequest {
        model: Some(model),
        ..CreateModelRequest::default()
    };
    let response = registry.client().create_model(request).await?;
    Ok(response.into_inner().model.unwrap())
}

#[tokio::test]
async fn an_answer_that_was_lost_is_found_again() {
    let below = Registry::start_with(quick("one:1")).await;
    let mute = Arc::new(Mute {
        below: Arc::clone(below.store()),
        next: AtomicU8::new(MADE),
    });
    let registry = below.replica_on(mute.clone(), quick("two:1")).await;
    // Made, though the store did not say so: the caller need not know.
    create(&registry, "movies").await.unwrap();
    mute.next.store(LOST, Ordering::SeqCst);
    let status = create(&registry, "books").await.unwrap_err();
    assert!(
        status.code() == Code::Unavailable && status.message().contains("was not done"),
        "{status}"
    );
    let models = registry
        .client()
        .list_models(ListModelsRequest::default())
        .await;
    assert_eq!(models.unwrap().into_inner().models.len(), 1);
    create(&registry, "books").await.unwrap();
    let told: Vec<_> = registry
        .audit("")
        .await
        .into_iter()
        .map(|entry| (entry.number, entry.subject))
        .collect();
    assert_eq!(told, [(2, "books".to_owned()), (1, "movies".to_owned())]);
}
