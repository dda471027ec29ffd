//! Reading a bundle. Every byte is compared with the digest before the last of its file is handed out.

mod stored;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use decant_model::{BundlePath, Digest, FileEntry, Hasher, Manifest, Signature};
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use object_store::{ObjectStore, ObjectStoreExt};

use crate::layout;
use crate::{BundleStore, ReadError, StorageError};

/// Size of the chunks in which files are handed out. Object stores have their own, which may be tiny.
pub const CHUNK_BYTES: usize = 256 << 10;

/// A bundle whose manifest is verified.
#[derive(Clone, Debug)]
pub struct Bundle {
    objects: Arc<dyn ObjectStore>,
    digest: Digest,
    manifest: Arc<Manifest>,
    manifest_bytes: Bytes,
    signature: Option<Signature>,
}

impl Bundle {
    pub(crate) fn new(
        objects: Arc<dyn ObjectStore>,
        digest: Digest,
        manifest: Manifest,
        manifest_bytes: Bytes,
    ) -> Self {
        Self {
            objects,
            digest,
            manifest: Arc::new(manifest),
            manifest_bytes,
            signature: None,
        }
    }

    /// The same bundle, its files read from another store.
    pub(crate) fn lying_in(&self, store: &BundleStore) -> Self {
        Self {
            objects: store.shared_objects(),
            ..self.clone()
        }
    }

    pub(crate) fn set_signature(&mut self, signature: Option<Signature>) {
        self.signature = signature;
    }

    /// The digest of the manifest's bytes: the bundle's identity.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// What the bundle consists of.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// `manifest.json`, byte for byte.
    pub fn manifest_bytes(&self) -> &Bytes {
        &self.manifest_bytes
    }

    /// Who vouches for the bundle. It is only text until [`check_signer`] has looked at it.
    ///
    /// [`check_signer`]: crate::check_signer
    pub fn signature(&self) -> Option<&Signature> {
        self.signature.as_ref()
    }

    /// Reads every file and compares its size and digest; memory holds a few chunks of one.
    ///
    /// # Errors
    /// The first file that is not as the manifest says, or that the store failed.
    pub async fn verify(&self) -> Result<(), ReadError> {
        for path in self.manifest.files.keys() {
            self.verify_file(path).await?;
        }
        Ok(())
    }

    /// Reads a file and compares its size and digest.
    pub(crate) async fn verify_file(&self, path: &BundlePath) -> Result<(), ReadError> {
        let mut chunks = self.stream_file(path);
        while chunks.try_next().await?.is_some() {}
        Ok(())
    }

    /// A file, whole.
    ///
    /// # Errors
    /// When the bundle has no such file, the stored bytes are not those that the manifest says, or the store fails.
    pub async fn read_file(&self, path: &BundlePath) -> Result<Bytes, ReadError> {
        let mut chunks = self.stream_file(path);
        let mut whole = Vec::new();
        while let Some(chunk) = chunks.try_next().await? {
            whole.extend_from_slice(&chunk);
        }
        Ok(whole.into())
    }

    /// All files, whole. For bundles that fit into memory, as students do.
    ///
    /// # Errors
    /// As [`Bundle::read_file`].
    pub async fn read_all(&self) -> Result<BTreeMap<BundlePath, Bytes>, ReadError> {
        let mut files = BTreeMap::new();
        for path in self.manifest.files.keys() {
            files.insert(path.clone(), self.read_file(path).await?);
        }
        Ok(files)
    }

    /// A file in chunks of about [`CHUNK_BYTES`]. The last chunk comes only after the digest of the whole was compared, so that a file that is
    /// corrupt is never complete.
    pub fn stream_file(
        &self,
        path: &BundlePath,
    ) -> impl Stream<Item = Result<Bytes, ReadError>> + Send + Unpin + use<> {
        let reader = Reader {
            bundle: self.clone(),
            path: path.clone(),
        };
        stream::once(reader.begin()).try_flatten().boxed()
    }
}

/// Reads one file.
struct Reader {
    bundle: Bundle,
    path: BundlePath,
}

/// A file whose bytes are being compared.
struct Verified {
    reader: Reader,
    expected: FileEntry,
    chunks: BoxStream<'static, object_store::Result<Bytes>>,
    hasher: Hasher,
    found: u64,
    /// The newest bytes, held back until it is known that they are not the last.
    held_back: BytesMut,
}

impl Reader {
    async fn begin(
        self,
    ) -> Result<impl Stream<Item = Result<Bytes, ReadError>> + Send + 'static, ReadError> {
        let Some(&expected) = self.bundle.manifest.files.get(&self.path) else {
            return Err(ReadError::NoFile {
                digest: self.bundle.digest,
                path: self.path,
            });
        };
        let stored = match self
            .bundle
            .objects
            .get(&layout::blob(&expected.sha256))
            .await
        {
            Err(object_store::Error::NotFound { .. }) => {
                return Err(ReadError::Missing {
                    digest: self.bundle.digest,
                    path: self.path,
                });
            }
            stored => stored.map_err(self.failed())?,
        };
        if stored.meta.size != expected.size {
            return Err(self.wrong_size(&expected, stored.meta.size));
        }
        let verified = Verified {
            reader: self,
            expected,
            chunks: stored::bytes(stored),
            hasher: Hasher::default(),
            found: 0,
            held_back: BytesMut::new(),
        };
        Ok(stream::try_unfold(Some(verified), Verified::next))
    }

    fn failed(&self) -> impl FnOnce(object_store::Error) -> StorageError {
        StorageError::at(format!(
            "read file `{}` of bundle {}",
            self.path, self.bundle.digest
        ))
    }

    fn wrong_size(&self, expected: &FileEntry, found: u64) -> ReadError {
        ReadError::Size {
            digest: self.bundle.digest,
            path: self.path.clone(),
            expected: expected.size,
            found,
        }
    }
}

impl Verified {
    /// One step of the stream: a chunk, and what is left to do.
    async fn next(this: Option<Self>) -> Result<Option<(Bytes, Option<Self>)>, ReadError> {
        let Some(mut this) = this else {
            return Ok(None);
        };
        while let Some(chunk) = this.chunks.try_next().await.map_err(this.reader.failed())? {
            this.hasher.update(&chunk);
            this.found += chunk.len() as u64;
            let ready =
                (this.held_back.len() >= CHUNK_BYTES).then(|| this.held_back.split().freeze());
            this.held_back.extend_from_slice(&chunk);
            if let Some(ready) = ready {
                return Ok(Some((ready, Some(this))));
            }
        }
        let last = this.held_back.split().freeze();
        this.verify()?;
        Ok((!last.is_empty()).then_some((last, None)))
    }

    fn verify(self) -> Result<(), ReadError> {
        if self.found != self.expected.size {
            return Err(self.reader.wrong_size(&self.expected, self.found));
        }
        let found = self.hasher.finish();
        if found != self.expected.sha256 {
            let (digest, path) = (self.reader.bundle.digest, self.reader.path);
            return Err(ReadError::Digest {
                digest,
                path,
                expected: self.expected.sha256,
                found,
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
