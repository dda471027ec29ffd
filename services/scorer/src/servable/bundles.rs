//! Where bundles come from: the bundle store, through a cache on the scorer's own disk if one is configured.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use decant_artifact::{Bundle, BundleCache, BundleStore, CacheError, ReadError};
use decant_model::Digest;
use thiserror::Error;
use tokio::sync::OnceCell;

use crate::config::CacheConfig;

/// Gives out bundles.
pub(crate) struct Bundles {
    store: BundleStore,
    cache: Option<Arc<Cache>>,
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
    hits: AtomicU64,
    misses: AtomicU64,
}

/// Sees how the cache does, as long as there is one.
#[derive(Clone)]
pub(crate) struct CacheWatch {
    cache: Weak<Cache>,
}

impl CacheWatch {
    /// What bundles take in it; none before it was opened.
    pub(crate) fn bytes(&self) -> Option<u64> {
        Some(self.cache.upgrade()?.opened.get()?.bytes())
    }

    /// How many bundles were there when they were asked for, and how many were not.
    pub(crate) fn lookups(&self) -> Option<(u64, u64)> {
        let cache = self.cache.upgrade()?;
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Some((count(&cache.hits), count(&cache.misses)))
    }
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
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
        };
        Self {
            store,
            cache: Some(Arc::new(cache)),
        }
    }

    /// Sees how the cache does, if there is to be one.
    pub(crate) fn watch(&self) -> Option<CacheWatch> {
        let cache = Arc::downgrade(self.cache.as_ref()?);
        Some(CacheWatch { cache })
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
        if let Some(bundle) = opened.get(digest).await {
            cache.hits.fetch_add(1, Ordering::Relaxed);
            return Ok(bundle);
        }
        cache.misses.fetch_add(1, Ordering::Relaxed);
        Ok(opened.fetch(&self.store, digest).await?)
    }
}
