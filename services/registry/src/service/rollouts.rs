//! What the rollout service does about rollouts and their plans.

use decant_coordination::keys::DesiredKey;
use decant_proto::rollout::v1 as proto;
use futures::{Stream, TryStreamExt};

use super::caller::Caller;
use super::rollout::RolloutApi;
use super::wire::{self, model_name};
use crate::error::CallError;
use crate::rollout::{Moved, RolledBack, Started};

impl RolloutApi {
    pub(super) async fn freeze(
        &self,
        caller: &Caller,
        request: proto::FreezeSlotRequest,
    ) -> Result<proto::FreezeSlotResponse, CallError> {
        let freezing = wire::freezing(caller, request)?;
        let slot = self.rollouts.freeze(&freezing).await?;
        let DesiredKey { model, slot: name } = &freezing.place;
        Ok(proto::FreezeSlotResponse {
            slot: Some(wire::slot(model, name, slot)),
        })
    }

    pub(super) async fn roll_back(
        &self,
        caller: &Caller,
        request: proto::RollbackRequest,
    ) -> Result<proto::RollbackResponse, CallError> {
        let rollback = wire::rollback(caller, request)?;
        let RolledBack {
            slot,
            before,
            rollout,
        } = self.rollouts.roll_back(&rollback).await?;
        let DesiredKey { model, slot: name } = &rollback.place;
        Ok(proto::RollbackResponse {
            slot: Some(wire::slot(model, name, slot)),
            before: Some(wire::slot(model, name, before)),
            rollout: rollout.map_or_else(String::new, |rollout| rollout.to_string()),
        })
    }

    pub(super) async fn start(
        &self,
        caller: &Caller,
        request: proto::StartRolloutRequest,
    ) -> Result<proto::StartRolloutResponse, CallError> {
        let start = wire::start(caller, request)?;
        let Started { moved, course } = self.rollouts.start(&start).await?;
        let DesiredKey { model, slot: name } = &start.place;
        let course = course.into_iter().map(|slot| wire::slot(model, name, slot));
        Ok(proto::StartRolloutResponse {
            course: course.collect(),
            slot: Some(wire::slot(model, name, moved.slot)),
            rollout: Some(wire::rollout(&start.place, &moved.id, moved.record)),
        })
    }

    pub(super) async fn steer(
        &self,
        caller: &Caller,
        request: proto::SteerRolloutRequest,
    ) -> Result<proto::SteerRolloutResponse, CallError> {
        let steering = wire::steering(caller, request)?;
        let Moved {
            id,
            record,
            before,
            slot,
        } = self.rollouts.steer(&steering).await?;
        let DesiredKey { model, slot: name } = &steering.place;
        Ok(proto::SteerRolloutResponse {
            rollout: Some(wire::rollout(&steering.place, &id, record)),
            slot: Some(wire::slot(model, name, slot)),
            before: Some(wire::slot(model, name, before)),
        })
    }

    pub(super) async fn rollout(
        &self,
        request: proto::GetRolloutRequest,
    ) -> Result<proto::GetRolloutResponse, CallError> {
        let place = place(&request.model, &request.slot)?;
        let named = wire::named_rollout("rollout", &request.rollout)?;
        let status = self.rollouts.status(&place, named.as_ref()).await?;
        Ok(proto::GetRolloutResponse {
            status: Some(wire::rollout_status(status)),
        })
    }

    pub(super) async fn watch(
        &self,
        request: proto::WatchRolloutRequest,
    ) -> Result<
        impl Stream<Item = Result<proto::WatchRolloutResponse, CallError>> + Send + 'static,
        CallError,
    > {
        let place = place(&request.model, &request.slot)?;
        let named = wire::named_rollout("rollout", &request.rollout)?;
        let statuses = self.rollouts.watch_rollout(place, named).await?;
        Ok(statuses.map_ok(|status| proto::WatchRolloutResponse {
            status: Some(wire::rollout_status(status)),
        }))
    }

    pub(super) async fn list(
        &self,
        request: proto::ListRolloutsRequest,
    ) -> Result<proto::ListRolloutsResponse, CallError> {
        let place = place(&request.model, &request.slot)?;
        let (size, token) = (request.page_size, &request.page_token);
        let page = self.rollouts.list(&place, size, token).await?;
        let rollouts = page
            .items
            .into_iter()
            .map(|(id, record)| wire::rollout(&place, &id, record));
        Ok(proto::ListRolloutsResponse {
            rollouts: rollouts.collect(),
            next_page_token: page.next_page_token,
        })
    }

    pub(super) async fn put(
        &self,
        caller: &Caller,
        request: proto::PutPlanRequest,
    ) -> Result<proto::PutPlanResponse, CallError> {
        let ask = asked!(caller, request)?;
        let model = model_name("model", &request.model)?;
        let name = wire::named_plan("name", &request.name)?;
        let plan = wire::given_plan(request.plan)?;
        let stored = self
            .rollouts
            .put_plan(&ask, &model, name.as_ref(), &plan)
            .await?;
        Ok(proto::PutPlanResponse {
            plan: Some(wire::stored_plan(&model, stored)),
        })
    }

    pub(super) async fn plan(
        &self,
        request: proto::GetPlanRequest,
    ) -> Result<proto::GetPlanResponse, CallError> {
        let model = model_name("model", &request.model)?;
        let name = wire::named_plan("name", &request.name)?;
        let stored = self.rollouts.plan(&model, name.as_ref()).await?;
        Ok(proto::GetPlanResponse {
            plan: Some(wire::stored_plan(&model, stored)),
        })
    }

    pub(super) async fn plans(
        &self,
        request: proto::ListPlansRequest,
    ) -> Result<proto::ListPlansResponse, CallError> {
        let model = model_name("model", &request.model)?;
        let plans = self.rollouts.plans(&model).await?.into_iter();
        Ok(proto::ListPlansResponse {
            plans: plans
                .map(|stored| wire::stored_plan(&model, stored))
                .collect(),
        })
    }
}

fn place(model: &str, slot: &str) -> Result<DesiredKey, CallError> {
    let (model, slot) = wire::place(model, slot)?;
    Ok(DesiredKey { model, slot })
}
