//! What can be told of a request without reading it: whom it asks, and how many rows it is about.

use decant_proto::scorer::v1 as wire;
use prost::Message;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use super::Method;

/// The fields of `ScoreRequest` and `RankRequest` that matter here.
const MODEL: u32 = 1;
const COLUMNS: u32 = 2;
const ITEM_IDS: u32 = 3;
const ITEM_COLUMNS: u32 = 4;

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Skimmed {
    /// Whom it asks, if it says so where it was looked.
    pub(super) model: Option<wire::ModelRef>,
    /// Whether it describes candidates.
    pub(super) describes: bool,
    /// Rows, at most, if the ids of candidates are alike in length; nothing when they come later.
    pub(super) rows: Option<usize>,
}

/// Skims the beginning of a message, which may be all of it. It is not checked: what is wrong is found by whoever reads it.
pub(super) fn skim(method: Method, message: &[u8]) -> Skimmed {
    let mut skimmed = Skimmed::default();
    for field in Fields(message) {
        match (method, field.number) {
            (_, MODEL) if field.bytes.len() == field.length => {
                let model = skimmed.model.get_or_insert_default();
                if model.merge(field.bytes).is_err() {
                    return Skimmed::default();
                }
            }
            (Method::Score, COLUMNS) => {
                let rows = skimmed.rows.unwrap_or(usize::MAX);
                skimmed.rows = Some(rows.min(field.length));
            }
            (Method::Rank, ITEM_IDS) => skimmed.rows = ids(&field),
            (Method::Rank, ITEM_COLUMNS) => {
                // No row takes less than a byte of a column.
                skimmed.describes = true;
                let columns = Fields(field.bytes);
                skimmed.rows = columns.map(|column| column.length).min();
            }
            _ => {}
        }
    }
    skimmed
}

/// How many ids there are, if all are as long as the first.
fn ids(ids: &Field<'_>) -> Option<usize> {
    let first = Fields(ids.bytes).next()?;
    // Each has a byte for its key, and one for its length.
    Some(ids.length / (first.length + 2))
}

/// A field of a message, of which the end may not be there.
struct Field<'a> {
    number: u32,
    length: usize,
    bytes: &'a [u8],
}

/// The fields of a message, as far as they are there and make sense.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        let (number, wire_type) = loop {
            let (number, wire_type) = decode_key(&mut self.0).ok()?;
            if wire_type != WireType::StartGroup {
                break (number, wire_type);
            }
            // Nothing of ours.
            skip_field(wire_type, number, &mut self.0, DecodeContext::default()).ok()?;
        };
        let length = match wire_type {
            WireType::LengthDelimited => decode_varint(&mut self.0).ok()?.try_into().ok()?,
            WireType::Varint => decode_varint(&mut self.0).map(|_| 0).ok()?,
            WireType::ThirtyTwoBit => 4,
            WireType::SixtyFourBit => 8,
            WireType::StartGroup | WireType::EndGroup => return None,
        };
        let (bytes, rest) = self.0.split_at(self.0.len().min(length));
        self.0 = rest;
        Some(Field {
            number,
            length,
            bytes,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use wire::column::Values;
    use wire::rank_request::Candidates;

    use super::*;

    fn model() -> Option<wire::ModelRef> {
        Some(wire::ModelRef {
            model: "films".to_owned(),
            slot: "trial".to_owned(),
        })
    }

    /// Columns of so many rows, one of each type; the last one is of lists.
    fn columns(rows: usize) -> Vec<wire::Column> {
        let column = |values, offsets| wire::Column {
            name: "a".to_owned(),
            values: Some(values),
            offsets,
            ..wire::Column::default()
        };
        let ints = || {
            let values = vec![0; rows];
            Values::Int64Values(wire::Int64Values { values })
        };
        let values = vec![0.5; rows];
        let floats = Values::FloatValues(wire::FloatValues { values });
        let texts = Values::StringValues(std::iter::repeat_n("", rows).collect());
        vec![
            column(ints(), vec![]),
            column(floats, vec![]),
            column(texts, vec![]),
            column(ints(), vec![0; rows + 1]),
        ]
    }

    fn score(rows: usize) -> Vec<u8> {
        let request = wire::ScoreRequest {
            model: model(),
            columns: columns(rows),
        };
        request.encode_to_vec()
    }

    fn rank(candidates: Candidates) -> Vec<u8> {
        let request = wire::RankRequest {
            model: model(),
            query: columns(1),
            candidates: Some(candidates),
            top_k: 10,
        };
        request.encode_to_vec()
    }

    proptest! {
        #[test]
        fn rows_are_no_more_than_is_said_and_not_much_less(rows in 1_usize..3_000) {
            for (method, message) in [
                (Method::Score, score(rows)),
                (Method::Rank, rank(Candidates::ItemColumns(wire::Columns { columns: columns(rows) }))),
            ] {
                let skimmed = skim(method, &message);
                prop_assert_eq!(&skimmed.model, &model());
                prop_assert_eq!(skimmed.describes, matches!(method, Method::Rank));
                let said = skimmed.rows.unwrap();
                prop_assert!((rows..=2 * rows + 20).contains(&said), "{} for {}", said, rows);
            }
        }

        #[test]
        fn ids_are_counted_by_their_length(count in 1_usize..2_000, length in 1_usize..40) {
            let ids = std::iter::repeat_n("7".repeat(length), count).collect();
            let message = rank(Candidates::ItemIds(ids));
            prop_assert_eq!(skim(Method::Rank, &message).rows, Some(count));
            // Also where only the first frame of them has come.
            let beginning = &message[..message.len().min(512)];
            prop_assert_eq!(skim(Method::Rank, beginning).rows, Some(count));
        }

        #[test]
        fn any_bytes_can_be_skimmed(message in prop::collection::vec(any::<u8>(), 0..200)) {
            for method in [Method::Score, Method::Rank, Method::Recommend] {
                skim(method, &message);
            }
        }
    }

    mod fuzz {
        use decant_fuzz::{Format, Target};

        use super::*;

        const TRIES: u64 = 100_000;

        /// Who skims a request and who reads it find the same model.
        fn agree<M: Message + Default>(
            target: &'static str,
            method: Method,
            model: fn(M) -> Option<wire::ModelRef>,
        ) {
            Target::new(target, Format::Protobuf).run(TRIES, |bytes| {
                let skimmed = skim(method, bytes);
                let Ok(request) = M::decode(bytes) else {
                    return false;
                };
                assert_eq!(skimmed.model, model(request));
                skimmed.rows.is_some()
            });
        }

        #[test]
        fn score() {
            let model = |request: wire::ScoreRequest| request.model;
            agree("score", Method::Score, model);
        }

        #[test]
        fn rank() {
            let model = |request: wire::RankRequest| request.model;
            agree("rank", Method::Rank, model);
        }
    }

    #[test]
    fn nothing_is_said_where_nothing_is_known() {
        let message = score(3);
        let name = message.windows(5).position(|bytes| bytes == b"films");
        let cut = skim(Method::Score, &message[..name.unwrap()]);
        assert!(cut.model.is_none() && cut.rows.is_none());
        let empty = rank(Candidates::ItemIds(wire::ItemIds::default()));
        assert_eq!(skim(Method::Rank, &empty).rows, None);
    }
}
