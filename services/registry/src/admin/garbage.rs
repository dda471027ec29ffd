//! Garbage: bundles that no version names, and files that no bundle names.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use decant_artifact::{Sweep, Swept};
use serde_json::json;

use super::{Care, note};
use crate::error::CallError;
use crate::ledger::Ask;

/// What is younger stays, if nothing else is said; and the least that may be said. A push relies on what it finds in place
/// for up to an hour, so an hour would be too short.
const GRACE: Duration = Duration::from_secs(24 * 60 * 60);
const LEAST_GRACE: Duration = Duration::from_secs(2 * 60 * 60);

/// How to collect garbage.
pub(crate) struct Collect {
    pub(crate) dry_run: bool,
    /// 0 means a day.
    pub(crate) grace_seconds: u64,
    pub(crate) ask: Ask,
}

impl Care {
    /// Deletes what nothing names and is old. What is deleted is audited before it is: a registry that dies in between
    /// has told what it was about to do.
    pub(crate) async fn collect(&self, collect: Collect) -> Result<Swept, CallError> {
        let grace = match collect.grace_seconds {
            0 => GRACE,
            seconds => Duration::from_secs(seconds),
        };
        if grace < LEAST_GRACE {
            return Err(CallError::field(
                "grace_seconds",
                format!(
                    "it is {}, but a push may take as long as {}",
                    grace.as_secs(),
                    LEAST_GRACE.as_secs()
                ),
            ));
        }
        // What pushes at work bring is young, and so stays.
        let mut wanted = BTreeSet::new();
        self.catalog
            .digests(|digest| {
                wanted.insert(digest);
            })
            .await?;
        let mode = match collect.dry_run {
            true => Sweep::DryRun,
            false => Sweep::Delete,
        };
        if mode == Sweep::Delete {
            let after = json!({ "grace_seconds": grace.as_secs(), "referenced": wanted.len() });
            self.ledger
                .mutate(&collect.ask, |_| {
                    std::future::ready(Ok(note("garbage.collect", after.clone(), ())))
                })
                .await?;
        }
        let swept = self
            .bundles
            .sweep(&wanted, grace, SystemTime::now(), mode)
            .await?;
        tracing::info!(
            ?mode,
            bundles = swept.bundles.len(),
            blobs = swept.blobs,
            bytes = swept.bytes,
            "collected garbage"
        );
        Ok(swept)
    }
}
