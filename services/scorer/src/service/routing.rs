//! By what a request is routed while its slot's traffic is split.

use std::borrow::Cow;
use std::cell::Cell;
use std::hash::{BuildHasher, Hasher, RandomState};

use bytes::Bytes;
use decant_model::split;
use tonic::Extensions;
use tonic::codegen::http::{HeaderName, HeaderValue};
use tonic::metadata::{Binary, MetadataMap, MetadataValue};

use crate::error::Violation;

/// Says which requests belong together, such as a user's id.
static KEY: HeaderName = HeaderName::from_static("decant-routing-key");
/// The same for keys that are no ASCII; it counts when both are given.
static BINARY_KEY: HeaderName = HeaderName::from_static("decant-routing-key-bin");
/// Bytes of a key, at most.
const LONGEST: usize = 1 << 10;

/// What a request says of its version. A key is looked at only as far as it must be: it is decoded and hashed when the
/// traffic is split, but refused, if it is no key, whether it is split or not.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Routing<'a> {
    /// By its key.
    Key(&'a [u8]),
    /// By its key, which still is in base 64.
    Encoded(&'a MetadataValue<Binary>),
    /// By a number that was drawn for it.
    Number(u64),
    /// By a number that is drawn when it is needed.
    Random,
}

/// A routing for all messages of a stream, which outlives its metadata.
#[derive(Clone, Debug)]
pub(crate) struct Kept(Option<Bytes>);

/// The number by which a request without a key is routed, if it is routed more than once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Drawn(u64);

impl Drawn {
    pub(super) fn new() -> Self {
        Self(random())
    }
}

impl<'a> Routing<'a> {
    /// The last bucket, which is the stable version's as long as any is: for questions about a slot that are not part of its
    /// traffic.
    pub(crate) const LAST: Routing<'static> = Routing::Number(u64::MAX);

    /// Reads the metadata. An empty key is none: otherwise all that have none would be one user.
    ///
    /// # Errors
    /// When a key is too long, or no base 64.
    pub(crate) fn read(
        metadata: &'a MetadataMap,
        extensions: &Extensions,
    ) -> Result<Self, Violation> {
        let headers = metadata.as_ref();
        if headers.contains_key(&BINARY_KEY)
            && let Some(key) = metadata.get_bin(BINARY_KEY.as_str())
            && !key.is_empty()
        {
            let bytes = decoded_bytes(key.as_encoded_bytes());
            let bytes = bytes.ok_or_else(|| invalid(&BINARY_KEY, "is no base 64".to_owned()))?;
            check_length(&BINARY_KEY, bytes)?;
            return Ok(Self::Encoded(key));
        }
        let key = headers.get(&KEY).map(HeaderValue::as_bytes);
        if let Some(key) = key.filter(|key| !key.is_empty()) {
            check_length(&KEY, key.len())?;
            return Ok(Self::Key(key));
        }
        let drawn = extensions.get::<Drawn>();
        Ok(drawn.map_or(Self::Random, |drawn| Self::Random.or(*drawn)))
    }

    /// By this number, if by any.
    pub(super) fn or(self, drawn: Drawn) -> Self {
        match self {
            Self::Random => Self::Number(drawn.0),
            other => other,
        }
    }

    /// Its key, if it has one.
    pub(crate) fn key(self) -> Option<Cow<'a, [u8]>> {
        match self {
            Self::Key(key) => Some(Cow::Borrowed(key)),
            // One that cannot be decoded was refused when it was read.
            Self::Encoded(key) => Some(Cow::Owned(key.to_bytes().ok()?.into())),
            Self::Number(_) | Self::Random => None,
        }
    }

    /// The request's bucket under a salt.
    pub(crate) fn bucket(self, salt: &str) -> u32 {
        match (self.key(), self) {
            (Some(key), _) => split::bucket(salt, &key),
            (None, Self::Number(number)) => split::scaled(number),
            (None, _) => split::scaled(random()),
        }
    }

    /// The same for each message of a stream; without a key each is routed by a number of its own.
    pub(crate) fn keep(self) -> Kept {
        Kept(self.key().map(|key| Bytes::copy_from_slice(&key)))
    }
}

impl Kept {
    pub(crate) fn routing(&self) -> Routing<'_> {
        match &self.0 {
            Some(key) => Routing::Key(key),
            None => Routing::Random,
        }
    }
}

/// A number drawn evenly from all of its type. Good enough to share out requests, and nothing else: it is SplitMix64
/// (Steele et al. 2014), begun anew in each thread.
pub(crate) fn random() -> u64 {
    thread_local! {
        static STATE: Cell<u64> = Cell::new(RandomState::new().build_hasher().finish());
    }
    let state = STATE.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
    STATE.set(state);
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn check_length(name: &HeaderName, bytes: usize) -> Result<(), Violation> {
    if bytes <= LONGEST {
        return Ok(());
    }
    let reason = format!("{bytes} bytes, but at most {LONGEST} are allowed");
    Err(invalid(name, reason))
}

fn invalid(name: &HeaderName, reason: String) -> Violation {
    Violation::new(name.as_str(), reason)
}

/// How many bytes base 64 stands for, if it is some: padding may be left out, and bits that stand for nothing are 0. As the
/// transport decodes it, but without memory for what it decodes.
fn decoded_bytes(encoded: &[u8]) -> Option<usize> {
    let last = encoded.iter().rposition(|byte| *byte != b'=');
    let (digits, padding) = encoded.split_at(last.map_or(0, |last| last + 1));
    let unused_bits = match digits.len() % 4 {
        0 => 0,
        2 => 4,
        3 => 2,
        _ => return None,
    };
    if padding.len() > unused_bits as usize / 2 || digits.iter().any(|byte| digit(*byte).is_none())
    {
        return None;
    }
    let lowest_bits = digits.last().copied().and_then(digit).unwrap_or(0);
    (lowest_bits.trailing_zeros() >= unused_bits).then_some(digits.len() * 3 / 4)
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
