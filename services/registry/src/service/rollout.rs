//! `decant.rollout.v1.RolloutService`.

use decant_model::access::Permission;
use decant_proto::rollout::v1 as proto;
use decant_proto::rollout::v1::rollout_service_server::RolloutService;
use futures::TryStreamExt;
use futures::stream::BoxStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, async_trait};

use super::caller::Caller;
use super::{until_stop, wire};
use crate::rollout::{Rollouts, Slots};

#[derive(Clone)]
pub(crate) struct RolloutApi {
    slots: Slots,
    pub(super) rollouts: Rollouts,
    stop: CancellationToken,
}

impl RolloutApi {
    pub(crate) fn new(slots: Slots, rollouts: Rollouts, stop: CancellationToken) -> Self {
        Self {
            slots,
            rollouts,
            stop,
        }
    }
}

#[async_trait]
impl RolloutService for RolloutApi {
    async fn set_slot(
        &self,
        request: Request<proto::SetSlotRequest>,
    ) -> Result<Response<proto::SetSlotResponse>, Status> {
        let (caller, request) = Caller::of(request);
        caller.may(Permission::Operate, "model", &request.model)?;
        let change = wire::set_slot(&caller, request)?;
        let desired = self.slots.set(&change).await?;
        Ok(Response::new(proto::SetSlotResponse {
            slot: Some(wire::slot(&change.model, &change.slot, desired)),
        }))
    }

    async fn prepare_slot(
        &self,
        request: Request<proto::PrepareSlotRequest>,
    ) -> Result<Response<proto::PrepareSlotResponse>, Status> {
        let (caller, request) = Caller::of(request);
        caller.may(Permission::Operate, "model", &request.model)?;
        let change = wire::prepare_slot(&caller, request)?;
        let desired = self.slots.prepare(&change).await?;
        Ok(Response::new(proto::PrepareSlotResponse {
            slot: Some(wire::slot(&change.model, &change.slot, desired)),
        }))
    }

    async fn get_slot(
        &self,
        request: Request<proto::GetSlotRequest>,
    ) -> Result<Response<proto::GetSlotResponse>, Status> {
        let (caller, request) = Caller::of(request);
        caller.may(Permission::View, "model", &request.model)?;
        let (model, slot) = wire::place(&request.model, &request.slot)?;
        let desired = self.slots.get(&model, &slot).await?;
        Ok(Response::new(proto::GetSlotResponse {
            slot: Some(wire::slot(&model, &slot, desired)),
        }))
    }

    type WatchSlotStream = BoxStream<'static, Result<proto::WatchSlotResponse, Status>>;

    async fn watch_slot(
        &self,
        request: Request<proto::WatchSlotRequest>,
    ) -> Result<Response<Self::WatchSlotStream>, Status> {
        let (caller, request) = Caller::of(request);
        caller.may(Permission::View, "model", &request.model)?;
        let (model, slot) = wire::place(&request.model, &request.slot)?;
        let changes = self.slots.watch(model.clone(), slot.clone()).await?;
        let responses = changes.map_ok(move |desired| proto::WatchSlotResponse {
            slot: Some(wire::slot(&model, &slot, desired)),
        });
        Ok(Response::new(until_stop(responses, &self.stop)))
    }

    async fn get_slot_status(
        &self,
        request: Request<proto::GetSlotStatusRequest>,
    ) -> Result<Response<proto::GetSlotStatusResponse>, Status> {
        let (caller, request) = Caller::of(request);
        caller.may(Permission::View, "model", &request.model)?;
        let (model, slot) = wire::place(&request.model, &request.slot)?;
        let status = self.slots.status(&model, &slot).await?;
        Ok(Response::new(proto::GetSlotStatusResponse {
            status: Some(wire::slot_status(&model, &slot, status)),
        }))
    }

    type WatchSlotStatusStream = BoxStream<'static, Result<proto::WatchSlotStatusResponse, Status>>;

    async fn watch_slot_status(
        &self,
        request: Request<proto::WatchSlotStatusRequest>,
    ) -> Result<Response<Self::WatchSlotStatusStream>, Status> {
        let (caller, request) = Caller::of(request);
        caller.may(Permission::View, "model", &request.model)?;
        let (model, slot) = wire::place(&request.model, &request.slot)?;
        let changes = self.slots.watch_status(model.clone(), slot.clone()).await?;
        let responses = changes.map_ok(move |status| proto::WatchSlotStatusResponse {
            status: Some(wire::slot_status(&model, &slot, status)),
        });
        Ok(Response::new(until_stop(responses, &self.stop)))
    }

    async fn list_slot_history(
        &self,
        request: Request<proto::ListSlotHistoryRequest>,
    ) -> Result<Response<proto::ListSlotHistoryResponse>, Status> {
        let (caller, request) = Caller::of(request);
        caller.may(Permission::View, "model", &request.model)?;
        let (model, slot) = wire::place(&request.model, &request.slot)?;
        let (slots, next_page_token) = match request.at {
            Some(at) => {
                let found = self.slots.at(&model, &slot, wire::moment(at)?).await?;
                (Vec::from_iter(found), String::new())
            }
            None => {
                let (size, token) = (request.page_size, &request.page_token);
                let page = self.slots.history(&model, &slot, size, token).await?;
                (page.items, page.next_page_token)
            }
        };
        let slots = slots
            .into_iter()
            .map(|desired| wire::slot(&model, &slot, desired));
        Ok(Response::new(proto::ListSlotHistoryResponse {
            slots: slots.collect(),
            next_page_token,
        }))
    }

    async fn list_scorers(
        &self,
        _request: Request<proto::ListScorersRequest>,
    ) -> Result<Response<proto::ListScorersResponse>, Status> {
        let scorers = self.slots.scorers().await?;
        let scorers = scorers
            .into_iter()
            .map(|(name, record)| wire::scorer(&name, record));
        Ok(Response::new(proto::ListScorersResponse {
            scorers: scorers.collect(),
        }))
    }

    async fn freeze_slot(
        &self,
        request: Request<proto::FreezeSlotRequest>,
    ) -> Result<Response<proto::FreezeSlotResponse>, Status> {
        let (caller, request) = Caller::of(request);
        caller.may(Permission::Operate, "model", &request.model)?;
        Ok(Response::new(self.freeze(&caller, request).await?))
    }

    async fn rollback(
        &self,
        request: Request<proto::RollbackRequest>,
    ) -> Result<Response<proto::RollbackResponse>, Status> {
        let (caller, request) = Caller::of(request);
        caller.may(Permission::Operate, "model", &request.model)?;
        Ok(Response::new(self.roll_back(&caller, request).await?))
    }

    async fn start_rollout(
        &self,
        request: Request<proto::StartRolloutRequest>,
    ) -> Result<Response<proto::StartRolloutResponse>, Status> {
        let (caller, request) = Caller::of(request);
        caller.may(Permission::Operate, "model", &request.model)?;
        Ok(Response::new(self.start(&caller, request).await?))
    }

    async fn steer_rollout(
        &self,
        request: Request<proto::SteerRolloutRequest>,
    ) -> Result<Response<proto::SteerRolloutResponse>, Status> {
        let (caller, request) = Caller::of(request);
        caller.may(Permission::Operate, "model", &request.model)?;
        Ok(Response::new(self.steer(&caller, request).await?))
    }

    async fn get_rollout(
        &self,
        request: Request<proto::GetRolloutRequest>,
    ) -> Result<Response<proto::GetRolloutResponse>, Status> {
        let (caller, request) = Caller::of(request);
        caller.may(Permission::View, "model", &request.model)?;
        Ok(Response::new(self.rollout(request).await?))
    }

    type WatchRolloutStream = BoxStream<'static, Result<proto::WatchRolloutResponse, Status>>;

    async fn watch_rollout(
        &self,
        request: Request<proto::WatchRolloutRequest>,
    ) -> Result<Response<Self::WatchRolloutStream>, Status> {
        let (caller, request) = Caller::of(request);
        caller.may(Permission::View, "model", &request.model)?;
        let responses = self.watch(request).await?;
        Ok(Response::new(until_stop(responses, &self.stop)))
    }

    async fn list_rollouts(
        &self,
        request: Request<proto::ListRolloutsRequest>,
    ) -> Result<Response<proto::ListRolloutsResponse>, Status> {
        let (caller, request) = Caller::of(request);
        caller.may(Permission::View, "model", &request.model)?;
        Ok(Response::new(self.list(request).await?))
    }

    async fn put_plan(
        &self,
        request: Request<proto::PutPlanRequest>,
    ) -> Result<Response<proto::PutPlanResponse>, Status> {
        let (caller, request) = Caller::of(request);
        caller.may(Permission::Operate, "model", &request.model)?;
        Ok(Response::new(self.put(&caller, request).await?))
    }

    async fn get_plan(
        &self,
        request: Request<proto::GetPlanRequest>,
    ) -> Result<Response<proto::GetPlanResponse>, Status> {
        let (caller, request) = Caller::of(request);
        caller.may(Permission::View, "model", &request.model)?;
        Ok(Response::new(self.plan(request).await?))
    }

    async fn list_plans(
        &self,
        request: Request<proto::ListPlansRequest>,
    ) -> Result<Response<proto::ListPlansResponse>, Status> {
        let (caller, request) = Caller::of(request);
        caller.may(Permission::View, "model", &request.model)?;
        Ok(Response::new(self.plans(request).await?))
    }
}
