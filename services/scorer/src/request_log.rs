//! A sample of the requests, one line of the log each: what was asked of which version, and what became of it. What requests
//! hold, features and scores, is not in it; whom they are for is in it under a pseudonym alone.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use decant_chassis::config::ConfigError;
use decant_model::{BASIS_POINTS, split};
use decant_proto::status::code_name;
use ring::hmac;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tonic::Code;

use crate::error::CallError;
use crate::scoring::{Scored, Work};
use crate::servable::Handle;
use crate::service::routing::{Routing, random};

/// Bytes of the cluster's key, at least: as many as a SHA-256 has, below which RFC 2104 discourages to go.
const SHORTEST_KEY: usize = 32;
/// Bytes of a pseudonym: half of the digest, as RFC 2104 allows; two of a thousand million users share one with a chance of
/// 10⁻²¹.
const PSEUDONYM: usize = 16;
/// Draws who is logged; a slot's split is drawn under its rollout's id.
const SALT: &str = "request log";

/// What is logged of requests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RequestLogConfig {
    /// The share that is logged, from 0 to 1, in steps of 0.0001. It is drawn by the routing key, so that of a user all requests
    /// are logged, in every scorer, or none; requests without a key are drawn one by one.
    pub ratio: f64,
    /// A file with the cluster's key, at least 32 bytes, the same for all scorers. Under it a routing key, such as a user's id,
    /// is logged as `user`: the first 32 hex digits of its HMAC-SHA256. Read at the start alone, so that all scorers are to be
    /// started anew for a new key. Empty: whom requests are for is left out.
    pub user_key_file: PathBuf,
}

impl RequestLogConfig {
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if (0.0..=1.0).contains(&self.ratio) {
            return Ok(());
        }
        let reason = format!("{} is not between 0 and 1", self.ratio);
        Err(ConfigError::invalid("request_log.ratio", reason))
    }
}

/// Which requests are logged, and how; none by default.
#[derive(Default)]
pub(crate) struct RequestLog {
    /// Those of the buckets below.
    sampled: u32,
    key: Option<hmac::Key>,
}

/// What stands for a user.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Pseudonym([u8; PSEUDONYM]);

/// A request that is to be logged once it has come to an end.
pub(crate) struct Logged {
    user: Option<Pseudonym>,
    rpc: &'static str,
    rows: usize,
}

impl RequestLog {
    /// Reads the key.
    ///
    /// # Errors
    /// Names the key of the configuration, the file and the reason.
    pub(crate) fn open(config: &RequestLogConfig) -> Result<Self, ConfigError> {
        let file = Some(&config.user_key_file).filter(|file| !file.as_os_str().is_empty());
        Ok(Self {
            sampled: (config.ratio * f64::from(BASIS_POINTS)).round() as u32,
            key: file.map(|file| read_key(file)).transpose()?,
        })
    }

    /// Whether a request is logged.
    pub(crate) fn pick(&self, routing: Routing<'_>, work: &Work, rows: usize) -> Option<Logged> {
        if self.sampled == 0 {
            return None;
        }
        let user = routing.key();
        let bucket = match &user {
            Some(user) => split::bucket(SALT, user),
            // Drawn anew: by the number that decides on its version, canaries' requests would be logged first.
            None => split::scaled(random()),
        };
        if bucket >= self.sampled {
            return None;
        }
        let user = user.zip(self.key.as_ref());
        let user = user.map(|(user, key)| Pseudonym::of(key, &user));
        let rpc = match work {
            Work::Score { .. } => "score",
            Work::Rank { .. } => "rank",
            Work::Recommend { .. } => "recommend",
        };
        Some(Logged { user, rpc, rows })
    }
}

impl Logged {
    /// Writes the line.
    pub(crate) fn write(
        self,
        handle: &Handle,
        outcome: &Result<Scored, CallError>,
        total: Duration,
    ) {
        let part = handle.part();
        let scored = outcome.as_ref().ok();
        let code = match outcome {
            Ok(_) => Code::Ok,
            Err(error) => error.code().into(),
        };
        let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        tracing::info!(
            rpc = self.rpc,
            user = self.user.map(tracing::field::display),
            model = %part.place.model,
            slot = %part.place.slot,
            version = part.active.version.get(),
            arm = part.active.arm.name(),
            generation = part.generation.0,
            rows = self.rows,
            code = code_name(code),
            queue_micros = scored.map(|scored| micros(scored.queue)),
            compute_micros = scored.map(|scored| micros(scored.compute.until_scored())),
            total_micros = micros(total),
            "request"
        );
    }
}

impl Pseudonym {
    fn of(key: &hmac::Key, user: &[u8]) -> Self {
        let tag = hmac::sign(key, user);
        let mut first = [0; PSEUDONYM];
        first.copy_from_slice(&tag.as_ref()[..PSEUDONYM]);
        Self(first)
    }
}

impl fmt::Display for Pseudonym {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

/// The file's bytes, without the line's end that editors leave, as a shell would take them.
fn read_key(file: &Path) -> Result<hmac::Key, ConfigError> {
    let refused = |reason: String| {
        let reason = format!("{}: {reason}", file.display());
        Err(ConfigError::invalid("request_log.user_key_file", reason))
    };
    let bytes = match fs::read(file) {
        Ok(bytes) => bytes,
        Err(error) => return refused(error.to_string()),
    };
    let length = bytes.iter().rposition(|byte| *byte != b'\n');
    let key = &bytes[..length.map_or(0, |last| last + 1)];
    if key.len() < SHORTEST_KEY {
        return refused(format!(
            "{} bytes, but a key has at least {SHORTEST_KEY}",
            key.len()
        ));
    }
    Ok(hmac::Key::new(hmac::HMAC_SHA256, key))
}

#[cfg(test)]
mod tests;
