//! How fast downloads may go.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// A limit of bytes per second, if there is one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    per_second: Option<u64>,
}

/// A download that keeps to it.
pub(super) struct Paced {
    pace: Pace,
    began: Instant,
    bytes: u64,
}

impl Pace {
    pub(super) fn new(per_second: Option<u64>) -> Self {
        Self { per_second }
    }

    pub(super) fn begin(self) -> Paced {
        Paced {
            pace: self,
            began: Instant::now(),
            bytes: 0,
        }
    }
}

impl Paced {
    /// Waits until so many more bytes may have come.
    pub(super) async fn took(&mut self, bytes: u64) {
        self.bytes += bytes;
        if let Some(per_second) = self.pace.per_second {
            let seconds = self.bytes as f64 / per_second.max(1) as f64;
            // Rates that make no sense wait long, and not for ever.
            sleep_until(self.began + Duration::from_secs_f64(seconds.min(86_400.0))).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn downloads_take_their_time() {
        let began = Instant::now();
        let mut paced = Pace::new(Some(1_000)).begin();
        paced.took(500).await;
        paced.took(2_000).await;
        assert_eq!(began.elapsed().as_millis(), 2_500);
        // Time that passed anyhow is not waited for again.
        tokio::time::advance(Duration::from_secs(10)).await;
        paced.took(1_000).await;
        assert_eq!(began.elapsed().as_millis(), 12_500);
        Pace::default().begin().took(u64::MAX).await;
        assert_eq!(began.elapsed().as_millis(), 12_500);
    }
}
