//! Calls of `decant.rollout.v1` about rollouts and their plans.

use decant_proto::rollout::v1::rollout_service_client::RolloutServiceClient;
use decant_proto::rollout::v1::{
    GetPlanRequest, GetRolloutRequest, ListPlansRequest, ListRolloutsRequest, PutPlanRequest,
    Rollout, RolloutStatus, Slot, StartRolloutRequest, SteerRolloutRequest, StoredPlan,
    WatchRolloutRequest, WatchRolloutResponse,
};

use super::attempts::Repeat;
use super::{Answers, Paged, Registry, pages};
use crate::failure::Failure;

/// A rollout that began, or would.
pub(crate) struct Started {
    pub(crate) rollout: Rollout,
    /// What scorers are to serve at each step.
    pub(crate) course: Vec<Slot>,
}

/// A rollout after it was told something, or as it would be.
pub(crate) struct Steered {
    pub(crate) rollout: Rollout,
    pub(crate) slot: Slot,
    /// The slot as it was.
    pub(crate) before: Slot,
}

impl Registry {
    /// Begins to release a version, or says what would be done.
    pub(crate) async fn start_rollout(
        &self,
        request: StartRolloutRequest,
    ) -> Result<Started, Failure> {
        let id = request.request_id.clone();
        let answer = self
            .0
            .change(&id, request, async |channel, request| {
                RolloutServiceClient::new(channel)
                    .start_rollout(request)
                    .await
            })
            .await?;
        Ok(Started {
            rollout: self.0.require(answer.rollout, "rollout")?,
            course: answer.course,
        })
    }

    /// Tells a rollout what to do, or asks what it would do.
    pub(crate) async fn steer_rollout(
        &self,
        request: SteerRolloutRequest,
    ) -> Result<Steered, Failure> {
        let id = request.request_id.clone();
        let answer = self
            .0
            .change(&id, request, async |channel, request| {
                RolloutServiceClient::new(channel)
                    .steer_rollout(request)
                    .await
            })
            .await?;
        Ok(Steered {
            rollout: self.0.require(answer.rollout, "rollout")?,
            slot: self.0.require(answer.slot, "slot")?,
            before: self.0.require(answer.before, "slot of before")?,
        })
    }

    /// A rollout and what is measured of it; the newest when none is named.
    pub(crate) async fn get_rollout(
        &self,
        model: &str,
        slot: &str,
        rollout: &str,
    ) -> Result<RolloutStatus, Failure> {
        let request = GetRolloutRequest {
            model: model.to_owned(),
            slot: slot.to_owned(),
            rollout: rollout.to_owned(),
        };
        let answer = self
            .0
            .ask(Repeat::Freely, request, async |channel, request| {
                RolloutServiceClient::new(channel)
                    .get_rollout(request)
                    .await
            })
            .await?;
        self.0.require(answer.status, "status")
    }

    /// The same now and after each change, however long that takes.
    pub(crate) async fn watch_rollout(
        &self,
        model: &str,
        slot: &str,
        rollout: &str,
    ) -> Result<Answers<WatchRolloutResponse>, Failure> {
        let request = WatchRolloutRequest {
            model: model.to_owned(),
            slot: slot.to_owned(),
            rollout: rollout.to_owned(),
        };
        self.0
            .open(request, None, async |channel, request| {
                RolloutServiceClient::new(channel)
                    .watch_rollout(request)
                    .await
            })
            .await
    }

    /// A slot's rollouts, the newest first.
    pub(crate) async fn list_rollouts(
        &self,
        model: &str,
        slot: &str,
        limit: usize,
    ) -> Result<Paged<Rollout>, Failure> {
        pages::collect(limit, async |page_size, page_token| {
            let request = ListRolloutsRequest {
                model: model.to_owned(),
                slot: slot.to_owned(),
                page_size,
                page_token,
            };
            let answer = self
                .0
                .ask(Repeat::Freely, request, async |channel, request| {
                    RolloutServiceClient::new(channel)
                        .list_rollouts(request)
                        .await
                })
                .await?;
            Ok((answer.rollouts, answer.next_page_token))
        })
        .await
    }

    /// Stores a plan.
    pub(crate) async fn put_plan(&self, request: PutPlanRequest) -> Result<StoredPlan, Failure> {
        let id = request.request_id.clone();
        let answer = self
            .0
            .change(&id, request, async |channel, request| {
                RolloutServiceClient::new(channel).put_plan(request).await
            })
            .await?;
        self.0.require(answer.plan, "plan")
    }

    /// A stored plan; the model's default when none is named.
    pub(crate) async fn get_plan(&self, model: &str, name: &str) -> Result<StoredPlan, Failure> {
        let request = GetPlanRequest {
            model: model.to_owned(),
            name: name.to_owned(),
        };
        let answer = self
            .0
            .ask(Repeat::Freely, request, async |channel, request| {
                RolloutServiceClient::new(channel).get_plan(request).await
            })
            .await?;
        self.0.require(answer.plan, "plan")
    }

    /// A model's stored plans, by name.
    pub(crate) async fn list_plans(&self, model: &str) -> Result<Vec<StoredPlan>, Failure> {
        let request = ListPlansRequest {
            model: model.to_owned(),
        };
        let answer = self
            .0
            .ask(Repeat::Freely, request, async |channel, request| {
                RolloutServiceClient::new(channel).list_plans(request).await
            })
            .await?;
        Ok(answer.plans)
    }
}
