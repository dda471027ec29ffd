//! Calls of `decant.scorer.v1`.

use decant_proto::scorer::v1::scorer_service_client::ScorerServiceClient;
use decant_proto::scorer::v1::{
    ListServablesRequest, ListServablesResponse, RankRequest, RankResponse, RecommendRequest,
    RecommendResponse, ScoreRequest, ScoreResponse, Servable,
};

use super::Remote;
use super::attempts::Repeat;
use crate::failure::Failure;

/// The scorer.
pub(crate) struct Scorer(pub(crate) Remote);

impl Scorer {
    /// Scores rows.
    pub(crate) async fn score(&self, request: ScoreRequest) -> Result<ScoreResponse, Failure> {
        self.0
            .ask(Repeat::Freely, request, async |channel, request| {
                ScorerServiceClient::new(channel).score(request).await
            })
            .await
    }

    /// Orders candidates.
    pub(crate) async fn rank(&self, request: RankRequest) -> Result<RankResponse, Failure> {
        self.0
            .ask(Repeat::Freely, request, async |channel, request| {
                ScorerServiceClient::new(channel).rank(request).await
            })
            .await
    }

    /// Finds the best of the catalog.
    pub(crate) async fn recommend(
        &self,
        request: RecommendRequest,
    ) -> Result<RecommendResponse, Failure> {
        self.0
            .ask(Repeat::Freely, request, async |channel, request| {
                ScorerServiceClient::new(channel).recommend(request).await
            })
            .await
    }

    /// What is served.
    pub(crate) async fn list_servables(&self) -> Result<Vec<Servable>, Failure> {
        Ok(self.look().await?.servables)
    }

    /// The same, with how well the store tells the scorer of changes.
    pub(crate) async fn look(&self) -> Result<ListServablesResponse, Failure> {
        self.0
            .ask(
                Repeat::Freely,
                ListServablesRequest {},
                async |channel, request| {
                    ScorerServiceClient::new(channel)
                        .list_servables(request)
                        .await
                },
            )
            .await
    }
}
