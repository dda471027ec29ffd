//! Calls of `decant.registry.v1`.

use decant_proto::registry::v1::registry_service_client::RegistryServiceClient;
use decant_proto::registry::v1::{
    CreateModelRequest, FetchBundleRequest, FetchBundleResponse, GetLineageRequest,
    GetModelRequest, GetVersionRequest, LineageNode, ListModelsRequest, ListVersionsRequest, Model,
    RetireVersionRequest, UpdateModelRequest, Version,
};

use super::attempts::Repeat;
use super::{Answers, Paged, Remote, pages};
use crate::arguments::version::VersionArgument;
use crate::failure::Failure;

/// The registry, which serves three of the protocol's services: catalog, rollout and admin.
pub(crate) struct Registry(pub(crate) Remote);

impl Registry {
    /// Creates a model.
    pub(crate) async fn create_model(&self, request: CreateModelRequest) -> Result<Model, Failure> {
        let id = request.request_id.clone();
        let answer = self
            .0
            .change(&id, request, async |channel, request| {
                RegistryServiceClient::new(channel)
                    .create_model(request)
                    .await
            })
            .await?;
        self.0.require(answer.model, "model")
    }

    /// Changes a model.
    pub(crate) async fn update_model(&self, request: UpdateModelRequest) -> Result<Model, Failure> {
        let id = request.request_id.clone();
        let answer = self
            .0
            .change(&id, request, async |channel, request| {
                RegistryServiceClient::new(channel)
                    .update_model(request)
                    .await
            })
            .await?;
        self.0.require(answer.model, "model")
    }

    /// One model.
    pub(crate) async fn get_model(&self, name: &str) -> Result<Model, Failure> {
        let request = GetModelRequest {
            name: name.to_owned(),
        };
        let answer = self
            .0
            .ask(Repeat::Freely, request, async |channel, request| {
                RegistryServiceClient::new(channel).get_model(request).await
            })
            .await?;
        self.0.require(answer.model, "model")
    }

    /// All models, by name.
    pub(crate) async fn list_models(&self) -> Result<Vec<Model>, Failure> {
        let page = async |page_size, page_token| {
            let request = ListModelsRequest {
                page_size,
                page_token,
            };
            let answer = self
                .0
                .ask(Repeat::Freely, request, async |channel, request| {
                    RegistryServiceClient::new(channel)
                        .list_models(request)
                        .await
                })
                .await?;
            Ok((answer.models, answer.next_page_token))
        };
        Ok(pages::collect(usize::MAX, page).await?.items)
    }

    /// One version, with its manifest.
    pub(crate) async fn get_version(
        &self,
        model: &str,
        version: VersionArgument,
    ) -> Result<Version, Failure> {
        let request = GetVersionRequest {
            model: model.to_owned(),
            version: version.wire(),
        };
        let answer = self
            .0
            .ask(Repeat::Freely, request, async |channel, request| {
                RegistryServiceClient::new(channel)
                    .get_version(request)
                    .await
            })
            .await?;
        self.0.require(answer.version, "version")
    }

    /// A model's versions, the newest first, without their manifests.
    pub(crate) async fn list_versions(
        &self,
        model: &str,
        limit: usize,
    ) -> Result<Paged<Version>, Failure> {
        pages::collect(limit, async |page_size, page_token| {
            let request = ListVersionsRequest {
                model: model.to_owned(),
                page_size,
                page_token,
            };
            let answer = self
                .0
                .ask(Repeat::Freely, request, async |channel, request| {
                    RegistryServiceClient::new(channel)
                        .list_versions(request)
                        .await
                })
                .await?;
            Ok((answer.versions, answer.next_page_token))
        })
        .await
    }

    /// Takes a version out of use.
    pub(crate) async fn retire_version(
        &self,
        request: RetireVersionRequest,
    ) -> Result<Version, Failure> {
        let id = request.request_id.clone();
        let answer = self
            .0
            .change(&id, request, async |channel, request| {
                RegistryServiceClient::new(channel)
                    .retire_version(request)
                    .await
            })
            .await?;
        self.0.require(answer.version, "version")
    }

    /// A version and those that it comes from.
    pub(crate) async fn get_lineage(
        &self,
        model: &str,
        version: VersionArgument,
    ) -> Result<Vec<LineageNode>, Failure> {
        let request = GetLineageRequest {
            model: model.to_owned(),
            version: version.wire(),
        };
        let answer = self
            .0
            .ask(Repeat::Freely, request, async |channel, request| {
                RegistryServiceClient::new(channel)
                    .get_lineage(request)
                    .await
            })
            .await?;
        Ok(answer.nodes)
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
        self.0
            .open(request, Some(self.0.timeout), async |channel, request| {
                RegistryServiceClient::new(channel)
                    .fetch_bundle(request)
                    .await
            })
            .await
    }
}
