//! Keeps a lease alive, and grants a new one when it is lost.

use std::sync::Arc;
use std::time::Duration;

use decant_coordination::{LeaseId, MetaStore, StoreError};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How long to wait before a store that does not answer is asked again.
const TRY_AGAIN: Duration = Duration::from_millis(500);
/// How long giving the lease back may take; it expires by itself.
const PATIENCE: Duration = Duration::from_secs(2);

/// Says which lease lives, until it is told to stop; then gives it back.
pub(crate) async fn keep(
    store: Arc<dyn MetaStore>,
    ttl: Duration,
    leases: watch::Sender<Option<LeaseId>>,
    stop: CancellationToken,
) -> Result<(), String> {
    let kept = async {
        loop {
            match store.grant(ttl).await {
                Ok(lease) => {
                    leases.send_replace(Some(lease.id));
                    let reason = until_lost(&*store, lease.id, lease.ttl).await;
                    leases.send_replace(None);
                    tracing::warn!(%reason, "lease lost; serving goes on");
                }
                Err(error) => tracing::warn!(%error, "no lease; serving goes on"),
            }
            tokio::time::sleep(TRY_AGAIN).await;
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = kept => {}
    }
    let lease = *leases.borrow();
    if let Some(lease) = lease {
        match tokio::time::timeout(PATIENCE, store.revoke(lease)).await {
            Ok(Ok(())) => tracing::info!("lease given back"),
            Ok(Err(error)) => tracing::warn!(%error, "lease not given back; it expires"),
            Err(_) => tracing::warn!("lease not given back in time; it expires"),
        }
    }
    Ok(())
}

async fn until_lost(store: &dyn MetaStore, lease: LeaseId, ttl: Duration) -> StoreError {
    let mut alive = Instant::now();
    let mut wait = ttl / 3;
    loop {
        tokio::time::sleep(wait).await;
        let asked = Instant::now();
        match store.keep_alive(lease).await {
            Ok(_) => (alive, wait) = (asked, ttl / 3),
            Err(error @ StoreError::LeaseLost { .. }) => return error,
            Err(error) if alive.elapsed() > ttl => return error,
            Err(_) => wait = TRY_AGAIN.min(ttl / 3),
        }
    }
}
