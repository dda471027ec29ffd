//! The gRPC services: from wire to domain and back. What a call means is decided elsewhere.

mod wire;
mod status;

use decant_artifact::{Bundle, BundleStore};
use decant_chassis::tasks::Tasks;
use decant_model::{BundlePath, ModelName};
use decant_proto::registry::v1::registry_service_server::RegistryService;
use decant_proto::registry::v1::{self as registry, fetch_bundle_response as fetch};
use decant_proto::rollout::v1 as rollout;
use decant_proto::rollout::v1::rollout_service_server::RolloutService;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming, async_trait};

use crate::admission::Admission;
use crate::catalog::{Catalog, Settings, Version};
use crate::error::CallError;
use crate::rollout::Slots;

/// `decant.registry.v1.RegistryService`.
#[derive(Clone)]
pub(crate) struct RegistryApi {
    catalog: Catalog,
    admission: Admission,
    bundles: BundleStore,
    tasks: Tasks,
}

impl RegistryApi {
    pub(crate) fn new(
        catalog: Catalog,
        admission: Admission,
        bundles: BundleStore,
        tasks: Tasks,
    ) -> Self {
        Self {
            catalog,
            admission,
            bundles,
            tasks,
        }
    }

    /// A version with the manifest's own bytes, which only its bundle holds.
    async fn with_manifest(&self, version: Version) -> Result<registry::Version, CallError> {
        let bundle = self.bundles.open(version.record.digest).await?;
        Ok(wire::version_with_manifest(version, &bundle))
    }
}

fn model_name(field: &'static str, name: &str) -> Result<ModelName, CallError> {
    name.parse().map_err(CallError::name(field))
}

#[async_trait]
impl RegistryService for RegistryApi {
    async fn create_model(
        &self,
        request: Request<registry::CreateModelRequest>,
    ) -> Result<Response<registry::CreateModelResponse>, Status> {
        let model = request
            .into_inner()
            .model
            .ok_or_else(|| CallError::field("model", "not given"))?;
        let name = model_name("model.name", &model.name)?;
        let settings = Settings::check(model.description, wire::gates(model.gates))?;
        let created = self.catalog.create_model(name, settings).await?;
        Ok(Response::new(registry::CreateModelResponse {
            model: Some(wire::model(created)),
        }))
    }

    async fn get_model(
        &self,
        request: Request<registry::GetModelRequest>,
    ) -> Result<Response<registry::GetModelResponse>, Status> {
        let name = model_name("name", &request.into_inner().name)?;
        let model = self.catalog.model(&name).await?;
        Ok(Response::new(registry::GetModelResponse {
            model: Some(wire::model(model)),
        }))
    }

    async fn list_models(
        &self,
        _request: Request<registry::ListModelsRequest>,
    ) -> Result<Response<registry::ListModelsResponse>, Status> {
        let models = self.catalog.models().await?;
        Ok(Response::new(registry::ListModelsResponse {
            models: models.into_iter().map(wire::model).collect(),
        }))
    }

    async fn push_version(
        &self,
        request: Request<Streaming<registry::PushVersionRequest>>,
    ) -> Result<Response<registry::PushVersionResponse>, Status> {
        let place = self.admission.enter()?;
        let admission = self.admission.clone();
        let parts = request
            .into_inner()
            .map(|message| wire::part(message.map_err(wire::cut)?));
        let (answer, answered) = oneshot::channel();
        // A task of its own, because this call is dropped when its client goes away: the upload is then to be taken back
        // in order, and a version that is being added is to be added.
        self.tasks.spawn_bounded("registry-push", async move {
            let outcome = admission.admit(Box::pin(parts)).await;
            drop(place);
            if let Err(Err(error)) = answer.send(outcome) {
                tracing::info!(%error, "gave up a push whose client went away");
            }
        });
        let version = answered
            .await
            .map_err(|_| CallError::Broken("the push ended without an answer"))??;
        let version = self.with_manifest(version).await?;
        Ok(Response::new(registry::PushVersionResponse {
            version: Some(version),
        }))
    }

    async fn get_version(
        &self,
        request: Request<registry::GetVersionRequest>,
    ) -> Result<Response<registry::GetVersionResponse>, Status> {
        let request = request.into_inner();
        let model = model_name("model", &request.model)?;
        let version = self
            .catalog
            .version(&model, wire::version_number(request.version))
            .await?;
        let version = self.with_manifest(version).await?;
        Ok(Response::new(registry::GetVersionResponse {
            version: Some(version),
        }))
    }

    async fn list_versions(
        &self,
        request: Request<registry::ListVersionsRequest>,
    ) -> Result<Response<registry::ListVersionsResponse>, Status> {
        let model = model_name("model", &request.into_inner().model)?;
        let versions = self.catalog.versions(&model).await?;
        Ok(Response::new(registry::ListVersionsResponse {
            versions: versions.into_iter().map(wire::version).collect(),
        }))
    }

    type FetchBundleStream = BoxStream<'static, Result<registry::FetchBundleResponse, Status>>;

    async fn fetch_bundle(
        &self,
        request: Request<registry::FetchBundleRequest>,
    ) -> Result<Response<Self::FetchBundleStream>, Status> {
        let request = request.into_inner();
        let model = model_name("model", &request.model)?;
        let version = self
            .catalog
            .version(&model, wire::version_number(request.version))
            .await?;
        let bundle = self
            .bundles
            .open(version.record.digest)
            .await
            .map_err(CallError::from)?;
        let parts =
            bundle_parts(bundle).map_ok(|part| registry::FetchBundleResponse { part: Some(part) });
        Ok(Response::new(parts.map_err(Status::from).boxed()))
    }
}

/// A bundle as it is downloaded: the manifest, then the files in chunks, in the order of their paths.
fn bundle_parts(
    bundle: Bundle,
) -> impl Stream<Item = Result<fetch::Part, CallError>> + Send + 'static {
    let manifest = fetch::Part::Manifest(bundle.manifest_bytes().clone());
    let paths: Vec<BundlePath> = bundle.manifest().files.keys().cloned().collect();
    let files = stream::iter(paths).flat_map(move |path| {
        let chunks = bundle.stream_file(&path).map_err(CallError::from);
        chunks.map_ok(move |data| {
            fetch::Part::Chunk(registry::FileChunk {
                path: path.to_string(),
                data,
            })
        })
    });
    stream::once(async { Ok(manifest) }).chain(files)
}

/// `decant.rollout.v1.RolloutService`.
#[derive(Clone)]
pub(crate) struct RolloutApi {
    slots: Slots,
    stop: CancellationToken,
}

impl RolloutApi {
    pub(crate) fn new(slots: Slots, stop: CancellationToken) -> Self {
        Self { slots, stop }
    }
}

#[async_trait]
impl RolloutService for RolloutApi {
    async fn set_slot(
        &self,
        request: Request<rollout::SetSlotRequest>,
    ) -> Result<Response<rollout::SetSlotResponse>, Status> {
        let change = wire::change(request.into_inner())?;
        let (model, slot) = (change.model.clone(), change.slot.clone());
        let desired = self.slots.set(change).await?;
        Ok(Response::new(rollout::SetSlotResponse {
            slot: Some(wire::slot(&model, &slot, desired)),
        }))
    }

    async fn get_slot(
        &self,
        request: Request<rollout::GetSlotRequest>,
    ) -> Result<Response<rollout::GetSlotResponse>, Status> {
        let request = request.into_inner();
        let (model, slot) = wire::place(&request.model, &request.slot)?;
        let desired = self.slots.get(model.clone(), slot.clone()).await?;
        Ok(Response::new(rollout::GetSlotResponse {
            slot: Some(wire::slot(&model, &slot, desired)),
        }))
    }

    type WatchSlotStream = BoxStream<'static, Result<rollout::WatchSlotResponse, Status>>;

    async fn watch_slot(
        &self,
        request: Request<rollout::WatchSlotRequest>,
    ) -> Result<Response<Self::WatchSlotStream>, Status> {
        let request = request.into_inner();
        let (model, slot) = wire::place(&request.model, &request.slot)?;
        let changes = self.slots.watch(model.clone(), slot.clone()).await?;
        let responses = changes
            .map_ok(move |desired| rollout::WatchSlotResponse {
                slot: Some(wire::slot(&model, &slot, desired)),
            })
            .map_err(Status::from)
            .take_until(self.stop.clone().cancelled_owned())
            // It has no end of its own, so whoever reads it is told why it ends.
            .chain(stream::once(async { Err(CallError::Draining.into()) }));
        Ok(Response::new(responses.boxed()))
    }
}
