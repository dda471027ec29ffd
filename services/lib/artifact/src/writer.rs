//! Writing a bundle: the files come in the order of their paths, each in chunks of any size. All are uploaded out of sight;
//! only when every byte of the bundle has proved right do they appear, and the manifest after them. Memory holds one part.

use std::sync::Arc;
use std::vec;

use bytes::Bytes;
use decant_model::{BundlePath, FileEntry, Hasher};
use object_store::{MultipartUpload, ObjectStore, ObjectStoreExt, PutMode, PutPayload};

use crate::layout;
use crate::{Bundle, Rejection, StorageError, WriteError};

/// Bytes that go to the object store at once; S3 takes no parts under 5 MiB, but for the last.
const PART_BYTES: usize = 8 << 20;

/// A bundle being written. Dropped, it leaves nothing behind in a local folder; [`BundleWriter::abort`] does so anywhere.
pub struct BundleWriter {
    objects: Arc<dyn ObjectStore>,
    bundle: Bundle,
    /// The files whose turn is still to come.
    rest: vec::IntoIter<(BundlePath, FileEntry)>,
    current: Option<Upload>,
    /// Files whose bytes proved right, uploaded but not visible yet.
    proved: Vec<Upload>,
}

/// One file on its way.
struct Upload {
    path: BundlePath,
    entry: FileEntry,
    object: Box<dyn MultipartUpload>,
    hasher: Hasher,
    received: u64,
    part: Vec<Bytes>,
    part_bytes: usize,
    parts: usize,
}

impl BundleWriter {
    pub(crate) fn new(objects: Arc<dyn ObjectStore>, bundle: Bundle) -> Self {
        let files: Vec<_> = bundle
            .manifest()
            .files
            .iter()
            .map(|(path, entry)| (path.clone(), *entry))
            .collect();
        Self {
            objects,
            bundle,
            rest: files.into_iter(),
            current: None,
            proved: Vec::new(),
        }
    }

    /// The bundle that is being written; its files cannot be read yet.
    pub fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    /// Takes the next bytes of a file. Files come in the order of their paths; an empty file may be left out.
    ///
    /// # Errors
    /// When it is not this file's turn, the bytes are more than the manifest says or not those it says, or the store
    /// fails. Nothing more can be written then.
    pub async fn write(&mut self, path: &BundlePath, bytes: Bytes) -> Result<(), WriteError> {
        let upload = self.turn_to(path).await?;
        upload.take(bytes).await
    }

    /// Makes the bundle visible, the manifest last.
    ///
    /// # Errors
    /// When bytes are missing, or the store fails. Then the bundle is not there; single files of it may be, each whole
    /// and at its own address, where they do no harm and the next attempt finds them.
    pub async fn finish(mut self) -> Result<Bundle, WriteError> {
        if let Err(error) = self.complete_files().await {
            self.abort().await;
            return Err(error);
        }
        Ok(self.bundle)
    }

    /// Takes everything back that was uploaded.
    pub async fn abort(mut self) {
        for mut upload in self.proved.drain(..).chain(self.current.take()) {
            if let Err(error) = upload.object.abort().await {
                // The caller has a better error to report, and what remains is out of sight.
                tracing::warn!(path = %upload.path, %error, "an upload could not be taken back");
            }
        }
    }

    /// The upload of a file, if it is its turn.
    async fn turn_to(&mut self, path: &BundlePath) -> Result<&mut Upload, WriteError> {
        if !self.bundle.manifest().files.contains_key(path) {
            return Err(Rejection::NotListed { path: path.clone() }.into());
        }
        while self
            .current
            .as_ref()
            .is_none_or(|current| current.path != *path && current.is_whole())
        {
            if !self.begin_next().await? {
                break;
            }
        }
        let turn = self.current.as_ref().map(|current| current.path.clone());
        match &mut self.current {
            Some(current) if turn.as_ref() == Some(path) => Ok(current),
            _ => Err(Rejection::OutOfOrder {
                path: path.clone(),
                expected: turn,
            }
            .into()),
        }
    }

    /// Proves the current file and begins the next; false when there is none.
    async fn begin_next(&mut self) -> Result<bool, WriteError> {
        if let Some(current) = &mut self.current {
            current.prove().await?;
        }
        self.proved.extend(self.current.take());
        let Some((path, entry)) = self.rest.next() else {
            return Ok(false);
        };
        let object = self
            .objects
            .put_multipart(&layout::blob(&entry.sha256))
            .await;
        let object = object.map_err(StorageError::at(format!("begin the upload of `{path}`")))?;
        self.current = Some(Upload {
            path,
            entry,
            object,
            hasher: Hasher::default(),
            received: 0,
            part: Vec::new(),
            part_bytes: 0,
            parts: 0,
        });
        Ok(true)
    }

    async fn complete_files(&mut self) -> Result<(), WriteError> {
        while self.begin_next().await? {}
        while let Some(upload) = self.proved.last_mut() {
            let action = format!("complete the upload of `{}`", upload.path);
            upload
                .object
                .complete()
                .await
                .map_err(StorageError::at(action))?;
            self.proved.pop();
        }
        let digest = self.bundle.digest();
        let payload = PutPayload::from_bytes(self.bundle.manifest_bytes().clone());
        match self
            .objects
            .put_opts(&layout::manifest(&digest), payload, PutMode::Create.into())
            .await
        {
            // The address is the content's digest, so it is the same bundle.
            Ok(_) | Err(object_store::Error::AlreadyExists { .. }) => Ok(()),
            Err(error) => Err(
                StorageError::at(format!("write the manifest of bundle {digest}"))(error).into(),
            ),
        }
    }
}

impl Upload {
    fn is_whole(&self) -> bool {
        self.received == self.entry.size
    }

    async fn take(&mut self, bytes: Bytes) -> Result<(), WriteError> {
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
        if self.part_bytes >= PART_BYTES {
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
    async fn prove(&mut self) -> Result<(), WriteError> {
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
}

#[cfg(test)]
mod tests;
