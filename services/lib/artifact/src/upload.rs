//! One file on its way into an object store: out of sight until every byte of it has proved right.

use bytes::Bytes;
use decant_model::{BundlePath, FileEntry, Hasher};
use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt, PutPayload};

use crate::{Rejection, StorageError, WriteError, layout};

/// Bytes that go to the object store at once; S3 takes no parts under 5 MiB, but for the last.
pub(crate) const PART_BYTES: usize = 8 << 20;

/// One file on its way.
pub(crate) struct Upload {
    path: BundlePath,
    entry: FileEntry,
    object: Box<dyn MultipartUpload>,
    hasher: Hasher,
    received: u64,
    /// How large a part is sent.
    limit: usize,
    part: Vec<Bytes>,
    part_bytes: usize,
    parts: usize,
}

impl Upload {
    /// Begins the upload of a file, in parts of so many bytes.
    pub(crate) async fn begin(
        objects: &dyn ObjectStore,
        path: BundlePath,
        entry: FileEntry,
        limit: usize,
    ) -> Result<Self, StorageError> {
        let object = objects.put_multipart(&layout::blob(&entry.sha256)).await;
        let object = object.map_err(StorageError::at(format!("begin the upload of `{path}`")))?;
        Ok(Self {
            path,
            entry,
            object,
            hasher: Hasher::default(),
            received: 0,
            limit,
            part: Vec::new(),
            part_bytes: 0,
            parts: 0,
        })
    }

    /// Which file it is.
    pub(crate) fn path(&self) -> &BundlePath {
        &self.path
    }

    /// Whether as many bytes came as the manifest says.
    pub(crate) fn is_whole(&self) -> bool {
        self.received == self.entry.size
    }

    /// Takes the next bytes.
    pub(crate) async fn take(&mut self, bytes: Bytes) -> Result<(), WriteError> {
        let received = self.received.saturating_add(bytes.len() as u64);
        if received > self.entry.size {
            return Err(Rejection::TooLong {
                path: self.path.clone(),
                expected: self.entry.size,
            }
            .into());
        }
        self.received = received;
        self.hasher.update(&bytes);
        self.part_bytes += bytes.len();
        self.part.push(bytes);
        if self.part_bytes >= self.limit {
            self.send_part().await?;
        }
        // At once and not with the next file: the sender hears of it sooner.
        if self.is_whole() {
            self.check_digest()
        } else {
            Ok(())
        }
    }

    async fn send_part(&mut self) -> Result<(), StorageError> {
        let part = PutPayload::from_iter(std::mem::take(&mut self.part));
        self.part_bytes = 0;
        self.parts += 1;
        let sent = self.object.put_part(part).await;
        sent.map_err(StorageError::at(format!("upload `{}`", self.path)))
    }

    fn check_digest(&self) -> Result<(), WriteError> {
        let found = self.hasher.clone().finish();
        if found != self.entry.sha256 {
            let (path, expected) = (self.path.clone(), self.entry.sha256);
            return Err(Rejection::FileDigest {
                path,
                expected,
                found,
            }
            .into());
        }
        Ok(())
    }

    /// Checks that the whole file is there and right, and sends the rest of it.
    pub(crate) async fn prove(&mut self) -> Result<(), WriteError> {
        if !self.is_whole() {
            let (found, expected) = (self.received, self.entry.size);
            return Err(Rejection::Incomplete {
                path: self.path.clone(),
                found,
                expected,
            }
            .into());
        }
        self.check_digest()?;
        // An object needs a part, even if it is empty.
        if self.part_bytes > 0 || self.parts == 0 {
            self.send_part().await?;
        }
        Ok(())
    }

    /// Makes the file visible. It was proved before.
    pub(crate) async fn complete(&mut self) -> Result<(), StorageError> {
        let completed = self.object.complete().await;
        let action = format!("complete the upload of `{}`", self.path);
        completed.map(drop).map_err(StorageError::at(action))
    }

    /// Takes back what was sent.
    pub(crate) async fn abort(mut self) {
        if let Err(error) = self.object.abort().await {
            // The caller has a better error to report, and what remains is out of sight until a sweep removes it.
            tracing::warn!(path = %self.path, %error, "an upload could not be taken back");
        }
    }
}
