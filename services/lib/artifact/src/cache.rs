//! Bundles on a scorer's own disk, so that it starts and serves with the object store away.
//!
//! The folder is laid out as a bundle store is, and files that bundles share lie there once. Every byte is compared with its
//! digest on the way in and at each read. A manifest appears only after all its files, each of which appears only when it is
//! whole; so what a crash cuts off is no bundle, and is removed when the cache is opened again.

mod pace;
mod shelf;

use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use decant_model::Digest;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path as ObjectPath;
use object_store::{ObjectStore, ObjectStoreExt};
use thiserror::Error;

use crate::layout::{self, Place};
use crate::upload::Upload;
use crate::{Bundle, BundleStore, ReadError, StorageError, WriteError};
use pace::Pace;
use shelf::{Kept, Shelf};

/// Bytes of a file that are held in memory before they go to disk.
const PART_BYTES: usize = 1 << 20;
/// Held for as long as a process uses the folder.
const LOCK: &str = ".lock";

/// Why a bundle is not in the cache.
#[derive(Debug, Error)]
pub enum CacheError {
    /// The bundle store could not give it.
    #[error(transparent)]
    Remote(#[from] ReadError),
    /// It does not fit beside what must stay. Nothing was downloaded.
    #[error(
        "bundle {digest} of {bytes} bytes does not fit into the cache: of its {limit} bytes, pinned bundles take {pinned}"
    )]
    TooLarge {
        /// The bundle.
        digest: Digest,
        /// What it would add to the pinned ones.
        bytes: u64,
        /// What the pinned ones take.
        pinned: u64,
        /// What all may take.
        limit: u64,
    },
    /// The disk is full. Nothing of the bundle was left there.
    #[error("the disk of the bundle cache {} is full: {source}", .folder.display())]
    DiskFull {
        /// The cache's folder.
        folder: PathBuf,
        /// What was being written.
        source: StorageError,
    },
    /// The disk failed otherwise.
    #[error("the bundle cache {} failed: {source}", .folder.display())]
    Disk {
        /// The cache's folder.
        folder: PathBuf,
        /// Why.
        source: StorageError,
    },
    /// Another process works with the folder.
    #[error("the bundle cache {} is in use by another process", .folder.display())]
    InUse {
        /// The cache's folder.
        folder: PathBuf,
    },
}

impl CacheError {
    /// Whether the same may succeed a little later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Remote(ReadError::Storage(error)) if error.is_transient())
    }
}

/// The cache. Clones share it; a second process is kept out of its folder.
#[derive(Clone, Debug)]
pub struct BundleCache {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    folder: PathBuf,
    store: BundleStore,
    max_bytes: u64,
    pace: Pace,
    shelf: Mutex<Shelf>,
    /// Held while a bundle is downloaded. One at a time: they share the disk's room and the permitted rate, and who waits
    /// for the same bundle finds it there.
    download: tokio::sync::Mutex<()>,
    _lock: File,
}

impl BundleCache {
    /// Opens the cache in a folder, which is made if there is none. It holds so many bytes.
    ///
    /// # Errors
    /// When the folder cannot be used, or another process uses it.
    pub async fn open(folder: &Path, max_bytes: u64) -> Result<Self, CacheError> {
        let owned = folder.to_owned();
        let opened = tokio::task::spawn_blocking(move || {
            let lock = lock(&owned)?;
            let store = BundleStore::local(&owned).map_err(failed(&owned))?;
            Ok((lock, store))
        });
        let (lock, store) = opened.await.unwrap_or_else(|error| {
            Err(failed(folder)(StorageError::of_folder("open it")(
                error.into(),
            )))
        })?;
        Self::over(folder, store, lock, max_bytes).await
    }

    /// The cache in a folder, through a store that lies there.
    async fn over(
        folder: &Path,
        store: BundleStore,
        lock: File,
        max_bytes: u64,
    ) -> Result<Self, CacheError> {
        let cache = Self {
            shared: Arc::new(Shared {
                folder: folder.to_owned(),
                store,
                max_bytes,
                pace: Pace::default(),
                shelf: Mutex::default(),
                download: tokio::sync::Mutex::default(),
                _lock: lock,
            }),
        };
        cache.shared.take_stock().await.map_err(failed(folder))?;
        Ok(cache)
    }

    /// Downloads no faster than this; none is as fast as it goes. To be called before the cache is shared.
    #[must_use]
    pub fn with_max_bytes_per_second(mut self, limit: Option<u64>) -> Self {
        if let Some(shared) = Arc::get_mut(&mut self.shared) {
            shared.pace = Pace::new(limit);
        }
        self
    }

    /// A bundle, from the disk or else from a store. All its files are there and right when it is returned. What is found
    /// corrupt on the disk is removed and downloaded anew; if the store's own bytes are corrupt, that is the error.
    ///
    /// A bundle that is not pinned may be evicted by a later fetch, and its files can then not be read any more.
    ///
    /// # Errors
    /// When it is in neither place, does not fit, or the store or the disk fails. Nothing of it is left on the disk then.
    pub async fn fetch(&self, store: &BundleStore, digest: Digest) -> Result<Bundle, CacheError> {
        if let Some(bundle) = self.get(digest).await {
            return Ok(bundle);
        }
        let _turn = self.shared.download.lock().await;
        // Whoever had the turn before may have brought it.
        match self.get(digest).await {
            Some(bundle) => Ok(bundle),
            None => self.shared.download(&store.open(digest).await?).await,
        }
    }

    /// The same of a bundle that was found in a store.
    ///
    /// # Errors
    /// As [`fetch`](Self::fetch).
    pub async fn keep(&self, remote: &Bundle) -> Result<Bundle, CacheError> {
        let _turn = self.shared.download.lock().await;
        match self.get(remote.digest()).await {
            Some(bundle) => Ok(bundle),
            None => self.shared.download(remote).await,
        }
    }

    /// A bundle, if it is on the disk and every byte of it is right; no store is asked. Counts as a use. What is found
    /// corrupt is removed.
    pub async fn get(&self, digest: Digest) -> Option<Bundle> {
        if !self.shared.shelf().holds(digest) {
            return None;
        }
        let bundle = self.shared.verified(digest).await?;
        self.shared.touch(digest);
        Some(bundle)
    }

    /// Makes these the bundles that are never evicted, whether they are there already or not.
    pub fn pin(&self, digests: BTreeSet<Digest>) {
        self.shared.shelf().pin(digests);
    }

    /// The bundles that are there.
    pub fn bundles(&self) -> BTreeSet<Digest> {
        self.shared.shelf().digests().collect()
    }

    /// The bytes that they take.
    pub fn bytes(&self) -> u64 {
        self.shared.shelf().bytes()
    }
}

impl Shared {
    /// Never held across an await.
    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn objects(&self) -> &dyn ObjectStore {
        self.store.objects()
    }

    /// Puts what is on the disk on the shelf, the last use of each bundle being its manifest's time.
    async fn take_stock(&self) -> Result<(), StorageError> {
        self.store.remove_staged().await?;
        for (path, place, used) in self.listed(&layout::bundles()).await? {
            let Place::Manifest(digest) = place else {
                continue;
            };
            match self.store.open(digest).await {
                Ok(bundle) => self.shelf().put(digest, Kept::new(&bundle, used)),
                // It may be whole, and the only copy within reach: whoever opens the cache tries again.
                Err(ReadError::Storage(error)) => return Err(error),
                Err(error) => {
                    tracing::warn!(%digest, %error, "removing a cached bundle that cannot be opened");
                    self.remove(&path).await?;
                }
            }
        }
        self.remove_strays(None).await
    }

    /// The bundle on the disk, after every byte was compared. What is wrong is removed.
    async fn verified(&self, digest: Digest) -> Option<Bundle> {
        let bundle = match self.store.open(digest).await {
            Ok(bundle) => bundle,
            Err(error) => {
                if error.is_corruption() {
                    self.quarantine(&layout::manifest(&digest), &error).await;
                    self.quarantine(&layout::signature(&digest), &error).await;
                    self.shelf().take(digest);
                } else {
                    tracing::warn!(%digest, %error, "a cached bundle cannot be opened");
                }
                return None;
            }
        };
        if let Some(signature) = bundle.signature()
            && let Err(reason) = crate::verify(bundle.manifest_bytes(), signature)
        {
            let error = ReadError::Signature {
                digest,
                reason: reason.to_string(),
            };
            self.quarantine(&layout::manifest(&digest), &error).await;
            self.quarantine(&layout::signature(&digest), &error).await;
            self.shelf().take(digest);
            return None;
        }
        let mut whole = true;
        for (path, entry) in &bundle.manifest().files {
            if let Err(error) = bundle.verify_file(path).await {
                whole = false;
                if error.is_corruption() {
                    self.quarantine(&layout::blob(&entry.sha256), &error).await;
                }
            }
        }
        whole.then_some(bundle)
    }

    async fn quarantine(&self, path: &ObjectPath, error: &ReadError) {
        tracing::warn!(%path, %error, "removing a cached file that is not right");
        if let Err(error) = self.remove(path).await {
            tracing::warn!(%path, %error, "a cached file could not be removed");
        }
    }

    async fn download(&self, remote: &Bundle) -> Result<Bundle, CacheError> {
        let digest = remote.digest();
        let incoming = Kept::new(remote, SystemTime::now());
        let evicted = self.shelf().make_room(digest, &incoming, self.max_bytes)?;
        for digest in &evicted {
            tracing::info!(%digest, "evicting a bundle from the cache");
        }
        // Manifests first, and files only when no bundle that stays, or comes, needs them.
        self.remove_strays(Some(&incoming))
            .await
            .map_err(failed(&self.folder))?;
        let local = remote.lying_in(&self.store);
        if let Err(error) = self.fill(remote, &local).await {
            if let Err(error) = self.remove_strays(None).await {
                tracing::warn!(%digest, %error, "what was downloaded of a bundle could not be removed");
            }
            return Err(error);
        }
        self.shelf().put(digest, incoming);
        self.touch(digest);
        Ok(local)
    }

    async fn fill(&self, remote: &Bundle, local: &Bundle) -> Result<(), CacheError> {
        let mut paced = self.pace.begin();
        for (path, entry) in &remote.manifest().files {
            // Another bundle may have brought it.
            if local.verify_file(path).await.is_ok() {
                continue;
            }
            let upload = Upload::begin(self.objects(), path.clone(), *entry, PART_BYTES).await;
            let mut upload = upload.map_err(failed(&self.folder))?;
            let copied = async {
                let mut chunks = remote.stream_file(path);
                while let Some(chunk) = chunks.try_next().await? {
                    paced.took(chunk.len() as u64).await;
                    upload
                        .take(chunk)
                        .await
                        .map_err(|error| self.not_written(error))?;
                }
                upload
                    .prove()
                    .await
                    .map_err(|error| self.not_written(error))?;
                upload.complete().await.map_err(failed(&self.folder))
            };
            if let Err(error) = copied.await {
                upload.abort().await;
                return Err(error);
            }
        }
        let digest = remote.digest();
        if let Some(signature) = remote.signature() {
            let text = Bytes::from(format!("{signature}\n"));
            self.put(&layout::signature(&digest), text).await?;
        }
        self.put(&layout::manifest(&digest), remote.manifest_bytes().clone())
            .await
    }

    async fn put(&self, path: &ObjectPath, content: Bytes) -> Result<(), CacheError> {
        let put = self.objects().put(path, content.into()).await;
        put.map(drop)
            .map_err(StorageError::at(format!("write {path}")))
            .map_err(failed(&self.folder))
    }

    /// Removes what no bundle on the shelf needs, nor the one that comes.
    async fn remove_strays(&self, incoming: Option<&Kept>) -> Result<(), StorageError> {
        for prefix in [layout::bundles(), layout::blobs()] {
            for (path, place, _) in self.listed(&prefix).await? {
                let needed = match place {
                    Place::Manifest(digest) | Place::Signature(digest) => {
                        self.shelf().holds(digest)
                    }
                    Place::Blob(blob) => {
                        self.shelf().needs(blob) || incoming.is_some_and(|kept| kept.needs(blob))
                    }
                };
                if !needed {
                    self.remove(&path).await?;
                }
            }
        }
        Ok(())
    }

    async fn listed(
        &self,
        prefix: &ObjectPath,
    ) -> Result<Vec<(ObjectPath, Place, SystemTime)>, StorageError> {
        let listed = self.objects().list(Some(prefix));
        let ours = listed.try_filter_map(async |meta| {
            let place = layout::place(&meta.location);
            Ok(place.map(|place| (meta.location, place, SystemTime::from(meta.last_modified))))
        });
        let listed = ours.boxed().try_collect().await;
        listed.map_err(StorageError::at("list the cache"))
    }

    async fn remove(&self, path: &ObjectPath) -> Result<(), StorageError> {
        match self.objects().delete(path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(StorageError::at(format!("remove {path}"))(error)),
        }
    }

    /// Notes a use, also for after a restart.
    fn touch(&self, digest: Digest) {
        let used = self.shelf().touch(digest);
        let path = self.folder.join(layout::manifest(&digest).as_ref());
        let touched = File::options()
            .write(true)
            .open(&path)
            .and_then(|file| file.set_modified(used));
        if let Err(error) = touched {
            // Evicted at this moment, or a disk that is read-only; the order of uses is not worth more.
            tracing::debug!(%digest, %error, "the last use of a cached bundle was not noted");
        }
    }

    /// What comes is compared before it is written, so that only the disk is left to fail.
    fn not_written(&self, error: WriteError) -> CacheError {
        let source = match error {
            WriteError::Storage(source) => source,
            WriteError::Rejected(rejection) => {
                StorageError::corrupt("write a file", rejection.to_string())
            }
        };
        failed(&self.folder)(source)
    }
}

fn failed(folder: &Path) -> impl Fn(StorageError) -> CacheError {
    move |source| {
        let folder = folder.to_owned();
        if source.is_full_disk() {
            CacheError::DiskFull { folder, source }
        } else {
            CacheError::Disk { folder, source }
        }
    }
}

/// Keeps other processes out of the folder; the lock goes with the process, however that ends.
fn lock(folder: &Path) -> Result<File, CacheError> {
    let path = folder.join(LOCK);
    let action = format!("lock {}", path.display());
    let created = fs::create_dir_all(folder).and_then(|()| File::create(&path));
    let file = created.map_err(|error| failed(folder)(StorageError::of_folder(&action)(error)))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(CacheError::InUse {
            folder: folder.to_owned(),
        }),
        Err(TryLockError::Error(error)) => {
            Err(failed(folder)(StorageError::of_folder(action)(error)))
        }
    }
}

#[cfg(test)]
mod tests;
