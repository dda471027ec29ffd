//! A lease that is kept alive for as long as a service runs.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::{LeaseId, MetaStore, StoreError};

/// Grants a lease, keeps it alive, and grants a new one when it was lost.
pub struct LeaseKeeper {
    store: Arc<dyn MetaStore>,
    ttl: Duration,
    published: watch::Sender<Option<LeaseId>>,
    held: Option<Held>,
}

#[derive(Clone, Copy)]
struct Held {
    id: LeaseId,
    ttl: Duration,
    /// When it was last asked for. The store counts from when it heard that, which is later.
    since: Instant,
}

impl Held {
    /// When it is no longer sure to live. Somewhat before its end, for clocks differ.
    fn unsure(self) -> Instant {
        self.since + self.ttl * 9 / 10
    }
}

impl LeaseKeeper {
    /// A keeper of a lease that lives so long, at least, when nobody keeps it alive.
    pub fn new(store: Arc<dyn MetaStore>, ttl: Duration) -> Self {
        Self {
            store,
            ttl,
            published: watch::Sender::new(None),
            held: None,
        }
    }

    /// The lease, while it is sure to live. With each new one, and when the same one comes back after a time of doubt, its
    /// users write their keys again.
    pub fn lease(&self) -> watch::Receiver<Option<LeaseId>> {
        self.published.subscribe()
    }

    /// Keeps a lease until it is told to stop; then revokes it, if the store can be reached.
    pub async fn run(mut self, stop: CancellationToken) {
        stop.run_until_cancelled(self.keep()).await;
        self.publish(None);
        let Some(held) = self.held else {
            return;
        };
        // Later it is gone anyway.
        match timeout(held.ttl, self.store.revoke(held.id)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the lease will expire by itself"),
            Err(_) => tracing::warn!("the lease was not revoked in time and has expired"),
        }
    }

    async fn keep(&mut self) {
        loop {
            let pause = match self.held {
                None => self.grant().await,
                Some(held) => self.renew(held).await,
            };
            if let Some(pause) = pause {
                // Not all services of a cluster are to come at the same time.
                let pause = pause.mul_f64(rand::random_range(0.7..1.0));
                self.watch_the_clock(sleep(pause)).await;
            }
        }
    }

    /// Returns how long to wait then.
    async fn grant(&mut self) -> Option<Duration> {
        let since = Instant::now();
        match self.store.grant(self.ttl).await {
            Ok(lease) => {
                self.hold(Held {
                    id: lease.id,
                    ttl: lease.ttl,
                    since,
                });
                Some(lease.ttl / 3)
            }
            Err(error) => {
                tracing::warn!(%error, "no lease was granted, trying again");
                Some(self.ttl / 10)
            }
        }
    }

    /// Returns how long to wait then.
    async fn renew(&mut self, held: Held) -> Option<Duration> {
        let since = Instant::now();
        let store = Arc::clone(&self.store);
        match self.watch_the_clock(store.keep_alive(held.id)).await {
            Ok(ttl) => {
                self.hold(Held { ttl, since, ..held });
                Some(ttl / 3)
            }
            Err(StoreError::LeaseLost { .. }) => {
                tracing::warn!("the lease was lost, asking for another");
                self.publish(None);
                self.held = None;
                None
            }
            Err(error) => {
                tracing::warn!(%error, "the lease was not kept alive, trying again");
                Some(held.ttl / 10)
            }
        }
    }

    /// Does something, and says meanwhile when the lease is no longer sure to live.
    async fn watch_the_clock<T>(&self, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        let Some(held) = self.held.filter(|_| self.published.borrow().is_some()) else {
            return work.await;
        };
        tokio::select! {
            biased;
            () = sleep_until(held.unsure()) => self.publish(None),
            done = &mut work => return done,
        }
        work.await
    }

    fn hold(&mut self, held: Held) {
        self.held = Some(held);
        // An answer that was long under way says little about now.
        if Instant::now() < held.unsure() {
            self.publish(Some(held.id));
        }
    }

    fn publish(&self, lease: Option<LeaseId>) {
        self.published.send_if_modified(|published| {
            let differs = *published != lease;
            *published = lease;
            differs
        });
    }
}

#[cfg(test)]
mod tests;
