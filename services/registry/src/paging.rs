//! Pages of long lists. A token says where the last page ended; what is in it is nobody's business but ours.

use decant_coordination::{Key, Prefix};
use decant_model::Digest;

use crate::error::CallError;

/// Entries of a page whose size was left to us, and of any.
const DEFAULT: u32 = 100;
const MOST: u32 = 1000;
/// Hex digits that tell one list's tokens from another's.
const MARK_DIGITS: usize = 8;

/// Which page of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Paging {
    pub(crate) size: usize,
    /// The last key of the page before; none for the first page.
    pub(crate) after: Option<Key>,
}

impl Paging {
    /// Reads a request's page of the list of a prefix.
    pub(crate) fn of(prefix: &Prefix, size: u32, token: &str) -> Result<Self, CallError> {
        let size = if size == 0 { DEFAULT } else { size.min(MOST) };
        let after = match token {
            "" => None,
            token => Some(read(prefix, token).ok_or_else(|| {
                CallError::field("page_token", format!("`{token}` is no token of this list"))
            })?),
        };
        Ok(Self {
            size: size as usize,
            after,
        })
    }

    /// The page that follows the one that ended with this key.
    pub(crate) fn token(prefix: &Prefix, last: &Key) -> String {
        let rest = last.as_str().strip_prefix(prefix.as_str());
        let rest = rest.unwrap_or_default();
        let digits: String = rest.bytes().map(|byte| format!("{byte:02x}")).collect();
        mark(prefix) + &digits
    }
}

fn mark(prefix: &Prefix) -> String {
    let mut digits = Digest::of(prefix.as_str().as_bytes()).hex();
    digits.truncate(MARK_DIGITS);
    digits
}

fn read(prefix: &Prefix, token: &str) -> Option<Key> {
    let digits = token.strip_prefix(&mark(prefix))?;
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let byte = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
    let bytes: Option<Vec<u8>> = (0..digits.len()).step_by(2).map(byte).collect();
    let rest = String::from_utf8(bytes?).ok()?;
    Some(Key::new(format!("{prefix}{rest}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_leads_on_in_its_own_list_only() {
        let (models, versions) = (Prefix::new("/models/"), Prefix::new("/versions/"));
        let last = Key::new("/models/movies");
        let token = Paging::token(&models, &last);
        assert_eq!(Paging::of(&models, 0, &token).unwrap().after, Some(last));
        for (prefix, token) in [(&versions, &*token), (&models, "x"), (&models, &token[1..])] {
            let error = Paging::of(prefix, 0, token).unwrap_err().to_string();
            assert!(
                error.contains("page_token") && error.contains(token),
                "{error}"
            );
        }
    }

    #[test]
    fn sizes_are_bounded() {
        let size = |asked| Paging::of(&Prefix::new("/"), asked, "").unwrap().size;
        assert_eq!([size(0), size(7), size(u32::MAX)], [100, 7, 1000]);
    }
}
