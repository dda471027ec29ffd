//! Tokens: `dct_`, by which those who look for leaked secrets know one, and 32 random bytes in base 64 for URLs.

use decant_model::Digest;
use rand::TryRng as _;
use rand::rngs::SysRng;

use crate::failure::Failure;

const PREFIX: &str = "dct_";

/// A new token. It is shown once; the registry is told its digest alone.
pub(super) struct Token(String);

impl Token {
    /// Draws one from the operating system's randomness.
    pub(super) fn draw() -> Result<Self, Failure> {
        let mut secret = [0; 32];
        SysRng.try_fill_bytes(&mut secret).map_err(|error| {
            Failure::new(format!("the operating system gave no randomness: {error}"))
        })?;
        Ok(Self(format!("{PREFIX}{}", base64url(&secret))))
    }

    /// The token itself, to be shown.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }

    /// What the registry is told.
    pub(super) fn digest(&self) -> Digest {
        Digest::of(self.0.as_bytes())
    }
}

/// Base 64 for URLs, without padding (RFC 4648, section 5).
fn base64url(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let digits = bytes.chunks(3).flat_map(|chunk| {
        let mut group = [0; 4];
        group[1..=chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes(group);
        // So many bytes take one digit more.
        (0..=chunk.len()).map(move |place| {
            let digit = (bits >> (18 - 6 * place)) & 63;
            char::from(DIGITS[digit as usize])
        })
    });
    digits.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_standard() {
        for (bytes, text) in [
            (&b""[..], ""),
            (b"f", "Zg"),
            (b"fo", "Zm8"),
            (b"foo", "Zm9v"),
            (b"foobar", "Zm9vYmFy"),
            (&[0xfb, 0xff], "-_8"),
        ] {
            assert_eq!(base64url(bytes), text);
        }
    }

    #[test]
    fn tokens_are_long_and_differ() {
        let [one, two] = [(); 2].map(|()| Token::draw().unwrap());
        assert_ne!(one.reveal(), two.reveal());
        assert_eq!(one.reveal().len(), PREFIX.len() + 43);
        assert_eq!(one.digest(), Digest::of(one.reveal().as_bytes()));
    }
}
