//! What can be set.

use std::num::NonZeroUsize;
use std::time::Duration;

use decant_chassis::config::ConfigError;
use serde::{Deserialize, Serialize};

/// The scorer's limits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Threads that score; 0 means one for each core.
    pub workers: usize,
    /// Rows of one request, at most; candidates and excluded items count as rows.
    pub max_rows: usize,
    /// Rows that may wait for a worker. A request that finds no room is told to come again later.
    pub queue_rows: usize,
    /// Bytes of one request, at most.
    pub max_request_bytes: usize,
    /// Requests of one stream that are at work at once, at most.
    pub stream_depth: usize,
    /// After a failed load, how long to wait before the first retry, milliseconds; doubled with each further one.
    pub retry_first_millis: u64,
    /// The longest wait between two retries, milliseconds.
    pub retry_longest_millis: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            workers: 0,
            max_rows: 10_000,
            queue_rows: 100_000,
            max_request_bytes: 16 << 20,
            stream_depth: 32,
            retry_first_millis: 1_000,
            retry_longest_millis: 60_000,
        }
    }
}

impl Config {
    /// Checks what types cannot say.
    ///
    /// # Errors
    /// Names the key and the reason.
    pub fn check(&self) -> Result<(), ConfigError> {
        let at_least_one = [
            ("max_rows", self.max_rows),
            ("queue_rows", self.queue_rows),
            ("max_request_bytes", self.max_request_bytes),
            ("stream_depth", self.stream_depth),
        ];
        if let Some((key, _)) = at_least_one.into_iter().find(|(_, value)| *value == 0) {
            return Err(ConfigError::invalid(key, "must be at least 1"));
        }
        if self.queue_rows < self.max_rows {
            let reason = format!(
                "{} is below max_rows, which is {}",
                self.queue_rows, self.max_rows
            );
            return Err(ConfigError::invalid("queue_rows", reason));
        }
        if self.retry_first_millis == 0 || self.retry_longest_millis < self.retry_first_millis {
            let reason = "must be at least 1, and at most retry_longest_millis";
            return Err(ConfigError::invalid("retry_first_millis", reason));
        }
        Ok(())
    }

    pub(crate) fn workers(&self) -> NonZeroUsize {
        let cores = || std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        NonZeroUsize::new(self.workers).unwrap_or_else(cores)
    }

    pub(crate) fn retry(&self) -> Retry {
        Retry {
            first: Duration::from_millis(self.retry_first_millis),
            longest: Duration::from_millis(self.retry_longest_millis),
        }
    }
}

/// How long to wait after failed loads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Retry {
    pub(crate) first: Duration,
    pub(crate) longest: Duration,
}

impl Retry {
    /// The wait after so many failures in a row.
    pub(crate) fn after(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        self.first.saturating_mul(1 << doublings).min(self.longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let retry = Config::default().retry();
        let seconds = [1, 2, 6, 7, 1000].map(|failures| retry.after(failures).as_secs());
        assert_eq!(seconds, [1, 2, 32, 60, 60]);
    }

    #[test]
    fn senseless_values_are_refused_by_key() {
        assert!(Config::default().check().is_ok());
        let bad = Config {
            queue_rows: 10,
            ..Config::default()
        };
        assert!(
            bad.check()
                .unwrap_err()
                .to_string()
                .contains("`queue_rows`")
        );
        let bad = Config {
            stream_depth: 0,
            ..Config::default()
        };
        assert!(
            bad.check()
                .unwrap_err()
                .to_string()
                .contains("`stream_depth`")
        );
    }
}
