//! Services that answer what a test wants, and remember what they were asked.

use std::sync::Mutex;

use decant_proto::registry::v1::registry_service_server::RegistryService;
use decant_proto::registry::v1::*;
use decant_proto::rollout::v1::rollout_service_server::RolloutService;
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
    pub(crate) slot: Option<Slot>,
    /// One element for each time that the scorer is asked; the last is repeated.
    pub(crate) servables: Vec<Vec<Servable>>,
    pub(crate) scores: Vec<f32>,
    pub(crate) items: Vec<ScoredItem>,
    pub(crate) asked: Mutex<Asked>,
}

/// The requests that came last.
#[derive(Default)]
pub(crate) struct Asked {
    pub(crate) submit_job: Option<SubmitJobRequest>,
    pub(crate) create_model: Option<Model>,
    pub(crate) set_slot: Option<SetSlotRequest>,
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
    }
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

    async fn list_models(
        &self,
        _: Request<ListModelsRequest>,
    ) -> Result<Response<ListModelsResponse>, Status> {
        self.answer(ListModelsResponse {
            models: self.models.clone(),
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
        _: Request<ListVersionsRequest>,
    ) -> Result<Response<ListVersionsResponse>, Status> {
        self.answer(ListVersionsResponse {
            versions: self.versions.clone(),
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
impl RolloutService for Fake {
    async fn set_slot(
        &self,
        request: Request<SetSlotRequest>,
    ) -> Result<Response<SetSlotResponse>, Status> {
        self.asked.lock().unwrap().set_slot = Some(request.into_inner());
        self.answer(SetSlotResponse {
            slot: self.slot.clone(),
        })
    }

    async fn get_slot(
        &self,
        _: Request<GetSlotRequest>,
    ) -> Result<Response<GetSlotResponse>, Status> {
        let slot = self
            .slot
            .clone()
            .ok_or_else(|| Status::not_found("slot movies/main was never set"))?;
        self.answer(GetSlotResponse { slot: Some(slot) })
    }

    type WatchSlotStream = BoxStream<WatchSlotResponse>;

    async fn watch_slot(
        &self,
        _: Request<WatchSlotRequest>,
    ) -> Result<Response<Self::WatchSlotStream>, Status> {
        Err(Status::unimplemented(
            "the command line watches the scorer instead",
        ))
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
        })
    }
}
