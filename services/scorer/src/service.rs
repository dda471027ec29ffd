//! `decant.scorer.v1.ScorerService`: each call is a request read, a version pinned, a job queued, an answer written.
//!
//! Reading order: [`early`] refuses calls under overload before they are read; [`asking`] is what a call says beside its message:
//! of its [`caller`], and of the version by its [`routing`]; [`request`] turns messages into work and lists what is wrong with them;
//! [`stream`] answers the messages of a stream; [`answer`] turns what was found into messages, and [`evidence`] what was
//! counted; [`status`] turns errors into gRPC's. What any protocol needs is `pub(crate)`: [`oip`](crate::oip) is the other
//! one.

mod early;
pub(crate) mod asking;
pub(crate) mod caller;
mod deadline;
pub(crate) mod routing;
pub(crate) mod request;
pub(crate) mod stream;
mod answer;
mod evidence;
mod status;

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Instant;

use decant_chassis::tasks::Tasks;
use decant_coordination::FollowStats;
use decant_features::Columns;
use decant_model::ModelVersion;
use decant_model::access::Permission;
use decant_proto::scorer::v1 as wire;
use decant_proto::scorer::v1::scorer_service_server::ScorerService;
use futures::Stream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use self::asking::Asking;
use self::caller::{Caller, Who};
pub(crate) use self::early::Early;
use self::request::columns::Problems;
use self::routing::Routing;
use crate::compare::Comparer;
use crate::config::Config;
use crate::error::CallError;
use crate::metrics::Refusals;
use crate::request_log::RequestLog;
use crate::scoring::{Call, Pool, Scored, Work};
use crate::servable::{Handle, Manager, Place};

/// The service. Clones share everything.
#[derive(Clone)]
pub(crate) struct Service {
    shared: Arc<Shared>,
}

struct Shared {
    manager: Arc<Manager>,
    pool: Pool,
    comparer: Comparer,
    draining: AtomicBool,
    /// Cancelled when the scorer is to stop.
    stop: CancellationToken,
    refusals: Refusals,
    in_flight: AtomicUsize,
    process: Process,
    request_log: RequestLog,
    config: Config,
}

/// A service that may have ended.
#[derive(Clone)]
pub(crate) struct WeakService {
    shared: Weak<Shared>,
}

impl WeakService {
    /// The service, if somebody still has it.
    pub(crate) fn upgrade(&self) -> Option<Service> {
        let shared = self.shared.upgrade()?;
        Some(Service { shared })
    }
}

/// What is told of the process.
#[derive(Default)]
pub(crate) struct Process {
    /// Drawn anew at each start.
    pub(crate) boot_id: String,
    /// How well the store's watches tell.
    pub(crate) watched: FollowStats,
}

impl Service {
    /// One that may begin. Its comparisons of versions are a task.
    pub(crate) fn new(
        tasks: &Tasks,
        manager: Arc<Manager>,
        pool: Pool,
        process: Process,
        request_log: RequestLog,
        config: Config,
    ) -> Self {
        let share = config.compare_cpu_percent;
        let comparer = Comparer::start(tasks, Arc::clone(&manager), pool.clone(), share);
        let shared = Shared {
            manager,
            pool,
            comparer,
            draining: AtomicBool::new(false),
            stop: tasks.stop_token(),
            refusals: Refusals::default(),
            in_flight: AtomicUsize::new(0),
            process,
            request_log,
            config,
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Refuses calls from now on; those that have been taken in are answered.
    pub(crate) fn refuse(&self) {
        self.shared.draining.store(true, Ordering::Release);
    }

    /// The same, for who is not to keep it.
    pub(crate) fn downgrade(&self) -> WeakService {
        WeakService {
            shared: Arc::downgrade(&self.shared),
        }
    }

    /// Who was turned away.
    pub(crate) fn refusals(&self) -> &Refusals {
        &self.shared.refusals
    }

    /// Requests that are being answered.
    pub(crate) fn in_flight(&self) -> usize {
        self.shared.in_flight.load(Ordering::Relaxed)
    }

    /// How well the store's watches tell.
    pub(crate) fn watched(&self) -> &FollowStats {
        &self.shared.process.watched
    }

    pub(crate) fn pool(&self) -> &Pool {
        &self.shared.pool
    }

    pub(crate) fn manager(&self) -> &Manager {
        &self.shared.manager
    }

    /// Cancelled when streams are to end.
    pub(crate) fn stop_token(&self) -> CancellationToken {
        self.shared.stop.clone()
    }

    pub(crate) fn config(&self) -> &Config {
        &self.shared.config
    }

    /// The version that is to answer, if who asks may have scores of its model.
    fn pin(
        &self,
        model: Option<wire::ModelRef>,
        asking: &mut Asking<'_>,
    ) -> Result<Handle, CallError> {
        let place = asking.with_wrong(request::place(model))?;
        asking.who.may(Permission::Score, &place.model)?;
        self.pin_at(place, None, asking.routing)
    }

    /// The version that is to answer: the one of this number if one is given, in whichever part, and else the one that the
    /// slot's split names.
    pub(crate) fn pin_at(
        &self,
        place: Place,
        version: Option<ModelVersion>,
        routing: Routing<'_>,
    ) -> Result<Handle, CallError> {
        let pinned = self.look_up(place, version, routing);
        pinned.inspect_err(|error| self.shared.refusals.note(error))
    }

    /// The same, for who only wants to know: nobody is turned away when there is none.
    pub(crate) fn look_up(
        &self,
        place: Place,
        version: Option<ModelVersion>,
        routing: Routing<'_>,
    ) -> Result<Handle, CallError> {
        if self.shared.draining.load(Ordering::Acquire) {
            return Err(CallError::Draining);
        }
        let table = self.manager().table();
        let entry = table.find(&place)?;
        let pinned = match version {
            Some(version) if !entry.handles().is_empty() => {
                let unknown = || CallError::UnknownVersion {
                    model: place.model.clone(),
                    slot: place.slot.clone(),
                    version,
                    in_service: entry.versions().collect(),
                };
                let numbered = entry.numbered(version).ok_or_else(unknown)?;
                // The caller chose, not the split: that says nothing of how the versions compare.
                Ok(numbered.uncounted())
            }
            _ => entry.route(|salt| routing.bucket(salt)).cloned(),
        };
        match pinned {
            Ok(handle) => Ok(handle),
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
        routing: Routing<'_>,
        caller: Caller,
    ) -> Result<Scored, CallError> {
        let began = Instant::now();
        let logged = self.shared.request_log.pick(routing, &work, rows);
        let _in_flight = InFlight::enter(&self.shared.in_flight);
        let comparer = &self.shared.comparer;
        let sample = comparer.pick(handle, &work, began);
        let outcome = self.scored(handle, work, rows, caller).await;
        let (statistics, ended) = (handle.servable().statistics(), Instant::now());
        let total = ended - began;
        match &outcome {
            Ok(scored) => {
                statistics.record_success(rows, scored.queue, scored.compute, total, ended);
                handle.count_success(rows, total, scored);
                if let Some(sample) = sample {
                    comparer.hand_over(sample);
                }
            }
            Err(error) => {
                statistics.record_failure(total);
                handle.count_failure(error);
                self.shared.refusals.note(error);
            }
        }
        if let Some(logged) = logged {
            logged.write(handle, &outcome, total);
        }
        outcome
    }

    /// Has the work done, and waits for it until the deadline.
    async fn scored(
        &self,
        handle: &Handle,
        work: Work,
        rows: usize,
        caller: Caller,
    ) -> Result<Scored, CallError> {
        let waiting = self.pool().submit(Call {
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

    async fn score_call(
        &self,
        request: Request<wire::ScoreRequest>,
    ) -> Result<wire::ScoreResponse, Status> {
        let (metadata, extensions, request) = request.into_parts();
        let asking = Asking::read(&metadata, &extensions);
        Ok(self.answer_score(request, asking).await?)
    }

    async fn answer_score(
        &self,
        request: wire::ScoreRequest,
        mut asking: Asking<'_>,
    ) -> Result<wire::ScoreResponse, CallError> {
        let handle = self.pin(request.model, &mut asking)?;
        let problems = Problems::new(handle.servable().schema(), asking.wrong);
        let columns = request::score(request.columns, problems, self.config().max_rows);
        let columns = columns.inspect_err(|error| handle.count_failure(error))?;
        let scored = self
            .score_columns(&handle, columns, asking.routing, asking.caller)
            .await?;
        answer::score(&handle, scored)
    }

    /// Scores each row of columns that fit the version's schema.
    pub(crate) async fn score_columns(
        &self,
        handle: &Handle,
        columns: Columns,
        routing: Routing<'_>,
        caller: Caller,
    ) -> Result<Scored, CallError> {
        let rows = columns.rows();
        self.run(handle, Work::Score { columns }, rows, routing, caller)
            .await
    }

    async fn rank_call(
        &self,
        request: Request<wire::RankRequest>,
    ) -> Result<wire::RankResponse, Status> {
        let (metadata, extensions, request) = request.into_parts();
        let asking = Asking::read(&metadata, &extensions);
        Ok(self.answer_rank(request, asking).await?)
    }

    async fn answer_rank(
        &self,
        mut request: wire::RankRequest,
        mut asking: Asking<'_>,
    ) -> Result<wire::RankResponse, CallError> {
        let handle = self.pin(request.model.take(), &mut asking)?;
        let (servable, routing, caller) = (handle.servable(), asking.routing, asking.caller);
        let problems = Problems::new(servable.schema(), asking.wrong);
        let rank = request::rank(request, servable, problems, self.config().max_rows);
        let rank = rank.inspect_err(|error| handle.count_failure(error))?;
        let scored = self.run(&handle, rank.work, rank.rows, routing, caller);
        answer::rank(&handle, scored.await?, &rank.ids)
    }

    async fn recommend_call(
        &self,
        request: Request<wire::RecommendRequest>,
    ) -> Result<wire::RecommendResponse, Status> {
        let (metadata, extensions, request) = request.into_parts();
        let asking = Asking::read(&metadata, &extensions);
        Ok(self.answer_recommend(request, asking).await?)
    }

    async fn answer_recommend(
        &self,
        mut request: wire::RecommendRequest,
        mut asking: Asking<'_>,
    ) -> Result<wire::RecommendResponse, CallError> {
        let handle = self.pin(request.model.take(), &mut asking)?;
        let (servable, routing, caller) = (handle.servable(), asking.routing, asking.caller);
        let problems = Problems::new(servable.schema(), asking.wrong);
        let recommend = request::recommend(request, servable, problems, self.config().max_rows);
        let recommend = recommend.inspect_err(|error| handle.count_failure(error))?;
        let scored = self.run(&handle, recommend.work, recommend.rows, routing, caller);
        answer::recommend(&handle, scored.await?, &recommend.return_columns)
    }
}

#[cfg(test)]
impl Service {
    /// One with the fixture's version in service, which logs no requests. Must be made on a runtime, as its runners are tasks.
    pub(crate) fn for_tests(tasks: &Tasks, config: Config) -> Self {
        let pool = Pool::start(tasks, config.limits());
        let manager = Arc::new(Manager::for_tests());
        let (process, request_log) = (Process::default(), RequestLog::default());
        Self::new(tasks, manager, pool, process, request_log, config)
    }
}

/// A request that is being answered, until that has come to an end: also that its caller has gone.
struct InFlight<'a>(&'a AtomicUsize);

impl<'a> InFlight<'a> {
    fn enter(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

type Answers = Pin<Box<dyn Stream<Item = Result<wire::ScoreStreamResponse, Status>> + Send>>;

#[tonic::async_trait]
impl ScorerService for Service {
    async fn score(
        &self,
        request: Request<wire::ScoreRequest>,
    ) -> Result<Response<wire::ScoreResponse>, Status> {
        self.score_call(request).await.map(Response::new)
    }

    type ScoreStreamStream = Answers;

    async fn score_stream(
        &self,
        request: Request<Streaming<wire::ScoreStreamRequest>>,
    ) -> Result<Response<Answers>, Status> {
        let asking = Asking::read(request.metadata(), request.extensions()).keep()?;
        let service = self.clone();
        let answer = move |message: wire::ScoreStreamRequest| {
            let (service, asking) = (service.clone(), asking.clone());
            async move {
                let request = message.request.unwrap_or_default();
                let answered = service.answer_score(request, asking.asking());
                answer::stream(message.id, answered.await)
            }
        };
        let depth = self.config().stream_depth;
        let stop = self.stop_token();
        let answers = stream::in_order(request.into_inner(), depth, stop, answer);
        Ok(Response::new(Box::pin(answers)))
    }

    async fn rank(
        &self,
        request: Request<wire::RankRequest>,
    ) -> Result<Response<wire::RankResponse>, Status> {
        self.rank_call(request).await.map(Response::new)
    }

    async fn recommend(
        &self,
        request: Request<wire::RecommendRequest>,
    ) -> Result<Response<wire::RecommendResponse>, Status> {
        self.recommend_call(request).await.map(Response::new)
    }

    async fn list_servables(
        &self,
        request: Request<wire::ListServablesRequest>,
    ) -> Result<Response<wire::ListServablesResponse>, Status> {
        let who = Who::read(request.extensions());
        let statuses = self.manager().statuses().into_iter();
        let seen = statuses.filter(|status| who.sees(&status.place.model));
        let servables = seen.map(answer::servable).collect();
        Ok(Response::new(wire::ListServablesResponse {
            servables,
            watch_divergences: self.watched().divergences(),
        }))
    }

    /// Answered while the scorer is pressed, and while it drains: a rollout is judged by it.
    async fn get_evidence(
        &self,
        request: Request<wire::GetEvidenceRequest>,
    ) -> Result<Response<wire::GetEvidenceResponse>, Status> {
        let (_, extensions, request) = request.into_parts();
        let place = request::place(request.model)?;
        Who::read(&extensions).may(Permission::View, &place.model)?;
        let evidence = self.manager().table().find(&place)?.evidence();
        let boot_id = self.shared.process.boot_id.clone();
        Ok(Response::new(evidence::response(evidence, boot_id)))
    }
}
