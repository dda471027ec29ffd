//! How this registry and its store are.

use decant_coordination::keys::{AuditHeadKey, ClusterRecord};
use decant_coordination::{Revision, StoreCondition};
use decant_model::Digest;

use super::Care;
use crate::error::CallError;

/// What can be said of them.
pub(crate) struct Diagnosis {
    pub(crate) cluster: ClusterRecord,
    pub(crate) revision: Revision,
    pub(crate) store: StoreCondition,
    /// How many audit entries there are, and the newest one's hash.
    pub(crate) audit: (u64, Option<Digest>),
}

impl Care {
    /// Looks at the store. That it does not tell how it is, is a part of how it is.
    pub(crate) async fn diagnosis(&self) -> Result<Diagnosis, CallError> {
        let (cluster, identity, _) = self.cluster.look().await?;
        let condition = self.records.store.condition().await;
        let store = condition.unwrap_or_else(|error| StoreCondition {
            errors: vec![error.to_string()],
            ..StoreCondition::default()
        });
        let head = self.records.get(&AuditHeadKey {}).await?;
        Ok(Diagnosis {
            cluster,
            revision: identity.revision,
            store,
            audit: head.map_or((0, None), |found| (found.value.number, found.value.hash)),
        })
    }
}
