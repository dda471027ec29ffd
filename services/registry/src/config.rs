//! The registry's configuration.

use std::time::Duration;

use decant_artifact::Limits;
use decant_chassis::config::ConfigError;
use decant_model::ClusterName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What can be set; every key has a default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The cluster whose models these are.
    pub cluster: ClusterName,
    /// Where this replica can be reached, as `host:port`: what the others and operators are told of the leader.
    pub advertise: String,
    /// How long the leader's lease lives, milliseconds: after a leader that died, nobody leads for as long.
    pub lease_ttl_millis: u64,
    /// How often the leader looks at everything, though nothing seems to have changed, milliseconds.
    pub reconcile_interval_millis: u64,
    /// How often the leader asks scorers what they counted while a version is released, milliseconds.
    pub rollout_interval_millis: u64,
    /// How long a scorer that is gone is remembered, milliseconds; three of its leases is sensible. When most of the
    /// remembered ones are gone, that is taken for a fault, and nothing is activated meanwhile unless an operator says
    /// which share is enough. 0 remembers nobody.
    pub fleet_memory_millis: u64,
    /// How long a version may be neither approved nor rejected before the leader takes it for abandoned and finishes it,
    /// milliseconds.
    pub abandoned_after_millis: u64,
    /// How large bundles may be.
    pub limits: Limits,
    /// Pushes at work at once; more are told to come again.
    pub pushes: usize,
    /// How long a push may send nothing before it is given up, milliseconds.
    pub push_idle_millis: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            cluster: ClusterName::default(),
            advertise: String::new(),
            lease_ttl_millis: 10_000,
            reconcile_interval_millis: 5_000,
            rollout_interval_millis: 1_000,
            fleet_memory_millis: 45_000,
            abandoned_after_millis: 10_000,
            limits: Limits::default(),
            pushes: 8,
            push_idle_millis: 30_000,
        }
    }
}

impl Config {
    /// Checks what types cannot say.
    ///
    /// # Errors
    /// Names the key and the reason.
    pub fn check(&self) -> Result<(), ConfigError> {
        let too_small = [
            ("pushes", self.pushes == 0),
            ("lease_ttl_millis", self.lease_ttl_millis == 0),
            (
                "reconcile_interval_millis",
                self.reconcile_interval_millis == 0,
            ),
            ("rollout_interval_millis", self.rollout_interval_millis == 0),
            ("abandoned_after_millis", self.abandoned_after_millis == 0),
            ("push_idle_millis", self.push_idle_millis == 0),
            ("limits.files", self.limits.files == 0),
            ("limits.file_bytes", self.limits.file_bytes == 0),
            ("limits.bundle_bytes", self.limits.bundle_bytes == 0),
        ];
        match too_small.into_iter().find(|(_, is_zero)| *is_zero) {
            Some((key, _)) => Err(ConfigError::invalid(key, "must be at least 1")),
            None => Ok(()),
        }
    }

    pub(crate) fn push_idle(&self) -> Duration {
        Duration::from_millis(self.push_idle_millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn senseless_values_are_refused_by_key() {
        assert!(Config::default().check().is_ok());
        let no_files = Limits {
            files: 0,
            ..Limits::default()
        };
        let error = Config {
            limits: no_files,
            ..Config::default()
        }
        .check()
        .unwrap_err()
        .to_string();
        assert!(error.contains("`limits.files`"), "{error}");
        let error = Config {
            pushes: 0,
            ..Config::default()
        }
        .check()
        .unwrap_err()
        .to_string();
        assert!(error.contains("`pushes`"), "{error}");
    }
}
