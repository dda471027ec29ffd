//! The store of bundles.

mod local;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use decant_model::{Digest, Manifest, file};
use object_store::{ObjectStore, ObjectStoreExt};

use crate::layout;
use crate::limits::MAX_MANIFEST_BYTES;
use crate::{Bundle, BundleWriter, Limits, ReadError, Rejection, StorageError};

/// Bundles in an object store. Clones share it.
#[derive(Clone, Debug)]
pub struct BundleStore {
    objects: Arc<dyn ObjectStore>,
}

impl BundleStore {
    /// The bundles of an object store.
    pub fn new(objects: Arc<dyn ObjectStore>) -> Self {
        Self { objects }
    }

    /// The bundles of a local folder, which is made if there is none. Blocks.
    ///
    /// # Errors
    /// When the folder cannot be made or read.
    pub fn local(folder: &Path) -> Result<Self, StorageError> {
        Ok(Self::new(Arc::new(local::open(folder)?)))
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
            Bundle::new(Arc::clone(&self.objects), found, parsed, manifest),
        ))
    }

    /// Opens a bundle: reads its manifest and verifies it. The files are verified when they are read.
    ///
    /// # Errors
    /// When there is none, its manifest is corrupt, or the store fails.
    pub async fn open(&self, digest: Digest) -> Result<Bundle, ReadError> {
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
        Ok(Bundle::new(
            Arc::clone(&self.objects),
            digest,
            manifest,
            bytes,
        ))
    }
}
