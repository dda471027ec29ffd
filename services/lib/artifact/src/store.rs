//! The store of bundles.

mod config;
mod connect;
mod creation;
mod local;
mod staging;
mod sweep;

pub use config::{ConnectError, StoreConfig};
pub use sweep::{Sweep, SweepError, Swept};

pub(crate) use creation::{Creation, create};

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use decant_model::{Digest, Manifest, Signature, file};
use object_store::{ObjectStore, ObjectStoreExt};

use crate::limits::MAX_MANIFEST_BYTES;
use crate::{Bundle, BundleWriter, Limits, ReadError, Rejection, StorageError, layout, signature};
use staging::Staging;

/// A signature takes 202 bytes.
const MAX_SIGNATURE_BYTES: u64 = 1 << 10;

/// Bundles in an object store. Clones share it.
#[derive(Clone, Debug)]
pub struct BundleStore {
    objects: Arc<dyn ObjectStore>,
    creation: Arc<Creation>,
    staging: Staging,
}

impl BundleStore {
    /// The bundles of an object store.
    pub fn new(objects: Arc<dyn ObjectStore>) -> Self {
        Self {
            objects,
            creation: Arc::new(Creation::trusted()),
            staging: Staging::Unknown,
        }
    }

    /// The bundles of a local folder, which is made if there is none. Blocks.
    ///
    /// # Errors
    /// When the folder cannot be made or read.
    pub fn local(folder: &Path) -> Result<Self, StorageError> {
        let objects = Arc::new(local::open(folder)?);
        Ok(Self {
            staging: Staging::Folder(folder.to_owned()),
            ..Self::new(objects)
        })
    }

    /// Begins to write a bundle. Its manifest comes first and is checked at once; the files follow.
    ///
    /// # Errors
    /// When the manifest is not the one announced, makes no sense, or lists more than the limits allow.
    pub fn write(
        &self,
        announced: Digest,
        manifest: Bytes,
        limits: &Limits,
    ) -> Result<BundleWriter, Rejection> {
        if manifest.len() > MAX_MANIFEST_BYTES {
            return Err(Rejection::ManifestTooLarge {
                bytes: manifest.len(),
            });
        }
        let found = Digest::of(&manifest);
        if found != announced {
            return Err(Rejection::ManifestDigest {
                expected: announced,
                found,
            });
        }
        let parsed = Manifest::from_json(&manifest)?;
        limits.check(&parsed)?;
        Ok(BundleWriter::new(
            Arc::clone(&self.objects),
            Arc::clone(&self.creation),
            Bundle::new(Arc::clone(&self.objects), found, parsed, manifest),
        ))
    }

    /// Opens a bundle: reads its manifest and verifies it. The files are verified when they are read.
    ///
    /// # Errors
    /// When there is none, its manifest is corrupt, or the store fails.
    pub async fn open(&self, digest: Digest) -> Result<Bundle, ReadError> {
        let mut bundle = self.open_unsigned(digest).await?;
        bundle.set_signature(self.signature(digest).await?);
        Ok(bundle)
    }

    /// Opens a bundle without asking who vouches for it.
    async fn open_unsigned(&self, digest: Digest) -> Result<Bundle, ReadError> {
        let failed = || StorageError::at(format!("read {} of bundle {digest}", file::MANIFEST));
        let corrupt = |reason: String| ReadError::Manifest { digest, reason };
        let stored = match self.objects.get(&layout::manifest(&digest)).await {
            Err(object_store::Error::NotFound { .. }) => {
                return Err(ReadError::NotFound { digest });
            }
            stored => stored.map_err(failed())?,
        };
        // Looked at first, so that a file that grew for whatever reason is not read into memory.
        if stored.meta.size > MAX_MANIFEST_BYTES as u64 {
            return Err(corrupt(format!("it has {} bytes", stored.meta.size)));
        }
        let bytes = stored.bytes().await.map_err(failed())?;
        let found = Digest::of(&bytes);
        if found != digest {
            return Err(corrupt(format!("its digest is {found}")));
        }
        let manifest = Manifest::from_json(&bytes).map_err(|error| corrupt(error.to_string()))?;
        let objects = Arc::clone(&self.objects);
        Ok(Bundle::new(objects, digest, manifest, bytes))
    }

    pub(crate) fn objects(&self) -> &dyn ObjectStore {
        &*self.objects
    }

    pub(crate) fn shared_objects(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.objects)
    }

    /// Removes every upload in the making. For a store that nobody else writes to.
    pub(crate) async fn remove_staged(&self) -> Result<(), StorageError> {
        self.staging
            .remove(SystemTime::now(), false)
            .await
            .map(drop)
    }

    /// The signature beside a manifest. It was written before the manifest, so that whoever sees that sees it too.
    async fn signature(&self, digest: Digest) -> Result<Option<Signature>, ReadError> {
        let failed = || StorageError::at(format!("read the signature of bundle {digest}"));
        let corrupt = |reason: String| ReadError::Signature { digest, reason };
        let stored = match self.objects.get(&layout::signature(&digest)).await {
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            stored => stored.map_err(failed())?,
        };
        if stored.meta.size > MAX_SIGNATURE_BYTES {
            return Err(corrupt(format!("it has {} bytes", stored.meta.size)));
        }
        let bytes = stored.bytes().await.map_err(failed())?;
        signature::from_file(&bytes).map(Some).map_err(corrupt)
    }
}
