//! `decant.registry.v1.RegistryService`.

use decant_artifact::{Bundle, BundleStore};
use decant_chassis::tasks::Tasks;
use decant_model::access::Permission;
use decant_model::{BundlePath, ModelVersion};
use decant_proto::registry::v1::registry_service_server::RegistryService;
use decant_proto::registry::v1::{self as proto, fetch_bundle_response as fetch};
use futures::stream::BoxStream;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming, async_trait};
use tracing::Instrument;

use super::caller::Caller;
use super::wire;
use crate::admission::Admission;
use crate::catalog::{Catalog, Settings, Update, Version};
use crate::error::CallError;
use crate::ledger::Ask;

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
    async fn with_manifest(&self, version: Version) -> Result<proto::Version, CallError> {
        let bundle = self.bundles.open(version.record.digest).await?;
        Ok(wire::version_with_manifest(version, &bundle))
    }
}

#[async_trait]
impl RegistryService for RegistryApi {
    async fn create_model(
        &self,
        request: Request<proto::CreateModelRequest>,
    ) -> Result<Response<proto::CreateModelResponse>, Status> {
        let (caller, request) = Caller::of(request);
        let model = request
            .model
            .clone()
            .ok_or_else(|| CallError::field("model", "not given"))?;
        let name = caller.may(Permission::Publish, "model.name", &model.name)?;
        let ask = Ask::operator(
            request.request_id.clone(),
            request.issued_by.clone(),
            String::new(),
            &request,
        )?;
        let ask = caller.sign(ask);
        let signers = wire::signers("model.signers", &model.signers)?;
        let settings = Settings::check(model.description, wire::gates(model.gates), signers)?;
        let created = self.catalog.create_model(&ask, name, settings).await?;
        Ok(Response::new(proto::CreateModelResponse {
            model: Some(wire::model(created)),
        }))
    }

    async fn get_model(
        &self,
        request: Request<proto::GetModelRequest>,
    ) -> Result<Response<proto::GetModelResponse>, Status> {
        let (caller, request) = Caller::of(request);
        let name = caller.may(Permission::View, "name", &request.name)?;
        let model = self.catalog.model(&name).await?;
        Ok(Response::new(proto::GetModelResponse {
            model: Some(wire::model(model)),
        }))
    }

    async fn update_model(
        &self,
        request: Request<proto::UpdateModelRequest>,
    ) -> Result<Response<proto::UpdateModelResponse>, Status> {
        let (caller, request) = Caller::of(request);
        let name = caller.may(Permission::Operate, "name", &request.name)?;
        let ask = asked!(caller, request)?;
        let signers = request
            .signers
            .map(|signers| wire::signers("signers", &signers.keys))
            .transpose()?;
        let gates = request.gates.map(|gates| wire::gates(gates.gates));
        let update = Update::check(request.description, gates, signers)?;
        let updated = self.catalog.update_model(&ask, name, update).await?;
        Ok(Response::new(proto::UpdateModelResponse {
            model: Some(wire::model(updated)),
        }))
    }

    async fn list_models(
        &self,
        request: Request<proto::ListModelsRequest>,
    ) -> Result<Response<proto::ListModelsResponse>, Status> {
        let (caller, request) = Caller::of(request);
        let page = self
            .catalog
            .models(request.page_size, &request.page_token)
            .await?;
        let seen = page.items.into_iter();
        let seen = seen.filter(|model| caller.sees(&model.name));
        Ok(Response::new(proto::ListModelsResponse {
            models: seen.map(wire::model).collect(),
            next_page_token: page.next_page_token,
        }))
    }

    async fn push_version(
        &self,
        request: Request<Streaming<proto::PushVersionRequest>>,
    ) -> Result<Response<proto::PushVersionResponse>, Status> {
        let (caller, messages) = Caller::of(request);
        let place = self.admission.enter()?;
        let admission = self.admission.clone();
        let gone = CancellationToken::new();
        let _waits = gone.clone().drop_guard();
        let parts = until_gone(messages, gone);
        let parts = parts.map(move |message| wire::part(&caller, message.map_err(wire::cut)?));
        let (answer, answered) = oneshot::channel();
        // A task of its own, because this call is dropped when its client goes away: the upload is then to be taken back
        // in order, and a version that is being added is to be added.
        let pushing = async move {
            let outcome = admission.admit(Box::pin(parts)).await;
            drop(place);
            if let Err(Err(error)) = answer.send(outcome) {
                tracing::info!(%error, "gave up a push whose client went away");
            }
        };
        self.tasks
            .spawn_bounded("registry-push", pushing.in_current_span());
        let version = answered
            .await
            .map_err(|_| CallError::Broken("the push ended without an answer"))??;
        let version = self.with_manifest(version).await?;
        Ok(Response::new(proto::PushVersionResponse {
            version: Some(version),
        }))
    }

    async fn get_version(
        &self,
        request: Request<proto::GetVersionRequest>,
    ) -> Result<Response<proto::GetVersionResponse>, Status> {
        let (caller, request) = Caller::of(request);
        let model = caller.may(Permission::View, "model", &request.model)?;
        let version = self
            .catalog
            .version(&model, ModelVersion::new(request.version))
            .await?;
        let version = self.with_manifest(version).await?;
        Ok(Response::new(proto::GetVersionResponse {
            version: Some(version),
        }))
    }

    async fn list_versions(
        &self,
        request: Request<proto::ListVersionsRequest>,
    ) -> Result<Response<proto::ListVersionsResponse>, Status> {
        let (caller, request) = Caller::of(request);
        let model = caller.may(Permission::View, "model", &request.model)?;
        let page = self
            .catalog
            .versions(&model, request.page_size, &request.page_token)
            .await?;
        Ok(Response::new(proto::ListVersionsResponse {
            versions: page.items.into_iter().map(wire::version).collect(),
            next_page_token: page.next_page_token,
        }))
    }

    async fn retire_version(
        &self,
        request: Request<proto::RetireVersionRequest>,
    ) -> Result<Response<proto::RetireVersionResponse>, Status> {
        let (caller, request) = Caller::of(request);
        let model = caller.may(Permission::Operate, "model", &request.model)?;
        let ask = asked!(caller, request)?;
        let version = wire::given_version(request.version)?;
        let retired = self.catalog.retire(&ask, &model, version).await?;
        Ok(Response::new(proto::RetireVersionResponse {
            version: Some(wire::version(retired)),
        }))
    }

    async fn get_lineage(
        &self,
        request: Request<proto::GetLineageRequest>,
    ) -> Result<Response<proto::GetLineageResponse>, Status> {
        let (caller, request) = Caller::of(request);
        let model = caller.may(Permission::View, "model", &request.model)?;
        let line = self
            .catalog
            .lineage(&model, ModelVersion::new(request.version))
            .await?;
        Ok(Response::new(proto::GetLineageResponse {
            nodes: line.into_iter().map(wire::lineage_node).collect(),
        }))
    }

    type FetchBundleStream = BoxStream<'static, Result<proto::FetchBundleResponse, Status>>;

    async fn fetch_bundle(
        &self,
        request: Request<proto::FetchBundleRequest>,
    ) -> Result<Response<Self::FetchBundleStream>, Status> {
        let (caller, request) = Caller::of(request);
        let model = caller.may(Permission::View, "model", &request.model)?;
        let version = self
            .catalog
            .version(&model, ModelVersion::new(request.version))
            .await?;
        let bundle = self
            .bundles
            .open(version.record.digest)
            .await
            .map_err(CallError::from)?;
        let parts =
            bundle_parts(bundle).map_ok(|part| proto::FetchBundleResponse { part: Some(part) });
        Ok(Response::new(parts.map_err(Status::from).boxed()))
    }
}

/// The messages of a call, which end with an error once nobody waits for its answer: its client may go on to send, as one
/// that may not call any more.
fn until_gone<M: Send + 'static>(
    messages: Streaming<M>,
    gone: CancellationToken,
) -> impl Stream<Item = Result<M, Status>> + Send + 'static {
    stream::unfold((messages, gone), |(mut messages, gone)| async {
        let next = tokio::select! {
            biased;
            () = gone.cancelled() => Some(Err(Status::cancelled("nobody waits for the answer"))),
            next = messages.next() => next,
        };
        next.map(|message| (message, (messages, gone)))
    })
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
            fetch::Part::Chunk(proto::FileChunk {
                path: path.to_string(),
                data,
            })
        })
    });
    stream::once(async { Ok(manifest) }).chain(files)
}
