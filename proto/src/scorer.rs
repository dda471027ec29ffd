//! `decant.scorer.v1`: scores, ranks and recommendations.

mod item_ids;

pub use item_ids::ItemIds;

#[allow(missing_docs, unreachable_pub, clippy::large_enum_variant)]
pub mod v1 {
    pub use super::ItemIds;

    tonic::include_proto!("decant.scorer.v1");
}
