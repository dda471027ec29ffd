//! What the leader sees, written where operators look and where the next leader goes on. Nothing is decided by others from it,
//! so that it is not audited; and what only grows a little is written every few seconds.

use decant_coordination::keys::{self, DesiredKey, ProgressRecord, RolloutKey};
use decant_coordination::{Epoch, Txn};
use decant_model::rollout::{Judgement, Metric, Verdict};
use tokio::time::{Duration, Instant};

use super::sight::Seen;
use super::{Reconcilers, Subject};
use crate::error::CallError;
use crate::records::Records;
use crate::rollout::progress_key;

/// How long what only grew a little may stay unwritten.
const EVERY: Duration = Duration::from_secs(5);

/// What is on record of a rollout.
pub(super) struct Progress {
    written: Option<ProgressRecord>,
    /// When this leader wrote it.
    at: Option<Instant>,
}

impl Progress {
    /// Reads what earlier leaders have written.
    pub(super) async fn read(records: &Records, rollout: &RolloutKey) -> Result<Self, CallError> {
        let found = records.get(&key(rollout)).await?;
        Ok(Self {
            written: found.map(|found| found.value),
            at: None,
        })
    }

    pub(super) fn written(&self) -> Option<&ProgressRecord> {
        self.written.as_ref()
    }

    /// What the leader sees now. Where nothing was measured yet, the last that was measured stands.
    pub(super) fn record(
        &self,
        subject: &Subject,
        seen: &Seen,
        waits_for: String,
    ) -> ProgressRecord {
        let rollout = &subject.record.rollout;
        let record = ProgressRecord {
            phase: rollout.phase,
            step: rollout.step,
            elapsed_millis: u64::try_from(seen.sight.elapsed.as_millis()).unwrap_or(u64::MAX),
            judgement: Judgement::default(),
            actual_basis_points: None,
            requests: 0,
            waits_for,
            silent: seen.silent.clone(),
        };
        match (seen.is_measured, &self.written) {
            (false, Some(last)) => ProgressRecord {
                judgement: last.judgement.clone(),
                actual_basis_points: last.actual_basis_points,
                requests: last.requests,
                ..record
            },
            _ => ProgressRecord {
                judgement: seen.sight.judgement.clone(),
                actual_basis_points: seen.share,
                requests: seen.requests,
                ..record
            },
        }
    }

    /// Writes it, if it is another story than the last one, or if that is a while ago.
    pub(super) async fn write(
        &mut self,
        with: &Reconcilers,
        epoch: &Epoch,
        rollout: &RolloutKey,
        record: ProgressRecord,
        now: Instant,
    ) -> Result<(), CallError> {
        let is_due = self.at.is_none_or(|at| now.duration_since(at) >= EVERY);
        let says_the_same = self
            .written
            .as_ref()
            .is_some_and(|written| story(written) == story(&record));
        if says_the_same && (!is_due || self.written.as_ref() == Some(&record)) {
            return Ok(());
        }
        let key = key(rollout);
        let value = keys::encode(&key, &record)?;
        let txn = Txn::new().put(with.records.key(&key), value);
        with.records.store.commit(epoch.fence(txn)).await?;
        self.written = Some(record);
        self.at = Some(now);
        Ok(())
    }
}

fn key(rollout: &RolloutKey) -> keys::ProgressKey {
    let place = DesiredKey {
        model: rollout.model.clone(),
        slot: rollout.slot.clone(),
    };
    progress_key(&place, &rollout.rollout)
}

/// What operators are to hear of at once.
fn story(record: &ProgressRecord) -> impl PartialEq + '_ {
    let verdicts: Vec<(Metric, Verdict)> = record
        .judgement
        .readings
        .iter()
        .map(|reading| (reading.gate.metric, reading.verdict))
        .collect();
    let place = (record.phase, record.step);
    (place, verdicts, &record.waits_for, &record.silent)
}
