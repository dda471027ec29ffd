//! Items with their scores, in columns. An answer holds hundreds of them, and a string and a map for each would cost more
//! than computing their scores.

use std::collections::HashMap;

use decant_model::{Text, Texts};
use prost::bytes::{Buf, BufMut};
use prost::encoding::{self, DecodeContext, WireType};
use prost::{DecodeError, Message};

use super::texts::merge_next;
use super::v1::ServedBy;

/// The fields of `ScoredItem`.
const ID: u32 = 1;
const POSITION: u32 = 2;
const SCORE: u32 = 3;
const ATTRIBUTES: u32 = 4;

/// What lies before an item's id, or behind it, takes less.
const AROUND: usize = 24;

/// Catalog columns of an item, as text, by their names.
pub type Attributes = HashMap<String, String>;

/// Items in their order, best first. It is made from an iterator.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ScoredItems {
    ids: Texts,
    positions: Vec<u32>,
    scores: Vec<f32>,
    /// Those of each item up to the last that has some.
    attributes: Vec<Attributes>,
}

/// An item of an answer; `decant.scorer.v1.ScoredItem` on the wire.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScoredItem<'a> {
    /// Its id; empty when the candidate was given by columns.
    pub id: &'a str,
    /// The candidate's position in the request; 0 in answers to Recommend.
    pub position: u32,
    /// The probability of the label, in 0..1.
    pub score: f32,
    /// Catalog columns that the request asked for; none if there are none.
    pub attributes: Option<&'a Attributes>,
}

impl ScoredItems {
    /// With room for so many.
    pub fn with_capacity(count: usize) -> Self {
        Self {
            ids: Texts::with_capacity(count),
            positions: Vec::with_capacity(count),
            scores: Vec::with_capacity(count),
            attributes: Vec::new(),
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.scores.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.scores.is_empty()
    }

    /// The one in a place.
    pub fn get(&self, place: usize) -> Option<ScoredItem<'_>> {
        (place < self.len()).then(|| self.item(place, &self.ids[place]))
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = ScoredItem<'_>> + Clone {
        let ids = self.ids.iter().enumerate();
        ids.map(|(place, id)| self.item(place, id))
    }

    /// Adds one behind the others.
    pub fn push<'a>(
        &mut self,
        id: impl Into<Text<'a>>,
        position: u32,
        score: f32,
        attributes: Attributes,
    ) {
        self.ids.push(id);
        self.positions.push(position);
        self.scores.push(score);
        if !attributes.is_empty() {
            *self.own_attributes() = attributes;
        }
    }

    fn item<'a>(&'a self, place: usize, id: &'a str) -> ScoredItem<'a> {
        ScoredItem {
            id,
            position: self.positions[place],
            score: self.scores[place],
            attributes: self.attributes(place),
        }
    }

    fn attributes(&self, place: usize) -> Option<&Attributes> {
        let attributes = self.attributes.get(place);
        attributes.filter(|attributes| !attributes.is_empty())
    }

    /// All of them, as they are written.
    fn written(&self) -> impl Iterator<Item = Written<'_>> {
        let ids = self.ids.bytes().enumerate();
        ids.map(|(place, id)| Written {
            id,
            position: self.positions[place],
            score: self.scores[place],
            attributes: self.attributes(place),
        })
    }

    /// Those of the last item.
    fn own_attributes(&mut self) -> &mut Attributes {
        let last = self.scores.len() - 1;
        self.attributes.resize_with(last + 1, Attributes::new);
        &mut self.attributes[last]
    }

    /// Takes in a field of the last item.
    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buffer: &mut impl Buf,
        context: DecodeContext,
    ) -> Result<(), DecodeError> {
        let last = self.scores.len() - 1;
        match tag {
            ID => {
                // It takes the place of the one before.
                self.ids.pop();
                merge_next(&mut self.ids, wire_type, buffer, context)
            }
            POSITION => {
                encoding::uint32::merge(wire_type, &mut self.positions[last], buffer, context)
            }
            SCORE => encoding::float::merge(wire_type, &mut self.scores[last], buffer, context),
            ATTRIBUTES => encoding::hash_map::merge(
                encoding::string::merge,
                encoding::string::merge,
                self.own_attributes(),
                buffer,
                context,
            ),
            _ => encoding::skip_field(wire_type, tag, buffer, context),
        }
    }
}

impl<'a> FromIterator<ScoredItem<'a>> for ScoredItems {
    fn from_iter<I: IntoIterator<Item = ScoredItem<'a>>>(items: I) -> Self {
        let items = items.into_iter();
        let mut made = Self::with_capacity(items.size_hint().0);
        for item in items {
            let attributes = item.attributes.cloned().unwrap_or_default();
            made.push(item.id, item.position, item.score, attributes);
        }
        made
    }
}

/// An item that is written: its id's bytes are known to be text.
struct Written<'a> {
    id: &'a [u8],
    position: u32,
    score: f32,
    attributes: Option<&'a Attributes>,
}

impl Written<'_> {
    /// Without its key and length.
    fn encoded_len(&self) -> usize {
        let text = |length: usize| 1 + encoding::encoded_len_varint(length as u64) + length;
        let mut length = 0;
        if !self.id.is_empty() {
            length += text(self.id.len());
        }
        if self.position != 0 {
            length += 1 + encoding::encoded_len_varint(self.position.into());
        }
        if self.score != 0.0 {
            length += 1 + size_of::<f32>();
        }
        if let Some(attributes) = self.attributes {
            let string = encoding::string::encoded_len;
            length += encoding::hash_map::encoded_len(string, string, ATTRIBUTES, attributes);
        }
        length
    }

    /// Writes it as an element of a repeated field. A buffer that grows is asked three times for an item, and not for each
    /// of its parts.
    fn encode(&self, tag: u32, buffer: &mut impl BufMut) {
        let mut around = [0; AROUND];
        let mut rest = &mut around[..];
        encoding::encode_key(tag, WireType::LengthDelimited, &mut rest);
        encoding::encode_varint(self.encoded_len() as u64, &mut rest);
        if !self.id.is_empty() {
            encoding::encode_key(ID, WireType::LengthDelimited, &mut rest);
            encoding::encode_varint(self.id.len() as u64, &mut rest);
        }
        let used = AROUND - rest.len();
        buffer.put_slice(&around[..used]);
        buffer.put_slice(self.id);
        let mut rest = &mut around[..];
        if self.position != 0 {
            encoding::uint32::encode(POSITION, &self.position, &mut rest);
        }
        if self.score != 0.0 {
            encoding::float::encode(SCORE, &self.score, &mut rest);
        }
        let used = AROUND - rest.len();
        buffer.put_slice(&around[..used]);
        if let Some(attributes) = self.attributes {
            let (string, length) = (encoding::string::encode, encoding::string::encoded_len);
            encoding::hash_map::encode(
                string, length, string, length, ATTRIBUTES, attributes, buffer,
            );
        }
    }
}

/// The best of some items, and who says so: `RankResponse` and `RecommendResponse` of `decant.scorer.v1` on the wire, which
/// are the same.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BestItems {
    /// Which version answered.
    pub served_by: Option<ServedBy>,
    /// Best first.
    pub items: ScoredItems,
}

/// The fields of both messages.
const SERVED_BY: u32 = 1;
const ITEMS: u32 = 2;

impl Message for BestItems {
    fn encode_raw(&self, buffer: &mut impl BufMut) {
        if let Some(served_by) = &self.served_by {
            encoding::message::encode(SERVED_BY, served_by, buffer);
        }
        for item in self.items.written() {
            item.encode(ITEMS, buffer);
        }
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buffer: &mut impl Buf,
        context: DecodeContext,
    ) -> Result<(), DecodeError> {
        match tag {
            SERVED_BY => {
                let served_by = self.served_by.get_or_insert_default();
                encoding::message::merge(wire_type, served_by, buffer, context)
            }
            ITEMS => {
                encoding::check_wire_type(WireType::LengthDelimited, wire_type)?;
                self.items.push("", 0, 0.0, Attributes::new());
                encoding::merge_loop(
                    &mut self.items,
                    buffer,
                    context,
                    |items, buffer, context| {
                        let (tag, wire_type) = encoding::decode_key(buffer)?;
                        items.merge_field(tag, wire_type, buffer, context)
                    },
                )
            }
            _ => encoding::skip_field(wire_type, tag, buffer, context),
        }
    }

    fn encoded_len(&self) -> usize {
        let served_by = self.served_by.as_ref();
        let served_by = served_by.map_or(0, |one| encoding::message::encoded_len(SERVED_BY, one));
        let item = |item: Written<'_>| {
            let length = item.encoded_len();
            encoding::key_len(ITEMS) + encoding::encoded_len_varint(length as u64) + length
        };
        served_by + self.items.written().map(item).sum::<usize>()
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What prost makes of the same messages.
    #[derive(Clone, PartialEq, Message)]
    struct Item {
        #[prost(string, tag = "1")]
        id: String,
        #[prost(uint32, tag = "2")]
        position: u32,
        #[prost(float, tag = "3")]
        score: f32,
        #[prost(map = "string, string", tag = "4")]
        attributes: Attributes,
    }

    impl Item {
        fn flat(&self) -> ScoredItem<'_> {
            ScoredItem {
                id: &self.id,
                position: self.position,
                score: self.score,
                attributes: Some(&self.attributes),
            }
        }
    }

    #[derive(Clone, PartialEq, Message)]
    struct Generated {
        #[prost(message, optional, tag = "1")]
        served_by: Option<ServedBy>,
        #[prost(message, repeated, tag = "2")]
        items: Vec<Item>,
    }

    fn flat(generated: &Generated) -> BestItems {
        BestItems {
            served_by: generated.served_by.clone(),
            items: generated.items.iter().map(Item::flat).collect(),
        }
    }

    fn items() -> impl Strategy<Value = Vec<Item>> {
        // A map of one, as those of more are written in any order.
        let attributes = prop::collection::hash_map("[a-c]{0,2}", "\\PC{0,200}", 0..2);
        let position = prop_oneof![0_u32..300, Just(u32::MAX)];
        let score = prop_oneof![Just(0.0_f32), 0.0_f32..1.0];
        let item = ("\\PC{0,200}", position, score, attributes);
        let item = item.prop_map(|(id, position, score, attributes)| Item {
            id,
            position,
            score,
            attributes,
        });
        prop::collection::vec(item, 0..8)
    }

    proptest! {
        #[test]
        fn it_is_written_and_read_as_prost_would(
            items in items(),
            version in prop::option::of(any::<u64>()),
            cut in any::<prop::sample::Index>(),
        ) {
            let served_by = version.map(|version| ServedBy { version, ..ServedBy::default() });
            let generated = Generated { served_by, items };
            let flat = flat(&generated);
            let bytes = generated.encode_to_vec();
            prop_assert_eq!(flat.encode_to_vec(), &bytes[..]);
            prop_assert_eq!(flat.encoded_len(), bytes.len());
            prop_assert_eq!(flat.items.len(), generated.items.len());
            let cut = cut.index(bytes.len() + 1);
            let pieces = bytes[..cut].chain(&bytes[cut..]);
            prop_assert_eq!(BestItems::decode(pieces).unwrap(), flat);
        }

        #[test]
        fn it_takes_what_prost_takes_and_nothing_else(
            items in items(),
            place in any::<prop::sample::Index>(),
            byte in any::<u8>(),
            more in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            let mut bytes = Generated { served_by: None, items }.encode_to_vec();
            if !bytes.is_empty() {
                let place = place.index(bytes.len());
                bytes[place] = byte;
            }
            bytes.extend(more);
            let expected = Generated::decode(&bytes[..]).ok();
            let read = BestItems::decode(&bytes[..]).ok();
            // Scores may have become NaN, which equals nothing.
            let text = |read: Option<BestItems>| format!("{read:?}");
            let has_order = |items: &Generated| items.items.iter().any(|one| one.attributes.len() > 1);
            prop_assume!(!expected.as_ref().is_some_and(has_order));
            prop_assert_eq!(text(read), text(expected.map(|expected| flat(&expected))));
        }
    }

    #[test]
    fn an_item_that_says_something_twice_is_read_as_prost_would() {
        let twice = Item {
            id: "181".to_owned(),
            position: 3,
            score: 0.5,
            attributes: Attributes::new(),
        };
        let mut inner = twice.encode_to_vec();
        inner.extend_from_slice(&[10, 1, b'7', 16, 1]);
        let mut bytes = vec![18, inner.len() as u8];
        bytes.extend(inner);
        let expected = Generated::decode(&bytes[..]).unwrap();
        assert_eq!(expected.items[0].id, "7");
        assert_eq!(BestItems::decode(&bytes[..]).unwrap(), flat(&expected));
    }
}
