//! Scorers that follow a slot as real ones do, and count what a test says.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use decant_chassis::server::Routes;
use decant_chassis::server::{Serving, serve};
use decant_chassis::tasks::{Failures, Tasks};
use decant_coordination::keys::{self, DesiredKey, ObservedRecord, ObservedState, ObservedVersion};
use decant_coordination::{Keyspace, MetaStore, follow};
use decant_model::{Arm, DesiredSlot, Digest, ModelVersion, SlotName};
use decant_proto::rollout::v1::Arm as WireArm;
use decant_proto::scorer::v1::scorer_service_server::{ScorerService, ScorerServiceServer};
use decant_proto::scorer::v1::*;
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio::net::TcpListener;
use tonic::{Request, Response, Status, Streaming, async_trait};

use super::fixture::{Registry, movies};
use super::scorer::Scorer;

/// How a scorer behaves.
#[derive(Clone, Copy)]
pub(crate) struct Behaviour {
    /// Requests of each version in a generation.
    pub(crate) requests: u64,
    /// How many of the candidate's fail.
    pub(crate) failures: u64,
    /// It can load what it is to have ready, except for what it serves already.
    pub(crate) loads: bool,
    /// It tells what it counted.
    pub(crate) tells: bool,
    /// It takes in new generations.
    pub(crate) follows: bool,
}

impl Default for Behaviour {
    /// All goes well.
    fn default() -> Self {
        Self {
            requests: 1_000_000,
            failures: 0,
            loads: true,
            tells: true,
            follows: true,
        }
    }
}

/// A scorer of the slot `movies/main`.
#[derive(Clone)]
struct Body {
    behaviour: Arc<Mutex<Behaviour>>,
    serves: Arc<Mutex<DesiredSlot>>,
}

/// A running one.
pub(crate) struct FakeScorer {
    body: Body,
    tasks: Tasks,
    _failures: Failures,
}

impl FakeScorer {
    pub(crate) async fn join(registry: &Registry, name: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let body = Body {
            behaviour: Arc::default(),
            serves: Arc::default(),
        };
        let (tasks, failures) = Tasks::new();
        let routes = Routes::new(ScorerServiceServer::new(body.clone()));
        tasks.spawn(
            "fake scorer",
            serve(listener, routes, Serving::default(), tasks.stop_token()),
        );
        let scorer = Scorer::join_at(registry, name, &address).await;
        let (store, following) = (Arc::clone(registry.store()), body.clone());
        let stop = tasks.stop_token();
        tasks.spawn("fake follower", async move {
            stop.run_until_cancelled(following.follow(store, scorer))
                .await;
            Ok(())
        });
        Self {
            body,
            tasks,
            _failures: failures,
        }
    }

    /// From now on it behaves like this.
    pub(crate) fn behaves(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut self.body.behaviour());
    }
}

impl Drop for FakeScorer {
    fn drop(&mut self) {
        self.tasks.stop_token().cancel();
    }
}

impl Body {
    fn behaviour(&self) -> MutexGuard<'_, Behaviour> {
        self.behaviour.lock().unwrap()
    }

    /// Takes in each generation, and says so. It looks again after a while, since a test may have changed its mind.
    async fn follow(self, store: Arc<dyn MetaStore>, scorer: Scorer) {
        let keyspace = Keyspace::default();
        let model = movies();
        let place = DesiredKey {
            model: model.clone(),
            slot: SlotName::default(),
        };
        let key = keyspace.key(&place);
        let mut views = Box::pin(follow(store, keyspace.of_model::<DesiredKey>(&model)));
        let mut desired = DesiredSlot::default();
        let mut said = None;
        loop {
            tokio::select! {
                Some(view) = views.next() => {
                    if let Some(entry) = view.entries.get(&key) {
                        desired = keys::value::<DesiredKey>(entry).unwrap();
                    }
                }
                () = tokio::time::sleep(Duration::from_millis(10)) => {}
            }
            let behaviour = *self.behaviour();
            if !behaviour.follows || desired.generation.0 == 0 {
                continue;
            }
            *self.serves.lock().unwrap() = desired.clone();
            let record = self.record(&desired, behaviour.loads);
            if said.as_ref() != Some(&record) {
                scorer.observe(&record).await;
                said = Some(record);
            }
        }
    }

    fn record(&self, desired: &DesiredSlot, loads: bool) -> ObservedRecord {
        let version = |digest: Digest, version: ModelVersion, is_there: bool| ObservedVersion {
            digest,
            version,
            state: match is_there {
                true => ObservedState::Ready,
                false => ObservedState::Failed,
            },
            error: match is_there {
                true => String::new(),
                false => "golden vectors differ".into(),
            },
        };
        let active = desired
            .active
            .iter()
            .map(|active| version(active.digest, active.version, true));
        let prepare = desired
            .prepare
            .iter()
            .map(|prepared| version(prepared.digest, prepared.version, loads));
        ObservedRecord {
            boot_id: "boot".into(),
            generation: desired.generation,
            serving: desired.generation,
            versions: active.chain(prepare).collect(),
            frozen: None,
        }
    }

    fn evidence(&self) -> GetEvidenceResponse {
        let (serves, behaviour) = (self.serves.lock().unwrap().clone(), *self.behaviour());
        let arm = |active: &decant_model::Active| {
            let (arm, failed) = match active.arm {
                Arm::Stable => (WireArm::Stable, 0),
                Arm::Canary => (WireArm::Canary, behaviour.failures),
                Arm::Shadow => (WireArm::Shadow, behaviour.failures),
                Arm::Teacher => (WireArm::Teacher, 0),
            };
            let share = u64::from(active.weight_basis_points);
            let requests = match active.arm {
                Arm::Stable | Arm::Canary => behaviour.requests * share / 10_000,
                Arm::Shadow | Arm::Teacher => behaviour.requests,
            };
            let failed = failed.min(requests);
            ArmEvidence {
                version: active.version.get(),
                digest: active.digest.to_string(),
                arm: arm.into(),
                succeeded: requests - failed,
                failed: [(13, failed)].into(),
                ..ArmEvidence::default()
            }
        };
        GetEvidenceResponse {
            generation: serves.generation.0,
            boot_id: "boot".into(),
            arms: serves.active.iter().map(arm).collect(),
            ..GetEvidenceResponse::default()
        }
    }
}

fn not_here<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented("it scores nothing"))
}

#[async_trait]
impl ScorerService for Body {
    async fn score(&self, _: Request<ScoreRequest>) -> Result<Response<ScoreResponse>, Status> {
        not_here()
    }

    type ScoreStreamStream = BoxStream<'static, Result<ScoreStreamResponse, Status>>;

    async fn score_stream(
        &self,
        _: Request<Streaming<ScoreStreamRequest>>,
    ) -> Result<Response<Self::ScoreStreamStream>, Status> {
        not_here()
    }

    async fn rank(&self, _: Request<RankRequest>) -> Result<Response<RankResponse>, Status> {
        not_here()
    }

    async fn recommend(
        &self,
        _: Request<RecommendRequest>,
    ) -> Result<Response<RecommendResponse>, Status> {
        not_here()
    }

    async fn list_servables(
        &self,
        _: Request<ListServablesRequest>,
    ) -> Result<Response<ListServablesResponse>, Status> {
        not_here()
    }

    async fn get_evidence(
        &self,
        _: Request<GetEvidenceRequest>,
    ) -> Result<Response<GetEvidenceResponse>, Status> {
        if !self.behaviour().tells {
            return not_here();
        }
        Ok(Response::new(self.evidence()))
    }
}
