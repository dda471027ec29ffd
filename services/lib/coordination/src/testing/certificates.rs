//! Certificates of one test: an authority, and what it signs.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};

/// Somebody who signs certificates, and keeps them in a folder.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: PathBuf,
    /// Its own certificate.
    pub ca: PathBuf,
}

/// A certificate, its key and who signed it, as PEM files.
#[derive(Clone, Debug)]
pub struct Signed {
    /// The authority's certificate.
    pub ca: PathBuf,
    /// The certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

impl Authority {
    /// A new one, with its own certificate in the folder, which is made.
    pub fn new(folder: &Path) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key can be made");
        let issuer =
            CertifiedIssuer::self_signed(params, key).expect("a certificate can be signed");
        fs::create_dir_all(folder).expect("a folder can be made");
        let ca = write(folder, "ca.pem", issuer.pem());
        Self {
            issuer,
            folder: folder.to_owned(),
            ca,
        }
    }

    /// A certificate of `spiffe://decant/NAME` on this machine, which is good for both ends of a connection.
    pub fn sign(&self, name: &str) -> Signed {
        self.sign_with(name, |_| {})
    }

    /// The same, good until this year begins.
    pub fn sign_until(&self, name: &str, year: i32) -> Signed {
        self.sign_with(name, |params| {
            params.not_before = rcgen::date_time_ymd(year - 1, 1, 1);
            params.not_after = rcgen::date_time_ymd(year, 1, 1);
        })
    }

    fn sign_with(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Signed {
        let hosts = ["127.0.0.1".to_owned(), "localhost".to_owned()];
        let mut params = CertificateParams::new(hosts).expect("the hosts have names");
        let uri = format!("spiffe://decant/{name}");
        let uri = uri.as_str().try_into().expect("it is ASCII");
        params.subject_alt_names.push(SanType::URI(uri));
        change(&mut params);
        let key = KeyPair::generate().expect("a key can be made");
        let certificate = params
            .signed_by(&key, &self.issuer)
            .expect("a certificate can be signed");
        let file = |suffix: &str, pem| write(&self.folder, &format!("{name}.{suffix}"), pem);
        Signed {
            ca: self.ca.clone(),
            certificate: file("pem", certificate.pem()),
            key: file("key", key.serialize_pem()),
        }
    }
}

fn write(folder: &Path, name: &str, pem: String) -> PathBuf {
    let file = folder.join(name);
    fs::write(&file, pem).expect("a file can be written");
    file
}
