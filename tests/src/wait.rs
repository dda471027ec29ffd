//! Waiting for a state, never for a time.

use std::fmt::Debug;
use std::future::Future;
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// How long anything in a test may take. Far more than it does, and far less than CI's patience.
const PATIENCE: Duration = Duration::from_secs(60);

/// Looks again and again until `look` gives a value, and panics with what it saw last when it never does.
pub async fn eventually<T, E: Debug, F: Future<Output = Result<T, E>>>(
    what: &str,
    mut look: impl FnMut() -> F,
) -> T {
    let begun = Instant::now();
    loop {
        match look().await {
            Ok(value) => return value,
            Err(seen) if begun.elapsed() > PATIENCE => {
                panic!("{what}: not within {PATIENCE:?}; last seen: {seen:?}")
            }
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    }
}
