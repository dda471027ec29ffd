//! A client that does not take what is sent to it.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Sleep, sleep};

/// Watches how long a client takes nothing.
pub(super) struct Stall {
    /// How long it may.
    patience: Duration,
    /// Until when, and the bytes that it had taken when that was said; nothing while it takes all.
    until: Option<(Pin<Box<Sleep>>, u64)>,
}

impl Stall {
    pub(super) fn new(patience: Duration) -> Self {
        Self {
            patience,
            until: None,
        }
    }

    /// Notes whether something waits to be taken, and how many bytes were taken so far. Ready when that has lasted too long;
    /// else whoever asks is woken then.
    pub(super) fn poll(
        &mut self,
        context: &mut Context<'_>,
        is_stuck: bool,
        taken: u64,
    ) -> Poll<()> {
        if !is_stuck {
            self.until = None;
            return Poll::Pending;
        }
        let since = self.until.take().filter(|(_, before)| *before == taken);
        let (until, _) = self
            .until
            .insert(since.unwrap_or_else(|| (Box::pin(sleep(self.patience)), taken)));
        until.as_mut().poll(context)
    }
}
