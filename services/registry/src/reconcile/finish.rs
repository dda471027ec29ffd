//! Finishes versions that are neither approved nor rejected, because the replica that took the push is gone.

use std::collections::BTreeMap;

use decant_coordination::keys::{StateKey, VersionState};
use decant_coordination::{Epoch, Key, Revision, View};
use futures::StreamExt;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::Reconcilers;
use crate::ledger::Ask;

pub(super) struct Finishing {
    with: Reconcilers,
    epoch: Epoch,
    /// The versions on their way, and since when each was seen where it is. Counted here and not by the time in the
    /// record: hosts do not agree on that.
    waiting: BTreeMap<Key, (Revision, Instant)>,
}

impl Finishing {
    pub(super) fn new(with: Reconcilers, epoch: Epoch) -> Self {
        Self {
            with,
            epoch,
            waiting: BTreeMap::new(),
        }
    }

    pub(super) async fn run(mut self) {
        let prefix = self.with.records.keyspace.all::<StateKey>();
        let mut views = Box::pin(self.with.records.follow(prefix));
        let mut timer = interval(self.with.interval.min(self.with.abandoned_after));
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                view = views.next() => match view {
                    Some(view) => self.look(&view),
                    None => return,
                },
                _ = timer.tick() => self.finish_abandoned().await,
            }
        }
    }

    /// Notes which versions are on their way.
    fn look(&mut self, view: &View) {
        let mut waiting = BTreeMap::new();
        // Of a store that was replaced nothing counts; the election ends on it too.
        let entries = view.entries.values().filter(|_| view.replaced.is_none());
        for entry in entries {
            let on_its_way = match self.with.records.keyspace.read::<StateKey>(entry) {
                Ok((_, state)) => {
                    matches!(state.state, VersionState::Staged | VersionState::Validated)
                }
                // Told by whoever asks for that version.
                Err(_) => false,
            };
            if on_its_way {
                let known = self.waiting.get(&entry.key).copied();
                let since = known.filter(|(revision, _)| *revision == entry.mod_revision);
                let since = since.unwrap_or_else(|| (entry.mod_revision, Instant::now()));
                waiting.insert(entry.key.clone(), since);
            }
        }
        self.waiting = waiting;
    }

    async fn finish_abandoned(&mut self) {
        let patience = self.with.abandoned_after;
        let abandoned: Vec<_> = self
            .waiting
            .iter()
            .filter(|(_, (_, since))| since.elapsed() >= patience)
            .filter_map(|(key, _)| self.with.records.keyspace.parse::<StateKey>(key).ok())
            .collect();
        for StateKey { model, version } in abandoned {
            let reason = "finished what a registry left behind";
            let ask = Ask::leader(&self.epoch, &self.with.actor, reason, None);
            if let Err(error) = self.with.admission.finish(&ask, &model, version).await {
                tracing::warn!(%model, version = version.get(), %error, "could not finish a version");
            }
        }
    }
}
