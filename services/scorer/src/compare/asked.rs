//! What a request asked, in words that any version can read: versions differ in features and catalogs.

use bytes::Bytes;
use decant_proto::inference::model_infer_request::InferInputTensor;
use decant_proto::scorer::v1 as wire;
use wire::rank_request::Candidates;

use crate::error::CallError;
use crate::oip;
use crate::scoring::Work;
use crate::servable::{Handle, Servable};
use crate::service::request;

/// Items of a catalog that are compared, at most; spread evenly over it.
const ITEMS: usize = 500;

/// A request's content, as it came.
#[derive(Clone)]
pub(crate) enum Asked {
    /// Rows to score.
    Score(Vec<wire::Column>),
    /// Candidates to rank.
    Rank(Box<wire::RankRequest>),
    /// The query for which a catalog is ranked.
    Recommend(Vec<wire::Column>),
    /// Rows to score, as tensors and their buffers.
    Infer(Vec<InferInputTensor>, Vec<Bytes>),
}

impl Asked {
    /// The same for versions whose catalogs differ: items that all of them know. `None` when there is nothing to compare.
    pub(super) fn for_all(&self, handles: &[Handle], max_rows: usize) -> Option<Self> {
        let Self::Recommend(query) = self else {
            return Some(self.clone());
        };
        let catalogs = handles.iter().map(|handle| handle.servable().items());
        let catalogs: Vec<_> = catalogs
            .map(|items| Some(items?.catalog()))
            .collect::<Option<_>>()?;
        let (first, others) = catalogs.split_first()?;
        let stride = first.len().div_ceil(ITEMS.min(max_rows)).max(1);
        let ids = (0..first.len()).step_by(stride).map(|row| first.id(row));
        let known = ids.filter(|id| others.iter().all(|other| other.row(id).is_some()));
        let item_ids: wire::ItemIds = known.collect();
        let rank = wire::RankRequest {
            query: query.clone(),
            candidates: Some(Candidates::ItemIds(item_ids)),
            ..wire::RankRequest::default()
        };
        Some(Self::Rank(Box::new(rank)))
    }

    /// The work for one version, with the number of its rows. All rows are scored.
    ///
    /// # Errors
    /// When the version cannot read it.
    pub(super) fn work(
        &self,
        servable: &Servable,
        max_rows: usize,
    ) -> Result<(Work, usize), CallError> {
        let schema = servable.schema();
        let columns = match self.clone() {
            Self::Score(columns) => request::score(columns, schema, max_rows)?,
            Self::Infer(inputs, buffers) => oip::columns(inputs, buffers, schema, max_rows)?,
            Self::Rank(mut rank) => {
                rank.top_k = 0;
                let rank = request::rank(*rank, servable, max_rows)?;
                return Ok((rank.work, rank.rows));
            }
            Self::Recommend(query) => {
                let all = wire::RecommendRequest {
                    query,
                    top_k: u32::MAX,
                    ..wire::RecommendRequest::default()
                };
                let all = request::recommend(all, servable, max_rows)?;
                return Ok((all.work, all.rows));
            }
        };
        let rows = columns.rows();
        Ok((Work::Score { columns }, rows))
    }

    /// The score that stands for a request: the first row's, or the best one's of a ranking.
    pub(super) fn first(&self, scores: &[f32]) -> Option<f32> {
        match self {
            Self::Score(_) | Self::Infer(..) => scores.first().copied(),
            Self::Rank(_) | Self::Recommend(_) => scores.iter().copied().reduce(f32::max),
        }
    }
}
