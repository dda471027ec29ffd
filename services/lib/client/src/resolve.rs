//! Where the scorers are: a name that is looked up again and again.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::time::{sleep, timeout};

use crate::connect::Address;
use crate::pool::Pool;

/// A look-up may take this long.
const PATIENCE: Duration = Duration::from_secs(5);
/// Looking up more often than this would not find anything new.
const SOONEST: Duration = Duration::from_secs(1);

/// Finds the addresses of all scorers.
#[tonic::async_trait]
pub trait Resolver: Send + Sync + 'static {
    /// All addresses as they are now, in any order.
    ///
    /// # Errors
    /// When they cannot be found. The client then goes on with those that it has, as it does when there are none.
    async fn resolve(&self) -> io::Result<Vec<SocketAddr>>;
}

/// The system's own look-up of `host:port`.
pub(crate) struct Dns(pub(crate) String);

#[tonic::async_trait]
impl Resolver for Dns {
    async fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        Ok(lookup_host(&self.0).await?.collect())
    }
}

/// Looks up the addresses now, then every so often, and sooner when a connection breaks: where there was one scorer there
/// may be another by now.
pub(crate) async fn keep_resolving(
    pool: Arc<Pool>,
    name: String,
    resolver: Box<dyn Resolver>,
    every: Duration,
) {
    let mut found = Vec::new();
    loop {
        match look_up(resolver.as_ref()).await {
            Ok(addresses) => {
                if addresses != found {
                    tracing::info!(name, scorers = addresses.len(), "found the scorers");
                    pool.replace(&addresses);
                    found = addresses;
                }
            }
            Err(reason) => {
                tracing::warn!(name, reason, "could not look up the scorers");
                pool.unresolved(format!("looking up `{name}`: {reason}"));
            }
        }
        sleep(SOONEST.min(every)).await;
        if found.is_empty() {
            continue;
        }
        // Clients that began together do not look up together for ever.
        let rest = every
            .saturating_sub(SOONEST)
            .mul_f64(rand::random_range(0.8..1.0));
        // Whether the time is up or a connection broke, the next thing to do is the same.
        let _ = timeout(rest, pool.breakage()).await;
    }
}

async fn look_up(resolver: &dyn Resolver) -> Result<Vec<Address>, String> {
    let found = timeout(PATIENCE, resolver.resolve())
        .await
        .map_err(|_| format!("no answer within {PATIENCE:?}"))?;
    let mut found = found.map_err(|error| error.to_string())?;
    if found.is_empty() {
        return Err("it has no address".to_owned());
    }
    found.sort_unstable();
    found.dedup();
    let addresses = found
        .iter()
        .map(|address| Address::parse(&format!("http://{address}")));
    addresses.collect()
}
