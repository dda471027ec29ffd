//! Texts. A ranking names hundreds of candidates, and a column has a text for each row.

use decant_model::{ShortText, Text, Texts};
use prost::bytes::{Buf, BufMut};
use prost::encoding::{self, DecodeContext, WireType};
use prost::{DecodeError, Message};

use super::delimited;

/// A message whose only field, number 1, is `repeated string`; and what is done before the first one is read, of so many bytes.
macro_rules! message {
    ($(#[$docs:meta])* $name:ident, $field:ident, $field_docs:literal, $before:expr) => {
        $(#[$docs])*
        #[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
        pub struct $name {
            #[doc = $field_docs]
            pub $field: Texts,
        }

        impl<T: AsRef<str>> FromIterator<T> for $name {
            fn from_iter<I: IntoIterator<Item = T>>(texts: I) -> Self {
                Self {
                    $field: texts.into_iter().collect(),
                }
            }
        }

        impl Message for $name {
            fn encode_raw(&self, buffer: &mut impl BufMut) {
                encode(&self.$field, buffer);
            }

            fn merge_field(
                &mut self,
                tag: u32,
                wire_type: WireType,
                buffer: &mut impl Buf,
                context: DecodeContext,
            ) -> Result<(), DecodeError> {
                if tag != FIELD {
                    return encoding::skip_field(wire_type, tag, buffer, context);
                }
                if self.$field.is_empty() {
                    let before: fn(&mut Texts, usize) = $before;
                    before(&mut self.$field, buffer.remaining());
                }
                merge_next(&mut self.$field, wire_type, buffer, context)
            }

            fn encoded_len(&self) -> usize {
                encoded_len(&self.$field)
            }

            fn clear(&mut self) {
                self.$field.clear();
            }
        }
    };
}

message!(
    /// Ids of items, in their order; `decant.scorer.v1.ItemIds` on the wire.
    ItemIds,
    ids,
    "The ids.",
    // Most of what is left is ids; each takes a byte for its key, one for its length, and some for itself.
    |ids, bytes| ids.reserve(bytes / 4)
);
message!(
    /// Texts of a column; `decant.scorer.v1.StringValues` on the wire.
    StringValues,
    values,
    "The values.",
    // What is left may be other columns, and there may be many.
    |_, _| {}
);

const FIELD: u32 = 1;

fn encode(texts: &Texts, buffer: &mut impl BufMut) {
    for text in texts.bytes() {
        encoding::encode_key(FIELD, WireType::LengthDelimited, buffer);
        encoding::encode_varint(text.len() as u64, buffer);
        buffer.put_slice(text);
    }
}

fn encoded_len(texts: &Texts) -> usize {
    let key = encoding::key_len(FIELD);
    let lengths = texts
        .bytes()
        .map(|text| key + encoding::encoded_len_varint(text.len() as u64) + text.len());
    lengths.sum()
}

/// Reads a text behind the others.
pub(super) fn merge_next(
    texts: &mut Texts,
    wire_type: WireType,
    buffer: &mut impl Buf,
    context: DecodeContext,
) -> Result<(), DecodeError> {
    if wire_type == WireType::LengthDelimited
        && let Some((text, length)) = whole(buffer.chunk())
    {
        texts.push(text);
        buffer.advance(length);
        return Ok(());
    }
    // It lies in several pieces, or something is wrong with it, which is said by whoever knows how.
    let mut text = String::new();
    encoding::string::merge(wire_type, &mut text, buffer, context)?;
    texts.push(text.as_str());
    Ok(())
}

/// The string at the beginning of some bytes, and how many of them it takes with its length, if it is whole and sound.
fn whole(bytes: &[u8]) -> Option<(Text<'_>, usize)> {
    // One that is short is read together with what stands behind it: its length decides on no branch.
    if let Some((&length, rest)) = bytes.split_first()
        && let Some(&first) = rest.first_chunk()
        && let Some(id) = ShortText::first(first, length.into())
    {
        return Some((Text::Short(id), 1 + usize::from(length)));
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
            assert!(read.ids.iter().eq(&ids));
            let values = StringValues::decode(&generated.encode_to_vec()[..]).unwrap();
            assert_eq!(values.values, flat.ids);
        }
    }

    #[test]
    fn it_is_read_from_pieces_too() {
        for ids in cases() {
            let bytes = Generated { ids: ids.clone() }.encode_to_vec();
            for cut in 0..=bytes.len() {
                let pieces = bytes[..cut].chain(&bytes[cut..]);
                assert!(ItemIds::decode(pieces).unwrap().ids.iter().eq(&ids));
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
        assert!(read.ids.iter().eq(["a"]));
    }
}
