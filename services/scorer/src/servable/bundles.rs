//! Where bundles come from: the bundle store, through a cache on the scorer's own disk if one is configured.

use std::collections::BTreeSet;
use std::path::PathBuf;

use decant_artifact::{Bundle, BundleCache, BundleStore, CacheError, ReadError};
use decant_model::Digest;
use thiserror::Error;
use tokio::sync::OnceCell;

use crate::config::CacheConfig;

/// Gives out bundles.
pub(crate) struct Bundles {
    store: BundleStore,
    cache: Option<Cache>,
}

/// Why there is no bundle.
#[derive(Debug, Error)]
pub(crate) enum BundleError {
    #[error(transparent)]
    Store(#[from] ReadError),
    #[error(transparent)]
    Cache(#[from] CacheError),
}

impl BundleError {
    /// Whether the stored bundle itself is at fault.
    pub(super) fn is_corruption(&self) -> bool {
        match self {
            BundleError::Store(error) | BundleError::Cache(CacheError::Remote(error)) => {
                error.is_corruption()
            }
            BundleError::Cache(_) => false,
        }
    }
}

/// A cache that is opened when it is needed first, off the runtime that serves. If it cannot be opened, nothing is loaded
/// rather than something that a restart would miss.
struct Cache {
    folder: PathBuf,
    max_bytes: u64,
    max_bytes_per_second: Option<u64>,
    opened: OnceCell<BundleCache>,
}

impl Bundles {
    /// Straight from the store.
    pub(crate) fn uncached(store: BundleStore) -> Self {
        Self { store, cache: None }
    }

    /// Through a cache in this folder.
    pub(crate) fn cached(store: BundleStore, folder: PathBuf, config: &CacheConfig) -> Self {
        let cache = Cache {
            folder,
            max_bytes: config.max_bytes,
            max_bytes_per_second: (config.max_bytes_per_second > 0)
                .then_some(config.max_bytes_per_second),
            opened: OnceCell::new(),
        };
        Self {
            store,
            cache: Some(cache),
        }
    }

    /// A bundle. The `pinned` ones stay in the cache whatever comes.
    ///
    /// # Errors
    /// When nobody has it, or it is corrupt wherever it is, or there is no room for it.
    pub(super) async fn fetch(
        &self,
        digest: Digest,
        pinned: BTreeSet<Digest>,
    ) -> Result<Bundle, BundleError> {
        let Some(cache) = &self.cache else {
            return Ok(self.store.open(digest).await?);
        };
        let open = async || {
            let opened = BundleCache::open(&cache.folder, cache.max_bytes).await?;
            Ok::<_, CacheError>(opened.with_max_bytes_per_second(cache.max_bytes_per_second))
        };
        let opened = cache.opened.get_or_try_init(open).await?;
        opened.pin(pinned);
        Ok(opened.fetch(&self.store, digest).await?)
    }
}
