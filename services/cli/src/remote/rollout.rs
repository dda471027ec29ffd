//! Calls of `decant.rollout.v1` about slots and scorers, which the registry serves.

use decant_proto::rollout::v1::rollout_service_client::RolloutServiceClient;
use decant_proto::rollout::v1::{
    FreezeSlotRequest, GetSlotRequest, GetSlotStatusRequest, ListScorersRequest,
    ListSlotHistoryRequest, PrepareSlotRequest, RollbackRequest, Scorer, SetSlotRequest, Slot,
    SlotStatus, WatchSlotStatusRequest, WatchSlotStatusResponse,
};
use prost_types::Timestamp;

use super::attempts::Repeat;
use super::{Answers, Paged, Registry, pages};
use crate::failure::Failure;

/// A slot after it went back to an earlier version, or as it would be.
pub(crate) struct RolledBack {
    pub(crate) slot: Slot,
    /// The slot as it was.
    pub(crate) before: Slot,
    /// The rollout that ended with it; empty when none did.
    pub(crate) rollout: String,
}

impl Registry {
    /// Points a slot at a version.
    pub(crate) async fn set_slot(&self, change: SetSlotRequest) -> Result<Slot, Failure> {
        let id = change.request_id.clone();
        let answer = self
            .0
            .change(&id, change, async |channel, request| {
                RolloutServiceClient::new(channel).set_slot(request).await
            })
            .await?;
        self.0.require(answer.slot, "slot")
    }

    /// Has scorers make a version ready.
    pub(crate) async fn prepare_slot(&self, change: PrepareSlotRequest) -> Result<Slot, Failure> {
        let id = change.request_id.clone();
        let answer = self
            .0
            .change(&id, change, async |channel, request| {
                RolloutServiceClient::new(channel)
                    .prepare_slot(request)
                    .await
            })
            .await?;
        self.0.require(answer.slot, "slot")
    }

    /// Keeps a slot as it is, or lets it change again.
    pub(crate) async fn freeze_slot(&self, change: FreezeSlotRequest) -> Result<Slot, Failure> {
        let id = change.request_id.clone();
        let answer = self
            .0
            .change(&id, change, async |channel, request| {
                RolloutServiceClient::new(channel)
                    .freeze_slot(request)
                    .await
            })
            .await?;
        self.0.require(answer.slot, "slot")
    }

    /// Makes an earlier version the stable one, or says what would be done.
    pub(crate) async fn roll_back(&self, change: RollbackRequest) -> Result<RolledBack, Failure> {
        let id = change.request_id.clone();
        let answer = self
            .0
            .change(&id, change, async |channel, request| {
                RolloutServiceClient::new(channel).rollback(request).await
            })
            .await?;
        Ok(RolledBack {
            slot: self.0.require(answer.slot, "slot")?,
            before: self.0.require(answer.before, "slot of before")?,
            rollout: answer.rollout,
        })
    }

    /// A slot as intended.
    pub(crate) async fn get_slot(&self, model: &str, slot: &str) -> Result<Slot, Failure> {
        let request = GetSlotRequest {
            model: model.to_owned(),
            slot: slot.to_owned(),
        };
        let answer = self
            .0
            .ask(Repeat::Freely, request, async |channel, request| {
                RolloutServiceClient::new(channel).get_slot(request).await
            })
            .await?;
        self.0.require(answer.slot, "slot")
    }

    /// A slot as intended and as it is.
    pub(crate) async fn get_slot_status(
        &self,
        model: &str,
        slot: &str,
    ) -> Result<SlotStatus, Failure> {
        let request = GetSlotStatusRequest {
            model: model.to_owned(),
            slot: slot.to_owned(),
        };
        let answer = self
            .0
            .ask(Repeat::Freely, request, async |channel, request| {
                RolloutServiceClient::new(channel)
                    .get_slot_status(request)
                    .await
            })
            .await?;
        self.0.require(answer.status, "status")
    }

    /// The same now and after each change, however long that takes.
    pub(crate) async fn watch_slot_status(
        &self,
        model: &str,
        slot: &str,
    ) -> Result<Answers<WatchSlotStatusResponse>, Failure> {
        let request = WatchSlotStatusRequest {
            model: model.to_owned(),
            slot: slot.to_owned(),
        };
        self.0
            .open(request, None, async |channel, request| {
                RolloutServiceClient::new(channel)
                    .watch_slot_status(request)
                    .await
            })
            .await
    }

    /// What was intended in a slot, the newest first; or what was at one time.
    pub(crate) async fn list_slot_history(
        &self,
        model: &str,
        slot: &str,
        at: Option<Timestamp>,
        limit: usize,
    ) -> Result<Paged<Slot>, Failure> {
        pages::collect(limit, async |page_size, page_token| {
            let request = ListSlotHistoryRequest {
                model: model.to_owned(),
                slot: slot.to_owned(),
                at,
                page_size,
                page_token,
            };
            let answer = self
                .0
                .ask(Repeat::Freely, request, async |channel, request| {
                    RolloutServiceClient::new(channel)
                        .list_slot_history(request)
                        .await
                })
                .await?;
            Ok((answer.slots, answer.next_page_token))
        })
        .await
    }

    /// The live scorers, by name.
    pub(crate) async fn list_scorers(&self) -> Result<Vec<Scorer>, Failure> {
        let answer = self
            .0
            .ask(
                Repeat::Freely,
                ListScorersRequest {},
                async |channel, request| {
                    RolloutServiceClient::new(channel)
                        .list_scorers(request)
                        .await
                },
            )
            .await?;
        Ok(answer.scorers)
    }
}
