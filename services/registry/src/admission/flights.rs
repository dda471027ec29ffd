//! The bundles that are being pushed here and now: nothing refers to them yet, and still they are wanted.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use decant_model::Digest;

/// Bundles on their way. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Flights {
    digests: Arc<Mutex<BTreeMap<Digest, usize>>>,
}

/// One push. Dropped when it is over.
pub(crate) struct Flight {
    flights: Flights,
    digest: Digest,
}

impl Flights {
    pub(crate) fn enter(&self, digest: Digest) -> Flight {
        *self.lock().entry(digest).or_default() += 1;
        Flight {
            flights: self.clone(),
            digest,
        }
    }

    pub(crate) fn digests(&self) -> Vec<Digest> {
        self.lock().keys().copied().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Digest, usize>> {
        self.digests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let mut digests = self.flights.lock();
        if let Some(count) = digests.get_mut(&self.digest) {
            *count -= 1;
            if *count == 0 {
                digests.remove(&self.digest);
            }
        }
    }
}
