//! `decant.scorer.v1`: scores, ranks and recommendations.

mod best_items;
mod float_values;
mod texts;

pub use best_items::{Attributes, BestItems, ScoredItem, ScoredItems};
pub use float_values::FloatValues;
use prost::encoding::decode_varint;
pub use texts::{ItemIds, StringValues};

/// What stands behind its length at the beginning of some bytes, and how many of them both take, if all of it is there.
fn delimited(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let mut rest = bytes;
    let length = usize::try_from(decode_varint(&mut rest).ok()?).ok()?;
    let content = rest.get(..length)?;
    Some((content, bytes.len() - rest.len() + length))
}

#[allow(missing_docs, unreachable_pub, clippy::large_enum_variant)]
pub mod v1 {
    pub use super::{
        BestItems as RankResponse, BestItems as RecommendResponse, FloatValues, ItemIds,
        ScoredItem, ScoredItems, StringValues,
    };

    tonic::include_proto!("decant.scorer.v1");
}
