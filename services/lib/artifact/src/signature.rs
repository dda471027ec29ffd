//! Who vouches for a bundle: an ed25519 signature of its manifest, and through the digests in it of every file.
//!
//! Signed is `decant-manifest-v1`, a line feed, and the manifest's bytes. The prefix makes sure that a signature of a
//! manifest never passes for one of anything else that the same key may sign one day.

use std::fmt;
use std::fs::File;
use std::hint;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use decant_model::{Digest, PublicKey, Signature};
use ed25519_dalek::Signer;
use rand::TryRng;
use rand::rngs::SysRng;
use thiserror::Error;

use crate::Bundle;

/// What precedes the manifest in the bytes that are signed.
const DOMAIN: &[u8] = b"decant-manifest-v1\n";
/// What precedes the hex digits of a key in its file.
const SECRET: &str = "decant-ed25519-secret:";

/// Signs manifests. Its bytes are wiped from memory when it is dropped, and never printed.
pub struct SigningKey(ed25519_dalek::SigningKey);

/// Why there is no signing key.
#[derive(Debug, Error)]
pub enum KeyError {
    /// The operating system gave no randomness.
    #[error("the operating system gave no randomness for a new key: {0}")]
    Randomness(String),
    /// The file cannot be read or written.
    #[error("cannot {action} the key file {}: {source}", .path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The file holds something else.
    #[error("{} is no key file: one line, `{SECRET}` and 64 lower-case hex digits, is expected", .path.display())]
    Content {
        /// The file.
        path: PathBuf,
    },
}

/// Why nobody trusted vouches for a bundle.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SignatureRejection {
    /// There is no signature.
    #[error(
        "bundle {digest} is not signed, but a signature by one of the allowed keys is required"
    )]
    Unsigned {
        /// The bundle.
        digest: Digest,
    },
    /// The key is not among the allowed ones.
    #[error("bundle {digest} is signed by {key}, which is not an allowed key")]
    UnknownKey {
        /// The bundle.
        digest: Digest,
        /// Whose signature it is.
        key: PublicKey,
    },
    /// The signature is not one of this manifest by this key.
    #[error("the signature of bundle {digest} by {key} is wrong: it is not one of this manifest")]
    Wrong {
        /// The bundle.
        digest: Digest,
        /// Whose signature it claims to be.
        key: PublicKey,
    },
}

impl SigningKey {
    /// A new key, from the operating system's randomness.
    ///
    /// # Errors
    /// When the operating system gives none.
    pub fn generate() -> Result<Self, KeyError> {
        let mut secret = [0; 32];
        SysRng
            .try_fill_bytes(&mut secret)
            .map_err(|error| KeyError::Randomness(error.to_string()))?;
        let key = Self(ed25519_dalek::SigningKey::from_bytes(&secret));
        wipe(&mut secret);
        Ok(key)
    }

    /// Reads a key file. Blocks.
    ///
    /// # Errors
    /// When it cannot be read or holds no key. The error never repeats what was found.
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let mut content = Vec::with_capacity(128);
        let read = File::open(path).and_then(|file| file.take(128).read_to_end(&mut content));
        read.map_err(failed("read", path))?;
        let mut secret = [0; 32];
        let parsed = parse(&content, &mut secret);
        wipe(&mut content);
        let key = parsed.map(|()| Self(ed25519_dalek::SigningKey::from_bytes(&secret)));
        wipe(&mut secret);
        key.ok_or_else(|| KeyError::Content {
            path: path.to_owned(),
        })
    }

    /// Writes the key to a new file that only its owner can read. Blocks.
    ///
    /// # Errors
    /// When there is such a file already, for a key that is overwritten is lost, or when it cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), KeyError> {
        let mut content = Vec::with_capacity(128);
        content.extend_from_slice(SECRET.as_bytes());
        let mut secret = self.0.to_bytes();
        for byte in &secret {
            content.extend(
                [byte >> 4, byte & 15].map(|nibble| b"0123456789abcdef"[usize::from(nibble)]),
            );
        }
        wipe(&mut secret);
        content.push(b'\n');
        let created = File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path);
        let saved = created.and_then(|mut file| {
            file.write_all(&content)?;
            file.sync_all()
        });
        wipe(&mut content);
        saved.map_err(failed("create", path))
    }

    /// The key that others check signatures with.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// Signs a manifest, byte for byte.
    pub fn sign(&self, manifest: &[u8]) -> Signature {
        Signature {
            key: self.public(),
            bytes: self.0.sign(&signed_bytes(manifest)).to_bytes(),
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SigningKey({})", self.public())
    }
}

/// Checks that a signature is one of this manifest by the key it names; whether that key may sign is another question.
///
/// # Errors
/// When it is not. Weak keys and signatures with several spellings are refused too.
pub fn verify(manifest: &[u8], signature: &Signature) -> Result<(), SignatureRejection> {
    let bytes = ed25519_dalek::Signature::from_bytes(&signature.bytes);
    ed25519_dalek::VerifyingKey::from_bytes(&signature.key.0)
        .and_then(|key| key.verify_strict(&signed_bytes(manifest), &bytes))
        .map_err(|_| SignatureRejection::Wrong {
            digest: Digest::of(manifest),
            key: signature.key,
        })
}

/// Checks that one of the allowed keys vouches for a bundle. Without allowed keys nothing is asked for.
///
/// # Errors
/// When the bundle is not signed, or not by one of them, or the signature is wrong.
pub fn check_signer(bundle: &Bundle, allowed: &[PublicKey]) -> Result<(), SignatureRejection> {
    if allowed.is_empty() {
        return Ok(());
    }
    let digest = bundle.digest();
    let signature = bundle
        .signature()
        .ok_or(SignatureRejection::Unsigned { digest })?;
    if !allowed.contains(&signature.key) {
        let key = signature.key;
        return Err(SignatureRejection::UnknownKey { digest, key });
    }
    verify(bundle.manifest_bytes(), signature)
}

/// The signature in `manifest.sig`, or what is wrong with it.
pub(crate) fn from_file(content: &[u8]) -> Result<Signature, String> {
    let text = str::from_utf8(content).map_err(|error| error.to_string())?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    text.parse()
        .map_err(|error: decant_model::SignatureError| error.to_string())
}

fn signed_bytes(manifest: &[u8]) -> Vec<u8> {
    [DOMAIN, manifest].concat()
}

/// The secret in a key file; none when it is none. Exactly one spelling is taken.
fn parse(content: &[u8], secret: &mut [u8; 32]) -> Option<()> {
    let digits = content.strip_prefix(SECRET.as_bytes())?;
    let digits = digits.strip_suffix(b"\n").unwrap_or(digits);
    if digits.len() != 64 {
        return None;
    }
    let nibble = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    for (byte, pair) in secret.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
    }
    Some(())
}

/// Overwrites a secret; the black box keeps the compiler from leaving that out.
fn wipe(secret: &mut [u8]) {
    secret.fill(0);
    hint::black_box(secret);
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> KeyError {
    move |source| KeyError::File {
        action,
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests;
