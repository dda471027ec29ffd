//! What a watch tells, through the loss of the service's replicas.

use std::time::Duration;

use crate::context::Context;
use crate::failure::Failure;
use crate::remote::Answers;

/// Silence for so long may mean that nothing changes, or that the replica hangs: asking anew finds one that does not.
const QUIET: Duration = Duration::from_secs(5);
/// How soon a service that cannot be reached is tried again.
const PAUSE: Duration = Duration::from_millis(200);

/// The answers of a watch that is opened anew whenever it ends. The same answer may come again.
pub(super) struct Follow<'a, T, O> {
    context: &'a Context,
    open: O,
    answers: Option<Answers<T>>,
    is_away: bool,
}

impl<'a, T, O: AsyncFn() -> Result<Answers<T>, Failure>> Follow<'a, T, O> {
    /// Nothing is opened before the first answer is asked for.
    pub(super) fn new(context: &'a Context, open: O) -> Self {
        Self {
            context,
            open,
            answers: None,
            is_away: false,
        }
    }

    /// The next answer. Fails only when the service refuses; one that is away is waited for, and that is told once.
    pub(super) async fn next(&mut self) -> Result<T, Failure> {
        loop {
            match self.attempt().await {
                Ok(Some(answer)) => {
                    self.is_away = false;
                    return Ok(answer);
                }
                Ok(None) => self.answers = None,
                Err(failure) if failure.is_unanswered() => {
                    self.answers = None;
                    if !std::mem::replace(&mut self.is_away, true) {
                        let words = format!("{}; trying again", failure.what());
                        self.context.output.note(&words);
                    }
                    tokio::time::sleep(PAUSE).await;
                }
                Err(failure) => return Err(failure),
            }
        }
    }

    /// The next answer, or nothing when the watch has ended or is quiet.
    async fn attempt(&mut self) -> Result<Option<T>, Failure> {
        let answers = match &mut self.answers {
            Some(answers) => answers,
            None => {
                let opened = (self.open)().await?;
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
