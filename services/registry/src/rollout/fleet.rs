//! The live scorers, and what they make of one slot. Nothing here reads or writes anything.

use std::collections::BTreeMap;

use decant_coordination::keys::{
    ObservedKey, ObservedRecord, ObservedState, RecordError, ScorerKey, ScorerRecord,
};
use decant_coordination::{Key, Keyspace, Prefix, View};
use decant_model::{Active, DesiredSlot, Generation, ScorerName};

use super::Observed;

/// The live scorers, by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Fleet {
    pub(crate) members: Vec<Member>,
}

/// A live scorer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Member {
    pub(crate) name: ScorerName,
    pub(crate) record: ScorerRecord,
    /// What it makes of the slot; none when it has said nothing since it started.
    pub(crate) observed: Option<ObservedRecord>,
}

/// How far the fleet is with some versions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Readiness {
    /// How many scorers are live.
    pub(crate) live: usize,
    ready: usize,
    /// Those that will not get there by themselves, and why.
    stuck: Vec<String>,
    /// Those that are on the way.
    waiting: Vec<ScorerName>,
}

impl Fleet {
    pub(crate) fn new(
        scorers: impl IntoIterator<Item = (ScorerName, ScorerRecord)>,
        observed: impl IntoIterator<Item = Observed>,
    ) -> Self {
        let mut observed: BTreeMap<_, _> = observed.into_iter().collect();
        let member = |(name, record): (ScorerName, ScorerRecord)| {
            // Of an earlier process, nothing counts.
            let observed = observed
                .remove(&name)
                .filter(|observed| observed.boot_id == record.boot_id);
            Member {
                name,
                record,
                observed,
            }
        };
        Self {
            members: scorers.into_iter().map(member).collect(),
        }
    }

    /// The live scorers of a view, and what another view says that they make of a slot.
    pub(crate) fn read(
        keyspace: &Keyspace,
        scorers: &View,
        observed: &View,
        of_slot: &Prefix,
    ) -> Result<Self, RecordError> {
        let mut members = Vec::with_capacity(scorers.entries.len());
        for entry in scorers.entries.values() {
            let (key, record) = keyspace.read::<ScorerKey>(entry)?;
            members.push((key.scorer, record));
        }
        let mut said = Vec::with_capacity(members.len());
        let from = Key::new(of_slot.as_str());
        let entries = observed.entries.range(from..);
        for (_, entry) in entries.take_while(|(key, _)| of_slot.contains(key.as_str())) {
            let (key, record) = keyspace.read::<ObservedKey>(entry)?;
            said.push((key.scorer, record));
        }
        Ok(Self::new(members, said))
    }

    /// How far the fleet is with some versions.
    pub(crate) fn readiness(&self, versions: &[Active]) -> Readiness {
        let mut readiness = Readiness {
            live: self.members.len(),
            ..Readiness::default()
        };
        for member in &self.members {
            if member.has_ready(versions) {
                readiness.ready += 1;
            } else if let Some(words) = member.stuck(versions) {
                readiness.stuck.push(words);
            } else {
                readiness.waiting.push(member.name.clone());
            }
        }
        readiness
    }

    /// A scorer that has seen a later generation than this.
    pub(crate) fn ahead_of(&self, generation: Generation) -> Option<(&Member, Generation)> {
        self.members
            .iter()
            .map(|member| (member, member.generation()))
            .filter(|(_, seen)| *seen > generation)
            .max_by_key(|(_, seen)| *seen)
    }

    /// The latest generation that a scorer has seen.
    pub(crate) fn latest(&self) -> Option<Generation> {
        self.members.iter().map(Member::generation).max()
    }

    /// Whether nothing is pending, and every live scorer answers with the slot as intended.
    pub(crate) fn converged(&self, desired: &DesiredSlot) -> bool {
        desired.pending.is_none() && self.behind(desired.generation).is_empty()
    }

    /// The live scorers that do not answer with a generation or a later one.
    pub(crate) fn behind(&self, generation: Generation) -> Vec<&ScorerName> {
        let serving = |member: &Member| member.observed.as_ref().map(|said| said.serving);
        self.members
            .iter()
            .filter(|member| serving(member).is_none_or(|serving| serving < generation))
            .map(|member| &member.name)
            .collect()
    }

    /// What stands in the slot's way and does not go by itself; empty when nothing does.
    pub(crate) fn blocked(&self, desired: &DesiredSlot) -> String {
        if let Some((member, seen)) = self.ahead_of(desired.generation) {
            return format!(
                "scorer `{}` has seen generation {}, but the slot is at {}: see `decant admin adopt`",
                member.name, seen.0, desired.generation.0
            );
        }
        let (versions, percent) = match &desired.pending {
            Some(pending) => (&pending.active, pending.min_ready_percent),
            None => (&desired.active, 100),
        };
        let never = self.readiness(versions).never_enough(percent);
        never.unwrap_or_default()
    }
}

impl Member {
    fn generation(&self) -> Generation {
        self.observed
            .as_ref()
            .map_or(Generation(0), |observed| observed.generation)
    }

    fn has_ready(&self, versions: &[Active]) -> bool {
        let is_ready = |wanted: &Active| {
            let versions = self.observed.iter().flat_map(|observed| &observed.versions);
            versions
                .filter(|version| version.state == ObservedState::Ready)
                .any(|version| version.digest == wanted.digest)
        };
        versions.iter().all(is_ready)
    }

    /// Why it will not have the versions ready, if that is so.
    fn stuck(&self, versions: &[Active]) -> Option<String> {
        let observed = self.observed.as_ref()?;
        if let Some(reason) = &observed.frozen {
            return Some(format!("scorer `{}` is frozen: {reason}", self.name));
        }
        let is_wanted = |digest| versions.iter().any(|wanted| wanted.digest == digest);
        let failed = observed
            .versions
            .iter()
            .find(|version| version.state == ObservedState::Failed && is_wanted(version.digest))?;
        Some(format!(
            "scorer `{}` failed to load {}: {}",
            self.name, failed.version, failed.error
        ))
    }
}

impl Readiness {
    /// Whether so many of each hundred live scorers have the versions ready. Without a scorer there is nothing to wait
    /// for.
    pub(crate) fn is_enough(&self, percent: u8) -> bool {
        self.is_enough_of(self.live, percent)
    }

    /// The same of a fleet that counts so many, whoever of them is live.
    pub(super) fn is_enough_of(&self, all: usize, percent: u8) -> bool {
        self.ready * 100 >= all * usize::from(percent)
    }

    /// Why there will never be enough, if too many will not get there by themselves.
    pub(crate) fn never_enough(&self, percent: u8) -> Option<String> {
        (!self.can_be_enough(percent)).then(|| self.stuck.join("; "))
    }

    fn can_be_enough(&self, percent: u8) -> bool {
        (self.live - self.stuck.len()) * 100 >= self.live * usize::from(percent)
    }

    /// How far it is, in words.
    pub(crate) fn words(&self) -> String {
        let mut words = format!("{} of {} scorers have it ready", self.ready, self.live);
        if !self.waiting.is_empty() {
            let names: Vec<_> = self.waiting.iter().map(ScorerName::as_str).collect();
            words = format!("{words}; waiting for {}", names.join(", "));
        }
        for stuck in &self.stuck {
            words = format!("{words}; {stuck}");
        }
        words
    }
}

#[cfg(test)]
pub(super) mod tests;
