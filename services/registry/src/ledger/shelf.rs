//! The leases that records of requests are bound to. One for each hour serves all of that hour's records, since a lease for
//! each would cost as much as the mutation.

use decant_coordination::{LeaseId, MetaStore, StoreError};
use tokio::sync::Mutex;
use tokio::time::{Duration, Instant};

/// How long a record is kept at least, and how long records are put under one lease.
const KEPT: Duration = Duration::from_secs(24 * 60 * 60);
const SHARED: Duration = Duration::from_secs(60 * 60);

#[derive(Default)]
pub(super) struct Shelf {
    current: Mutex<Option<(LeaseId, Instant)>>,
}

impl Shelf {
    /// A lease that lives for a day from now.
    pub(super) async fn lease(&self, store: &dyn MetaStore) -> Result<LeaseId, StoreError> {
        let mut current = self.current.lock().await;
        // Taken before the lease is granted: it must not be thought younger than it is.
        let now = Instant::now();
        if let Some((lease, granted)) = *current
            && now.duration_since(granted) < SHARED
        {
            return Ok(lease);
        }
        let lease = store.grant(KEPT + SHARED).await?.id;
        *current = Some((lease, now));
        Ok(lease)
    }

    /// A lease is gone, as after the store was replaced.
    pub(super) async fn drop_lease(&self, gone: LeaseId) {
        self.current
            .lock()
            .await
            .take_if(|(lease, _)| *lease == gone);
    }
}
