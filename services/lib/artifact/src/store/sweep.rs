//! Garbage collection: mark what is referenced, sweep what is not and is old.
//!
//! Nobody stops pushing meanwhile. What makes that safe is age: whatever is younger than the grace stays, and a push
//! writes every object anew, also those that are there already, so that all it relies on is young when its manifest
//! appears. An object's age is looked at once more just before it is deleted. What remains is the moment between that
//! look and the deletion; a push that falls into it is found by [`Bundle::verify`], before anything refers to the bundle.
//!
//! [`Bundle::verify`]: crate::Bundle::verify

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use decant_model::Digest;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt};
use thiserror::Error;

use super::BundleStore;
use crate::layout::{self, Place};
use crate::{ReadError, StorageError};

/// Manifests that are read at once.
const READERS: usize = 16;

/// Whether a sweep deletes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sweep {
    /// Only tell what would go.
    DryRun,
    /// Delete it.
    Delete,
}

/// What a sweep took, or would take.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// The bundles whose manifests went, in order.
    pub bundles: Vec<Digest>,
    /// How many files went.
    pub blobs: u64,
    /// Bytes of all that went, unfinished uploads aside.
    pub bytes: u64,
    /// Manifests and files that nothing needs, but that are too young to go.
    pub kept_young: u64,
    /// Unfinished uploads of pushes that crashed.
    pub uploads: u64,
}

/// Why a sweep took nothing, or stopped.
#[derive(Debug, Error)]
pub enum SweepError {
    /// A manifest that stays cannot be read, so nobody knows which files it needs. Nothing was deleted.
    #[error("nothing was swept, for a bundle that is to stay cannot be read: {0}")]
    Unreadable(#[source] ReadError),
    /// The store failed. What went until then was to go; a later sweep takes the rest.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// What lies in the bundles' folders, by bundle.
#[derive(Default)]
struct Found {
    manifest: Option<ObjectMeta>,
    signature: Option<ObjectMeta>,
}

/// What a sweep decides by.
struct Judge {
    /// What was written after it is young.
    limit: SystemTime,
    mode: Sweep,
}

impl BundleStore {
    /// Deletes the bundles that are not referenced and older than the grace, and then the files that no remaining manifest
    /// lists and that are older than it too. What Decant did not write is let be.
    ///
    /// The grace covers what is pushed but not referenced yet; a day is sensible, and less than two hours is not.
    ///
    /// # Errors
    /// When a referenced bundle is missing or a remaining manifest cannot be read, for then nobody can tell which files
    /// are needed; or when the store fails.
    pub async fn sweep(
        &self,
        referenced: &BTreeSet<Digest>,
        grace: Duration,
        now: SystemTime,
        mode: Sweep,
    ) -> Result<Swept, SweepError> {
        let limit = now.checked_sub(grace).unwrap_or(SystemTime::UNIX_EPOCH);
        let judge = Judge { limit, mode };
        let mut swept = Swept::default();
        let found = self.find_bundles().await?;
        let (staying, going): (BTreeMap<_, _>, BTreeMap<_, _>) =
            found.into_iter().partition(|(digest, found)| {
                referenced.contains(digest) || found.parts().any(|part| judge.is_young(part))
            });
        let marked = self.mark(referenced, &staying).await?;
        let unneeded = staying.keys().filter(|digest| !referenced.contains(digest));
        swept.kept_young += unneeded.count() as u64;
        for (digest, found) in going {
            self.sweep_bundle(digest, &found, &judge, &mut swept)
                .await?;
        }
        self.sweep_blobs(&marked, &judge, &mut swept).await?;
        match self.staging.remove(limit, mode == Sweep::DryRun).await {
            Ok(removed) => swept.uploads = removed,
            // Some stores do not list them, or not to us. They only take space, and what was swept is still to be told.
            Err(error) => tracing::warn!(%error, "unfinished uploads were not swept"),
        }
        Ok(swept)
    }

    async fn find_bundles(&self) -> Result<BTreeMap<Digest, Found>, StorageError> {
        let mut found = BTreeMap::<Digest, Found>::new();
        let mut listed = self.objects.list(Some(&layout::bundles()));
        while let Some(meta) = listed.next().await {
            let meta = meta.map_err(StorageError::at("list bundles"))?;
            match layout::place(&meta.location) {
                Some(Place::Manifest(digest)) => {
                    found.entry(digest).or_default().manifest = Some(meta);
                }
                Some(Place::Signature(digest)) => {
                    found.entry(digest).or_default().signature = Some(meta);
                }
                Some(Place::Blob(_)) | None => {}
            }
        }
        Ok(found)
    }

    /// The files that the remaining manifests list. All must be readable, and every referenced one there.
    async fn mark(
        &self,
        referenced: &BTreeSet<Digest>,
        staying: &BTreeMap<Digest, Found>,
    ) -> Result<BTreeSet<Digest>, SweepError> {
        let with_manifest = staying
            .iter()
            .filter(|(_, found)| found.manifest.is_some())
            .map(|(digest, _)| digest);
        let needed: BTreeSet<Digest> = with_manifest.chain(referenced).copied().collect();
        let mut bundles = stream::iter(needed)
            .map(|digest| self.open_unsigned(digest))
            .buffer_unordered(READERS);
        let mut marked = BTreeSet::new();
        while let Some(bundle) = bundles.try_next().await.map_err(unreadable)? {
            marked.extend(bundle.manifest().files.values().map(|entry| entry.sha256));
        }
        Ok(marked)
    }

    /// The manifest goes first, so that no reader finds one whose signature or files are gone.
    async fn sweep_bundle(
        &self,
        digest: Digest,
        found: &Found,
        judge: &Judge,
        swept: &mut Swept,
    ) -> Result<(), StorageError> {
        for part in found.parts() {
            if !self.take(part, judge).await? {
                swept.kept_young += 1;
                return Ok(());
            }
            swept.bytes += part.size;
        }
        if found.manifest.is_some() {
            tracing::info!(%digest, mode = ?judge.mode, "swept a bundle that nothing refers to");
            swept.bundles.push(digest);
        }
        Ok(())
    }

    async fn sweep_blobs(
        &self,
        marked: &BTreeSet<Digest>,
        judge: &Judge,
        swept: &mut Swept,
    ) -> Result<(), StorageError> {
        let mut listed = self.objects.list(Some(&layout::blobs()));
        let mut going = Vec::new();
        while let Some(meta) = listed.next().await {
            let meta = meta.map_err(StorageError::at("list files"))?;
            match layout::place(&meta.location) {
                Some(Place::Blob(digest)) if !marked.contains(&digest) => {
                    if judge.is_young(&meta) {
                        swept.kept_young += 1;
                    } else {
                        going.push(meta);
                    }
                }
                _ => {}
            }
        }
        for meta in going {
            if self.take(&meta, judge).await? {
                swept.blobs += 1;
                swept.bytes += meta.size;
            } else {
                swept.kept_young += 1;
            }
        }
        Ok(())
    }

    /// Deletes an object, unless it was written anew since it was listed. False when it stays.
    async fn take(&self, listed: &ObjectMeta, judge: &Judge) -> Result<bool, StorageError> {
        if judge.mode == Sweep::DryRun {
            return Ok(true);
        }
        let path = &listed.location;
        let failed = |path: &Path| StorageError::at(format!("sweep {path}"));
        match self.objects.head(path).await {
            Ok(meta) if judge.is_young(&meta) => return Ok(false),
            Ok(_) => {}
            // Another sweep was quicker.
            Err(object_store::Error::NotFound { .. }) => return Ok(true),
            Err(error) => return Err(failed(path)(error)),
        }
        match self.objects.delete(path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(true),
            Err(error) => Err(failed(path)(error)),
        }
    }
}

impl Found {
    /// In the order in which they go.
    fn parts(&self) -> impl Iterator<Item = &ObjectMeta> {
        self.manifest.iter().chain(&self.signature)
    }
}

impl Judge {
    fn is_young(&self, meta: &ObjectMeta) -> bool {
        SystemTime::from(meta.last_modified) > self.limit
    }
}

/// A store that fails is no bundle that is unreadable.
fn unreadable(error: ReadError) -> SweepError {
    match error {
        ReadError::Storage(error) => SweepError::Storage(error),
        error => SweepError::Unreadable(error),
    }
}

#[cfg(test)]
mod tests;
