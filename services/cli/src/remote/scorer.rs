//! Calls of `decant.scorer.v1`.

use decant_proto::scorer::v1::scorer_service_client::ScorerServiceClient;
use decant_proto::scorer::v1::{
    ListServablesRequest, RankRequest, RankResponse, RecommendRequest, RecommendResponse,
    ScoreRequest, ScoreResponse, Servable,
};
use tonic::transport::Channel;

use super::Remote;
use crate::failure::Failure;

/// The scorer.
pub(crate) struct Scorer(pub(crate) Remote);

impl Scorer {
    /// Scores rows.
    pub(crate) async fn score(&self, request: ScoreRequest) -> Result<ScoreResponse, Failure> {
        self.0
            .call(self.client().score(self.0.bounded(request)))
            .await
    }

    /// Orders candidates.
    pub(crate) async fn rank(&self, request: RankRequest) -> Result<RankResponse, Failure> {
        self.0
            .call(self.client().rank(self.0.bounded(request)))
            .await
    }

    /// Finds the best of the catalog.
    pub(crate) async fn recommend(
        &self,
        request: RecommendRequest,
    ) -> Result<RecommendResponse, Failure> {
        self.0
            .call(self.client().recommend(self.0.bounded(request)))
            .await
    }

    /// What is served.
    pub(crate) async fn list_servables(&self) -> Result<Vec<Servable>, Failure> {
        Ok(self
            .0
            .call(
                self.client()
                    .list_servables(self.0.bounded(ListServablesRequest {})),
            )
            .await?
            .servables)
    }

    fn client(&self) -> ScorerServiceClient<Channel> {
        ScorerServiceClient::new(self.0.channel.clone())
    }
}
