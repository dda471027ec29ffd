//! `inference.GRPCInferenceService`: the Open Inference Protocol v2 as Triton, KServe and MLServer speak it, so that their
//! clients score with Decant's models.
//!
//! | the protocol's | is Decant's |
//! |---|---|
//! | model `MODEL` | the slot `main` of the model; `MODEL/SLOT` is another slot of it |
//! | empty version | the version that the slot's split names, by the request's `decant-routing-key` as for the other calls |
//! | version | a version's number: that version, if it is in service in the slot, in whichever part |
//! | input | a raw column that features of the model read: it is encoded here, as it was in training |
//! | shape `[N]` or `[N,1]` | one value for each of N rows |
//! | shape `[N,K]` | K values for each row, for features that read lists; empty strings at a row's end are padding |
//! | INT8 to INT64, UINT8 to UINT64 | integers |
//! | FP16, FP32, FP64 | floats of 32 bits |
//! | BYTES | strings, in UTF-8 |
//! | output `score`, FP32, shape `[N]` | what `Score` answers for the same rows |
//! | parameter `timeout`, microseconds | a deadline, if it is sooner than the call's own |
//! | parameter `priority` | `critical`, `normal` or `sheddable`, or 1, 2 and 3, before the header `decant-priority` |
//! | parameters of an answer | slot, digest, arm and generation of the version that answered, and what it cost |
//! | READY | in service; a version that is only resident is UNAVAILABLE, as it cannot be asked |
//! | statistics | of each version in memory since it was loaded, whichever protocol asked it |
//! | load, unload | refused: `decant rollout start` and `decant slot set` tell all scorers at once |
//!
//! BOOL and BF16 are refused, as are shared memory and classification. Unknown parameters are ignored, as Triton does.
//! Whatever is wrong with a request is told in one answer.
//!
//! Reading order: [`names`] say which version is asked; a [`signature`] is what it takes and gives, in [`datatype`]s;
//! [`infer`] asks it; [`metadata`], [`repository`] and [`statistics`] tell about versions; the [`server`] takes the calls.

mod names;
mod datatype;
mod signature;
mod infer;
mod metadata;
mod repository;
mod statistics;
mod server;

pub(crate) use self::server::Server;

use std::pin::Pin;
use std::sync::Arc;

use decant_model::ModelVersion;
use decant_model::access::Permission;
use decant_proto::inference as wire;
use decant_proto::inference::grpc_inference_service_server::GrpcInferenceService;
use futures::Stream;
use tonic::{Request, Response, Status, Streaming};

use self::names::{Asked, Fields};
use crate::error::CallError;
use crate::health::Health;
use crate::servable::{Handle, Place};
use crate::service::asking::Asking;
use crate::service::caller::Who;
use crate::service::routing::Routing;
use crate::service::{Service, stream};

/// The protocol's extensions that are served, in Triton's words. Of `model_repository` the changes are refused, as by a
/// Triton that is not told to take them.
const EXTENSIONS: [&str; 3] = ["model_configuration", "model_repository", "statistics"];

/// The protocol's calls, answered with what the scorer's own service has. Clones share everything.
#[derive(Clone)]
pub(crate) struct Protocol {
    service: Service,
    health: Arc<Health>,
}

impl Protocol {
    pub(crate) fn new(service: Service, health: Arc<Health>) -> Self {
        Self { service, health }
    }

    /// The version that a question about a model is about, if who asks may see the model; without a number, the one that
    /// would answer in the end.
    fn pin(&self, asked: Asked, who: Who<'_>) -> Result<Handle, CallError> {
        let Asked { place, version } = asked;
        who.may(Permission::View, &place.model)?;
        self.service.look_up(place, version, Routing::LAST)
    }

    async fn infer(
        &self,
        request: Request<wire::ModelInferRequest>,
    ) -> Result<wire::ModelInferResponse, Status> {
        let (metadata, extensions, request) = request.into_parts();
        let asking = Asking::read(&metadata, &extensions);
        Ok(infer::infer(&self.service, request, asking).await?)
    }

    /// The numbers of the versions in service.
    fn versions(&self, place: &Place) -> Vec<ModelVersion> {
        let table = self.service.manager().table();
        let versions = table.get(place).map(|entry| entry.versions().collect());
        versions.unwrap_or_default()
    }
}

type Answers = Pin<Box<dyn Stream<Item = Result<wire::ModelStreamInferResponse, Status>> + Send>>;

#[tonic::async_trait]
impl GrpcInferenceService for Protocol {
    async fn server_live(
        &self,
        _request: Request<wire::ServerLiveRequest>,
    ) -> Result<Response<wire::ServerLiveResponse>, Status> {
        Ok(Response::new(wire::ServerLiveResponse { live: true }))
    }

    async fn server_ready(
        &self,
        _request: Request<wire::ServerReadyRequest>,
    ) -> Result<Response<wire::ServerReadyResponse>, Status> {
        let ready = self.health.is_serving().await;
        Ok(Response::new(wire::ServerReadyResponse { ready }))
    }

    async fn model_ready(
        &self,
        request: Request<wire::ModelReadyRequest>,
    ) -> Result<Response<wire::ModelReadyResponse>, Status> {
        let (_, extensions, request) = request.into_parts();
        let asked = Asked::read(Fields::NAME, &request.name, &request.version)?;
        let ready = match self.pin(asked, Who::read(&extensions)) {
            Err(error @ (CallError::Draining | CallError::Denied(_))) => return Err(error.into()),
            pinned => pinned.is_ok(),
        };
        Ok(Response::new(wire::ModelReadyResponse { ready }))
    }

    async fn server_metadata(
        &self,
        _request: Request<wire::ServerMetadataRequest>,
    ) -> Result<Response<wire::ServerMetadataResponse>, Status> {
        Ok(Response::new(wire::ServerMetadataResponse {
            name: "decant-scorer".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            extensions: EXTENSIONS.map(str::to_owned).into(),
        }))
    }

    async fn model_metadata(
        &self,
        request: Request<wire::ModelMetadataRequest>,
    ) -> Result<Response<wire::ModelMetadataResponse>, Status> {
        let (_, extensions, request) = request.into_parts();
        let asked = Asked::read(Fields::NAME, &request.name, &request.version)?;
        let versions = self.versions(&asked.place);
        let handle = self.pin(asked, Who::read(&extensions))?;
        let schema = handle.servable().schema();
        Ok(Response::new(metadata::model(
            request.name,
            schema,
            &versions,
        )))
    }

    async fn model_infer(
        &self,
        request: Request<wire::ModelInferRequest>,
    ) -> Result<Response<wire::ModelInferResponse>, Status> {
        self.infer(request).await.map(Response::new)
    }

    type ModelStreamInferStream = Answers;

    async fn model_stream_infer(
        &self,
        request: Request<Streaming<wire::ModelInferRequest>>,
    ) -> Result<Response<Answers>, Status> {
        let asking = Asking::read(request.metadata(), request.extensions()).keep()?;
        let service = self.service.clone();
        let answer = move |message: wire::ModelInferRequest| {
            let (service, asking) = (service.clone(), asking.clone());
            async move {
                let id = message.id.clone();
                let answered = infer::infer(&service, message, asking.asking());
                infer::outcome(id, answered.await)
            }
        };
        let depth = self.service.config().stream_depth;
        let stop = self.service.stop_token();
        let answers = stream::in_order(request.into_inner(), depth, stop, answer);
        Ok(Response::new(Box::pin(answers)))
    }

    async fn model_config(
        &self,
        request: Request<wire::ModelConfigRequest>,
    ) -> Result<Response<wire::ModelConfigResponse>, Status> {
        let (_, extensions, request) = request.into_parts();
        let asked = Asked::read(Fields::NAME, &request.name, &request.version)?;
        let versions = self.versions(&asked.place);
        let handle = self.pin(asked, Who::read(&extensions))?;
        let (schema, max_rows) = (handle.servable().schema(), self.service.config().max_rows);
        let config = metadata::config(request.name, schema, &versions, max_rows);
        Ok(Response::new(wire::ModelConfigResponse {
            config: Some(config),
        }))
    }

    async fn model_statistics(
        &self,
        request: Request<wire::ModelStatisticsRequest>,
    ) -> Result<Response<wire::ModelStatisticsResponse>, Status> {
        let (_, extensions, request) = request.into_parts();
        let (manager, who) = (self.service.manager(), Who::read(&extensions));
        let model_stats = statistics::select(manager, &request.name, &request.version, who)?;
        Ok(Response::new(wire::ModelStatisticsResponse { model_stats }))
    }

    async fn repository_index(
        &self,
        request: Request<wire::RepositoryIndexRequest>,
    ) -> Result<Response<wire::RepositoryIndexResponse>, Status> {
        let (_, extensions, request) = request.into_parts();
        repository::check(&request.repository_name)?;
        let (manager, who) = (self.service.manager(), Who::read(&extensions));
        let models = repository::index(manager, request.ready, who);
        Ok(Response::new(wire::RepositoryIndexResponse { models }))
    }

    async fn repository_model_load(
        &self,
        request: Request<wire::RepositoryModelLoadRequest>,
    ) -> Result<Response<wire::RepositoryModelLoadResponse>, Status> {
        let (_, extensions, request) = request.into_parts();
        let (repository, who) = (&request.repository_name, Who::read(&extensions));
        Err(repository::refused(repository, &request.model_name, who).into())
    }

    async fn repository_model_unload(
        &self,
        request: Request<wire::RepositoryModelUnloadRequest>,
    ) -> Result<Response<wire::RepositoryModelUnloadResponse>, Status> {
        let (_, extensions, request) = request.into_parts();
        let (repository, who) = (&request.repository_name, Who::read(&extensions));
        Err(repository::refused(repository, &request.model_name, who).into())
    }
}
