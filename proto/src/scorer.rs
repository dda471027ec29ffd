//! `decant.scorer.v1`: scores, ranks and recommendations.

mod best_items;
mod float_values;
mod item_ids;

pub use best_items::{Attributes, BestItems, ScoredItem, ScoredItems};
pub use float_values::FloatValues;
pub use item_ids::{ItemId, ItemIds};

#[allow(missing_docs, unreachable_pub, clippy::large_enum_variant)]
pub mod v1 {
    pub use super::{
        BestItems as RankResponse, BestItems as RecommendResponse, FloatValues, ItemIds,
        ScoredItem, ScoredItems,
    };

    tonic::include_proto!("decant.scorer.v1");
}
