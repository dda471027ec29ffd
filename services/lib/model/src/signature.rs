//! Who vouches for a version: ed25519 keys and signatures as text. Making and checking them is the artifact crate's work.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

const SCHEME: &str = "ed25519";

/// A public key, written `ed25519:` and 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey(pub [u8; 32]);

/// A signature of a manifest's bytes, and the key that made it, written `ed25519:`, the key's 64 hex digits, `:` and 128
/// hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Signature {
    /// The key that made it.
    pub key: PublicKey,
    /// The signature proper.
    pub bytes: [u8; 64],
}

/// Text that is no key or no signature.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SignatureError {
    /// No key.
    #[error("`{0}` is no public key: `ed25519:` and 64 lower-case hex digits are expected")]
    Key(String),
    /// No signature.
    #[error(
        "`{0}` is no signature: `ed25519:`, a key's 64 hex digits, `:` and 128 hex digits are expected"
    )]
    Signature(String),
}

impl PublicKey {
    /// The first 12 hex digits, for people.
    pub fn short(&self) -> String {
        let mut digits = hex(&self.0);
        digits.truncate(12);
        digits
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{SCHEME}:{}", hex(&self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.key, hex(&self.bytes))
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl FromStr for PublicKey {
    type Err = SignatureError;

    fn from_str(text: &str) -> Result<Self, SignatureError> {
        let digits = text
            .strip_prefix(SCHEME)
            .and_then(|rest| rest.strip_prefix(':'));
        digits
            .and_then(unhex)
            .map(Self)
            .ok_or_else(|| SignatureError::Key(text.to_owned()))
    }
}

impl FromStr for Signature {
    type Err = SignatureError;

    fn from_str(text: &str) -> Result<Self, SignatureError> {
        let parse = || {
            let (key, digits) = text.rsplit_once(':')?;
            Some(Self {
                key: key.parse().ok()?,
                bytes: unhex(digits)?,
            })
        };
        parse().ok_or_else(|| SignatureError::Signature(text.to_owned()))
    }
}

macro_rules! as_text {
    ($($type:ty),*) => {$(
        impl TryFrom<String> for $type {
            type Error = SignatureError;

            fn try_from(text: String) -> Result<Self, SignatureError> {
                text.parse()
            }
        }

        impl From<$type> for String {
            fn from(value: $type) -> String {
                value.to_string()
            }
        }
    )*};
}
as_text!(PublicKey, Signature);

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Exactly so many bytes, in lower case; anything else is refused, so that each value has one spelling.
fn unhex<const BYTES: usize>(digits: &str) -> Option<[u8; BYTES]> {
    let lower = |digit: u8| digit.is_ascii_digit() || (b'a'..=b'f').contains(&digit);
    if digits.len() != 2 * BYTES || !digits.bytes().all(lower) {
        return None;
    }
    let mut bytes = [0; BYTES];
    for (place, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(2 * place..2 * place + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_signatures_have_one_spelling() {
        let signature = Signature {
            key: PublicKey([0xab; 32]),
            bytes: [0x01; 64],
        };
        let text = signature.to_string();
        assert_eq!(text.parse(), Ok(signature));
        assert_eq!(signature.key.to_string().parse(), Ok(signature.key));
        for wrong in [
            "",
            "ed25519:",
            &text.to_uppercase(),
            &text[..text.len() - 1],
        ] {
            assert!(wrong.parse::<Signature>().is_err(), "{wrong}");
            assert!(wrong.parse::<PublicKey>().is_err(), "{wrong}");
        }
    }
}
