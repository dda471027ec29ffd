//! Short texts as numbers.

use std::fmt;

/// Bytes of a short text, at most.
const LONGEST: usize = size_of::<u64>();
/// A one in each byte, and the bit that no ASCII has.
const ONES: u64 = u64::MAX / 0xff;
const HIGH: u64 = ONES << 7;

/// A text of at most eight ASCII characters, none of them NUL; most ids of items are such. It is compared, hashed and copied
/// as one number, where a text of any length costs a branch that processors often guess wrongly.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct ShortText([u8; LONGEST]);

impl ShortText {
    /// A text, if it is short.
    pub fn new(text: &str) -> Option<Self> {
        let mut bytes = [0; LONGEST];
        bytes
            .get_mut(..text.len())?
            .copy_from_slice(text.as_bytes());
        Self::first(bytes, text.len())
    }

    /// The text that the first `length` of some bytes are, if it is a short one; whatever the others are.
    #[inline]
    pub fn first(bytes: [u8; LONGEST], length: usize) -> Option<Self> {
        if length > LONGEST {
            return None;
        }
        let others = u64::MAX.checked_shl(8 * length as u32).unwrap_or(0);
        let text = u64::from_le_bytes(bytes) & !others;
        // Of a byte that is no zero and no more than 127, taking one away leaves the highest bit unset.
        let padded = text | (others & ONES);
        let is_sound = (padded | padded.wrapping_sub(ONES)) & HIGH == 0;
        is_sound.then(|| Self(text.to_le_bytes()))
    }

    /// How many characters it has.
    pub fn len(self) -> usize {
        LONGEST - self.number().leading_zeros() as usize / 8
    }

    /// Whether it has none.
    pub fn is_empty(self) -> bool {
        self.number() == 0
    }

    /// Its bytes as one number, the first one lowest.
    pub fn number(self) -> u64 {
        u64::from_le_bytes(self.0)
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0[..self.len()]
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        // ASCII is UTF-8.
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

impl fmt::Debug for ShortText {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(formatter)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_long_or_no_ascii_is_not_short() {
        for text in ["", "7", "12345678", "\u{1}", "\u{7f}", " "] {
            let short = ShortText::new(text).unwrap();
            assert_eq!((short.as_str(), short.len()), (text, text.len()));
            assert_eq!(short.is_empty(), text.is_empty());
        }
        for text in [
            "123456789",
            "é",
            "a\u{0}",
            "\u{0}",
            "\u{0}a",
            "1234567\u{0}",
        ] {
            assert_eq!(ShortText::new(text), None, "{text:?}");
        }
        assert_eq!(ShortText::first([b'1'; 8], 9), None);
    }

    proptest! {
        #[test]
        fn what_stands_behind_it_does_not_matter(bytes: [u8; 8], length in 0_usize..=8) {
            let text = &bytes[..length];
            let is_short = text.iter().all(|byte| (1..128).contains(byte));
            let short = ShortText::first(bytes, length);
            prop_assert_eq!(short.is_some(), is_short);
            if let Some(short) = short {
                prop_assert_eq!(short.as_bytes(), text);
                prop_assert_eq!(Some(short), ShortText::new(short.as_str()));
            }
        }
    }
}
