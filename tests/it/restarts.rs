//! Every process of a cluster is started anew, one after the other, under load: whoever calls through the client notices
//! nothing, and of scorers that drain nobody does who heeds what they say of themselves.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use decant_chassis::client::{Channel, channel};
use decant_proto::scorer::v1::scorer_service_client::ScorerServiceClient;
use decant_proto::trainer::v1::ListJobsRequest;
use decant_proto::trainer::v1::trainer_service_client::TrainerServiceClient;
use decant_tests::{
    Answer, Callers, Deployment, History, Names, Operated, Process, Question, Shape, Tiny,
    eventually,
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::Request;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

const SCORERS: usize = 3;
const SHAPE: Shape = Shape {
    etcd: 3,
    registries: 2,
    scorers: SCORERS,
};
/// Calls a second through the client, and the time for one.
const CALLS: f64 = 100.0;
const DEADLINE: Duration = Duration::from_secs(2);
/// How long a scorer serves on after it said that it does not.
const PROPAGATION: Duration = Duration::from_secs(1);
/// Those who ask without the client, and how long each rests between two requests.
const PLAIN_CALLERS: usize = 4;
const REST: Duration = Duration::from_millis(5);

fn ends_in_order(process: Process) {
    let (status, log) = process.end("TERM");
    assert!(status.success(), "{log:#?}");
}

/// Serves a further version, which takes all of the control plane.
async fn serve_another(cluster: &Deployment, versions: &mut Vec<Tiny>) {
    let tiny = Tiny::new(0.25 + 0.01 * versions.len() as f32);
    let pushed = eventually("a version is pushed", || async {
        let pushed = cluster.push(0, &tiny).await;
        pushed.map_err(|status| status.to_string())
    })
    .await;
    eventually("the slot is set", || async {
        let set = cluster.set(1, pushed.version).await;
        set.map_err(|status| status.to_string())
    })
    .await;
    cluster.converged(0, pushed.version, SCORERS).await;
    versions.push(tiny);
}

#[tokio::test(flavor = "multi_thread")]
async fn process_every_process_is_started_anew_in_turn_and_no_call_fails() {
    let mut cluster = Deployment::start(SHAPE).await;
    let mut versions = Vec::new();
    serve_another(&cluster, &mut versions).await;
    let key = cluster.folder().join("trainer.key");
    let generated = cluster.decant(&["key", "generate", key.to_str().unwrap()]);
    assert!(generated.status.success(), "{generated:?}");
    let trainer = cluster.start_trainer(&key);
    let names = Names::of(cluster.scorer_addresses());
    let scorers = names.client(DEADLINE);
    let callers = Callers::start(&scorers, CALLS, 1);

    for member in 0..SHAPE.etcd {
        // Without a word, which is worse than a restart.
        cluster.etcd.kill(member);
        serve_another(&cluster, &mut versions).await;
        cluster.etcd.restart(member);
        cluster.etcd.healthy().await;
    }
    for place in 0..SHAPE.registries {
        ends_in_order(cluster.registries.remove(place));
        let again = cluster.start_registry([]);
        cluster.registries.insert(place, again);
        serve_another(&cluster, &mut versions).await;
    }
    ends_in_order(trainer);
    let trainer = cluster.start_trainer(&key);
    let address = format!("http://{}", trainer.address());
    let mut client = TrainerServiceClient::new(channel("trainer", &address).unwrap());
    client.list_jobs(ListJobsRequest::default()).await.unwrap();
    for place in 0..SCORERS {
        ends_in_order(cluster.scorers.remove(place));
        let again = cluster.start_scorer(place, []);
        cluster.scorers.insert(place, again);
        cluster.ready(place).await;
        cluster.registered(place).await;
        // Only now does the name forget the one that ended: names are always late.
        names.tell(cluster.scorer_addresses());
        serve_another(&cluster, &mut versions).await;
    }

    let history = callers.stop().await;
    assert!(!history.0.is_empty());
    history.check_no_drop();
    history.check_against(&cluster.intended(0).await);
    history.check_exact(&versions);
}

/// A scorer as those know it who ask without the client: where it is, and whether it says that it serves.
struct Seen {
    place: usize,
    serves: AtomicBool,
    client: ScorerServiceClient<Channel>,
}

/// Those who ask each request once, of any scorer that says that it serves.
struct Plain {
    scorers: Arc<Mutex<Vec<Arc<Seen>>>>,
    answers: Arc<Mutex<Vec<Answer>>>,
    stop: CancellationToken,
    callers: JoinSet<()>,
    /// They end when this is dropped.
    watchers: JoinSet<()>,
}

impl Plain {
    fn new() -> Self {
        Self {
            scorers: Arc::default(),
            answers: Arc::default(),
            stop: CancellationToken::new(),
            callers: JoinSet::new(),
            watchers: JoinSet::new(),
        }
    }

    /// Tells of a scorer; it is asked from when it says that it serves.
    fn add(&mut self, address: SocketAddr) {
        let channel = channel("scorer", &format!("http://{address}")).unwrap();
        let mut scorers = self.scorers.lock().unwrap();
        let seen = Arc::new(Seen {
            place: scorers.len(),
            serves: AtomicBool::new(false),
            client: ScorerServiceClient::new(channel.clone()),
        });
        scorers.push(Arc::clone(&seen));
        self.watchers.spawn(watch(channel, seen));
    }

    fn start(&mut self) {
        for _ in 0..PLAIN_CALLERS {
            self.callers.spawn(ask(
                Arc::clone(&self.scorers),
                Arc::clone(&self.answers),
                self.stop.clone(),
            ));
        }
    }

    /// Waits until the scorer that was told of last has answered so often.
    async fn newest_answers(&self, times: usize) {
        let newest = self.scorers.lock().unwrap().len() - 1;
        eventually("the newest scorer answers", || async {
            let answers = self.answers.lock().unwrap();
            let of_it = answers.iter().filter(|answer| answer.scorer == newest);
            let count = of_it.count();
            (count >= times).then_some(()).ok_or(count)
        })
        .await;
    }

    async fn stop(mut self) -> History {
        self.stop.cancel();
        while let Some(ended) = self.callers.join_next().await {
            ended.unwrap();
        }
        History(std::mem::take(&mut *self.answers.lock().unwrap()))
    }
}

async fn watch(channel: Channel, seen: Arc<Seen>) {
    let request = HealthCheckRequest {
        service: "decant.scorer.v1.ScorerService".to_owned(),
    };
    let watched = HealthClient::new(channel).watch(request).await;
    let mut news = watched.unwrap().into_inner();
    // The stream ends when the scorer does.
    while let Ok(Some(news)) = news.message().await {
        let serves = news.status() == ServingStatus::Serving;
        seen.serves.store(serves, Ordering::Relaxed);
    }
    seen.serves.store(false, Ordering::Relaxed);
}

async fn ask(
    scorers: Arc<Mutex<Vec<Arc<Seen>>>>,
    answers: Arc<Mutex<Vec<Answer>>>,
    stop: CancellationToken,
) {
    for number in 0_usize.. {
        let serving: Vec<Arc<Seen>> = {
            let scorers = scorers.lock().unwrap();
            let serving = scorers
                .iter()
                .filter(|seen| seen.serves.load(Ordering::Relaxed));
            serving.cloned().collect()
        };
        if stop.is_cancelled() {
            return;
        }
        if !serving.is_empty() {
            let answer = ask_one(&serving[number % serving.len()]).await;
            answers.lock().unwrap().push(answer);
        }
        tokio::time::sleep(REST).await;
    }
}

async fn ask_one(seen: &Seen) -> Answer {
    let mut request = Request::new(Tiny::request());
    request.set_timeout(DEADLINE);
    let asked = SystemTime::now();
    let outcome = match seen.client.clone().rank(request).await {
        Ok(answer) => {
            let answer = answer.into_inner();
            let scores = Tiny::scores_of(&answer);
            Ok((answer.served_by.unwrap_or_default(), scores))
        }
        Err(status) => Err((status.code(), status.message().to_owned())),
    };
    Answer {
        question: Question::default(),
        scorer: seen.place,
        asked,
        answered: SystemTime::now(),
        outcome,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn process_scorers_that_drain_fail_no_request_of_those_who_heed_their_health() {
    let propagation = || {
        let millis = PROPAGATION.as_millis().to_string();
        vec![("DECANT_DRAIN__PROPAGATION_MILLIS", millis)]
    };
    let small = Shape {
        etcd: 1,
        registries: 1,
        scorers: SCORERS,
    };
    let mut cluster = Deployment::start_with(small, &|name| match name.starts_with("scorer") {
        true => propagation(),
        false => Vec::new(),
    })
    .await;
    let tiny = Tiny::new(0.25);
    cluster.serve(&tiny).await;
    let mut plain = Plain::new();
    for address in cluster.scorer_addresses() {
        plain.add(address);
    }
    plain.start();
    for place in 0..SCORERS {
        plain.newest_answers(100).await;
        ends_in_order(cluster.scorers.remove(place));
        let again = cluster.start_scorer(place, propagation());
        cluster.scorers.insert(place, again);
        cluster.ready(place).await;
        plain.add(cluster.scorers[place].address());
    }
    plain.newest_answers(100).await;

    let history = plain.stop().await;
    history.check_no_drop();
    history.check_against(&cluster.intended(0).await);
    history.check_exact([&tiny]);
}
