//! Where things lie in the object store.
//!
//! ```text
//! blobs/sha256/ab/abcd…                  a file
//! bundles/sha256/ab/abcd…/manifest.sig   who vouches for the bundle, if anybody does; written before the manifest
//! bundles/sha256/ab/abcd…/manifest.json  a bundle's manifest; written last, so that what it lists is there
//! format                                 in remote stores: proof that the store creates without overwriting
//! ```
//!
//! The two digits in between keep folders small. The folder of a cache looks the same.

use decant_model::{Digest, file};
use object_store::path::Path;

/// The name of the signature beside a manifest.
pub(crate) const SIGNATURE: &str = "manifest.sig";

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

/// The address of the signature of the manifest with this digest.
pub(crate) fn signature(digest: &Digest) -> Path {
    let hex = digest.hex();
    Path::from_iter(["bundles", "sha256", &hex[..2], &hex, SIGNATURE])
}

/// Below it lie all files.
pub(crate) fn blobs() -> Path {
    Path::from_iter(["blobs", "sha256"])
}

/// Below it lie all manifests and signatures.
pub(crate) fn bundles() -> Path {
    Path::from_iter(["bundles", "sha256"])
}

/// The marker that tells whether a store creates without overwriting.
pub(crate) fn format() -> Path {
    Path::from("format")
}

/// What an address holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Blob(Digest),
    Manifest(Digest),
    Signature(Digest),
}

/// What lies at an address; none when it is none of ours.
pub(crate) fn place(path: &Path) -> Option<Place> {
    let parts: Vec<_> = path.parts().collect();
    let parts: Vec<_> = parts.iter().map(AsRef::as_ref).collect();
    let digest = |hex: &str| format!("sha256:{hex}").parse::<Digest>().ok();
    let found = match *parts.as_slice() {
        ["blobs", "sha256", _, hex] => Place::Blob(digest(hex)?),
        ["bundles", "sha256", _, hex, file::MANIFEST] => Place::Manifest(digest(hex)?),
        ["bundles", "sha256", _, hex, SIGNATURE] => Place::Signature(digest(hex)?),
        _ => return None,
    };
    let address = match &found {
        Place::Blob(digest) => blob(digest),
        Place::Manifest(digest) => manifest(digest),
        Place::Signature(digest) => signature(digest),
    };
    (address == *path).then_some(found)
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
        assert_eq!(
            signature(&Digest::of(b"abc")).as_ref(),
            format!("bundles/sha256/ba/{hex}/manifest.sig")
        );
    }

    #[test]
    fn addresses_are_told_from_what_is_not_ours() {
        let digest = Digest::of(b"abc");
        assert_eq!(place(&blob(&digest)), Some(Place::Blob(digest)));
        assert_eq!(place(&manifest(&digest)), Some(Place::Manifest(digest)));
        assert_eq!(place(&signature(&digest)), Some(Place::Signature(digest)));
        for other in [
            "format",
            "blobs/sha256/ba/short",
            "bundles/sha256/ba/x/manifest.json",
            &blob(&digest).as_ref().replace("/ba/", "/00/"),
        ] {
            assert_eq!(place(&Path::from(other)), None, "{other}");
        }
    }
}
