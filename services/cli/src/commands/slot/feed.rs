//! A slot's status as it changes, through the loss of the registry's replicas.

use std::time::Duration;

use decant_proto::rollout::v1::{SlotStatus, WatchSlotStatusResponse};

use crate::context::Context;
use crate::failure::Failure;
use crate::remote::Answers;

/// Silence for so long may mean that nothing changes, or that the replica hangs: asking anew finds one that does not.
const QUIET: Duration = Duration::from_secs(5);
/// How soon a registry that cannot be reached is tried again.
const PAUSE: Duration = Duration::from_millis(200);

/// The statuses of a slot, one after the other. One that says the same as the last may come again.
pub(super) struct Feed<'a> {
    context: &'a Context,
    model: &'a str,
    slot: &'a str,
    answers: Option<Answers<WatchSlotStatusResponse>>,
    outage: Option<Failure>,
}

impl<'a> Feed<'a> {
    pub(super) fn new(context: &'a Context, model: &'a str, slot: &'a str) -> Self {
        Self {
            context,
            model,
            slot,
            answers: None,
            outage: None,
        }
    }

    /// Why nothing can be learnt at the moment, if so.
    pub(super) fn outage(&self) -> Option<&Failure> {
        self.outage.as_ref()
    }

    /// The next status. Fails only when the registry refuses; one that is away is waited for, and that is told once.
    pub(super) async fn next(&mut self) -> Result<SlotStatus, Failure> {
        loop {
            match self.attempt().await {
                Ok(Some(status)) => {
                    self.outage = None;
                    return Ok(status);
                }
                Ok(None) => self.answers = None,
                Err(failure) if failure.is_unanswered() => {
                    self.answers = None;
                    if self.outage.is_none() {
                        self.context
                            .output
                            .note(&format!("{}; trying again", failure.what()));
                    }
                    self.outage = Some(failure);
                    tokio::time::sleep(PAUSE).await;
                }
                Err(failure) => return Err(failure),
            }
        }
    }

    /// The next status, or nothing when the stream has ended or is quiet.
    async fn attempt(&mut self) -> Result<Option<SlotStatus>, Failure> {
        let answers = match &mut self.answers {
            Some(answers) => answers,
            None => {
                let registry = &self.context.registry;
                let opened = registry.watch_slot_status(self.model, self.slot).await?;
                self.answers.insert(opened)
            }
        };
        match tokio::time::timeout(QUIET, answers.next()).await {
            Ok(Ok(Some(answer))) => match answer.status {
                Some(status) => Ok(Some(status)),
                None => Err(Failure::new("the registry's answer holds no status")),
            },
            // A replica that stops ends its streams; another one goes on.
            Ok(Ok(None)) => {
                tokio::time::sleep(PAUSE).await;
                Ok(None)
            }
            Ok(Err(failure)) => Err(failure),
            Err(_) => Ok(None),
        }
    }
}
