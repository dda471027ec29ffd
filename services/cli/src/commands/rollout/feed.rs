//! A rollout's status as it changes, through the loss of the registry's replicas.

use std::time::Duration;

use decant_proto::rollout::v1::{RolloutStatus, WatchRolloutResponse};

use crate::context::Context;
use crate::failure::Failure;
use crate::remote::Answers;

/// A rollout under way is told of about once a second: silence for so long may mean that the replica hangs, and asking anew
/// finds one that does not.
const QUIET: Duration = Duration::from_secs(5);
/// How soon a registry that cannot be reached is tried again.
const PAUSE: Duration = Duration::from_millis(200);

/// The statuses of a rollout, one after the other. One that says the same as the last may come again.
pub(super) struct Feed<'a> {
    context: &'a Context,
    model: &'a str,
    slot: &'a str,
    /// Empty for the newest.
    rollout: &'a str,
    answers: Option<Answers<WatchRolloutResponse>>,
    is_away: bool,
}

impl<'a> Feed<'a> {
    pub(super) fn new(
        context: &'a Context,
        model: &'a str,
        slot: &'a str,
        rollout: &'a str,
    ) -> Self {
        Self {
            context,
            model,
            slot,
            rollout,
            answers: None,
            is_away: false,
        }
    }

    /// The next status. Fails only when the registry refuses; one that is away is waited for, and that is told once.
    pub(super) async fn next(&mut self) -> Result<RolloutStatus, Failure> {
        loop {
            match self.attempt().await {
                Ok(Some(status)) => {
                    self.is_away = false;
                    return Ok(status);
                }
                Ok(None) => self.answers = None,
                Err(failure) if failure.is_unanswered() => {
                    self.answers = None;
                    if !std::mem::replace(&mut self.is_away, true) {
                        self.context
                            .output
                            .note(&format!("{}; trying again", failure.what()));
                    }
                    tokio::time::sleep(PAUSE).await;
                }
                Err(failure) => return Err(failure),
            }
        }
    }

    /// The next status, or nothing when the stream has ended or is quiet.
    async fn attempt(&mut self) -> Result<Option<RolloutStatus>, Failure> {
        let answers = match &mut self.answers {
            Some(answers) => answers,
            None => {
                let registry = &self.context.registry;
                let opened = registry
                    .watch_rollout(self.model, self.slot, self.rollout)
                    .await?;
                self.answers.insert(opened)
            }
        };
        match tokio::time::timeout(QUIET, answers.next()).await {
            Ok(Ok(Some(answer))) => match answer.status {
                Some(status) if status.rollout.is_some() => Ok(Some(status)),
                _ => Err(Failure::new("the registry's answer holds no rollout")),
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
