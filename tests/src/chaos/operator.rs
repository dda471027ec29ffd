//! What is wanted of the cluster while its hosts fail: operators who release versions and take them back, and a job that is
//! trained.

use std::error::Error as _;
use std::future::Future;
use std::time::{Duration, SystemTime};

use decant_chassis::client::channel;
use decant_proto::rollout::v1 as rollout;
use decant_proto::trainer::v1 as trainer;
use decant_proto::trainer::v1::trainer_service_client::TrainerServiceClient;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tonic::{Code, Status};

use super::fleet::Addresses;
use super::journal::Journal;
use super::schedule::{Act, Planned, REGISTRIES, SCORERS};
use crate::movielens::Job;
use crate::operated::Operated;
use crate::releases::{plan, release};
use crate::tiny::{MODEL, Tiny};

/// How long one call may take before the next registry is asked.
const ANSWERS_WITHIN: Duration = Duration::from_secs(2);
/// How long an operator tries while hosts fail; and when all is well again, how long anything may take.
const PATIENCE: Duration = Duration::from_secs(6);
const CALM_PATIENCE: Duration = Duration::from_secs(60);
/// Between two tries.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// A job takes seconds, and waits for registries as long as a run lasts.
const TRAINS_WITHIN: Duration = Duration::from_secs(900);
/// What the trained versions are of.
const TRAINED: &str = "movielens";
/// All that is asked for by a run's operators is named so.
pub(crate) const NAME: &str = "chaos-";

/// The steps by which versions are released: each seen for long enough by those who ask.
const STEPS: [&str; 4] = ["20%", "pause 1s", "50%", "pause 1s"];

/// An operator, and what came of what was asked for.
pub(crate) struct Operator<'a> {
    addresses: &'a Addresses,
    journal: &'a Journal,
    asked: u32,
    /// What was pushed, in order, with the version's number.
    pub(crate) versions: Vec<(u64, Tiny)>,
    /// What a registry said that it did, by the request's name; the slot as it told it.
    pub(crate) told: Vec<(String, Option<rollout::Slot>)>,
    /// What did not come about in calm times.
    pub(crate) failed: Vec<String>,
    /// Each generation that was made in calm times, with its time.
    pub(crate) calm: Vec<(u64, SystemTime)>,
}

impl<'a> Operator<'a> {
    /// Serves a first version.
    pub(crate) async fn begin(addresses: &'a Addresses, journal: &'a Journal) -> Self {
        let first = Tiny::new(bias(0));
        addresses.create_model().await;
        let slot = addresses.serve(&first).await;
        Self {
            addresses,
            journal,
            asked: 0,
            versions: vec![(slot.active[0].version, first)],
            told: Vec::new(),
            failed: Vec::new(),
            calm: Vec::new(),
        }
    }

    /// Does what is planned, one thing after the other.
    pub(crate) async fn follow(&mut self, acts: &[Planned], begun: Instant) {
        for planned in acts {
            sleep_until(begun + planned.at).await;
            let outcome = told(self.act(planned).await);
            let act = planned.act;
            self.journal.say(format!("operator: {act:?}: {outcome}"));
        }
    }

    /// When all is well: what is released is aborted, a new version is served, and it is taken back.
    pub(crate) async fn settle(&mut self) {
        if let Err(failed) = self.try_settle().await {
            self.failed.push(failed);
        }
    }

    async fn try_settle(&mut self) -> Result<(), String> {
        let all = within("all scorers are live", || {
            self.status(|status| status.scorers.len() == SCORERS)
        });
        all.await?;
        // What is being released when the calm begins may end by itself meanwhile, which is as well.
        let aborted = self.steer(0, rollout::Steer::Abort).await;
        self.journal
            .say(format!("operator: the last abort: {}", told(aborted)));
        within("no release is under way", || {
            self.status(|status| {
                let slot = status.slot.as_ref();
                slot.is_some_and(|slot| slot.rollout.is_empty() && slot.pending.is_empty())
            })
        })
        .await?;
        let set = |error: Status| format!("a version cannot be set in calm times: {error}");
        let version = self.push(0).await.map_err(set)?;
        self.set(0, version).await.map_err(set)?;
        self.converges("the last version converges", |slot| {
            slot.active.len() == 1 && slot.active[0].version == version
        })
        .await?;
        let back = |error: Status| format!("a version cannot be taken back in calm times: {error}");
        self.roll_back(0).await.map_err(back)?;
        self.converges("the rollback converges", |slot| {
            let mut active = slot.active.iter();
            active.all(|active| active.version != version)
        })
        .await
    }

    /// Waits until all scorers serve a slot that is as it is to be.
    async fn converges(
        &mut self,
        what: &str,
        is_right: impl Fn(&rollout::Slot) -> bool,
    ) -> Result<(), String> {
        let status = within(what, || {
            self.status(|status| {
                let right = status.slot.as_ref().is_some_and(&is_right);
                right && status.converged && status.scorers.len() == SCORERS
            })
        });
        let slot = status.await?.slot.unwrap_or_default();
        let made = SystemTime::try_from(slot.issue_time.unwrap_or_default()).unwrap();
        self.calm.push((slot.generation, made));
        Ok(())
    }

    /// The slot's status, if it is as it is to be; else what it is.
    async fn status(
        &self,
        is_right: impl Fn(&rollout::SlotStatus) -> bool,
    ) -> Result<rollout::SlotStatus, String> {
        let status = self.addresses.status(0).await;
        let status = status.map_err(|status| status.to_string())?;
        match is_right(&status) {
            true => Ok(status),
            false => Err(format!("{status:?}")),
        }
    }

    async fn act(&mut self, planned: &Planned) -> Result<String, Status> {
        let first = planned.registry;
        match planned.act {
            Act::Set => {
                let version = self.push(first).await?;
                let generation = self.set(first, version).await?;
                Ok(format!("version {version} in generation {generation}"))
            }
            Act::SetOld(place) => {
                let (version, _) = self.versions[place % self.versions.len()];
                let generation = self.set(first, version).await?;
                Ok(format!("version {version} in generation {generation}"))
            }
            Act::Release => {
                let version = self.push(first).await?;
                self.release(first, version).await
            }
            Act::RollBack => self.roll_back(first).await,
            Act::Abort => self.steer(first, rollout::Steer::Abort).await,
        }
    }

    async fn push(&mut self, first: usize) -> Result<u64, Status> {
        let tiny = Tiny::new(bias(self.versions.len()));
        let pushed = {
            let (addresses, tiny) = (self.addresses, &tiny);
            ask(first, |place| addresses.push(place, tiny)).await?
        };
        self.versions.push((pushed.version, tiny));
        Ok(pushed.version)
    }

    async fn set(&mut self, first: usize, version: u64) -> Result<u64, Status> {
        let name = self.name();
        let request = rollout::SetSlotRequest {
            model: MODEL.to_owned(),
            version,
            issued_by: "operator".to_owned(),
            reason: name.clone(),
            request_id: name.clone(),
            ..rollout::SetSlotRequest::default()
        };
        let addresses = self.addresses;
        let answer = ask(first, |place| {
            let (mut client, request) = (addresses.rollout(place), request.clone());
            async move { client.set_slot(request).await }
        });
        let slot = answer.await?.into_inner().slot;
        let generation = slot.as_ref().map_or(0, |slot| slot.generation);
        self.told.push((name, slot));
        Ok(generation)
    }

    async fn release(&mut self, first: usize, version: u64) -> Result<String, Status> {
        let name = self.name();
        let request = rollout::StartRolloutRequest {
            issued_by: "operator".to_owned(),
            reason: name.clone(),
            request_id: name.clone(),
            ..release(version, plan(&STEPS, Vec::new()))
        };
        let addresses = self.addresses;
        let answer = ask(first, |place| {
            let (mut client, request) = (addresses.rollout(place), request.clone());
            async move { client.start_rollout(request).await }
        });
        let begun = answer.await?.into_inner().rollout.unwrap_or_default();
        self.told.push((name, None));
        Ok(format!("version {version} by rollout {}", begun.id))
    }

    async fn roll_back(&mut self, first: usize) -> Result<String, Status> {
        let name = self.name();
        let request = rollout::RollbackRequest {
            model: MODEL.to_owned(),
            issued_by: "operator".to_owned(),
            reason: name.clone(),
            request_id: name.clone(),
            ..rollout::RollbackRequest::default()
        };
        let addresses = self.addresses;
        let answer = ask(first, |place| {
            let (mut client, request) = (addresses.rollout(place), request.clone());
            async move { client.rollback(request).await }
        });
        let slot = answer.await?.into_inner().slot;
        let generation = slot.as_ref().map_or(0, |slot| slot.generation);
        self.told.push((name, slot));
        Ok(format!("generation {generation}"))
    }

    async fn steer(&mut self, first: usize, steer: rollout::Steer) -> Result<String, Status> {
        let name = self.name();
        let request = rollout::SteerRolloutRequest {
            model: MODEL.to_owned(),
            steer: steer.into(),
            issued_by: "operator".to_owned(),
            reason: name.clone(),
            request_id: name.clone(),
            ..rollout::SteerRolloutRequest::default()
        };
        let addresses = self.addresses;
        let answer = ask(first, |place| {
            let (mut client, request) = (addresses.rollout(place), request.clone());
            async move { client.steer_rollout(request).await }
        });
        let slot = answer.await?.into_inner().slot;
        let generation = slot.as_ref().map_or(0, |slot| slot.generation);
        self.told.push((name, None));
        Ok(format!("generation {generation}"))
    }

    fn name(&mut self) -> String {
        self.asked += 1;
        format!("{NAME}{}", self.asked)
    }
}

/// What became of an act, in a line.
fn told(outcome: Result<String, Status>) -> String {
    outcome.unwrap_or_else(|status| format!("{:?}: {}", status.code(), status.message()))
}

/// Each version has a bias of its own.
fn bias(version: usize) -> f32 {
    0.25 + 0.001 * version as f32
}

/// Asks one registry after the other, for as long as none can answer. What is asked for twice has one name, and is done once.
async fn ask<T, F>(first: usize, call: impl Fn(usize) -> F) -> Result<T, Status>
where
    F: Future<Output = Result<T, Status>>,
{
    let begun = Instant::now();
    let mut place = first;
    loop {
        let answer = timeout(ANSWERS_WITHIN, call(place)).await;
        let answer = answer.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer in time")));
        match answer {
            Err(status) if may_pass(&status) && begun.elapsed() < PATIENCE => {
                place = (place + 1) % REGISTRIES;
                sleep(LOOK_AGAIN).await;
            }
            answer => return answer,
        }
    }
}

/// Whether a registry was away, rather than of another opinion.
fn may_pass(status: &Status) -> bool {
    let code = matches!(
        status.code(),
        Code::Unavailable | Code::DeadlineExceeded | Code::ResourceExhausted | Code::Cancelled
    );
    code || status.source().is_some()
}

/// Looks again and again until it is so.
///
/// # Errors
/// What was seen last, when it is not so in time.
pub(crate) async fn within<T, F>(what: &str, mut look: impl FnMut() -> F) -> Result<T, String>
where
    F: Future<Output = Result<T, String>>,
{
    let begun = Instant::now();
    loop {
        let seen = timeout(ANSWERS_WITHIN, look()).await;
        match seen.unwrap_or_else(|_| Err("no answer in time".to_owned())) {
            Ok(value) => return Ok(value),
            Err(seen) if begun.elapsed() > CALM_PATIENCE => {
                return Err(format!("{what}: not within {CALM_PATIENCE:?}: {seen}"));
            }
            Err(_) => sleep(LOOK_AGAIN).await,
        }
    }
}

/// Has a small job trained from some time on, and its last version served.
///
/// # Errors
/// What went wrong.
pub(crate) async fn train(
    addresses: &Addresses,
    journal: &Journal,
    from: Instant,
) -> Result<u64, String> {
    sleep_until(from).await;
    let begun = Instant::now();
    let channel = channel("trainer", &format!("http://{}", addresses.trainer)).unwrap();
    let trainer = TrainerServiceClient::new(channel);
    // Whoever asks twice has two jobs, and of the same data and seed both make the same versions.
    let submitted = within("a job is submitted", || {
        let mut trainer = trainer.clone();
        async move {
            let spec_toml = Job::quick();
            let request = trainer::SubmitJobRequest { spec_toml };
            let submitted = trainer.submit_job(request).await;
            submitted.map_err(|status| status.to_string())
        }
    });
    let id = submitted.await?.into_inner().job.unwrap_or_default().id;
    loop {
        sleep(LOOK_AGAIN).await;
        let (mut trainer, request) = (trainer.clone(), trainer::GetJobRequest { id: id.clone() });
        let Ok(Ok(answer)) = timeout(ANSWERS_WITHIN, trainer.get_job(request)).await else {
            if begun.elapsed() > TRAINS_WITHIN {
                return Err("the trainer does not answer".to_owned());
            }
            continue;
        };
        let job = answer.into_inner().job.unwrap_or_default();
        match job.state() {
            trainer::JobState::Succeeded => {
                let result = job.result.unwrap_or_default();
                let mut approved = result.versions.iter().filter(|pushed| pushed.approved);
                let last = approved.next_back().ok_or("no version was approved")?;
                let version = last.version;
                journal.say(format!("trainer: pushed version {version} of {TRAINED}"));
                serve_trained(addresses, version).await?;
                journal.say(format!("operator: serves version {version} of {TRAINED}"));
                return Ok(version);
            }
            trainer::JobState::Queued | trainer::JobState::Running
                if begun.elapsed() < TRAINS_WITHIN => {}
            state => return Err(format!("the job is {state:?}: {}", job.error)),
        }
    }
}

async fn serve_trained(addresses: &Addresses, version: u64) -> Result<(), String> {
    let request = rollout::SetSlotRequest {
        model: TRAINED.to_owned(),
        version,
        issued_by: "operator".to_owned(),
        ..rollout::SetSlotRequest::default()
    };
    let begun = Instant::now();
    loop {
        let answer = ask(0, |place| {
            let (mut client, request) = (addresses.rollout(place), request.clone());
            async move { client.set_slot(request).await }
        });
        match answer.await {
            Ok(_) => return Ok(()),
            Err(status) if may_pass(&status) && begun.elapsed() < TRAINS_WITHIN => {}
            Err(status) => return Err(format!("the trained version cannot be set: {status}")),
        }
        sleep(LOOK_AGAIN).await;
    }
}

/// Waits until all scorers serve what was trained.
///
/// # Errors
/// What they do instead.
pub(crate) async fn trained_serves(addresses: &Addresses, version: u64) -> Result<(), String> {
    let request = rollout::GetSlotStatusRequest {
        model: TRAINED.to_owned(),
        ..rollout::GetSlotStatusRequest::default()
    };
    within("the trained version serves", || async {
        let answer = addresses.rollout(0).get_slot_status(request.clone()).await;
        let answer = answer.map_err(|status| status.to_string())?;
        let status = answer.into_inner().status.unwrap_or_default();
        let slot = status.slot.as_ref();
        let is_it =
            slot.is_some_and(|slot| slot.active.len() == 1 && slot.active[0].version == version);
        match is_it && status.converged && status.scorers.len() == SCORERS {
            true => Ok(()),
            false => Err(format!("{status:?}")),
        }
    })
    .await
}
