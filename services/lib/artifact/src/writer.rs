//! Writing a bundle: the files come in the order of their paths, each in chunks of any size. All are uploaded out of sight;
//! only when every byte of the bundle has proved right do they appear, and the manifest after them. Memory holds one part.

use std::sync::Arc;
use std::vec;

use bytes::Bytes;
use decant_failpoint::Point;
use decant_model::{BundlePath, FileEntry, Signature};
use object_store::{ObjectStore, ObjectStoreExt};

use crate::store::{Creation, create};
use crate::upload::{PART_BYTES, Upload};
use crate::{Bundle, Rejection, StorageError, WriteError, layout, signature};

/// A bundle being written. Dropped, it leaves nothing behind in a local folder; [`BundleWriter::abort`] does so anywhere.
pub struct BundleWriter {
    objects: Arc<dyn ObjectStore>,
    creation: Arc<Creation>,
    bundle: Bundle,
    /// The files whose turn is still to come.
    rest: vec::IntoIter<(BundlePath, FileEntry)>,
    current: Option<Upload>,
    /// Files whose bytes proved right, uploaded but not visible yet.
    proved: Vec<Upload>,
}

impl BundleWriter {
    pub(crate) fn new(
        objects: Arc<dyn ObjectStore>,
        creation: Arc<Creation>,
        bundle: Bundle,
    ) -> Self {
        let files: Vec<_> = bundle
            .manifest()
            .files
            .iter()
            .map(|(path, entry)| (path.clone(), *entry))
            .collect();
        Self {
            objects,
            creation,
            bundle,
            rest: files.into_iter(),
            current: None,
            proved: Vec::new(),
        }
    }

    /// Adds who vouches for the bundle; it is written together with the manifest.
    ///
    /// # Errors
    /// When it is not a signature of this manifest. Whether the key may sign is for [`check_signer`] to say.
    ///
    /// [`check_signer`]: crate::check_signer
    pub fn signed(mut self, signature: Signature) -> Result<Self, Rejection> {
        signature::verify(self.bundle.manifest_bytes(), &signature)?;
        self.bundle.set_signature(Some(signature));
        Ok(self)
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
        for upload in self.proved.drain(..).chain(self.current.take()) {
            upload.abort().await;
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
            .is_none_or(|current| current.path() != path && current.is_whole())
        {
            if !self.begin_next().await? {
                break;
            }
        }
        let turn = self.current.as_ref().map(|current| current.path().clone());
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
            Point::FileProved.pass();
        }
        self.proved.extend(self.current.take());
        let Some((path, entry)) = self.rest.next() else {
            return Ok(false);
        };
        self.creation.prove(&*self.objects).await?;
        // Always written, even if a file with this content is there already. It then counts as new, and a sweep that goes
        // on at this moment lets it be, though no manifest lists it yet; and one that had become corrupt is whole again.
        self.current = Some(Upload::begin(&*self.objects, path, entry, PART_BYTES).await?);
        Ok(true)
    }

    async fn complete_files(&mut self) -> Result<(), WriteError> {
        while self.begin_next().await? {}
        while let Some(upload) = self.proved.last_mut() {
            upload.complete().await?;
            Point::FileVisible.pass();
            self.proved.pop();
        }
        self.write_signature().await?;
        Point::SignatureWritten.pass();
        let digest = self.bundle.digest();
        let manifest = self.bundle.manifest_bytes().clone();
        let action = format!("write the manifest of bundle {digest}");
        let address = layout::manifest(&digest);
        let found = create(&*self.objects, &address, manifest.clone(), &action).await?;
        // The address is the content's digest, so what is there and differs was damaged.
        if found.is_some_and(|found| found != manifest) {
            tracing::warn!(%digest, "replacing a manifest that is damaged");
            let put = self.objects.put(&address, manifest.into()).await;
            put.map_err(StorageError::at(action))?;
        }
        Point::ManifestWritten.pass();
        Ok(())
    }

    async fn write_signature(&mut self) -> Result<(), WriteError> {
        let Some(signature) = self.bundle.signature() else {
            return Ok(());
        };
        let digest = self.bundle.digest();
        let text = Bytes::from(format!("{signature}\n"));
        let action = format!("write the signature of bundle {digest}");
        let address = layout::signature(&digest);
        let Some(found) = create(&*self.objects, &address, text.clone(), &action).await? else {
            return Ok(());
        };
        if found == text {
            return Ok(());
        }
        // Ed25519 signs the same bytes in the same way each time, so another text is another signer, or damage.
        match signature::from_file(&found) {
            Ok(other) => Err(Rejection::SignedByOther {
                digest,
                by: other.key,
            }
            .into()),
            Err(reason) => Err(StorageError::corrupt(action, reason).into()),
        }
    }
}

#[cfg(test)]
mod tests;
