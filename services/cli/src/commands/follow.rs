//! What a watch tells, through the loss of the service's replicas.

use std::time::Duration;

use decant_proto::rollout::v1::{
    RolloutStatus, SlotStatus, WatchRolloutResponse, WatchSlotStatusResponse,
};
use decant_proto::trainer::v1::WatchJobResponse;

use crate::context::Context;
use crate::failure::Failure;
use crate::remote::Answers;

/// Silence for so long may mean that nothing changes, or that the replica hangs: asking anew finds one that does not.
const QUIET: Duration = Duration::from_secs(5);
/// How soon a service that cannot be reached is tried again.
const PAUSE: Duration = Duration::from_millis(200);

/// Something that a service tells of for as long as one listens.
pub(super) trait Watched {
    /// What comes over the wire.
    type Answer;
    /// What is of interest in it.
    type News;

    /// Begins to listen.
    async fn open(&self, context: &Context) -> Result<Answers<Self::Answer>, Failure>;

    /// What an answer tells; nothing when it makes no sense.
    fn news(answer: Self::Answer) -> Option<Self::News>;
}

/// A slot's status.
pub(super) struct OfSlot<'a> {
    pub(super) model: &'a str,
    pub(super) slot: &'a str,
}

/// A rollout's status; without an id, the newest one's.
pub(super) struct OfRollout<'a> {
    pub(super) model: &'a str,
    pub(super) slot: &'a str,
    pub(super) id: &'a str,
}

/// A job.
pub(super) struct OfJob<'a>(pub(super) &'a str);

impl Watched for OfSlot<'_> {
    type Answer = WatchSlotStatusResponse;
    type News = SlotStatus;

    async fn open(&self, context: &Context) -> Result<Answers<Self::Answer>, Failure> {
        let registry = &context.registry;
        registry.watch_slot_status(self.model, self.slot).await
    }

    fn news(answer: Self::Answer) -> Option<SlotStatus> {
        answer.status
    }
}

impl Watched for OfRollout<'_> {
    type Answer = WatchRolloutResponse;
    type News = RolloutStatus;

    async fn open(&self, context: &Context) -> Result<Answers<Self::Answer>, Failure> {
        let registry = &context.registry;
        registry.watch_rollout(self.model, self.slot, self.id).await
    }

    fn news(answer: Self::Answer) -> Option<RolloutStatus> {
        answer.status.filter(|status| status.rollout.is_some())
    }
}

impl Watched for OfJob<'_> {
    type Answer = WatchJobResponse;
    type News = WatchJobResponse;

    async fn open(&self, context: &Context) -> Result<Answers<Self::Answer>, Failure> {
        context.trainer.watch_job(self.0).await
    }

    fn news(answer: Self::Answer) -> Option<WatchJobResponse> {
        Some(answer)
    }
}

/// The news of a watch that is opened anew whenever it ends. The same may come again.
pub(super) struct Follow<'a, W: Watched> {
    context: &'a Context,
    watched: W,
    answers: Option<Answers<W::Answer>>,
    outage: Option<Failure>,
}

impl<'a, W: Watched> Follow<'a, W> {
    /// Nothing is opened before the first news are asked for.
    pub(super) fn new(context: &'a Context, watched: W) -> Self {
        Self {
            context,
            watched,
            answers: None,
            outage: None,
        }
    }

    /// Why nothing can be learnt at the moment, if so.
    pub(super) fn outage(&self) -> Option<&Failure> {
        self.outage.as_ref()
    }

    /// The next news. Fails only when the service refuses; one that is away is waited for, and that is told once.
    pub(super) async fn next(&mut self) -> Result<W::News, Failure> {
        loop {
            match self.attempt().await {
                Ok(Some(answer)) => {
                    self.outage = None;
                    let unread = || Failure::new("the service's answer holds nothing");
                    return W::news(answer).ok_or_else(unread);
                }
                Ok(None) => self.answers = None,
                Err(failure) if failure.is_unanswered() => {
                    self.answers = None;
                    if self.outage.is_none() {
                        let words = format!("{}; trying again", failure.what());
                        self.context.output.note(&words);
                    }
                    self.outage = Some(failure);
                    tokio::time::sleep(PAUSE).await;
                }
                Err(failure) => return Err(failure),
            }
        }
    }

    /// The next answer, or nothing when the watch has ended or is quiet.
    async fn attempt(&mut self) -> Result<Option<W::Answer>, Failure> {
        let answers = match &mut self.answers {
            Some(answers) => answers,
            None => {
                let opened = self.watched.open(self.context).await?;
                self.answers.insert(opened)
            }
        };
        match tokio::time::timeout(QUIET, answers.next()).await {
            // A replica that stops ends its streams; another one goes on.
            Ok(Ok(None)) => {
                tokio::time::sleep(PAUSE).await;
                Ok(None)
            }
            Ok(answer) => answer,
            Err(_) => Ok(None),
        }
    }
}
