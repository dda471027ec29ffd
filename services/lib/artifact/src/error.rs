//! What can go wrong with a bundle, by whose fault it is.

use decant_model::{BundlePath, Digest, ManifestError, PublicKey};
use thiserror::Error;

use crate::limits::MAX_MANIFEST_BYTES;
use crate::{SignatureRejection, StorageError};

/// The uploaded bytes are not the bundle that was announced.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum Rejection {
    /// The manifest is larger than any may be.
    #[error("manifest.json has {bytes} bytes, but at most {MAX_MANIFEST_BYTES} are allowed")]
    ManifestTooLarge {
        /// Its size.
        bytes: usize,
    },
    /// The manifest is not the one that was announced.
    #[error("manifest.json was announced with digest {expected}, but has {found}")]
    ManifestDigest {
        /// The digest announced.
        expected: Digest,
        /// The digest of what came.
        found: Digest,
    },
    /// The manifest makes no sense.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The manifest lists too many files.
    #[error("the bundle has {files} files, but at most {limit} are allowed")]
    TooManyFiles {
        /// How many.
        files: usize,
        /// How many are allowed.
        limit: usize,
    },
    /// The manifest lists too large a file.
    #[error("file `{path}` has {bytes} bytes, but at most {limit} are allowed")]
    FileTooLarge {
        /// The file.
        path: BundlePath,
        /// Its size.
        bytes: u64,
        /// The size allowed.
        limit: u64,
    },
    /// The files together are too large.
    #[error("the bundle's files have {bytes} bytes together, but at most {limit} are allowed")]
    BundleTooLarge {
        /// Their size.
        bytes: u64,
        /// The size allowed.
        limit: u64,
    },
    /// A file came that the manifest does not list.
    #[error("file `{path}` is not listed in manifest.json")]
    NotListed {
        /// The file.
        path: BundlePath,
    },
    /// A file came when another one's turn it was.
    #[error("file `{path}` came out of order: {}", expected_words(.expected.as_ref()))]
    OutOfOrder {
        /// The file that came.
        path: BundlePath,
        /// The one whose turn it was; none when all were there already.
        expected: Option<BundlePath>,
    },
    /// More bytes of a file came than the manifest says.
    #[error("file `{path}` has more than the {expected} bytes that manifest.json says")]
    TooLong {
        /// The file.
        path: BundlePath,
        /// Its size in the manifest.
        expected: u64,
    },
    /// The upload ended in the middle of a file or before it.
    #[error("the upload ended after {found} of the {expected} bytes of file `{path}`")]
    Incomplete {
        /// The file.
        path: BundlePath,
        /// How many bytes came.
        found: u64,
        /// Its size in the manifest.
        expected: u64,
    },
    /// A file's content is not what the manifest says.
    #[error("file `{path}` has digest {found}, but manifest.json says {expected}")]
    FileDigest {
        /// The file.
        path: BundlePath,
        /// The digest in the manifest.
        expected: Digest,
        /// The digest of what came.
        found: Digest,
    },
    /// The signature that came with the bundle is not one of its manifest.
    #[error(transparent)]
    Signature(#[from] SignatureRejection),
    /// The bundle is there already, and somebody else vouches for it.
    #[error(
        "bundle {digest} is already signed by {}, and a signature is never replaced", .by.short()
    )]
    SignedByOther {
        /// The bundle.
        digest: Digest,
        /// Whose signature lies beside it.
        by: PublicKey,
    },
}

fn expected_words(expected: Option<&BundlePath>) -> String {
    match expected {
        Some(path) => {
            format!("it was `{path}`'s turn, since files come in the order of their paths")
        }
        None => "all files were complete".to_owned(),
    }
}

/// Why a bundle was not written.
#[derive(Debug, Error)]
pub enum WriteError {
    /// By the fault of who sent it.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// By ours.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Why a bundle was not read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// There is no such bundle.
    #[error("there is no bundle {digest}")]
    NotFound {
        /// The bundle.
        digest: Digest,
    },
    /// The bundle has no such file.
    #[error("bundle {digest} has no file `{path}`")]
    NoFile {
        /// The bundle.
        digest: Digest,
        /// The file.
        path: BundlePath,
    },
    /// A file that the manifest lists is gone.
    #[error("file `{path}` of bundle {digest} is missing from the store")]
    Missing {
        /// The bundle.
        digest: Digest,
        /// The file.
        path: BundlePath,
    },
    /// A file's size is not what the manifest says.
    #[error(
        "file `{path}` of bundle {digest} is corrupt: {expected} bytes are expected, {found} were found"
    )]
    Size {
        /// The bundle.
        digest: Digest,
        /// The file.
        path: BundlePath,
        /// The size in the manifest.
        expected: u64,
        /// The size in the store.
        found: u64,
    },
    /// A file's content is not what the manifest says.
    #[error(
        "file `{path}` of bundle {digest} is corrupt: digest {expected} is expected, {found} was found"
    )]
    Digest {
        /// The bundle.
        digest: Digest,
        /// The file.
        path: BundlePath,
        /// The digest in the manifest.
        expected: Digest,
        /// The digest of the stored bytes.
        found: Digest,
    },
    /// The manifest's content is not what its address says.
    #[error("manifest.json of bundle {digest} is corrupt: {reason}")]
    Manifest {
        /// The bundle.
        digest: Digest,
        /// What is wrong with it.
        reason: String,
    },
    /// What lies beside the manifest is no signature.
    #[error("manifest.sig of bundle {digest} is corrupt: {reason}")]
    Signature {
        /// The bundle.
        digest: Digest,
        /// What is wrong with it.
        reason: String,
    },
    /// The object store failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl ReadError {
    /// Whether the bundle itself is at fault, so that reading it once more from the same place brings the same.
    pub fn is_corruption(&self) -> bool {
        match self {
            Self::Missing { .. }
            | Self::Size { .. }
            | Self::Digest { .. }
            | Self::Manifest { .. }
            | Self::Signature { .. } => true,
            Self::NotFound { .. } | Self::NoFile { .. } | Self::Storage(_) => false,
        }
    }
}
