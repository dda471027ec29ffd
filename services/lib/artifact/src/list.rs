//! What bundles there are.

use std::time::SystemTime;

use decant_model::Digest;
use futures::TryStreamExt;

use crate::layout::{self, Place};
use crate::{BundleStore, StorageError};

/// A bundle that is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its manifest's digest.
    pub digest: Digest,
    /// When its manifest was written last.
    pub modified: SystemTime,
}

impl BundleStore {
    /// All bundles, in no order. Nothing of them is read.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn list(&self) -> Result<Vec<Stored>, StorageError> {
        let bundles = layout::bundles();
        let listed = self.objects().list(Some(&bundles));
        let found = listed.try_filter_map(async |object| {
            Ok(match layout::place(&object.location) {
                Some(Place::Manifest(digest)) => Some(Stored {
                    digest,
                    modified: object.last_modified.into(),
                }),
                Some(Place::Blob(_) | Place::Signature(_)) | None => None,
            })
        });
        found
            .try_collect()
            .await
            .map_err(StorageError::at("list bundles"))
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{files, written};

    use super::*;

    #[tokio::test]
    async fn bundles_are_listed_and_files_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let store = BundleStore::local(folder.path()).unwrap();
        assert_eq!(store.list().await.unwrap(), []);
        let one = written(&store, &files(b"one")).await;
        let two = written(&store, &files(b"two")).await;
        let listed = store.list().await.unwrap();
        let mut digests: Vec<_> = listed.iter().map(|stored| stored.digest).collect();
        let mut expected = vec![one.digest(), two.digest()];
        digests.sort();
        expected.sort();
        assert_eq!(digests, expected);
        let now = SystemTime::now();
        let age = now.duration_since(listed[0].modified).unwrap_or_default();
        assert!(age.as_secs() < 60, "{age:?}");
    }
}
