//! Calls of `decant.registry.v1` and `decant.rollout.v1`, which the registry serves both.

use decant_proto::registry::v1::registry_service_client::RegistryServiceClient;
use decant_proto::registry::v1::{
    CreateModelRequest, FetchBundleRequest, FetchBundleResponse, GetModelRequest,
    GetVersionRequest, ListModelsRequest, ListVersionsRequest, Model, Version,
};
use decant_proto::rollout::v1::rollout_service_client::RolloutServiceClient;
use decant_proto::rollout::v1::{GetSlotRequest, SetSlotRequest, Slot};
use tonic::transport::Channel;

use super::{Answers, Remote};
use crate::arguments::version::VersionArgument;
use crate::failure::Failure;

/// The registry.
pub(crate) struct Registry(pub(crate) Remote);

impl Registry {
    /// Creates a model.
    pub(crate) async fn create_model(&self, model: Model) -> Result<Model, Failure> {
        let request = self.0.bounded(CreateModelRequest {
            model: Some(model),
            ..CreateModelRequest::default()
        });
        let answer = self.0.call(self.client().create_model(request)).await?;
        self.0.require(answer.model, "model")
    }

    /// One model.
    pub(crate) async fn get_model(&self, name: &str) -> Result<Model, Failure> {
        let request = self.0.bounded(GetModelRequest {
            name: name.to_owned(),
        });
        let answer = self.0.call(self.client().get_model(request)).await?;
        self.0.require(answer.model, "model")
    }

    /// All models, by name.
    pub(crate) async fn list_models(&self) -> Result<Vec<Model>, Failure> {
        Ok(self
            .0
            .call(
                self.client()
                    .list_models(self.0.bounded(ListModelsRequest::default())),
            )
            .await?
            .models)
    }

    /// One version, with its manifest.
    pub(crate) async fn get_version(
        &self,
        model: &str,
        version: VersionArgument,
    ) -> Result<Version, Failure> {
        let request = self.0.bounded(GetVersionRequest {
            model: model.to_owned(),
            version: version.wire(),
        });
        let answer = self.0.call(self.client().get_version(request)).await?;
        self.0.require(answer.version, "version")
    }

    /// A model's versions, the newest first, without their manifests.
    pub(crate) async fn list_versions(&self, model: &str) -> Result<Vec<Version>, Failure> {
        let request = self.0.bounded(ListVersionsRequest {
            model: model.to_owned(),
            ..ListVersionsRequest::default()
        });
        Ok(self
            .0
            .call(self.client().list_versions(request))
            .await?
            .versions)
    }

    /// A version's bytes. The deadline holds for each message, as the whole may be large.
    pub(crate) async fn fetch_bundle(
        &self,
        model: &str,
        version: u64,
    ) -> Result<Answers<FetchBundleResponse>, Failure> {
        let request = FetchBundleRequest {
            model: model.to_owned(),
            version,
        };
        let stream = self.0.call(self.client().fetch_bundle(request)).await?;
        Ok(Answers {
            remote: self.0.clone(),
            stream,
            patience: Some(self.0.timeout),
        })
    }

    /// Points a slot at a version.
    pub(crate) async fn set_slot(&self, change: SetSlotRequest) -> Result<Slot, Failure> {
        let answer = self
            .0
            .call(self.rollout().set_slot(self.0.bounded(change)))
            .await?;
        self.0.require(answer.slot, "slot")
    }

    /// A slot as intended.
    pub(crate) async fn get_slot(&self, model: &str, slot: &str) -> Result<Slot, Failure> {
        let request = self.0.bounded(GetSlotRequest {
            model: model.to_owned(),
            slot: slot.to_owned(),
        });
        let answer = self.0.call(self.rollout().get_slot(request)).await?;
        self.0.require(answer.slot, "slot")
    }

    fn client(&self) -> RegistryServiceClient<Channel> {
        RegistryServiceClient::new(self.0.channel.clone())
    }

    fn rollout(&self) -> RolloutServiceClient<Channel> {
        RolloutServiceClient::new(self.0.channel.clone())
    }
}
