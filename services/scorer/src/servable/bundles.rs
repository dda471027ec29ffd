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

    /// Finds a bundle, of which nothing but the manifest has been read if it is not in the cache. The `pinned` ones stay there
    /// whatever comes.
    ///
    /// # Errors
    /// When nobody has it, or it is corrupt wherever it is.
    pub(super) async fn find(
        &self,
        digest: Digest,
        pinned: BTreeSet<Digest>,
    ) -> Result<Found, BundleError> {
        if let Some(cache) = &self.cache {
            let opened = cache.opened().await?;
            opened.pin(pinned);
            if let Some(bundle) = opened.get(digest).await {
                cache.hits.fetch_add(1, Ordering::Relaxed);
                return Ok(Found::Here(bundle));
            }
            cache.misses.fetch_add(1, Ordering::Relaxed);
        }
        Ok(Found::Away(self.store.open(digest).await?))
    }

    /// Brings what was found into the cache, if there is one.
    ///
    /// # Errors
    /// When its bytes cannot be had or are corrupt, or there is no room for them.
    pub(super) async fn bring(&self, found: Found) -> Result<Bundle, BundleError> {
        match (found, &self.cache) {
            (Found::Away(bundle), Some(cache)) => Ok(cache.opened().await?.keep(&bundle).await?),
            (Found::Here(bundle) | Found::Away(bundle), _) => Ok(bundle),
        }
    }
}

/// A bundle, and where its files are.
pub(super) enum Found {
    /// On the scorer's own disk.
    Here(Bundle),
    /// In the bundle store.
    Away(Bundle),
}

impl Found {
    pub(super) fn bundle(&self) -> &Bundle {
        let (Self::Here(bundle) | Self::Away(bundle)) = self;
        bundle
    }
}

impl Cache {
    async fn opened(&self) -> Result<&BundleCache, CacheError> {
        let open = async || {
            let opened = BundleCache::open(&self.folder, self.max_bytes).await?;
            Ok(opened.with_max_bytes_per_second(self.max_bytes_per_second))
        };
        self.opened.get_or_try_init(open).await
    }
}
