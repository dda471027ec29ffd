//! Who this process is.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use decant_chassis::config::ConfigError;
use decant_coordination::keys::ScorerRecord;
use decant_model::{NameError, ScorerName};
use ulid::Ulid;

use crate::config::Config;

/// The name of the scorer, which outlives the process, and what the process says of itself.
pub(crate) struct Identity {
    pub(super) name: ScorerName,
    pub(super) record: ScorerRecord,
}

/// The longest name that there can be.
const LONGEST: usize = 63;

impl Identity {
    /// Draws a boot id.
    ///
    /// # Errors
    /// When the name that is given is none.
    pub(crate) fn new(config: &Config) -> Result<Self, ConfigError> {
        let boot_id = Ulid::generate().to_string();
        let name = if config.name.is_empty() {
            // Where the system says no name, or there is no port to tell processes apart, one that nobody else has.
            let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
            match (host.trim(), config.advertised_port()) {
                ("", _) | (_, None) => format!("scorer-{}", boot_id.to_lowercase()),
                (host, Some(port)) => derived(host, port),
            }
        } else {
            config.name.clone()
        };
        let invalid = |error: NameError| ConfigError::invalid("name", error.to_string());
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Ok(Self {
            name: name.parse().map_err(invalid)?,
            record: ScorerRecord {
                address: config.advertise.clone(),
                zone: config.zone.clone(),
                boot_id,
                build: format!("decant {}", env!("CARGO_PKG_VERSION")),
                started_at_millis: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
            },
        })
    }

    /// What tells this process from all others.
    pub(crate) fn boot_id(&self) -> &str {
        &self.record.boot_id
    }
}

/// A name of a host and a port, by the rule of names: the same at each start.
fn derived(host: &str, port: u16) -> String {
    let spelt = |letter: char| match letter.to_ascii_lowercase() {
        letter @ ('a'..='z' | '0'..='9') => letter,
        _ => '-',
    };
    let host: String = host.chars().map(spelt).collect();
    let host = host.trim_matches('-');
    let prefix = if host.starts_with(|first: char| first.is_ascii_lowercase()) {
        ""
    } else {
        "scorer-"
    };
    let suffix = format!("-{port}");
    let kept = LONGEST - prefix.len() - suffix.len();
    let host = host.get(..kept).unwrap_or(host).trim_end_matches('-');
    format!("{prefix}{host}{suffix}").replace("--", "-")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_of_the_host_and_the_port() {
        for (host, expected) in [
            ("films-0", "films-0-7430"),
            ("Films_0.example.com", "films-0-example-com-7430"),
            ("10.0.0.1", "scorer-10-0-0-1-7430"),
            ("--", "scorer-7430"),
        ] {
            assert_eq!(derived(host, 7430), expected);
        }
        for host in [&"a".repeat(64), &"7".repeat(200), "é", "-é-a"] {
            let name = derived(host, u16::MAX);
            assert!(name.parse::<ScorerName>().is_ok(), "{name}");
        }
    }

    #[test]
    fn without_a_port_each_process_has_its_own_name() {
        let new = || Identity::new(&Config::default()).unwrap();
        let (one, other) = (new(), new());
        assert_ne!(one.name, other.name);
        assert_ne!(one.record.boot_id, other.record.boot_id);
    }
}
