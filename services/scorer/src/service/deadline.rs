//! When the caller stops waiting.

use std::time::{Duration, Instant};

use decant_chassis::server;
use tonic::metadata::MetadataMap;

/// How much sooner than the caller we stop, so that an answer that says why still finds it waiting.
const AHEAD: Duration = Duration::from_millis(2);

/// The deadline in the `grpc-timeout` header; `None` without one, or with one that does not parse.
pub(crate) fn deadline(metadata: &MetadataMap) -> Option<Instant> {
    let timeout = server::timeout(metadata.as_ref())?;
    Instant::now().checked_add(timeout.saturating_sub(AHEAD))
}
