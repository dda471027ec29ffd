//! The client over scorers of a real cluster: its callers notice neither a scorer that hangs, nor a restart of all, nor a
//! swap. What needs faults that a scorer does not show on demand is tested in the client's crate.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use decant_chassis::client::channel;
use decant_client::{Columns, Error, Scorers, Scores};
use decant_proto::scorer::v1::ListServablesRequest;
use decant_proto::scorer::v1::scorer_service_client::ScorerServiceClient;
use decant_tests::{Deployment, Names, Operated, Process, Shape, Tiny, eventually};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// The time for a call. Half of it is silence for which a scorer is blamed.
const DEADLINE: Duration = Duration::from_secs(2);
/// A scorer that is silent so often in a row is ejected.
const SILENCES: usize = 3;
/// How many call side by side, and how long each rests between two calls.
const CALLERS: usize = 4;
const REST: Duration = Duration::from_millis(10);
/// As golden vectors have it.
const TOLERANCE: f32 = 1e-5;

/// Three scorers, and a client of them all.
struct Fleet {
    cluster: Deployment,
    names: Names,
    scorers: Scorers,
}

impl Fleet {
    /// All of it serves this bundle as version 1.
    async fn serving(tiny: &Tiny) -> Self {
        let cluster = Deployment::start(Shape {
            etcd: 1,
            registries: 1,
            scorers: 3,
        })
        .await;
        cluster.serve(tiny).await;
        let names = Names::of(cluster.scorer_addresses());
        let scorers = names.client(DEADLINE);
        Self {
            cluster,
            names,
            scorers,
        }
    }

    /// Waits until the client has taken a scorer out of rotation, or back into it.
    async fn ejected(&self, scorer: &Process, ejected: bool) {
        let address = format!("http://{}", scorer.address());
        eventually("the client has noticed", || async {
            let statuses = self.scorers.statuses();
            let noticed = statuses
                .iter()
                .any(|status| status.address == address && status.ejected == ejected);
            if noticed { Ok(()) } else { Err(statuses) }
        })
        .await;
    }
}

/// Waits until a scorer's process has answered so many calls more.
async fn answers(scorer: &Process, calls: u64) {
    let address = format!("http://{}", scorer.address());
    let client = ScorerServiceClient::new(channel("scorer", &address).unwrap());
    let answered = || async {
        let listed = client.clone().list_servables(ListServablesRequest {}).await;
        let servables = listed.unwrap().into_inner().servables;
        let counts = servables.iter().map(|servable| servable.answered);
        counts.sum::<u64>()
    };
    let before = answered().await;
    eventually("the scorer answers", || async {
        let more = answered().await - before;
        (more >= calls).then_some(()).ok_or(more)
    })
    .await;
}

/// A call and what became of it.
#[derive(Debug)]
struct Call {
    began: Instant,
    outcome: Result<Scores, Error>,
    ended: Instant,
}

/// Those who ask for scores again and again, and write down what they get.
struct Callers {
    calls: Arc<Mutex<Vec<Call>>>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Callers {
    fn start(scorers: &Scorers) -> Self {
        let (calls, stop) = (Arc::default(), CancellationToken::new());
        let mut tasks = JoinSet::new();
        for _ in 0..CALLERS {
            tasks.spawn(ask(scorers.clone(), Arc::clone(&calls), stop.clone()));
        }
        Self { calls, stop, tasks }
    }

    /// Waits until there were so many calls more.
    async fn call(&self, calls: usize) {
        let so_far = || self.calls.lock().unwrap().len();
        let before = so_far();
        eventually("there are calls", || async {
            let more = so_far() - before;
            (more >= calls).then_some(()).ok_or(more)
        })
        .await;
    }

    /// Ends the callers, and returns their calls, of which none may have failed.
    async fn stop(mut self) -> Vec<Call> {
        self.stop.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
        let calls = std::mem::take(&mut *self.calls.lock().unwrap());
        let failed = calls.iter().filter(|call| call.outcome.is_err());
        let (some, all) = (failed.take(5).collect::<Vec<_>>(), calls.len());
        assert!(some.is_empty(), "of {all} calls, some failed: {some:#?}");
        calls
    }
}

async fn ask(scorers: Scorers, calls: Arc<Mutex<Vec<Call>>>, stop: CancellationToken) {
    // The rows of `Tiny::request`, each with its user.
    let columns = Columns::new()
        .ints("user", [1; 8])
        .floats("age", [34.0; 8])
        .ints("film", 100..108);
    while !stop.is_cancelled() {
        // Fields are evaluated as they stand here.
        let call = Call {
            began: Instant::now(),
            outcome: scorers.score(&columns).await,
            ended: Instant::now(),
        };
        calls.lock().unwrap().push(call);
        tokio::time::sleep(REST).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn process_a_client_leaves_a_stopped_scorer_out_until_it_goes_on() {
    let fleet = Fleet::serving(&Tiny::new(0.25)).await;
    let (sick, others) = fleet.cluster.scorers.split_first().unwrap();
    let callers = Callers::start(&fleet.scorers);
    answers(sick, 20).await;

    // Its connections stay open, and take in whatever is sent.
    sick.signal("STOP");
    fleet.ejected(sick, true).await;
    let out = Instant::now();
    for other in others {
        answers(other, 100).await;
    }
    let resumed = Instant::now();
    sick.signal("CONT");
    fleet.ejected(sick, false).await;
    answers(sick, 20).await;

    // Whoever asks it while it is stopped waits for half of the deadline, and then asks another.
    let calls = callers.stop().await;
    let hung = calls
        .iter()
        .filter(|call| call.ended - call.began >= DEADLINE / 2);
    let (before, since): (Vec<&Call>, Vec<&Call>) = hung.partition(|call| call.began < out);
    // When the last silence that it takes is over, the other callers may be waiting too.
    let few = SILENCES..SILENCES + CALLERS;
    assert!(few.contains(&before.len()), "{before:#?}");
    let asked_while_out = since.iter().any(|call| call.began < resumed);
    assert!(!asked_while_out, "{since:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn process_a_client_follows_scorers_that_restart_one_by_one_at_other_addresses() {
    let mut fleet = Fleet::serving(&Tiny::new(0.25)).await;
    let callers = Callers::start(&fleet.scorers);
    for place in 0..fleet.cluster.scorers.len() {
        answers(&fleet.cluster.scorers[place], 100).await;
        let (status, log) = fleet.cluster.scorers.remove(place).end("TERM");
        assert!(status.success(), "{log:#?}");
        let again = fleet.cluster.start_scorer(place, []);
        fleet.cluster.scorers.insert(place, again);
        fleet.cluster.ready(place).await;
        fleet.cluster.registered(place).await;
        // Only now does the name forget the one that ended: names are always late.
        fleet.names.tell(fleet.cluster.scorer_addresses());
        // The next one goes when this one does its part.
        answers(&fleet.cluster.scorers[place], 100).await;
    }
    for scorer in &fleet.cluster.scorers {
        answers(scorer, 50).await;
    }
    callers.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn process_a_client_sees_of_a_swap_that_another_version_answers() {
    let versions = [Tiny::new(0.25), Tiny::new(-0.5)];
    let fleet = Fleet::serving(&versions[0]).await;
    let callers = Callers::start(&fleet.scorers);
    callers.call(200).await;
    let pushed = fleet.cluster.push(0, &versions[1]).await.unwrap();
    let asked_for = Instant::now();
    fleet.cluster.set(0, pushed.version).await.unwrap();
    fleet.cluster.converged(0, pushed.version, 3).await;
    let converged = Instant::now();
    callers.call(200).await;

    for call in callers.stop().await {
        let scores = call.outcome.as_ref().unwrap();
        let version = scores.served_by.version;
        // Each scorer swaps at its own moment, so that in between either may answer.
        assert!(version == 1 || call.ended > asked_for, "{call:?}");
        assert!(version == 2 || call.began < converged, "{call:?}");
        let expected = &versions[version as usize - 1];
        assert_eq!(scores.served_by.digest, expected.digest.to_string());
        let mut pairs = scores.scores.iter().zip(&expected.scores);
        let near = pairs.all(|(score, exact)| (score - exact).abs() <= TOLERANCE);
        assert!(near, "{call:?}, not {:?}", expected.scores);
    }
}
