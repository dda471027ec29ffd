//! Certificates of one test: an authority, and a certificate that members and clients share.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

/// The files.
pub(super) struct Certificates {
    pub(super) ca: PathBuf,
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
}

impl Certificates {
    /// Makes new ones.
    pub(super) fn make(folder: &Path) -> Self {
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority_key = KeyPair::generate().expect("a key can be made");
        let authority = CertifiedIssuer::self_signed(authority, authority_key)
            .expect("a certificate can be signed");
        let key = KeyPair::generate().expect("a key can be made");
        let certificate = CertificateParams::new(["127.0.0.1".to_owned(), "localhost".to_owned()])
            .and_then(|parameters| parameters.signed_by(&key, &authority))
            .expect("a certificate can be signed");
        let write = |name: &str, pem: String| {
            let file = folder.join(name);
            fs::write(&file, pem).expect("a file can be written");
            file
        };
        Self {
            ca: write("ca.pem", authority.pem()),
            certificate: write("certificate.pem", certificate.pem()),
            key: write("key.pem", key.serialize_pem()),
        }
    }
}
