//! `decant.scorer.v1.ScorerService`: each call is a request read, a version pinned, a job queued, an answer written.
//!
//! Reading order: [`request`] turns messages into work and lists what is wrong with them; [`deadline`] says when the
//! caller stops waiting; [`stream`] answers the messages of a stream; [`answer`] turns what a worker found into messages;
//! [`status`] turns errors into gRPC's. What any protocol needs is `pub(crate)`: [`oip`](crate::oip) is the other one.

pub(crate) mod request;
pub(crate) mod deadline;
pub(crate) mod stream;
mod answer;
mod status;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use decant_features::Columns;
use decant_model::ModelVersion;
use decant_proto::scorer::v1 as wire;
use decant_proto::scorer::v1::scorer_service_server::ScorerService;
use futures::Stream;
use tokio::sync::oneshot;
use tonic::{Request, Response, Status, Streaming};

use self::deadline::deadline;
use crate::config::Config;
use crate::error::CallError;
use crate::scoring::{Answer, Job, Pool, Work};
use crate::servable::{Handle, Manager, Place};

/// The service. Clones share everything.
#[derive(Clone)]
pub(crate) struct Service {
    manager: Arc<Manager>,
    pool: Arc<Pool>,
    draining: Arc<AtomicBool>,
    config: Config,
}

/// Rows that were scored.
pub(crate) struct Scored {
    /// The version that did it.
    pub(crate) handle: Handle,
    /// A score for each row.
    pub(crate) scores: Vec<f32>,
}

impl Service {
    pub(crate) fn new(manager: Arc<Manager>, pool: Arc<Pool>, config: Config) -> Self {
        Self {
            manager,
            pool,
            draining: Arc::default(),
            config,
        }
    }

    /// Refuses calls from now on; those that have been taken in are answered.
    pub(crate) fn refuse(&self) {
        self.draining.store(true, Ordering::Release);
    }

    pub(crate) fn manager(&self) -> &Manager {
        &self.manager
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// The version that is to answer.
    fn pin(&self, model: Option<wire::ModelRef>) -> Result<Handle, CallError> {
        self.pin_at(request::place(model)?, None)
    }

    /// The version that is to answer: the one of this number if one is given, in whichever part, and else the one that the
    /// slot's split names.
    pub(crate) fn pin_at(
        &self,
        place: Place,
        version: Option<ModelVersion>,
    ) -> Result<Handle, CallError> {
        if self.draining.load(Ordering::Acquire) {
            return Err(CallError::Draining);
        }
        let table = self.manager.table();
        let Some(entry) = table.get(&place) else {
            return Err(CallError::UnknownSlot {
                model: place.model,
                slot: place.slot,
            });
        };
        let pinned = match version {
            Some(version) if !entry.handles().is_empty() => {
                let unknown = || CallError::UnknownVersion {
                    model: place.model.clone(),
                    slot: place.slot.clone(),
                    version,
                    in_service: entry.versions().collect(),
                };
                Ok(entry.numbered(version).ok_or_else(unknown)?)
            }
            _ => entry.route(),
        };
        match pinned {
            Ok(handle) => Ok(handle.clone()),
            Err(reason) => Err(CallError::NotReady {
                model: place.model,
                slot: place.slot,
                reason: reason.to_owned(),
            }),
        }
    }

    /// Has a worker do the work, and counts what became of it.
    async fn run(
        &self,
        handle: Handle,
        work: Work,
        rows: usize,
        deadline: Option<Instant>,
    ) -> Result<Answer, CallError> {
        let (began, statistics) = (Instant::now(), handle.clone());
        let outcome = self.answered(handle, work, rows, deadline).await;
        let (statistics, total) = (statistics.servable().statistics(), began.elapsed());
        match &outcome {
            // Workers do not say how long a job waited for them, so that all of its time counts as computing.
            Ok(_) => statistics.record_success(rows, Duration::ZERO, total, total),
            Err(_) => statistics.record_failure(total),
        }
        outcome
    }

    /// Has a worker do the work, and waits for its answer until the deadline.
    async fn answered(
        &self,
        handle: Handle,
        work: Work,
        rows: usize,
        deadline: Option<Instant>,
    ) -> Result<Answer, CallError> {
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Err(CallError::Expired);
        }
        let (answer, answered) = oneshot::channel();
        self.pool.submit(Job {
            handle,
            work,
            rows,
            deadline,
            answer,
        })?;
        // A sender dropped without an answer is a worker that panicked.
        let answered = async { answered.await.unwrap_or(Err(CallError::Broken)) };
        match deadline {
            None => answered.await,
            Some(deadline) => tokio::time::timeout_at(deadline.into(), answered)
                .await
                .unwrap_or(Err(CallError::Expired)),
        }
    }

    async fn answer_score(
        &self,
        request: wire::ScoreRequest,
        deadline: Option<Instant>,
    ) -> Result<wire::ScoreResponse, CallError> {
        let handle = self.pin(request.model)?;
        let columns = request::score(
            request.columns,
            handle.servable().schema(),
            self.config.max_rows,
        )?;
        let scored = self.score_columns(handle, columns, deadline).await?;
        Ok(answer::score(&scored.handle, scored.scores))
    }

    /// Scores each row of columns that agree with each other. What they lack of the model's schema is told as
    /// `columns[NAME]`.
    pub(crate) async fn score_columns(
        &self,
        handle: Handle,
        columns: Columns,
        deadline: Option<Instant>,
    ) -> Result<Scored, CallError> {
        let rows = columns.rows();
        match self
            .run(handle.clone(), Work::Score { columns }, rows, deadline)
            .await?
        {
            Answer::Scores(scores) => Ok(Scored { handle, scores }),
            Answer::Ranked(_) => Err(CallError::Broken),
        }
    }

    async fn answer_rank(
        &self,
        request: wire::RankRequest,
        deadline: Option<Instant>,
    ) -> Result<wire::RankResponse, CallError> {
        let handle = self.pin(request.model.clone())?;
        let rank = request::rank(request, handle.servable(), self.config.max_rows)?;
        let (work, ids) = (rank.work, rank.ids);
        match self.run(handle.clone(), work, rank.rows, deadline).await? {
            Answer::Ranked(ranked) => Ok(answer::rank(&handle, &ranked, ids)),
            Answer::Scores(_) => Err(CallError::Broken),
        }
    }

    async fn answer_recommend(
        &self,
        request: wire::RecommendRequest,
        deadline: Option<Instant>,
    ) -> Result<wire::RecommendResponse, CallError> {
        let handle = self.pin(request.model.clone())?;
        let recommend = request::recommend(request, handle.servable(), self.config.max_rows)?;
        let (work, columns) = (recommend.work, recommend.return_columns);
        match self
            .run(handle.clone(), work, recommend.rows, deadline)
            .await?
        {
            Answer::Ranked(ranked) => Ok(answer::recommend(&handle, &ranked, &columns)),
            Answer::Scores(_) => Err(CallError::Broken),
        }
    }
}

type Answers = Pin<Box<dyn Stream<Item = Result<wire::ScoreStreamResponse, Status>> + Send>>;

#[tonic::async_trait]
impl ScorerService for Service {
    async fn score(
        &self,
        request: Request<wire::ScoreRequest>,
    ) -> Result<Response<wire::ScoreResponse>, Status> {
        let deadline = deadline(request.metadata());
        Ok(Response::new(
            self.answer_score(request.into_inner(), deadline).await?,
        ))
    }

    type ScoreStreamStream = Answers;

    async fn score_stream(
        &self,
        request: Request<Streaming<wire::ScoreStreamRequest>>,
    ) -> Result<Response<Answers>, Status> {
        let deadline = deadline(request.metadata());
        let service = self.clone();
        let answer = move |message: wire::ScoreStreamRequest| {
            let service = service.clone();
            async move {
                let outcome = service
                    .answer_score(message.request.unwrap_or_default(), deadline)
                    .await;
                answer::stream(message.id, outcome)
            }
        };
        let answers = stream::in_order(request.into_inner(), self.config.stream_depth, answer);
        Ok(Response::new(Box::pin(answers)))
    }

    async fn rank(
        &self,
        request: Request<wire::RankRequest>,
    ) -> Result<Response<wire::RankResponse>, Status> {
        let deadline = deadline(request.metadata());
        Ok(Response::new(
            self.answer_rank(request.into_inner(), deadline).await?,
        ))
    }

    async fn recommend(
        &self,
        request: Request<wire::RecommendRequest>,
    ) -> Result<Response<wire::RecommendResponse>, Status> {
        let deadline = deadline(request.metadata());
        Ok(Response::new(
            self.answer_recommend(request.into_inner(), deadline)
                .await?,
        ))
    }

    async fn list_servables(
        &self,
        _request: Request<wire::ListServablesRequest>,
    ) -> Result<Response<wire::ListServablesResponse>, Status> {
        let servables = self
            .manager
            .statuses()
            .into_iter()
            .map(answer::servable)
            .collect();
        Ok(Response::new(wire::ListServablesResponse { servables }))
    }
}
