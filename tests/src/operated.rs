//! What tests do with Decant, however it runs: all in one process on the embedded store, or a cluster on etcd.

use std::net::SocketAddr;
use std::sync::Arc;

use decant_chassis::client::{Channel, channel};
use decant_proto::admin::v1::admin_service_client::AdminServiceClient;
use decant_proto::registry::push::push_version;
use decant_proto::registry::v1 as registry;
use decant_proto::registry::v1::registry_service_client::RegistryServiceClient;
use decant_proto::rollout::v1 as rollout;
use decant_proto::rollout::v1::rollout_service_client::RolloutServiceClient;
use tonic::Status;

use crate::tiny::{MODEL, Tiny, model};
use crate::wait::eventually;

/// A Decant that runs.
#[expect(async_fn_in_trait, reason = "tests name the types that they use")]
pub trait Operated {
    /// Where a registry serves. Where there is one for all, it has all places.
    fn registry_address(&self, place: usize) -> SocketAddr;

    /// Where the scorers serve.
    fn scorer_addresses(&self) -> Vec<SocketAddr>;

    /// A channel to one registry.
    fn channel(&self, place: usize) -> Channel {
        let address = self.registry_address(place);
        channel("registry", &format!("http://{address}")).unwrap()
    }

    /// A client of one registry.
    fn registry(&self, place: usize) -> RegistryServiceClient<Channel> {
        RegistryServiceClient::new(self.channel(place))
    }

    /// A client of one registry's rollouts.
    fn rollout(&self, place: usize) -> RolloutServiceClient<Channel> {
        RolloutServiceClient::new(self.channel(place))
    }

    /// A client of one registry's administration.
    fn admin(&self, place: usize) -> AdminServiceClient<Channel> {
        AdminServiceClient::new(self.channel(place))
    }

    /// Creates the model of the tiny bundles.
    async fn create_model(&self) {
        let request = registry::CreateModelRequest {
            model: Some(registry::Model {
                name: MODEL.to_owned(),
                ..registry::Model::default()
            }),
            ..registry::CreateModelRequest::default()
        };
        self.registry(0).create_model(request).await.unwrap();
    }

    /// Pushes a bundle to one registry.
    async fn push(&self, place: usize, tiny: &Tiny) -> Result<registry::Version, Status> {
        push_version(
            &mut self.registry(place),
            &model(),
            tiny.manifest.clone(),
            None,
            tiny.files.clone(),
        )
        .await
    }

    /// Asks one registry to serve a version in the slot `main`.
    async fn set(&self, place: usize, version: u64) -> Result<rollout::Slot, Status> {
        let request = rollout::SetSlotRequest {
            model: MODEL.to_owned(),
            version,
            issued_by: format!("operator {place}"),
            ..rollout::SetSlotRequest::default()
        };
        let answer = self.rollout(place).set_slot(request).await?;
        Ok(answer.into_inner().slot.unwrap())
    }

    /// The slot `main` and what scorers make of it, as one registry sees it.
    async fn status(&self, place: usize) -> Result<rollout::SlotStatus, Status> {
        let request = rollout::GetSlotStatusRequest {
            model: MODEL.to_owned(),
            slot: String::new(),
        };
        let answer = self.rollout(place).get_slot_status(request).await?;
        Ok(answer.into_inner().status.unwrap())
    }

    /// Waits until so many scorers serve a version and nothing else is intended, as one registry sees it.
    async fn converged(&self, place: usize, version: u64, scorers: usize) -> rollout::Slot {
        eventually("the slot converges", || async {
            let status = self
                .status(place)
                .await
                .map_err(|status| Arc::from(status.to_string()))?;
            let slot = status.slot.clone().unwrap_or_default();
            let right = slot.active.len() == 1 && slot.active[0].version == version;
            if right && status.converged && status.scorers.len() == scorers {
                Ok(slot)
            } else {
                Err(Arc::<str>::from(format!("{status:#?}")))
            }
        })
        .await
    }

    /// Waits until all scorers answer as a slot says that is as it is to be, as one registry sees it.
    async fn converged_with(
        &self,
        place: usize,
        what: &str,
        is_right: impl Fn(&rollout::Slot) -> bool,
    ) -> rollout::Slot {
        eventually(what, || async {
            let status = self
                .status(place)
                .await
                .map_err(|status| status.to_string())?;
            let slot = status.slot.clone().unwrap_or_default();
            if is_right(&slot) && status.converged {
                Ok(slot)
            } else {
                Err(format!("{status:#?}"))
            }
        })
        .await
    }

    /// Pushes a bundle, and serves it everywhere.
    async fn serve(&self, tiny: &Tiny) -> rollout::Slot {
        let version = self.push(0, tiny).await.unwrap().version;
        self.set(0, version).await.unwrap();
        self.converged(0, version, self.scorer_addresses().len())
            .await
    }

    /// Everything that was ever intended for the slot `main`.
    async fn intended(&self, place: usize) -> Vec<rollout::Slot> {
        let mut request = rollout::ListSlotHistoryRequest {
            model: MODEL.to_owned(),
            ..rollout::ListSlotHistoryRequest::default()
        };
        let mut slots = Vec::new();
        loop {
            let page = self
                .rollout(place)
                .list_slot_history(request.clone())
                .await
                .unwrap()
                .into_inner();
            slots.extend(page.slots);
            if page.next_page_token.is_empty() {
                return slots;
            }
            request.page_token = page.next_page_token;
        }
    }
}
