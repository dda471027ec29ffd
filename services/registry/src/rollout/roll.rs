//! Which scorers were live a moment ago. Leases that end one by one are scorers that go; most of them at once is a fault of
//! the control plane or of the network, for scorers go on serving without a lease. What the rest has ready says little then.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use decant_coordination::keys::ScorerKey;
use decant_model::ScorerName;
use futures::StreamExt;
use tokio::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

use super::{Fleet, Readiness};
use crate::cluster::Cluster;
use crate::records::Records;

/// The scorers as this process has seen them. Clones share it.
#[derive(Clone)]
pub(crate) struct Roll {
    known: Arc<Mutex<Known>>,
    /// How long a scorer that is gone is remembered.
    memory: Duration,
}

/// Each scorer's name, and since when it is gone; none while it is live.
#[derive(Default)]
struct Known(BTreeMap<ScorerName, Option<Instant>>);

impl Roll {
    pub(crate) fn new(memory: Duration) -> Self {
        Self {
            known: Arc::default(),
            memory,
        }
    }

    /// Follows the scorers until it is told to stop; anew when another store was taken for the truth.
    pub(crate) async fn keep(
        self,
        records: Records,
        cluster: Cluster,
        stop: CancellationToken,
    ) -> Result<(), String> {
        let mut adoptions = cluster.adoptions();
        loop {
            adoptions.borrow_and_update();
            let all = records.keyspace.all::<ScorerKey>();
            let mut views = Box::pin(records.follow(all));
            loop {
                tokio::select! {
                    () = stop.cancelled() => return Ok(()),
                    Ok(()) = adoptions.changed() => break,
                    // Of a store that was replaced nothing counts.
                    Some(view) = views.next() => if view.replaced.is_none() {
                        let keys = view.entries.keys();
                        let scorers = keys.filter_map(|key| records.keyspace.parse::<ScorerKey>(key).ok());
                        let live = scorers.map(|key| key.scorer);
                        self.known().note(live, Instant::now(), self.memory);
                    },
                }
            }
        }
    }

    /// Why a fleet may not decide, if most of it has just vanished. A share that an operator gave counts of all of it
    /// then, and so says whether those who are left are enough.
    pub(crate) fn refuses(
        &self,
        fleet: &Fleet,
        readiness: &Readiness,
        percent: u8,
    ) -> Option<String> {
        if self.memory.is_zero() {
            return None;
        }
        let vanished = self.known().vanished(fleet, Instant::now(), self.memory);
        let all = fleet.members.len() + vanished.len();
        if vanished.len() * 2 <= all || (percent < 100 && readiness.is_enough_of(all, percent)) {
            return None;
        }
        let names: Vec<_> = vanished.iter().map(ScorerName::as_str).collect();
        Some(format!(
            "{} of {all} scorers have vanished within {} s ({}): it waits until most are back or forgotten, or until the \
             slot is set with a share of all {all} that is enough (--min-ready)",
            vanished.len(),
            self.memory.as_secs_f64(),
            names.join(", ")
        ))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn note(&mut self, live: impl IntoIterator<Item = ScorerName>, now: Instant, memory: Duration) {
        for since in self.0.values_mut() {
            since.get_or_insert(now);
        }
        self.0.extend(live.into_iter().map(|name| (name, None)));
        self.0.retain(|_, since| is_remembered(*since, now, memory));
    }

    /// Those that are not in a fleet, and were live a moment ago.
    fn vanished(&self, fleet: &Fleet, now: Instant, memory: Duration) -> Vec<ScorerName> {
        let is_live = |name: &ScorerName| fleet.members.iter().any(|member| member.name == *name);
        let gone = self
            .0
            .iter()
            .filter(|(name, since)| is_remembered(**since, now, memory) && !is_live(name));
        gone.map(|(name, _)| name.clone()).collect()
    }
}

fn is_remembered(since: Option<Instant>, now: Instant, memory: Duration) -> bool {
    since.is_none_or(|since| now.duration_since(since) < memory)
}

#[cfg(test)]
mod tests;
