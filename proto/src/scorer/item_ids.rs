//! Ids of items. A ranking names hundreds of candidates, and a string for each would cost more than scoring them.

use decant_model::ShortText;
use prost::bytes::{Buf, BufMut};
use prost::encoding::{self, DecodeContext, WireType};
use prost::{DecodeError, Message};

use super::delimited;

/// The number of the only field, `repeated string ids`.
const IDS: u32 = 1;

/// Ids of items, in their order. On the wire it is `decant.scorer.v1.ItemIds`; it is made from an iterator.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ItemIds {
    ids: Vec<Kept>,
    /// Those that are not short, end to end.
    long: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kept {
    Short(ShortText),
    /// Where it lies among the long ones: no message has more than 4 GiB.
    Long {
        start: u32,
        end: u32,
    },
}

/// An id, as it is looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemId<'a> {
    /// One that is short.
    Short(ShortText),
    /// One that is not.
    Long(&'a str),
}

impl<'a> From<&'a str> for ItemId<'a> {
    fn from(id: &'a str) -> Self {
        ShortText::new(id).map_or(Self::Long(id), Self::Short)
    }
}

impl ItemIds {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The id in a place.
    pub fn get(&self, place: usize) -> Option<ItemId<'_>> {
        self.ids.get(place).map(|kept| self.key(kept))
    }

    /// All of them, as text.
    pub fn iter(&self) -> impl Iterator<Item = &str> + Clone {
        self.ids.iter().map(|kept| self.text(kept))
    }

    /// All of them, to be looked up.
    pub fn keys(&self) -> impl Iterator<Item = ItemId<'_>> {
        self.ids.iter().map(|kept| self.key(kept))
    }

    /// All of them, as they are written.
    pub(super) fn bytes(&self) -> impl Iterator<Item = &[u8]> {
        self.ids.iter().map(|kept| match kept {
            Kept::Short(id) => id.as_bytes(),
            Kept::Long { start, end } => self.long(*start, *end).as_bytes(),
        })
    }

    /// The id in a place, as text.
    pub(super) fn text_at(&self, place: usize) -> Option<&str> {
        self.ids.get(place).map(|kept| self.text(kept))
    }

    fn text<'a>(&'a self, kept: &'a Kept) -> &'a str {
        match kept {
            Kept::Short(id) => id.as_str(),
            Kept::Long { start, end } => self.long(*start, *end),
        }
    }

    fn key(&self, kept: &Kept) -> ItemId<'_> {
        match kept {
            Kept::Short(id) => ItemId::Short(*id),
            Kept::Long { start, end } => ItemId::Long(self.long(*start, *end)),
        }
    }

    fn long(&self, start: u32, end: u32) -> &str {
        let text = self.long.get(start as usize..end as usize);
        text.unwrap_or_default()
    }

    /// With room for so many short ones.
    pub(super) fn with_capacity(count: usize) -> Self {
        Self {
            ids: Vec::with_capacity(count),
            long: String::new(),
        }
    }

    pub(super) fn push(&mut self, id: ItemId<'_>) {
        self.ids.push(match id {
            ItemId::Short(id) => Kept::Short(id),
            ItemId::Long(id) => {
                let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
                let start = place(self.long.len());
                self.long.push_str(id);
                let end = place(self.long.len());
                Kept::Long { start, end }
            }
        });
    }

    /// Reads the id that takes the place of the last one.
    pub(super) fn merge_last(
        &mut self,
        wire_type: WireType,
        buffer: &mut impl Buf,
        context: DecodeContext,
    ) -> Result<(), DecodeError> {
        if let Some(Kept::Long { start, .. }) = self.ids.pop() {
            self.long.truncate(start as usize);
        }
        self.merge_next(wire_type, buffer, context)
    }

    /// Reads an id behind the others.
    fn merge_next(
        &mut self,
        wire_type: WireType,
        buffer: &mut impl Buf,
        context: DecodeContext,
    ) -> Result<(), DecodeError> {
        if wire_type == WireType::LengthDelimited
            && let Some((id, length)) = whole(buffer.chunk())
        {
            self.push(id);
            buffer.advance(length);
            return Ok(());
        }
        // It lies in several pieces, or something is wrong with it, which is said by whoever knows how.
        let mut id = String::new();
        encoding::string::merge(wire_type, &mut id, buffer, context)?;
        self.push(id.as_str().into());
        Ok(())
    }
}

impl<T: AsRef<str>> FromIterator<T> for ItemIds {
    fn from_iter<I: IntoIterator<Item = T>>(ids: I) -> Self {
        let mut made = Self::default();
        for id in ids {
            made.push(id.as_ref().into());
        }
        made
    }
}

impl Message for ItemIds {
    fn encode_raw(&self, buffer: &mut impl BufMut) {
        for id in self.bytes() {
            encoding::encode_key(IDS, WireType::LengthDelimited, buffer);
            encoding::encode_varint(id.len() as u64, buffer);
            buffer.put_slice(id);
        }
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buffer: &mut impl Buf,
        context: DecodeContext,
    ) -> Result<(), DecodeError> {
        if tag != IDS {
            return encoding::skip_field(wire_type, tag, buffer, context);
        }
        if self.is_empty() {
            // Most of what is left is ids; each takes a byte for its key, one for its length, and some for itself.
            self.ids.reserve(buffer.remaining() / 4);
        }
        self.merge_next(wire_type, buffer, context)
    }

    fn encoded_len(&self) -> usize {
        let key = encoding::key_len(IDS);
        let lengths = self
            .bytes()
            .map(|id| key + encoding::encoded_len_varint(id.len() as u64) + id.len());
        lengths.sum()
    }

    fn clear(&mut self) {
        self.ids.clear();
        self.long.clear();
    }
}

/// The string at the beginning of some bytes, and how many of them it takes with its length, if it is whole and sound.
fn whole(bytes: &[u8]) -> Option<(ItemId<'_>, usize)> {
    // One that is short is read together with what stands behind it: its length decides on no branch.
    if let Some((&length, rest)) = bytes.split_first()
        && let Some(&first) = rest.first_chunk()
        && let Some(id) = ShortText::first(first, length.into())
    {
        return Some((ItemId::Short(id), 1 + usize::from(length)));
    }
    let (id, length) = delimited(bytes)?;
    Some((std::str::from_utf8(id).ok()?.into(), length))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What prost makes of the same message.
    #[derive(Clone, PartialEq, Message)]
    struct Generated {
        #[prost(string, repeated, tag = "1")]
        ids: Vec<String>,
    }

    fn cases() -> Vec<Vec<String>> {
        let long = "9".repeat(300);
        vec![
            vec![],
            vec![String::new()],
            vec!["7".to_owned(), String::new(), "é".to_owned(), long],
        ]
    }

    #[test]
    fn it_is_written_and_read_as_prost_would() {
        for ids in cases() {
            let flat: ItemIds = ids.iter().collect();
            let generated = Generated { ids: ids.clone() };
            assert_eq!(flat.encode_to_vec(), generated.encode_to_vec());
            assert_eq!(flat.encoded_len(), generated.encoded_len());
            let read = ItemIds::decode(&generated.encode_to_vec()[..]).unwrap();
            assert_eq!(read, flat);
            assert!(read.iter().eq(&ids));
            assert_eq!((read.len(), read.is_empty()), (ids.len(), ids.is_empty()));
            for (place, id) in ids.iter().enumerate() {
                assert_eq!(read.get(place), Some(id.as_str().into()));
            }
            assert_eq!(read.get(ids.len()), None);
        }
    }

    #[test]
    fn it_is_read_from_pieces_too() {
        for ids in cases() {
            let bytes = Generated { ids: ids.clone() }.encode_to_vec();
            for cut in 0..=bytes.len() {
                let pieces = bytes[..cut].chain(&bytes[cut..]);
                assert!(ItemIds::decode(pieces).unwrap().iter().eq(&ids));
            }
        }
    }

    #[test]
    fn what_prost_refuses_is_refused_and_what_it_skips_is_skipped() {
        let refused: [&[u8]; 5] = [
            // Not UTF-8, an end too soon, a length without end, a number, and no field at all.
            &[10, 1, 255],
            &[10, 5, b'a'],
            &[10, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1],
            &[8, 1],
            &[0],
        ];
        for bytes in refused {
            let generated = Generated::decode(bytes).map(|_| ());
            assert!(generated.is_err(), "{bytes:?}");
            assert!(ItemIds::decode(bytes).is_err(), "{bytes:?}");
        }
        let read = ItemIds::decode(&[16, 1, 10, 1, b'a', 26, 1, 0][..]).unwrap();
        assert!(read.iter().eq(["a"]));
    }
}
