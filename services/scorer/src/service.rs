//! `decant.scorer.v1.ScorerService`: each call is a request read, a version pinned, a job queued, an answer written.
//!
//! Reading order: [`early`] refuses calls under overload before they are read; [`caller`] is what a call says of itself;
//! [`request`] turns messages into work and lists what is wrong with them; [`stream`] answers the messages of a stream;
//! [`answer`] turns what was found into messages; [`evidence`] tells what was counted of a release; [`status`] turns errors
//! into gRPC's. What any protocol needs is `pub(crate)`: [`oip`](crate::oip) is the other one.

mod early;
pub(crate) mod caller;
mod deadline;
pub(crate) mod request;
pub(crate) mod stream;
mod answer;
mod evidence;
mod status;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use decant_features::Columns;
use decant_model::ModelVersion;
use decant_proto::scorer::v1 as wire;
use decant_proto::scorer::v1::scorer_service_server::ScorerService;
use futures::Stream;
use tonic::{Request, Response, Status, Streaming};

use self::caller::{Caller, Routing};
pub(crate) use self::early::Early;
use crate::compare::{Asked, Comparer, Sample};
use crate::config::Config;
use crate::error::CallError;
use crate::scoring::{Call, Pool, Scored, Work};
use crate::servable::{Handle, Manager, Place};

/// The service. Clones share everything.
#[derive(Clone)]
pub(crate) struct Service {
    manager: Arc<Manager>,
    pool: Pool,
    comparer: Comparer,
    draining: Arc<AtomicBool>,
    config: Config,
    boot_id: Arc<str>,
}

impl Service {
    /// A service of the process that drew this boot id.
    pub(crate) fn new(
        manager: Arc<Manager>,
        pool: Pool,
        comparer: Comparer,
        config: Config,
        boot_id: &str,
    ) -> Self {
        Self {
            manager,
            pool,
            comparer,
            draining: Arc::default(),
            config,
            boot_id: boot_id.into(),
        }
    }

    /// Refuses calls from now on; those that have been taken in are answered.
    pub(crate) fn refuse(&self) {
        self.draining.store(true, Ordering::Release);
    }

    pub(crate) fn pool(&self) -> &Pool {
        &self.pool
    }

    pub(crate) fn manager(&self) -> &Manager {
        &self.manager
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// The version that is to answer.
    fn pin(&self, model: Option<wire::ModelRef>, routing: &Routing) -> Result<Handle, CallError> {
        self.pin_at(request::place(model)?, None, routing)
    }

    /// The version that is to answer: the one of this number if one is given, in whichever part, and else the one that the
    /// slot's split names.
    pub(crate) fn pin_at(
        &self,
        place: Place,
        version: Option<ModelVersion>,
        routing: &Routing,
    ) -> Result<Handle, CallError> {
        if self.draining.load(Ordering::Acquire) {
            return Err(CallError::Draining);
        }
        let table = self.manager.table();
        let entry = table.find(&place)?;
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
            _ => entry.route(routing),
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

    /// Has the work done, and counts what became of it.
    async fn run(
        &self,
        handle: &Handle,
        work: Work,
        rows: usize,
        caller: Caller,
    ) -> Result<Scored, CallError> {
        let began = Instant::now();
        let outcome = self.scored(handle, work, rows, caller).await;
        let (statistics, total) = (handle.servable().statistics(), began.elapsed());
        match &outcome {
            Ok(scored) => {
                statistics.record_success(rows, scored.queue, scored.compute, total);
                if let Some(release) = &handle.part().release {
                    let digest = handle.part().active.digest;
                    release
                        .tally()
                        .succeeded(digest, total, scored.answer.first());
                }
            }
            Err(error) => {
                statistics.record_failure(total);
                handle.count_failure(error);
            }
        }
        outcome
    }

    /// A copy of a request, if its answer is to be compared.
    pub(crate) fn sample(&self, handle: &Handle, asked: impl FnOnce() -> Asked) -> Option<Sample> {
        let release = handle.part().release.as_ref()?;
        release.is_compared().then(|| Sample {
            asked: asked(),
            release: Arc::clone(release),
            place: handle.part().place.clone(),
            max_rows: self.config.max_rows,
        })
    }

    /// Has an answered request compared, when there is time.
    pub(crate) fn compare(&self, sample: Option<Sample>) {
        if let Some(sample) = sample {
            self.comparer.offer(sample);
        }
    }

    /// Has the work done, and waits for it until the deadline.
    async fn scored(
        &self,
        handle: &Handle,
        work: Work,
        rows: usize,
        caller: Caller,
    ) -> Result<Scored, CallError> {
        let waiting = self.pool.submit(Call {
            handle: handle.clone(),
            work,
            rows,
            deadline: caller.deadline,
            priority: caller.priority,
            client: caller.client,
        })?;
        match caller.deadline {
            None => waiting.answered().await,
            Some(deadline) => tokio::time::timeout_at(deadline.into(), waiting.answered())
                .await
                .unwrap_or(Err(CallError::Expired)),
        }
    }

    async fn answer_score(
        &self,
        request: wire::ScoreRequest,
        caller: Caller,
    ) -> Result<wire::ScoreResponse, CallError> {
        let handle = self.pin(request.model, &caller.routing)?;
        let sample = self.sample(&handle, || Asked::Score(request.columns.clone()));
        let schema = handle.servable().schema();
        let columns = request::score(request.columns, schema, self.config.max_rows)
            .inspect_err(|error| handle.count_failure(error))?;
        let scored = self.score_columns(&handle, columns, caller).await?;
        self.compare(sample);
        answer::score(&handle, scored)
    }

    /// Scores each row of columns that fit the version's schema.
    pub(crate) async fn score_columns(
        &self,
        handle: &Handle,
        columns: Columns,
        caller: Caller,
    ) -> Result<Scored, CallError> {
        let rows = columns.rows();
        self.run(handle, Work::Score { columns }, rows, caller)
            .await
    }

    async fn answer_rank(
        &self,
        request: wire::RankRequest,
        caller: Caller,
    ) -> Result<wire::RankResponse, CallError> {
        let handle = self.pin(request.model.clone(), &caller.routing)?;
        let sample = self.sample(&handle, || Asked::Rank(Box::new(request.clone())));
        let rank = request::rank(request, handle.servable(), self.config.max_rows)
            .inspect_err(|error| handle.count_failure(error))?;
        let scored = self.run(&handle, rank.work, rank.rows, caller).await?;
        self.compare(sample);
        answer::rank(&handle, scored, &rank.ids)
    }

    async fn answer_recommend(
        &self,
        request: wire::RecommendRequest,
        caller: Caller,
    ) -> Result<wire::RecommendResponse, CallError> {
        let handle = self.pin(request.model.clone(), &caller.routing)?;
        let sample = self.sample(&handle, || Asked::Recommend(request.query.clone()));
        let recommend = request::recommend(request, handle.servable(), self.config.max_rows)
            .inspect_err(|error| handle.count_failure(error))?;
        let scored = self
            .run(&handle, recommend.work, recommend.rows, caller)
            .await?;
        self.compare(sample);
        answer::recommend(&handle, scored, &recommend.return_columns)
    }
}

type Answers = Pin<Box<dyn Stream<Item = Result<wire::ScoreStreamResponse, Status>> + Send>>;

#[tonic::async_trait]
impl ScorerService for Service {
    async fn score(
        &self,
        request: Request<wire::ScoreRequest>,
    ) -> Result<Response<wire::ScoreResponse>, Status> {
        let caller = Caller::read(request.metadata())?;
        let answer = self.answer_score(request.into_inner(), caller).await?;
        Ok(Response::new(answer))
    }

    type ScoreStreamStream = Answers;

    async fn score_stream(
        &self,
        request: Request<Streaming<wire::ScoreStreamRequest>>,
    ) -> Result<Response<Answers>, Status> {
        let caller = Caller::read(request.metadata())?;
        let service = self.clone();
        let answer = move |message: wire::ScoreStreamRequest| {
            let (service, caller) = (service.clone(), caller.clone());
            async move {
                let outcome = service
                    .answer_score(message.request.unwrap_or_default(), caller)
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
        let caller = Caller::read(request.metadata())?;
        let answer = self.answer_rank(request.into_inner(), caller).await?;
        Ok(Response::new(answer))
    }

    async fn recommend(
        &self,
        request: Request<wire::RecommendRequest>,
    ) -> Result<Response<wire::RecommendResponse>, Status> {
        let caller = Caller::read(request.metadata())?;
        let answer = self.answer_recommend(request.into_inner(), caller).await?;
        Ok(Response::new(answer))
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

    async fn get_evidence(
        &self,
        request: Request<wire::GetEvidenceRequest>,
    ) -> Result<Response<wire::GetEvidenceResponse>, Status> {
        let place = request::place(request.into_inner().model)?;
        let table = self.manager.table();
        let entry = table.find(&place)?;
        Ok(Response::new(evidence::told(entry, &self.boot_id)))
    }
}
