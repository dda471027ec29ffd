//! Slots, scorers and rollouts.

use decant_model::rollout::Plan as ModelPlan;
use decant_proto::rollout::plan::to_wire;
use decant_proto::rollout::v1::rollout_service_server::RolloutService;
use decant_proto::rollout::v1::*;
use tokio_stream::StreamExt as _;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status};

use super::{Fake, noon, page};

#[tonic::async_trait]
impl RolloutService for Fake {
    async fn set_slot(
        &self,
        request: Request<SetSlotRequest>,
    ) -> Result<Response<SetSlotResponse>, Status> {
        let mut asked = self.asked.lock().unwrap();
        asked.set_slot.push(request.into_inner());
        if asked.set_slot.len() <= self.unanswered {
            return Err(Status::unavailable("the store did not answer"));
        }
        self.answer(SetSlotResponse {
            slot: self.slot.clone(),
        })
    }

    async fn prepare_slot(
        &self,
        request: Request<PrepareSlotRequest>,
    ) -> Result<Response<PrepareSlotResponse>, Status> {
        self.asked.lock().unwrap().prepare_slot = Some(request.into_inner());
        self.answer(PrepareSlotResponse {
            slot: self.slot.clone(),
        })
    }

    async fn get_slot(
        &self,
        _: Request<GetSlotRequest>,
    ) -> Result<Response<GetSlotResponse>, Status> {
        let slot = self
            .slot_before
            .clone()
            .or(self.slot.clone())
            .ok_or_else(|| Status::not_found("slot movies/main was never set"))?;
        self.answer(GetSlotResponse { slot: Some(slot) })
    }

    type WatchSlotStream = BoxStream<WatchSlotResponse>;

    async fn watch_slot(
        &self,
        _: Request<WatchSlotRequest>,
    ) -> Result<Response<Self::WatchSlotStream>, Status> {
        Err(Status::unimplemented(
            "the command line watches the slot's status instead",
        ))
    }

    async fn get_slot_status(
        &self,
        _: Request<GetSlotStatusRequest>,
    ) -> Result<Response<GetSlotStatusResponse>, Status> {
        self.answer(GetSlotStatusResponse {
            status: self.statuses.first().cloned(),
        })
    }

    type WatchSlotStatusStream = BoxStream<WatchSlotStatusResponse>;

    async fn watch_slot_status(
        &self,
        _: Request<WatchSlotStatusRequest>,
    ) -> Result<Response<Self::WatchSlotStatusStream>, Status> {
        let statuses: Vec<_> = self
            .statuses
            .iter()
            .cloned()
            .map(|status| {
                Ok(WatchSlotStatusResponse {
                    status: Some(status),
                })
            })
            .collect();
        let forever = tokio_stream::iter(statuses).chain(tokio_stream::pending());
        self.answer(Box::pin(forever))
    }

    async fn list_slot_history(
        &self,
        request: Request<ListSlotHistoryRequest>,
    ) -> Result<Response<ListSlotHistoryResponse>, Status> {
        let request = request.into_inner();
        let (slots, next_page_token) = page(&self.history, request.page_size, &request.page_token);
        self.asked.lock().unwrap().slot_history = Some(request);
        self.answer(ListSlotHistoryResponse {
            slots,
            next_page_token,
        })
    }

    async fn list_scorers(
        &self,
        _: Request<ListScorersRequest>,
    ) -> Result<Response<ListScorersResponse>, Status> {
        self.answer(ListScorersResponse {
            scorers: self.scorers.clone(),
        })
    }
    async fn freeze_slot(
        &self,
        request: Request<FreezeSlotRequest>,
    ) -> Result<Response<FreezeSlotResponse>, Status> {
        self.asked.lock().unwrap().freeze_slot = Some(request.into_inner());
        self.answer(FreezeSlotResponse {
            slot: self.slot.clone(),
        })
    }

    async fn rollback(
        &self,
        request: Request<RollbackRequest>,
    ) -> Result<Response<RollbackResponse>, Status> {
        self.asked.lock().unwrap().rollback = Some(request.into_inner());
        let ended = self.releases.first().and_then(|one| one.rollout.as_ref());
        self.answer(RollbackResponse {
            slot: self.slot.clone(),
            before: self.slot_before.clone().or(self.slot.clone()),
            rollout: ended.map(|rollout| rollout.id.clone()).unwrap_or_default(),
        })
    }

    async fn start_rollout(
        &self,
        request: Request<StartRolloutRequest>,
    ) -> Result<Response<StartRolloutResponse>, Status> {
        self.asked.lock().unwrap().start_rollout = Some(request.into_inner());
        self.answer(StartRolloutResponse {
            rollout: self.releases.first().and_then(|one| one.rollout.clone()),
            slot: self.slot.clone(),
            course: self.course.clone(),
        })
    }

    async fn steer_rollout(
        &self,
        request: Request<SteerRolloutRequest>,
    ) -> Result<Response<SteerRolloutResponse>, Status> {
        self.asked.lock().unwrap().steer_rollout = Some(request.into_inner());
        self.answer(SteerRolloutResponse {
            rollout: self.releases.last().and_then(|one| one.rollout.clone()),
            slot: self.slot.clone(),
            before: self.slot_before.clone().or(self.slot.clone()),
        })
    }

    async fn get_rollout(
        &self,
        request: Request<GetRolloutRequest>,
    ) -> Result<Response<GetRolloutResponse>, Status> {
        self.asked.lock().unwrap().get_rollout = Some(request.into_inner());
        self.answer(GetRolloutResponse {
            status: self.releases.first().cloned(),
        })
    }

    type WatchRolloutStream = BoxStream<WatchRolloutResponse>;

    async fn watch_rollout(
        &self,
        _: Request<WatchRolloutRequest>,
    ) -> Result<Response<Self::WatchRolloutStream>, Status> {
        let statuses: Vec<_> = self
            .releases
            .iter()
            .cloned()
            .map(|status| {
                Ok(WatchRolloutResponse {
                    status: Some(status),
                })
            })
            .collect();
        let forever = tokio_stream::iter(statuses).chain(tokio_stream::pending());
        self.answer(Box::pin(forever))
    }

    async fn list_rollouts(
        &self,
        request: Request<ListRolloutsRequest>,
    ) -> Result<Response<ListRolloutsResponse>, Status> {
        let request = request.get_ref();
        let (rollouts, next_page_token) =
            page(&self.rollouts, request.page_size, &request.page_token);
        self.answer(ListRolloutsResponse {
            rollouts,
            next_page_token,
        })
    }

    async fn put_plan(
        &self,
        request: Request<PutPlanRequest>,
    ) -> Result<Response<PutPlanResponse>, Status> {
        let request = request.into_inner();
        let stored = StoredPlan {
            model: request.model.clone(),
            name: request.name.clone(),
            plan: request.plan.clone(),
            issued_by: request.issued_by.clone(),
            issue_time: noon(0),
        };
        self.asked.lock().unwrap().put_plan = Some(request);
        self.answer(PutPlanResponse { plan: Some(stored) })
    }

    async fn get_plan(
        &self,
        request: Request<GetPlanRequest>,
    ) -> Result<Response<GetPlanResponse>, Status> {
        let request = request.into_inner();
        let name = match request.name.as_str() {
            "" => "default",
            name => name,
        };
        let stored = self.plans.iter().find(|plan| plan.name == name);
        let built_in = || StoredPlan {
            model: request.model.clone(),
            name: name.into(),
            plan: Some(to_wire(&ModelPlan::default())),
            ..StoredPlan::default()
        };
        let plan = stored
            .cloned()
            .or_else(|| (name == "default").then(built_in))
            .ok_or_else(|| Status::not_found(format!("model movies has no plan `{name}`")))?;
        self.answer(GetPlanResponse { plan: Some(plan) })
    }

    async fn list_plans(
        &self,
        _: Request<ListPlansRequest>,
    ) -> Result<Response<ListPlansResponse>, Status> {
        self.answer(ListPlansResponse {
            plans: self.plans.clone(),
        })
    }
}
