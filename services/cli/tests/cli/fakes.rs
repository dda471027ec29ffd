//! Services that answer what a test wants, and remember what they were asked.

#[path = "fakes/access.rs"]
mod access;
#[path = "fakes/admin.rs"]
mod admin;
#[path = "fakes/rollout.rs"]
mod rollout;

use std::sync::Mutex;

use decant_proto::access::v1::{
    AddPrincipalRequest, Principal, RemovePrincipalRequest, WhoAmIResponse,
};
use decant_proto::admin::v1::*;
use decant_proto::registry::v1::registry_service_server::RegistryService;
use decant_proto::registry::v1::*;
use decant_proto::rollout::v1::*;
use decant_proto::scorer::v1::scorer_service_server::ScorerService;
use decant_proto::scorer::v1::*;
use decant_proto::trainer::v1::trainer_service_server::TrainerService;
use decant_proto::trainer::v1::watch_job_response::News;
use decant_proto::trainer::v1::*;
use prost_types::Timestamp;
use tokio_stream::StreamExt as _;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status, Streaming};

/// All services; what is empty is answered with nothing.
#[derive(Default)]
pub(crate) struct Fake {
    /// Answers every call with this error.
    pub(crate) refusal: Option<Status>,
    /// Never ends the streams that it answers with, and never answers `GetModel`.
    pub(crate) hangs: bool,
    pub(crate) jobs: Vec<Job>,
    pub(crate) news: Vec<News>,
    pub(crate) models: Vec<Model>,
    pub(crate) versions: Vec<Version>,
    pub(crate) bundle: Vec<fetch_bundle_response::Part>,
    pub(crate) lineage: Vec<LineageNode>,
    pub(crate) slot: Option<Slot>,
    /// The slot as it was before it is set.
    pub(crate) slot_before: Option<Slot>,
    /// What a watcher is told, one after the other; then nothing comes any more.
    pub(crate) statuses: Vec<SlotStatus>,
    pub(crate) history: Vec<Slot>,
    /// What a watcher of a rollout is told, one after the other; then nothing comes any more. The first is what a rollout
    /// is that begins or is asked for, and the last what it is once it is steered.
    pub(crate) releases: Vec<RolloutStatus>,
    pub(crate) rollouts: Vec<Rollout>,
    pub(crate) course: Vec<Slot>,
    pub(crate) plans: Vec<StoredPlan>,
    pub(crate) scorers: Vec<Scorer>,
    /// So many changes of a slot are not answered for, and made only by the one that comes then.
    pub(crate) unanswered: usize,
    pub(crate) cluster: GetClusterResponse,
    /// The clock is right, whatever this says.
    pub(crate) diagnosis: GetDiagnosisResponse,
    pub(crate) audit: Vec<AuditEntry>,
    pub(crate) verified: VerifyAuditResponse,
    pub(crate) records: Vec<MetadataRecord>,
    /// Cuts the export after its records.
    pub(crate) cuts: bool,
    pub(crate) principals: Vec<Principal>,
    pub(crate) who_am_i: WhoAmIResponse,
    pub(crate) garbage: CollectGarbageResponse,
    pub(crate) rebuilt: RebuildMetadataResponse,
    /// One element for each time that the scorer is asked; the last is repeated.
    pub(crate) servables: Vec<Vec<Servable>>,
    pub(crate) scores: Vec<f32>,
    pub(crate) items: ScoredItems,
    pub(crate) asked: Mutex<Asked>,
}

/// The requests that came last.
#[derive(Default)]
pub(crate) struct Asked {
    pub(crate) submit_job: Option<SubmitJobRequest>,
    pub(crate) create_model: Option<Model>,
    pub(crate) update_model: Option<UpdateModelRequest>,
    pub(crate) retire_version: Option<RetireVersionRequest>,
    /// All of them.
    pub(crate) set_slot: Vec<SetSlotRequest>,
    pub(crate) prepare_slot: Option<PrepareSlotRequest>,
    pub(crate) slot_history: Option<ListSlotHistoryRequest>,
    pub(crate) freeze_slot: Option<FreezeSlotRequest>,
    pub(crate) rollback: Option<RollbackRequest>,
    pub(crate) start_rollout: Option<StartRolloutRequest>,
    pub(crate) steer_rollout: Option<SteerRolloutRequest>,
    pub(crate) get_rollout: Option<GetRolloutRequest>,
    pub(crate) put_plan: Option<PutPlanRequest>,
    pub(crate) add_principal: Option<AddPrincipalRequest>,
    pub(crate) remove_principal: Option<RemovePrincipalRequest>,
    /// What was shown to `WhoAmI`.
    pub(crate) authorization: Option<String>,
    pub(crate) list_audit: Option<ListAuditRequest>,
    pub(crate) collect_garbage: Option<CollectGarbageRequest>,
    pub(crate) rebuild: Option<RebuildMetadataRequest>,
    pub(crate) adopt: Option<AdoptStoreRequest>,
    pub(crate) import: Vec<ImportMetadataRequest>,
    pub(crate) score: Option<ScoreRequest>,
    pub(crate) rank: Option<RankRequest>,
    pub(crate) recommend: Option<RecommendRequest>,
    pub(crate) list_servables: usize,
}

/// Some seconds after noon of a day in May.
pub(crate) fn noon(seconds: i64) -> Option<Timestamp> {
    Some(Timestamp {
        seconds: 1_777_636_800 + seconds,
        nanos: 0,
    })
}

pub(crate) fn served_by() -> ServedBy {
    ServedBy {
        model: "movies".into(),
        slot: "main".into(),
        version: 1,
        digest: format!("sha256:{}", "ab".repeat(32)),
        arm: Arm::Stable.into(),
        generation: 3,
        ..ServedBy::default()
    }
}

/// A page of a list, at most two long; a token is the place where the next page begins.
fn page<T: Clone>(all: &[T], size: u32, token: &str) -> (Vec<T>, String) {
    let first: usize = token.parse().unwrap_or(0);
    let end = (first + (size as usize).min(2)).min(all.len());
    let next = if end < all.len() {
        end.to_string()
    } else {
        String::new()
    };
    (all[first..end].to_vec(), next)
}

impl Fake {
    pub(crate) fn refusing(refusal: Status) -> Self {
        Self {
            refusal: Some(refusal),
            ..Self::default()
        }
    }

    fn answer<T>(&self, answer: T) -> Result<Response<T>, Status> {
        match &self.refusal {
            Some(status) => Err(status.clone()),
            None => Ok(Response::new(answer)),
        }
    }

    fn stream<T: Send + 'static>(&self, answers: Vec<T>) -> Result<Response<BoxStream<T>>, Status> {
        let answers = tokio_stream::iter(answers.into_iter().map(Ok));
        if self.hangs {
            self.answer(Box::pin(answers.chain(tokio_stream::pending())))
        } else {
            self.answer(Box::pin(answers))
        }
    }
}

#[tonic::async_trait]
impl TrainerService for Fake {
    async fn submit_job(
        &self,
        request: Request<SubmitJobRequest>,
    ) -> Result<Response<SubmitJobResponse>, Status> {
        self.asked.lock().unwrap().submit_job = Some(request.into_inner());
        self.answer(SubmitJobResponse {
            job: self.jobs.first().cloned(),
        })
    }

    async fn get_job(
        &self,
        request: Request<GetJobRequest>,
    ) -> Result<Response<GetJobResponse>, Status> {
        let job = self.jobs.iter().find(|job| job.id == request.get_ref().id);
        self.answer(GetJobResponse { job: job.cloned() })
    }

    async fn list_jobs(
        &self,
        _: Request<ListJobsRequest>,
    ) -> Result<Response<ListJobsResponse>, Status> {
        self.answer(ListJobsResponse {
            jobs: self.jobs.clone(),
        })
    }

    type WatchJobStream = BoxStream<WatchJobResponse>;

    async fn watch_job(
        &self,
        _: Request<WatchJobRequest>,
    ) -> Result<Response<Self::WatchJobStream>, Status> {
        self.stream(
            self.news
                .iter()
                .cloned()
                .map(|news| WatchJobResponse { news: Some(news) })
                .collect(),
        )
    }

    async fn cancel_job(
        &self,
        request: Request<CancelJobRequest>,
    ) -> Result<Response<CancelJobResponse>, Status> {
        let job = self.jobs.iter().find(|job| job.id == request.get_ref().id);
        self.answer(CancelJobResponse { job: job.cloned() })
    }
}

#[tonic::async_trait]
impl RegistryService for Fake {
    async fn create_model(
        &self,
        request: Request<CreateModelRequest>,
    ) -> Result<Response<CreateModelResponse>, Status> {
        let model = request.into_inner().model;
        self.asked.lock().unwrap().create_model = model.clone();
        self.answer(CreateModelResponse {
            model: model.map(|model| Model {
                create_time: noon(0),
                ..model
            }),
        })
    }

    async fn get_model(
        &self,
        _: Request<GetModelRequest>,
    ) -> Result<Response<GetModelResponse>, Status> {
        if self.hangs {
            return std::future::pending().await;
        }
        self.answer(GetModelResponse {
            model: self.models.first().cloned(),
        })
    }

    async fn update_model(
        &self,
        request: Request<UpdateModelRequest>,
    ) -> Result<Response<UpdateModelResponse>, Status> {
        self.asked.lock().unwrap().update_model = Some(request.into_inner());
        self.answer(UpdateModelResponse {
            model: self.models.first().cloned(),
        })
    }

    async fn list_models(
        &self,
        request: Request<ListModelsRequest>,
    ) -> Result<Response<ListModelsResponse>, Status> {
        let request = request.get_ref();
        let (models, next_page_token) = page(&self.models, request.page_size, &request.page_token);
        self.answer(ListModelsResponse {
            models,
            next_page_token,
        })
    }

    async fn push_version(
        &self,
        _: Request<Streaming<PushVersionRequest>>,
    ) -> Result<Response<PushVersionResponse>, Status> {
        Err(Status::unimplemented("the command line pushes nothing"))
    }

    async fn get_version(
        &self,
        request: Request<GetVersionRequest>,
    ) -> Result<Response<GetVersionResponse>, Status> {
        let number = request.get_ref().version;
        let version = self
            .versions
            .iter()
            .find(|version| number == 0 || version.version == number);
        self.answer(GetVersionResponse {
            version: version.cloned(),
        })
    }

    async fn list_versions(
        &self,
        request: Request<ListVersionsRequest>,
    ) -> Result<Response<ListVersionsResponse>, Status> {
        let request = request.get_ref();
        let (versions, next_page_token) =
            page(&self.versions, request.page_size, &request.page_token);
        self.answer(ListVersionsResponse {
            versions,
            next_page_token,
        })
    }

    async fn retire_version(
        &self,
        request: Request<RetireVersionRequest>,
    ) -> Result<Response<RetireVersionResponse>, Status> {
        let request = request.into_inner();
        let version = Version {
            model: request.model.clone(),
            version: request.version,
            state: VersionState::Retired.into(),
            ..Version::default()
        };
        self.asked.lock().unwrap().retire_version = Some(request);
        self.answer(RetireVersionResponse {
            version: Some(version),
        })
    }

    async fn get_lineage(
        &self,
        _: Request<GetLineageRequest>,
    ) -> Result<Response<GetLineageResponse>, Status> {
        self.answer(GetLineageResponse {
            nodes: self.lineage.clone(),
        })
    }

    type FetchBundleStream = BoxStream<FetchBundleResponse>;

    async fn fetch_bundle(
        &self,
        _: Request<FetchBundleRequest>,
    ) -> Result<Response<Self::FetchBundleStream>, Status> {
        self.stream(
            self.bundle
                .iter()
                .cloned()
                .map(|part| FetchBundleResponse { part: Some(part) })
                .collect(),
        )
    }
}

#[tonic::async_trait]
impl ScorerService for Fake {
    async fn score(
        &self,
        request: Request<ScoreRequest>,
    ) -> Result<Response<ScoreResponse>, Status> {
        self.asked.lock().unwrap().score = Some(request.into_inner());
        self.answer(ScoreResponse {
            served_by: Some(served_by()),
            scores: self.scores.clone(),
        })
    }

    type ScoreStreamStream = BoxStream<ScoreStreamResponse>;

    async fn score_stream(
        &self,
        _: Request<Streaming<ScoreStreamRequest>>,
    ) -> Result<Response<Self::ScoreStreamStream>, Status> {
        Err(Status::unimplemented("the command line streams no scores"))
    }

    async fn rank(&self, request: Request<RankRequest>) -> Result<Response<RankResponse>, Status> {
        self.asked.lock().unwrap().rank = Some(request.into_inner());
        self.answer(RankResponse {
            served_by: Some(served_by()),
            items: self.items.clone(),
        })
    }

    async fn recommend(
        &self,
        request: Request<RecommendRequest>,
    ) -> Result<Response<RecommendResponse>, Status> {
        self.asked.lock().unwrap().recommend = Some(request.into_inner());
        self.answer(RecommendResponse {
            served_by: Some(served_by()),
            items: self.items.clone(),
        })
    }

    async fn list_servables(
        &self,
        _: Request<ListServablesRequest>,
    ) -> Result<Response<ListServablesResponse>, Status> {
        let mut asked = self.asked.lock().unwrap();
        let servables = self
            .servables
            .get(asked.list_servables)
            .or(self.servables.last());
        asked.list_servables += 1;
        self.answer(ListServablesResponse {
            servables: servables.cloned().unwrap_or_default(),
            watch_divergences: 0,
        })
    }
    async fn get_evidence(
        &self,
        _: Request<GetEvidenceRequest>,
    ) -> Result<Response<GetEvidenceResponse>, Status> {
        Err(Status::unimplemented("the command line asks the registry"))
    }
}
