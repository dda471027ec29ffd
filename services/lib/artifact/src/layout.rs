//! Where things lie in the object store.
//!
//! ```text
//! blobs/sha256/ab/abcd…                  a file
//! bundles/sha256/ab/abcd…/manifest.json  a bundle's manifest; written last, so that what it lists is there
//! ```
//!
//! The two digits in between keep folders small.

use decant_model::{Digest, file};
use object_store::path::Path;

/// The address of a file with this content.
pub(crate) fn blob(digest: &Digest) -> Path {
    let hex = digest.hex();
    Path::from_iter(["blobs", "sha256", &hex[..2], &hex])
}

/// The address of the manifest with this digest.
pub(crate) fn manifest(digest: &Digest) -> Path {
    let hex = digest.hex();
    Path::from_iter(["bundles", "sha256", &hex[..2], &hex, file::MANIFEST])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stored_addresses_are_these() {
        let hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(
            blob(&Digest::of(b"abc")).as_ref(),
            format!("blobs/sha256/ba/{hex}")
        );
        assert_eq!(
            manifest(&Digest::of(b"abc")).as_ref(),
            format!("bundles/sha256/ba/{hex}/manifest.json")
        );
    }
}
