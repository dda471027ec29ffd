//! A scorer that does what a test wants, and remembers what it was asked.

use std::collections::{HashMap, VecDeque};
use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use decant_proto::rollout::v1::Arm;
use decant_proto::scorer::v1::scorer_service_server::ScorerService;
use decant_proto::scorer::v1::*;
use decant_proto::status::ErrorCode;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status, Streaming};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::Health;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

/// What a scorer does with a call.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    Answer,
    /// Answers after this time.
    Slow(Duration),
    Refuse(Status),
    /// Never answers.
    Hang,
}

/// A call as it came in.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) at: Instant,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) routing_key: Option<Vec<u8>>,
    pub(crate) columns: Vec<Column>,
    pub(crate) items: usize,
}

/// The scorer. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Fake {
    /// The version that it says it serves, by which tests tell scorers apart.
    pub(crate) version: u64,
    state: Arc<Mutex<State>>,
}

struct State {
    /// One for each call; the last is repeated.
    acts: VecDeque<Act>,
    /// What it says of its health; `None`: nothing, and it hangs.
    health: Option<Result<ServingStatus, Status>>,
    load: f32,
    asked: Vec<Asked>,
    checked: Vec<String>,
}

impl Fake {
    /// Answers.
    pub(crate) fn new(version: u64) -> Self {
        let state = State {
            acts: [Act::Answer].into(),
            health: Some(Ok(ServingStatus::Serving)),
            load: 0.0,
            asked: Vec::new(),
            checked: Vec::new(),
        };
        Self {
            version,
            state: Arc::new(Mutex::new(state)),
        }
    }

    /// What it does with the calls to come; the last is repeated.
    pub(crate) fn acts(&self, acts: impl IntoIterator<Item = Act>) {
        self.state.lock().unwrap().acts = acts.into_iter().collect();
    }

    pub(crate) fn says_load(&self, load: f32) {
        self.state.lock().unwrap().load = load;
    }

    /// Answers, and says that it serves.
    pub(crate) fn serve(&self) {
        self.set(Act::Answer, Some(Ok(ServingStatus::Serving)));
    }

    /// Refuses new calls, and says that it does not serve.
    pub(crate) fn drain(&self) {
        let act = Act::Refuse(ErrorCode::NotReady.status("the scorer is going away"));
        self.set(act, Some(Ok(ServingStatus::NotServing)));
    }

    /// Has not loaded what it is to serve.
    pub(crate) fn load_model(&self) {
        let act = Act::Refuse(ErrorCode::NotReady.status("no version is ready"));
        self.set(act, Some(Err(Status::not_found("unknown name"))));
    }

    /// Answers, but has no health service.
    pub(crate) fn serve_without_health(&self) {
        self.set(
            Act::Answer,
            Some(Err(Status::unimplemented("no such service"))),
        );
    }

    /// Answers nothing at all, like a process that is stopped.
    pub(crate) fn freeze(&self) {
        self.set(Act::Hang, None);
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.state.lock().unwrap().asked.clone()
    }

    /// The names whose health was asked for.
    pub(crate) fn checked(&self) -> Vec<String> {
        self.state.lock().unwrap().checked.clone()
    }

    fn set(&self, act: Act, health: Option<Result<ServingStatus, Status>>) {
        let mut state = self.state.lock().unwrap();
        state.acts = [act].into();
        state.health = health;
    }

    async fn act(&self, asked: Asked) -> Result<ServedBy, Status> {
        let (act, served_by) = {
            let mut state = self.state.lock().unwrap();
            state.asked.push(asked);
            let act = if state.acts.len() > 1 {
                state.acts.pop_front()
            } else {
                state.acts.front().cloned()
            };
            (act.unwrap(), self.served_by(state.load))
        };
        match act {
            Act::Answer => Ok(served_by),
            Act::Slow(time) => {
                tokio::time::sleep(time).await;
                Ok(served_by)
            }
            Act::Refuse(status) => Err(status),
            Act::Hang => pending().await,
        }
    }

    fn served_by(&self, load: f32) -> ServedBy {
        ServedBy {
            model: "movielens".into(),
            slot: "main".into(),
            version: self.version,
            digest: format!("sha256:{}", "ab".repeat(32)),
            arm: Arm::Canary.into(),
            generation: 3,
            queue_micros: 120,
            compute_micros: 340,
            load,
        }
    }
}

fn asked<T>(request: &Request<T>, columns: &[Column], items: usize) -> Asked {
    let header = |name: &str| {
        let value = request.metadata().get(name)?.to_str().ok()?;
        Some((name.to_owned(), value.to_owned()))
    };
    let names = ["grpc-timeout", "decant-priority", "decant-client"];
    let key = request.metadata().get_bin("decant-routing-key-bin");
    Asked {
        at: Instant::now(),
        headers: names.into_iter().filter_map(header).collect(),
        routing_key: key.map(|key| key.to_bytes().unwrap().to_vec()),
        columns: columns.to_vec(),
        items,
    }
}

/// Each item's score is less than that of the one before.
fn items(ids: impl IntoIterator<Item = String>, columns: &[String]) -> ScoredItems {
    let mut items = ScoredItems::default();
    for (position, id) in ids.into_iter().enumerate() {
        let score = 1.0 / (position + 1) as f32;
        let column = |name: &String| (name.clone(), format!("{name} of {id}"));
        let attributes = columns.iter().map(column).collect();
        items.push(id.as_str(), position as u32, score, attributes);
    }
    items
}

#[tonic::async_trait]
impl ScorerService for Fake {
    async fn score(
        &self,
        request: Request<ScoreRequest>,
    ) -> Result<Response<ScoreResponse>, Status> {
        let asked = asked(&request, &request.get_ref().columns, 0);
        let served_by = Some(self.act(asked).await?);
        let scores = vec![0.5, 0.25];
        Ok(Response::new(ScoreResponse { served_by, scores }))
    }

    type ScoreStreamStream = BoxStream<ScoreStreamResponse>;

    async fn score_stream(
        &self,
        _request: Request<Streaming<ScoreStreamRequest>>,
    ) -> Result<Response<Self::ScoreStreamStream>, Status> {
        Err(Status::unimplemented("streams"))
    }

    async fn rank(&self, request: Request<RankRequest>) -> Result<Response<RankResponse>, Status> {
        let message = request.get_ref();
        let ids: Vec<String> = match message.candidates.clone().unwrap() {
            rank_request::Candidates::ItemIds(items) => {
                items.ids.iter().map(str::to_owned).collect()
            }
            // Tests give two candidates by columns.
            rank_request::Candidates::ItemColumns(_) => vec![String::new(); 2],
        };
        let count = ids.len();
        let top = message.top_k as usize;
        let asked = asked(&request, &message.query, count);
        let served_by = Some(self.act(asked).await?);
        let top = if top == 0 { count } else { top };
        let items = items(ids.into_iter().take(top), &[]);
        Ok(Response::new(RankResponse { served_by, items }))
    }

    async fn recommend(
        &self,
        request: Request<RecommendRequest>,
    ) -> Result<Response<RecommendResponse>, Status> {
        let message = request.get_ref();
        let top = message.top_k as usize;
        let asked = asked(&request, &message.query, message.exclude_item_ids.len());
        let columns = message.return_columns.clone();
        let served_by = Some(self.act(asked).await?);
        let items = items((0..top).map(|item| item.to_string()), &columns);
        Ok(Response::new(RecommendResponse { served_by, items }))
    }

    async fn list_servables(
        &self,
        _request: Request<ListServablesRequest>,
    ) -> Result<Response<ListServablesResponse>, Status> {
        Err(Status::unimplemented("servables"))
    }

    async fn get_evidence(
        &self,
        _request: Request<GetEvidenceRequest>,
    ) -> Result<Response<GetEvidenceResponse>, Status> {
        Err(Status::unimplemented("evidence"))
    }
}

#[tonic::async_trait]
impl Health for Fake {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let health = {
            let mut state = self.state.lock().unwrap();
            state.checked.push(request.into_inner().service);
            state.health.clone()
        };
        match health {
            None => pending().await,
            Some(health) => {
                let status = health?.into();
                Ok(Response::new(HealthCheckResponse { status }))
            }
        }
    }

    type WatchStream = BoxStream<HealthCheckResponse>;

    async fn watch(
        &self,
        _request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("watch"))
    }
}
