//! How large bundles may be.

use decant_model::Manifest;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Rejection;

/// The largest manifest that is written or read. It is held in memory, and its content in the metadata store.
pub const MAX_MANIFEST_BYTES: usize = 1 << 20;

/// How large the bundles that are written may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Files in a bundle. Each is held open until all are there.
    pub files: usize,
    /// Bytes of one file.
    pub file_bytes: u64,
    /// Bytes of all files of a bundle together.
    pub bundle_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            files: 128,
            file_bytes: 2 << 30,
            bundle_bytes: 4 << 30,
        }
    }
}

impl Limits {
    /// Checks what a manifest announces.
    pub(crate) fn check(&self, manifest: &Manifest) -> Result<(), Rejection> {
        if manifest.files.len() > self.files {
            return Err(Rejection::TooManyFiles {
                files: manifest.files.len(),
                limit: self.files,
            });
        }
        let too_large = manifest
            .files
            .iter()
            .find(|(_, entry)| entry.size > self.file_bytes);
        if let Some((path, entry)) = too_large {
            return Err(Rejection::FileTooLarge {
                path: path.clone(),
                bytes: entry.size,
                limit: self.file_bytes,
            });
        }
        if manifest.size() > self.bundle_bytes {
            return Err(Rejection::BundleTooLarge {
                bytes: manifest.size(),
                limit: self.bundle_bytes,
            });
        }
        Ok(())
    }
}
