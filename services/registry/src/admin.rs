//! The care of a cluster: what stands in its way, garbage, backups, and a store that was put back.

mod backup;
mod diagnosis;
mod garbage;
mod rebuild;

use decant_artifact::BundleStore;
use decant_coordination::Revision;
use decant_coordination::keys::{
    ClusterKey, ClusterRecord, LeaderKey, LeaderRecord, ObservedKey, RefusalKey, RolloutKey,
};
use decant_model::ModelName;
use decant_model::rollout::Phase;
use serde_json::json;

use crate::admission::Admission;
use crate::catalog::Catalog;
use crate::cluster::Cluster;
use crate::error::CallError;
use crate::ledger::{Ask, Ledger, Plan, Planned, summary};
use crate::records::Records;
use crate::rollout::{Fleet, SlotStatus, Slots, subject};

pub(crate) use backup::Metadatum;
pub(crate) use garbage::Collect;

/// Cares for a cluster.
#[derive(Clone)]
pub(crate) struct Care {
    pub(crate) records: Records,
    pub(crate) ledger: Ledger,
    pub(crate) catalog: Catalog,
    pub(crate) slots: Slots,
    pub(crate) cluster: Cluster,
    pub(crate) admission: Admission,
    pub(crate) bundles: BundleStore,
}

/// A cluster at a glance.
pub(crate) struct Overview {
    pub(crate) cluster: ClusterRecord,
    pub(crate) revision: Revision,
    /// Who leads, and its epoch.
    pub(crate) leader: Option<(LeaderRecord, Revision)>,
    pub(crate) scorers: usize,
    pub(crate) alarms: Vec<Alarm>,
}

/// Something that stands in the way.
pub(crate) struct Alarm {
    /// The model that it is about; none when it is about the cluster.
    pub(crate) about: Option<ModelName>,
    pub(crate) words: String,
}

impl Alarm {
    fn of_cluster(words: String) -> Self {
        Self { about: None, words }
    }

    fn of(model: &ModelName, words: String) -> Self {
        Self {
            about: Some(model.clone()),
            words,
        }
    }
}

impl Care {
    /// The cluster at a glance.
    pub(crate) async fn overview(&self) -> Result<Overview, CallError> {
        let (cluster, store, older) = self.cluster.look().await?;
        let leader = self.records.get(&LeaderKey {}).await?;
        let mut alarms = Vec::new();
        if let Some(words) = older {
            let words = CallError::StoreOlder(words).to_string();
            alarms.push(Alarm::of_cluster(words));
        }
        if leader.is_none() {
            let words = "no registry leads: nothing is activated or finished meanwhile".to_owned();
            alarms.push(Alarm::of_cluster(words));
        }
        let scorers = self.slots.scorers().await?;
        let prefix = self.records.keyspace.all::<ObservedKey>();
        let observed = self.records.list::<ObservedKey>(&prefix).await?;
        for (key, found) in &observed {
            let live = scorers
                .iter()
                .any(|(name, record)| *name == key.scorer && record.boot_id == found.value.boot_id);
            if let Some(reason) = found.value.frozen.as_ref().filter(|_| live) {
                let words = format!(
                    "scorer `{}` is frozen at generation {} of {}: {reason}",
                    key.scorer,
                    found.value.generation.0,
                    subject(&key.model, &key.slot)
                );
                alarms.push(Alarm::of(&key.model, words));
            }
        }
        let refusals = self.records.keyspace.all::<RefusalKey>();
        let refusals = self.records.list::<RefusalKey>(&refusals).await?;
        for (key, desired) in self.slots.all().await? {
            let said = observed
                .iter()
                .filter(|(seen, _)| seen.model == key.model && seen.slot == key.slot)
                .map(|(seen, found)| (seen.scorer.clone(), found.value.clone()));
            let fleet = Fleet::new(scorers.clone(), said);
            let refusal = refusals
                .iter()
                .find(|(refused, _)| refused.model == key.model && refused.slot == key.slot)
                .map(|(_, found)| found.value.clone());
            let blocked = SlotStatus::new(desired, fleet, refusal).blocked;
            if !blocked.is_empty() {
                let words = format!("{}: {blocked}", subject(&key.model, &key.slot));
                alarms.push(Alarm::of(&key.model, words));
            }
        }
        let rollouts = self.records.keyspace.all::<RolloutKey>();
        for (key, found) in self.records.list::<RolloutKey>(&rollouts).await? {
            if found.value.rollout.phase == Phase::Degraded {
                let words = format!(
                    "{}: rollout {} was aborted, and some scorers have not taken that in for long",
                    subject(&key.model, &key.slot),
                    key.rollout
                );
                alarms.push(Alarm::of(&key.model, words));
            }
        }
        Ok(Overview {
            cluster,
            revision: store.revision,
            leader: leader.map(|found| (found.value, found.entry.create_revision)),
            scorers: scorers.len(),
            alarms,
        })
    }

    /// Takes the store as it is for the truth. Slots come first: the scorers look at them again when the incarnation has
    /// grown.
    pub(crate) async fn adopt(&self, ask: &Ask) -> Result<(u64, Vec<String>), CallError> {
        if ask.reason.is_empty() {
            return Err(CallError::field("reason", "must be given"));
        }
        if let Some(answer) = self.ledger.recall(ask).await? {
            return Ok(answer);
        }
        let mut moved = Vec::new();
        for (key, _) in self.slots.all().await? {
            if self.slots.adopt(&ask.step(), &key).await? {
                moved.push(subject(&key.model, &key.slot));
            }
        }
        let adopted = self
            .ledger
            .mutate(ask, |_| self.plan_adoption(&moved))
            .await?;
        // What was seen before counts no more.
        self.cluster.look().await?;
        Ok(adopted)
    }

    async fn plan_adoption(
        &self,
        moved: &[String],
    ) -> Result<Planned<(u64, Vec<String>)>, CallError> {
        let found = self.cluster.record().await?;
        let incarnation = self.cluster.next_incarnation(found.value.incarnation);
        let record = ClusterRecord {
            incarnation,
            ..found.value.clone()
        };
        let plan = Plan::new("store.adopt", "cluster", (incarnation, moved.to_vec()))
            .before(summary(&found.value))
            .after(json!({ "incarnation": incarnation, "slots": moved }))
            .replace(&self.records, &ClusterKey {}, Some(&found.entry), &record)?;
        Ok(Planned::Do(plan))
    }
}

/// A mutation that writes nothing but its audit entry.
fn note<A>(action: &'static str, after: serde_json::Value, answer: A) -> Planned<A> {
    Planned::Do(Plan::new(action, "cluster", answer).after(after))
}
