//! The file of a secret key: one line, `decant-ed25519-secret:` and the secret's 64 hex digits. The artifact crate reads and
//! writes the same format, and a published test vector holds both to it; the command line depends on neither.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use decant_model::PublicKey;
use ed25519_dalek::SigningKey;
use rand::TryRng as _;
use rand::rngs::SysRng;

use crate::failure::Failure;

const PREFIX: &str = "decant-ed25519-secret:";
/// A whole file, line feed included.
const LENGTH: u64 = PREFIX.len() as u64 + 64 + 1;

/// A secret key. Its bytes are wiped from memory when it is dropped.
pub(super) struct Secret(SigningKey);

impl Secret {
    /// A new one, from the operating system's randomness.
    pub(super) fn generate() -> Result<Self, Failure> {
        let mut secret = [0; 32];
        SysRng.try_fill_bytes(&mut secret).map_err(|error| {
            Failure::new(format!("the operating system gave no randomness: {error}"))
        })?;
        Ok(Self(SigningKey::from_bytes(&secret)))
    }

    /// Writes it to a new file: one that is overwritten would be lost.
    pub(super) fn save(&self, path: &Path) -> Result<(), Failure> {
        let created = File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path);
        let saved = created.and_then(|mut file| {
            file.write_all(self.to_text().as_bytes())?;
            file.sync_all()
        });
        saved.map_err(|error| Failure::new(format!("cannot create {}: {error}", path.display())))
    }

    /// Reads it from a file.
    pub(super) fn load(path: &Path) -> Result<Self, Failure> {
        let mut text = String::new();
        File::open(path)
            .and_then(|file| file.take(LENGTH + 1).read_to_string(&mut text))
            .map_err(|error| Failure::new(format!("cannot read {}: {error}", path.display())))?;
        // What was found stays out of the message: it may be a secret.
        Self::from_text(&text).ok_or_else(|| {
            Failure::new(format!(
                "{} is no secret key: one line, `{PREFIX}` and 64 lower-case hex digits, is expected",
                path.display()
            ))
        })
    }

    /// The public half.
    pub(super) fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    fn to_text(&self) -> String {
        let digits: String = self
            .0
            .as_bytes()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        format!("{PREFIX}{digits}\n")
    }

    fn from_text(text: &str) -> Option<Self> {
        let digits = text.strip_prefix(PREFIX)?;
        let digits = digits.strip_suffix('\n').unwrap_or(digits);
        // A public key is spelt alike: 32 bytes as lower-case hex digits.
        let PublicKey(bytes) = format!("ed25519:{digits}").parse().ok()?;
        Some(Self(SigningKey::from_bytes(&bytes)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8032, section 7.1, test 1.
    const SECRET: &str =
        "decant-ed25519-secret:9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60\n";
    const PUBLIC: &str = "ed25519:d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";

    #[test]
    fn the_file_is_the_one_that_the_rest_of_decant_reads() {
        let secret = Secret::from_text(SECRET).unwrap();
        assert_eq!(secret.public().to_string(), PUBLIC);
        assert_eq!(secret.to_text(), SECRET);
        assert_eq!(SECRET.len() as u64, LENGTH);
        assert!(Secret::from_text(SECRET.trim_end()).is_some());
    }

    #[test]
    fn anything_else_is_no_key() {
        for wrong in [
            "",
            PUBLIC,
            "decant-ed25519-secret:",
            &SECRET.to_uppercase(),
            &format!("{SECRET}\n"),
            &format!(" {SECRET}"),
            &SECRET[..80],
        ] {
            assert!(Secret::from_text(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn two_keys_differ() {
        let keys = [(); 2].map(|()| Secret::generate().unwrap().public());
        assert_ne!(keys[0], keys[1]);
    }
}
