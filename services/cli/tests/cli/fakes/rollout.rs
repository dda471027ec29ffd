//! Slots and scorers.

use decant_proto::rollout::v1::rollout_service_server::RolloutService;
use decant_proto::rollout::v1::*;
use tokio_stream::StreamExt as _;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status};

use super::{Fake, page};

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
}
