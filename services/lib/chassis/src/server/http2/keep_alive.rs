//! Whether a client that says nothing is still there (RFC 9113, section 6.7).

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use h2::{Ping, PingPong};
use tokio::time::{Instant, Sleep, sleep};

/// How long a client may be silent before it is asked, at least; it is after twice as long, at most.
const SILENCE: Duration = Duration::from_secs(30);

/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Asks a silent client whether it lives.
pub(super) struct KeepAlive {
    pings: PingPong,
    wait: Pin<Box<Sleep>>,
    /// The bytes that had come of it when the wait began.
    heard: u64,
    /// Whether it is waited for the answer.
    asked: bool,
}

impl KeepAlive {
    pub(super) fn new(pings: PingPong) -> Self {
        Self {
            pings,
            wait: Box::pin(sleep(SILENCE)),
            heard: 0,
            asked: false,
        }
    }

    /// Ready when the client is taken for gone, of which so many bytes have come. It need not be the answer that comes of it:
    /// whoever sends lives.
    pub(super) fn poll(&mut self, context: &mut Context<'_>, heard: u64) -> Poll<()> {
        while self.wait.as_mut().poll(context).is_ready() {
            let is_silent = std::mem::replace(&mut self.heard, heard) == heard;
            if is_silent && self.asked {
                return Poll::Ready(());
            }
            self.asked = is_silent;
            if is_silent {
                // The answer to the last one has to be taken before there may be another. If it never came, that one still stands.
                let _ = self.pings.poll_pong(context);
                let _ = self.pings.send_ping(Ping::opaque());
            }
            let wait = if is_silent { PATIENCE } else { SILENCE };
            self.wait.as_mut().reset(Instant::now() + wait);
        }
        Poll::Pending
    }
}
