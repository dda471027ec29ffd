//! What can be set.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use decant_chassis::config::ConfigError;
use decant_chassis::server::Serving;
use decant_model::{ClusterName, ScorerName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::request_log::RequestLogConfig;
use crate::scoring::Limits;
use crate::servable::memory::default_budget;

/// Who the scorer is, what it keeps at hand, and its limits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The cluster that it belongs to.
    pub cluster: ClusterName,
    /// Its name in the cluster, the same after each start; empty means one made of the host's name and the port of
    /// `advertise`. Of two live processes with one name, the second serves, but stays out of the registry's sight until
    /// the first one's lease has ended; unless both give one address, and so the first must be gone.
    pub name: String,
    /// Where it stands, such as a data centre's zone; for people.
    pub zone: String,
    /// Where others reach it, as `host:port`; empty when nobody is to be told.
    pub advertise: String,
    /// How long the registry takes it for alive after its last sign of life, milliseconds.
    pub lease_ttl_millis: u64,
    /// What it keeps on its own disk, so that it starts without the store and the bundle store.
    pub cache: CacheConfig,
    /// Batches that are computed at once; 0 means one for each core.
    pub workers: usize,
    /// Of these, how many may be of one model, whatever its slots and versions; 0 means all. What it may not take is left for
    /// the others.
    pub model_workers: usize,
    /// Rows of one request, at most; candidates and excluded items count as rows.
    pub max_rows: usize,
    /// Rows that may wait for a worker. A request that finds no room is told to come again later. A `Recommend` has as many
    /// rows as its catalog has items: keep this at several times the largest catalog.
    pub queue_rows: usize,
    /// How long a request may wait for a worker, milliseconds: one that would wait longer is told to come again later. A
    /// quarter of it, when as long there has not been a moment without requests of its kind for its version, until none has
    /// been refused for as long. Also the unit of waiting work in the load that answers tell.
    pub queue_millis: u64,
    /// Rows that one client may have waiting; 0 means as many as all. A client is who it was found to be, or, where nobody is
    /// asked, who its `decant-client` header says.
    pub client_rows: usize,
    /// Rows that are computed together, at most.
    pub batch_rows: usize,
    /// How long a batch is to take, at most, microseconds; larger requests are split, and take turns with others.
    pub batch_micros: u64,
    /// Bytes of memory that all loaded versions together may take; 0 means three quarters of what the machine or its
    /// container has. A version that does not fit is not fetched, judged by the sizes of its files, or not loaded, judged by what
    /// is in them; one that is kept only for going back makes room for it.
    pub memory_bytes: u64,
    /// Bytes of one request, at most.
    pub max_request_bytes: usize,
    /// After how many seconds a client is asked to connect anew, so that clients spread over scorers that were added; calls
    /// under way are finished first. 0 means never.
    pub max_connection_age_seconds: u64,
    /// For how long threads that answer go on looking at the network after something came from it, before they sleep,
    /// microseconds. To wake a thread takes longer than to score a row; but one that looks needs its core for itself, and all of
    /// it while requests come more often than this. 0 means that they sleep at once.
    pub busy_poll_micros: u64,
    /// Requests of one stream that are at work at once, at most.
    pub stream_depth: usize,
    /// After a failed load, how long to wait before the first retry, milliseconds; doubled with each further one.
    pub retry_first_millis: u64,
    /// The longest wait between two retries, milliseconds.
    pub retry_longest_millis: u64,
    /// The wait after a load that failed for a reason that lasts, such as a bundle that is corrupt in its store or golden
    /// scores that are not reproduced, milliseconds. A change of the slot is always tried at once.
    pub retry_lasting_millis: u64,
    /// How much of one core's time, in per cent, may go into having other versions score requests that were answered, to compare
    /// them; what does not fit into it is left out, and counted. 0 means that nothing is compared, and shadows score nothing.
    pub compare_cpu_percent: u32,
    /// How far a version's scores may be here from the golden ones in its bundle, whatever the bundle itself allows;
    /// infinite leaves that to the bundle.
    pub max_golden_tolerance: f64,
    /// What is logged of requests.
    pub request_log: RequestLogConfig,
}

/// The cache of bundles. The last state that was fully in service lies beside them, in `desired.json`, and who may do what,
/// in `access.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CacheConfig {
    /// Its folder, which no other process may use; empty means that there is no cache, and nothing is kept.
    pub folder: PathBuf,
    /// How many bytes of bundles it holds. It must have room for the versions in service, those before, and those that are
    /// being prepared.
    pub max_bytes: u64,
    /// How fast bundles are fetched at most, bytes a second, so that serving keeps its share of the network; 0 means as
    /// fast as possible. Only with a folder.
    pub max_bytes_per_second: u64,
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self {
            folder: PathBuf::new(),
            max_bytes: 16 << 30,
            max_bytes_per_second: 0,
        }
    }
}

impl CacheConfig {
    /// The folder, if there is one.
    pub(crate) fn folder(&self) -> Option<PathBuf> {
        (!self.folder.as_os_str().is_empty()).then(|| self.folder.clone())
    }
}

/// The shortest time that a lease may live. etcd rounds up to whole seconds, and a shorter one would be lost at each
/// hiccup.
const SHORTEST_LEASE_MILLIS: u64 = 1_000;

impl Default for Config {
    fn default() -> Self {
        Self {
            cluster: ClusterName::default(),
            name: String::new(),
            zone: String::new(),
            advertise: String::new(),
            lease_ttl_millis: 15_000,
            cache: CacheConfig::default(),
            workers: 0,
            model_workers: 0,
            max_rows: 10_000,
            queue_rows: 100_000,
            queue_millis: 20,
            client_rows: 0,
            batch_rows: 4_096,
            batch_micros: 1_000,
            memory_bytes: 0,
            max_request_bytes: 16 << 20,
            max_connection_age_seconds: 300,
            busy_poll_micros: 0,
            stream_depth: 32,
            retry_first_millis: 1_000,
            retry_longest_millis: 60_000,
            retry_lasting_millis: 600_000,
            compare_cpu_percent: 10,
            max_golden_tolerance: f64::INFINITY,
            request_log: RequestLogConfig::default(),
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
            ("queue_millis", self.queue_millis as usize),
            ("batch_rows", self.batch_rows),
            ("batch_micros", self.batch_micros as usize),
        ];
        if let Some((key, _)) = at_least_one.into_iter().find(|(_, value)| *value == 0) {
            return Err(ConfigError::invalid(key, "must be at least 1"));
        }
        if u32::try_from(self.max_rows).is_err() {
            let reason = format!("{} is above 4294967295", self.max_rows);
            return Err(ConfigError::invalid("max_rows", reason));
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
        if self.retry_lasting_millis < self.retry_longest_millis {
            let reason = format!(
                "{} is below retry_longest_millis, which is {}",
                self.retry_lasting_millis, self.retry_longest_millis
            );
            return Err(ConfigError::invalid("retry_lasting_millis", reason));
        }
        if self.compare_cpu_percent > 100 {
            let reason = format!("{} is more than one core", self.compare_cpu_percent);
            return Err(ConfigError::invalid("compare_cpu_percent", reason));
        }
        if self.max_golden_tolerance.is_nan() || self.max_golden_tolerance < 0.0 {
            let reason = format!("{} is no distance", self.max_golden_tolerance);
            return Err(ConfigError::invalid("max_golden_tolerance", reason));
        }
        if !self.name.is_empty()
            && let Err(error) = self.name.parse::<ScorerName>()
        {
            return Err(ConfigError::invalid("name", error.to_string()));
        }
        if !self.advertise.is_empty() && self.advertised_port().is_none() {
            let reason = format!("`{}` is no `host:port`", self.advertise);
            return Err(ConfigError::invalid("advertise", reason));
        }
        if self.lease_ttl_millis < SHORTEST_LEASE_MILLIS {
            let reason = format!("must be at least {SHORTEST_LEASE_MILLIS}");
            return Err(ConfigError::invalid("lease_ttl_millis", reason));
        }
        if self.cache.max_bytes == 0 {
            return Err(ConfigError::invalid(
                "cache.max_bytes",
                "must be at least 1",
            ));
        }
        if self.cache.max_bytes_per_second > 0 && self.cache.folder().is_none() {
            let reason = "has no effect without cache.folder, through which bundles are fetched";
            return Err(ConfigError::invalid("cache.max_bytes_per_second", reason));
        }
        self.request_log.check()
    }

    /// The port of `advertise`; none when it is not `host:port`.
    pub(crate) fn advertised_port(&self) -> Option<u16> {
        let (host, port) = self.advertise.rsplit_once(':')?;
        let port = port.parse().ok().filter(|port| *port != 0)?;
        (!host.is_empty() && !host.contains(char::is_whitespace)).then_some(port)
    }

    pub(crate) fn lease_ttl(&self) -> Duration {
        Duration::from_millis(self.lease_ttl_millis)
    }

    /// How its server serves, beside what all servers have in common.
    pub fn serving(&self, common: Serving) -> Serving {
        let seconds = self.max_connection_age_seconds;
        Serving {
            max_connection_age: (seconds > 0).then(|| Duration::from_secs(seconds)),
            busy_poll: Duration::from_micros(self.busy_poll_micros),
            ..common
        }
    }

    pub(crate) fn workers(&self) -> NonZeroUsize {
        let cores = || std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
        NonZeroUsize::new(self.workers).unwrap_or_else(cores)
    }

    pub(crate) fn limits(&self) -> Limits {
        Limits {
            runners: self.workers().get(),
            model_runners: self.model_workers,
            rows: self.queue_rows,
            client_rows: self.client_rows,
            wait: Duration::from_millis(self.queue_millis),
            batch_rows: self.batch_rows,
            batch: Duration::from_micros(self.batch_micros),
        }
    }

    pub(crate) fn memory_budget(&self) -> u64 {
        match self.memory_bytes {
            0 => default_budget(),
            bytes => bytes,
        }
    }

    pub(crate) fn retry(&self) -> Retry {
        Retry {
            first: Duration::from_millis(self.retry_first_millis),
            longest: Duration::from_millis(self.retry_longest_millis),
            lasting: Duration::from_millis(self.retry_lasting_millis),
        }
    }
}

/// How long to wait after failed loads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Retry {
    pub(crate) first: Duration,
    pub(crate) longest: Duration,
    pub(crate) lasting: Duration,
}

impl Retry {
    /// The wait after so many failures in a row, the last of which may be one that lasts.
    pub(crate) fn after(&self, failures: u32, lasts: bool) -> Duration {
        if lasts {
            return self.lasting;
        }
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
        let seconds = [1, 2, 6, 7, 1000].map(|failures| retry.after(failures, false).as_secs());
        assert_eq!(seconds, [1, 2, 32, 60, 60]);
        assert_eq!(retry.after(1, true).as_secs(), 600);
    }

    #[test]
    fn the_queue_gets_the_limits_that_were_set() {
        let limits = Config {
            workers: 3,
            model_workers: 2,
            queue_rows: 20_000,
            client_rows: 500,
            queue_millis: 7,
            batch_rows: 64,
            batch_micros: 300,
            ..Config::default()
        }
        .limits();
        let rows = (limits.rows, limits.client_rows, limits.batch_rows);
        assert_eq!((limits.runners, limits.model_runners), (3, 2));
        assert_eq!(rows, (20_000, 500, 64));
        assert_eq!(limits.wait, Duration::from_millis(7));
        assert_eq!(limits.batch, Duration::from_micros(300));
    }

    #[test]
    fn senseless_values_are_refused_by_key() {
        assert!(Config::default().check().is_ok());
        let cache = |max_bytes| CacheConfig {
            max_bytes,
            ..CacheConfig::default()
        };
        let defaults = Config::default;
        for (key, bad) in [
            (
                "queue_rows",
                Config {
                    queue_rows: 10,
                    ..defaults()
                },
            ),
            (
                "retry_lasting_millis",
                Config {
                    retry_lasting_millis: 10,
                    ..defaults()
                },
            ),
            (
                "compare_cpu_percent",
                Config {
                    compare_cpu_percent: 101,
                    ..defaults()
                },
            ),
            (
                "max_golden_tolerance",
                Config {
                    max_golden_tolerance: -0.1,
                    ..defaults()
                },
            ),
            (
                "stream_depth",
                Config {
                    stream_depth: 0,
                    ..defaults()
                },
            ),
            (
                "name",
                Config {
                    name: "Films 1".into(),
                    ..defaults()
                },
            ),
            (
                "advertise",
                Config {
                    advertise: "films".into(),
                    ..defaults()
                },
            ),
            (
                "advertise",
                Config {
                    advertise: "films:0".into(),
                    ..defaults()
                },
            ),
            (
                "advertise",
                Config {
                    advertise: ":7430".into(),
                    ..defaults()
                },
            ),
            (
                "lease_ttl_millis",
                Config {
                    lease_ttl_millis: 999,
                    ..defaults()
                },
            ),
            (
                "cache.max_bytes",
                Config {
                    cache: cache(0),
                    ..defaults()
                },
            ),
            (
                "cache.max_bytes_per_second",
                Config {
                    cache: CacheConfig {
                        max_bytes_per_second: 1 << 20,
                        ..CacheConfig::default()
                    },
                    ..defaults()
                },
            ),
            (
                "request_log.ratio",
                Config {
                    request_log: RequestLogConfig {
                        ratio: 1.1,
                        ..RequestLogConfig::default()
                    },
                    ..defaults()
                },
            ),
        ] {
            let error = bad.check().unwrap_err().to_string();
            assert!(error.contains(&format!("`{key}`")), "{error}");
        }
        for address in ["10.0.0.1:7430", "[::1]:7430", "films-0.films.svc:7430"] {
            let good = Config {
                advertise: address.into(),
                ..defaults()
            };
            assert!(good.check().is_ok(), "{address}");
        }
    }
}
