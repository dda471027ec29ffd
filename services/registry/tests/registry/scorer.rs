//! A scorer as the registry sees it: its records in the store.

use std::sync::Arc;
use std::time::Duration;

use decant_coordination::keys::{
    self, ObservedKey, ObservedRecord, ObservedState, ObservedVersion, ScorerKey, ScorerRecord,
};
use decant_coordination::{Keyspace, LeaseId, MetaStore, Txn};
use decant_model::{Digest, Generation, ModelVersion, ScorerName, SlotName};

use super::fixture::{Registry, movies};

pub(crate) struct Scorer {
    store: Arc<dyn MetaStore>,
    lease: LeaseId,
    name: ScorerName,
}

impl Scorer {
    /// A scorer that is there, and says nothing yet.
    pub(crate) async fn join(registry: &Registry, name: &str) -> Self {
        Self::join_at(registry, name, &format!("{name}:7430")).await
    }

    /// The same, serving at an address.
    pub(crate) async fn join_at(registry: &Registry, name: &str, address: &str) -> Self {
        let store = Arc::clone(registry.store());
        let lease = store.grant(Duration::from_secs(60)).await.unwrap().id;
        let scorer = Self {
            store,
            lease,
            name: name.parse().unwrap(),
        };
        let key = ScorerKey {
            scorer: scorer.name.clone(),
        };
        let record = ScorerRecord {
            address: address.into(),
            zone: "a".into(),
            boot_id: "boot".into(),
            build: "test".into(),
            started_at_millis: 1,
        };
        scorer.put(&key, &record).await;
        scorer
    }

    /// Says where a version stands, and up to which generation it has come.
    pub(crate) async fn say(
        &self,
        generation: u64,
        serving: u64,
        version: (u64, Digest),
        state: ObservedState,
    ) {
        let record = ObservedRecord {
            boot_id: "boot".into(),
            generation: Generation(generation),
            serving: Generation(serving),
            versions: vec![ObservedVersion {
                digest: version.1,
                version: ModelVersion::new(version.0).unwrap(),
                state,
                error: match state {
                    ObservedState::Failed => "golden vectors differ".into(),
                    ObservedState::Loading | ObservedState::Ready => String::new(),
                },
            }],
            frozen: None,
        };
        self.put(&self.observed(), &record).await;
    }

    /// Says all of this.
    pub(crate) async fn observe(&self, record: &ObservedRecord) {
        self.put(&self.observed(), record).await;
    }

    /// Says that it takes in nothing new.
    pub(crate) async fn freeze(&self, generation: u64) {
        let record = ObservedRecord {
            boot_id: "boot".into(),
            generation: Generation(generation),
            serving: Generation(generation),
            versions: Vec::new(),
            frozen: Some("the store went back".into()),
        };
        self.put(&self.observed(), &record).await;
    }

    /// Goes away.
    pub(crate) async fn leave(self) {
        self.store.revoke(self.lease).await.unwrap();
    }

    fn observed(&self) -> ObservedKey {
        ObservedKey {
            model: movies(),
            slot: SlotName::or_default("").unwrap(),
            scorer: self.name.clone(),
        }
    }

    async fn put<R: keys::Record>(&self, key: &R, value: &R::Value) {
        let value = keys::encode(key, value).unwrap();
        let txn = Txn::new().put_leased(Keyspace::default().key(key), value, self.lease);
        self.store.commit(txn).await.unwrap();
    }
}
