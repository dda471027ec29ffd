//! Floats. A row of features is one run of them on the wire, as it is in memory.

use prost::bytes::{Buf, BufMut};
use prost::encoding::{self, DecodeContext, WireType};
use prost::{DecodeError, Message};

use super::delimited;

/// The number of the only field, `repeated float values`.
const VALUES: u32 = 1;

/// Floats, in their order. On the wire it is `decant.scorer.v1.FloatValues`. What prost generates reads them one by one,
/// into memory that grows with them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FloatValues {
    /// The values.
    pub values: Vec<f32>,
}

impl Message for FloatValues {
    fn encode_raw(&self, buffer: &mut impl BufMut) {
        encoding::float::encode_packed(VALUES, &self.values, buffer);
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buffer: &mut impl Buf,
        context: DecodeContext,
    ) -> Result<(), DecodeError> {
        if tag != VALUES {
            return encoding::skip_field(wire_type, tag, buffer, context);
        }
        if wire_type == WireType::LengthDelimited
            && let Some((run, length)) = whole(buffer.chunk())
        {
            self.values
                .extend(run.iter().copied().map(f32::from_le_bytes));
            buffer.advance(length);
            return Ok(());
        }
        // They lie in several pieces, or one by one, or something is wrong with them, which is said by whoever knows how.
        encoding::float::merge_repeated(wire_type, &mut self.values, buffer, context)
    }

    fn encoded_len(&self) -> usize {
        encoding::float::encoded_len_packed(VALUES, &self.values)
    }

    fn clear(&mut self) {
        self.values.clear();
    }
}

/// The floats of the run at the beginning of some bytes, and how many bytes it takes with its length, if it is whole.
fn whole(bytes: &[u8]) -> Option<(&[[u8; 4]], usize)> {
    let (run, length) = delimited(bytes)?;
    let (run, left_over) = run.as_chunks();
    left_over.is_empty().then_some((run, length))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What prost makes of the same message.
    #[derive(Clone, PartialEq, Message)]
    struct Generated {
        #[prost(float, repeated, tag = "1")]
        values: Vec<f32>,
    }

    fn cases() -> [Vec<f32>; 3] {
        let many = (0..100).map(|value| value as f32 / 3.0);
        [
            vec![],
            vec![-0.0],
            many.chain([f32::MAX, f32::INFINITY]).collect(),
        ]
    }

    #[test]
    fn it_is_written_and_read_as_prost_would() {
        for values in cases() {
            let generated = Generated {
                values: values.clone(),
            };
            let own = FloatValues { values };
            let bytes = generated.encode_to_vec();
            assert_eq!(own.encode_to_vec(), bytes);
            assert_eq!(own.encoded_len(), bytes.len());
            for cut in 0..=bytes.len() {
                let pieces = bytes[..cut].chain(&bytes[cut..]);
                assert_eq!(FloatValues::decode(pieces).unwrap(), own);
            }
        }
    }

    #[test]
    fn runs_and_single_values_are_added_and_other_fields_are_skipped() {
        let value = |value: f32| value.to_le_bytes();
        let bytes = [
            &[13][..],
            &value(1.0),
            &[16, 1, 10, 8],
            &value(2.0),
            &value(3.0),
            &[10, 0, 10, 4],
            &value(4.0),
        ]
        .concat();
        let read = FloatValues::decode(&bytes[..]).unwrap();
        assert_eq!(read.values, [1.0, 2.0, 3.0, 4.0]);
        assert_eq!(Generated::decode(&bytes[..]).unwrap().values, read.values);
    }

    #[test]
    fn what_prost_refuses_is_refused() {
        let refused: [&[u8]; 5] = [
            // An end too soon, half a float, a length without end, a varint, and no field at all.
            &[10, 8, 0, 0, 0, 0],
            &[10, 2, 0, 0],
            &[10, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1],
            &[8, 1],
            &[0],
        ];
        for bytes in refused {
            assert!(Generated::decode(bytes).is_err(), "{bytes:?}");
            assert!(FloatValues::decode(bytes).is_err(), "{bytes:?}");
        }
    }
}
