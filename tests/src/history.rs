//! What clients saw, written down while it happened, and what must hold of it afterwards: the invariants of
//! ARCHITECTURE.md.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use decant_chassis::client::channel;
use decant_proto::rollout::v1 as rollout;
use decant_proto::scorer::v1::scorer_service_client::ScorerServiceClient;
use decant_proto::scorer::v1::{RankRequest, ServedBy};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataValue;
use tonic::{Code, Request};

use crate::faulty::OLD;
use crate::tiny::Tiny;
use crate::wait::eventually;

/// How long one answer may take before the client gives it up.
const DEADLINE: Duration = Duration::from_secs(5);

/// What a client asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Question {
    /// The request's routing key, if it has one.
    pub key: Option<String>,
    /// Whether it is about a user of the age of [`OLD`], and else [`Tiny::request`].
    pub old: bool,
}

impl Question {
    /// The question as a request. A key may be sent as text or as bytes: half of all users do the one, half the other.
    fn request(&self) -> Request<RankRequest> {
        let mut request = Request::new(match self.old {
            true => Tiny::request_at(OLD),
            false => Tiny::request(),
        });
        let metadata = request.metadata_mut();
        match &self.key {
            None => {}
            Some(key) if key.ends_with(['0', '2', '4', '6', '8']) => {
                metadata.insert("decant-routing-key", key.parse().unwrap());
            }
            Some(key) => {
                let bytes = MetadataValue::from_bytes(key.as_bytes());
                metadata.insert_bin("decant-routing-key-bin", bytes);
            }
        }
        request
    }
}

/// One request and what became of it.
#[derive(Clone, Debug)]
pub struct Answer {
    /// What was asked.
    pub question: Question,
    /// Which scorer was asked, by its place among those that the recorder was given: the client's place.
    pub scorer: usize,
    /// When it was asked.
    pub asked: SystemTime,
    /// When it answered.
    pub answered: SystemTime,
    /// The version that answered, with its scores; or the error.
    pub outcome: Result<(ServedBy, Vec<f32>), (Code, String)>,
}

/// Clients that ask scorers without a pause and write down every answer.
pub struct Recorder {
    answers: Arc<Mutex<Vec<Answer>>>,
    stop: CancellationToken,
    clients: JoinSet<()>,
}

impl Recorder {
    /// Starts one client for each scorer, each asking so often.
    pub fn start(scorers: impl IntoIterator<Item = SocketAddr>, every: Duration) -> Self {
        Self::start_asking(scorers, every, |_, _| Question::default())
    }

    /// The same, with something of its own to ask each time: by the client's place, and by how often it has asked. A scorer
    /// that is named several times has as many clients.
    pub fn start_asking(
        scorers: impl IntoIterator<Item = SocketAddr>,
        every: Duration,
        question: fn(usize, u64) -> Question,
    ) -> Self {
        let answers = Arc::new(Mutex::new(Vec::new()));
        let stop = CancellationToken::new();
        let mut clients = JoinSet::new();
        for (scorer, address) in scorers.into_iter().enumerate() {
            clients.spawn(ask(
                scorer,
                address,
                every,
                question,
                Arc::clone(&answers),
                stop.clone(),
            ));
        }
        Self {
            answers,
            stop,
            clients,
        }
    }

    /// How many answers there are so far.
    pub fn count(&self) -> usize {
        self.answers.lock().unwrap().len()
    }

    /// Waits until every client has asked and been answered from now on.
    pub async fn each_asks_again(&self) {
        let now = SystemTime::now();
        eventually("each client asks again", || async {
            let answers = self.answers.lock().unwrap();
            let since = answers.iter().filter(|answer| answer.asked >= now);
            let clients: BTreeSet<usize> = since.map(|answer| answer.scorer).collect();
            let all = clients.len() == self.clients.len();
            all.then_some(()).ok_or(clients)
        })
        .await;
    }

    /// Ends the clients, and returns everything that they saw.
    pub async fn stop(mut self) -> History {
        self.stop.cancel();
        while let Some(ended) = self.clients.join_next().await {
            ended.unwrap();
        }
        History(std::mem::take(&mut *self.answers.lock().unwrap()))
    }
}

async fn ask(
    scorer: usize,
    address: SocketAddr,
    every: Duration,
    ask_for: fn(usize, u64) -> Question,
    answers: Arc<Mutex<Vec<Answer>>>,
    stop: CancellationToken,
) {
    let channel = channel("scorer", &format!("http://{address}")).unwrap();
    let mut client = ScorerServiceClient::new(channel);
    let mut ticks = tokio::time::interval(every);
    for number in 0.. {
        tokio::select! {
            _ = ticks.tick() => {}
            () = stop.cancelled() => return,
        }
        let question = ask_for(scorer, number);
        let mut request = question.request();
        request.set_timeout(DEADLINE);
        let asked = SystemTime::now();
        let outcome = match client.rank(request).await {
            Ok(answer) => {
                let answer = answer.into_inner();
                let scores = Tiny::scores_of(&answer);
                Ok((answer.served_by.unwrap_or_default(), scores))
            }
            Err(status) => Err((status.code(), status.message().to_owned())),
        };
        let answered = SystemTime::now();
        answers.lock().unwrap().push(Answer {
            question,
            scorer,
            asked,
            answered,
            outcome,
        });
    }
}

/// Everything that clients saw, in the order in which it was answered.
#[derive(Clone, Default)]
pub struct History(pub Vec<Answer>);

/// Something that must not be.
#[derive(Clone, Debug)]
pub(crate) struct Violation {
    /// When it happened, if it has a time.
    pub(crate) at: Option<SystemTime>,
    /// What happened.
    pub(crate) what: String,
}

impl Violation {
    pub(crate) fn of(answer: &Answer, what: String) -> Self {
        Self {
            at: Some(answer.answered),
            what,
        }
    }
}

/// For tests that end with the first violation.
pub(crate) fn hold<T>(found: Result<T, Violation>) -> T {
    found.unwrap_or_else(|violation| panic!("{}", violation.what))
}

impl History {
    /// NoDrop: every request was answered.
    pub fn check_no_drop(&self) {
        let failed: Vec<_> = self
            .0
            .iter()
            .filter(|answer| answer.outcome.is_err())
            .take(5)
            .collect();
        assert!(
            failed.is_empty(),
            "of {} requests, some failed: {failed:#?}",
            self.0.len()
        );
    }

    /// NeverUnpromoted: what answered was active in the generation that the answer names, and that generation had been
    /// made before the answer. MonotoneGeneration: each scorer's generations never go back. `slots` is what the registry
    /// says was intended.
    pub fn check_against(&self, slots: &[rollout::Slot]) {
        hold(self.follows(slots));
    }

    pub(crate) fn follows(&self, slots: &[rollout::Slot]) -> Result<(), Violation> {
        let intended: BTreeMap<u64, &rollout::Slot> =
            slots.iter().map(|slot| (slot.generation, slot)).collect();
        let mut newest: BTreeMap<usize, u64> = BTreeMap::new();
        for answer in &self.0 {
            let Ok((served_by, _)) = &answer.outcome else {
                continue;
            };
            let violated = |what: String| Err(Violation::of(answer, what));
            let Some(slot) = intended.get(&served_by.generation) else {
                return violated(format!("nobody ever intended what answered: {answer:?}"));
            };
            // A shadow and a teacher are active too, and have no share.
            let was_to_answer = slot
                .active
                .iter()
                .any(|active| active.digest == served_by.digest && active.weight_basis_points > 0);
            if !was_to_answer {
                return violated(format!("{answer:?} was not to be given in {slot:?}"));
            }
            let made = SystemTime::try_from(slot.issue_time.unwrap()).unwrap();
            if made > answer.answered {
                return violated(format!("{answer:?} came before its generation, {made:?}"));
            }
            let newest = newest.entry(answer.scorer).or_default();
            if served_by.generation < *newest {
                return violated(format!("{answer:?} went back from generation {newest}"));
            }
            *newest = served_by.generation;
        }
        Ok(())
    }

    /// NeverUnverified, ExactRollback: each answer to [`Tiny::request`] is, to the last bit, what its version computes.
    /// `versions` are the bundles by digest.
    pub fn check_exact<'a>(&self, versions: impl IntoIterator<Item = &'a Tiny>) {
        hold(self.is_exact(versions));
    }

    pub(crate) fn is_exact<'a>(
        &self,
        versions: impl IntoIterator<Item = &'a Tiny>,
    ) -> Result<(), Violation> {
        let expected: BTreeMap<String, &[f32]> = versions
            .into_iter()
            .map(|tiny| (tiny.digest.to_string(), &tiny.scores[..]))
            .collect();
        for answer in self.0.iter().filter(|answer| !answer.question.old) {
            if let Ok((served_by, scores)) = &answer.outcome {
                let exact = expected.get(&served_by.digest).copied();
                if exact != Some(&scores[..]) {
                    let what = format!("{answer:?} is not what its version computes, {exact:?}");
                    return Err(Violation::of(answer, what));
                }
            }
        }
        Ok(())
    }

    /// The time from `since` until the last of the scorers first answered with this generation or a newer one.
    pub fn converged(&self, generation: u64, since: SystemTime) -> Option<Duration> {
        let mut first: BTreeMap<usize, Option<SystemTime>> = BTreeMap::new();
        for answer in &self.0 {
            let reached = first.entry(answer.scorer).or_default();
            if let Ok((served_by, _)) = &answer.outcome
                && served_by.generation >= generation
                && reached.is_none()
            {
                *reached = Some(answer.answered);
            }
        }
        let last = first.into_values().collect::<Option<Vec<_>>>()?;
        let last = last.into_iter().max()?;
        Some(last.duration_since(since).unwrap_or_default())
    }
}
