//! A version's way through its states. Each step is a mutation of its own, so that whoever comes after a registry that died
//! between two of them sees how far it came.

use decant_coordination::keys::{
    AuditHeadKey, DesiredKey, DigestKey, DigestRecord, ModelKey, RolloutKey, RolloutRecord,
    StateKey, StateRecord, VersionKey, VersionRecord, VersionState,
};
use decant_model::{DesiredSlot, Gate, Manifest, ModelName, ModelVersion};
use serde_json::json;

use super::{Catalog, Version};
use crate::clock::now_millis;
use crate::error::CallError;
use crate::ledger::{Ask, Plan, Planned, summary};

impl Catalog {
    /// Makes a bundle that is stored the model's next version, staged.
    pub(crate) async fn stage(
        &self,
        ask: &Ask,
        model: &ModelName,
        record: &VersionRecord,
    ) -> Result<ModelVersion, CallError> {
        self.ledger
            .mutate(ask, |_| self.plan_stage(model, record))
            .await
    }

    async fn plan_stage(
        &self,
        model: &ModelName,
        record: &VersionRecord,
    ) -> Result<Planned<ModelVersion>, CallError> {
        self.check_new(model, record.digest).await?;
        let found = self.model_found(model).await?;
        let mut model_record = found.value;
        let version = model_record
            .latest_version
            .map_or(ModelVersion::FIRST, ModelVersion::next);
        model_record.latest_version = Some(version);
        let state = state(VersionState::Staged, Vec::new(), String::new());
        let model_key = ModelKey {
            model: model.clone(),
        };
        let version_key = VersionKey {
            model: model.clone(),
            version,
        };
        let state_key = StateKey {
            model: model.clone(),
            version,
        };
        let digest_key = DigestKey {
            model: model.clone(),
            digest: record.digest,
        };
        let plan = Plan::new("version.stage", Version::subject(model, version), version)
            .after(json!({ "digest": record.digest, "state": VersionState::Staged }))
            .create(&self.records, &digest_key, &DigestRecord { version })?
            .replace(&self.records, &model_key, Some(&found.entry), &model_record)?
            .create(&self.records, &version_key, record)?
            .create(&self.records, &state_key, &state)?;
        Ok(Planned::Do(plan))
    }

    /// A staged version was read back: it is validated, or rejected for a reason.
    pub(crate) async fn validated(
        &self,
        ask: &Ask,
        version: &Version,
        outcome: &Result<(), String>,
    ) -> Result<(), CallError> {
        self.ledger
            .mutate(ask, |_| self.plan_validated(version, outcome))
            .await
    }

    async fn plan_validated(
        &self,
        version: &Version,
        outcome: &Result<(), String>,
    ) -> Result<Planned<()>, CallError> {
        let current = self.known_version(&version.model, version.version).await?;
        let next = match outcome {
            Ok(()) => state(VersionState::Validated, Vec::new(), String::new()),
            Err(reason) => state(VersionState::Rejected, Vec::new(), reason.clone()),
        };
        self.plan_state(&current, VersionState::Staged, next)
    }

    /// Judges a validated version by its model's gates: all must hold.
    pub(crate) async fn judge(&self, ask: &Ask, version: &Version) -> Result<(), CallError> {
        self.ledger.mutate(ask, |_| self.plan_judge(version)).await
    }

    async fn plan_judge(&self, version: &Version) -> Result<Planned<()>, CallError> {
        let model = self.model_found(&version.model).await?;
        let current = self.known_version(&version.model, version.version).await?;
        let next = judged(&model.value.gates, &current.record.manifest);
        // By the gates as they are, and not as they were when the judging began.
        Ok(
            match self.plan_state(&current, VersionState::Validated, next)? {
                Planned::Do(plan) => Planned::Do(plan.unchanged(&model.entry)),
                nothing => nothing,
            },
        )
    }

    /// Moves a version on, unless somebody else did so already.
    fn plan_state(
        &self,
        current: &Version,
        from: VersionState,
        next: StateRecord,
    ) -> Result<Planned<()>, CallError> {
        if current.state.state != from {
            return Ok(Planned::Nothing(()));
        }
        let action = match next.state {
            VersionState::Staged => "version.stage",
            VersionState::Validated => "version.validate",
            VersionState::Approved => "version.approve",
            VersionState::Rejected => "version.reject",
            VersionState::Retired => "version.retire",
        };
        let plan = Plan::new(
            action,
            Version::subject(&current.model, current.version),
            (),
        )
        .before(json!({ "state": from }))
        .after(summary(&next))
        .replace(
            &self.records,
            &current.state_key(),
            Some(&current.state_entry),
            &next,
        )?;
        Ok(Planned::Do(plan))
    }

    /// Takes an approved version out of use.
    pub(crate) async fn retire(
        &self,
        ask: &Ask,
        model: &ModelName,
        version: ModelVersion,
    ) -> Result<Version, CallError> {
        self.ledger
            .mutate(ask, |_| self.plan_retire(ask, model, version))
            .await?;
        self.version(model, Some(version)).await
    }

    async fn plan_retire(
        &self,
        ask: &Ask,
        model: &ModelName,
        version: ModelVersion,
    ) -> Result<Planned<()>, CallError> {
        let head = self.records.get(&AuditHeadKey {}).await?;
        let current = self.version(model, Some(version)).await?;
        match current.state.state {
            VersionState::Approved => {}
            VersionState::Retired => return Ok(Planned::Nothing(())),
            _ => return Err(CallError::not_approved(&current)),
        }
        let prefix = self.records.keyspace.of_model::<DesiredKey>(model);
        let slots = self.records.list::<DesiredKey>(&prefix).await?;
        if let Some((key, _)) = slots.iter().find(|(_, slot)| holds(&slot.value, version)) {
            return Err(CallError::Held {
                model: model.clone(),
                version,
                slot: key.slot.clone(),
            });
        }
        // A slot's rollout may have yet to put its version there.
        let prefix = self.records.keyspace.of_model::<RolloutKey>(model);
        let rollouts = self.records.list::<RolloutKey>(&prefix).await?;
        if let Some((key, _)) = rollouts
            .iter()
            .find(|(_, found)| needs(&found.value, version))
        {
            return Err(CallError::Held {
                model: model.clone(),
                version,
                slot: key.slot.clone(),
            });
        }
        let next = StateRecord {
            gates: current.state.gates.clone(),
            ..state(VersionState::Retired, Vec::new(), ask.reason.clone())
        };
        let planned = self.plan_state(&current, VersionState::Approved, next)?;
        let Planned::Do(plan) = planned else {
            return Ok(planned);
        };
        // A slot that takes the version in the meantime may be one that was not there yet.
        let head = head.as_ref().map(|head| &head.entry);
        let plan = plan.alone_since(&self.records, head);
        Ok(Planned::Do(plan))
    }
}

fn state(state: VersionState, gates: Vec<decant_model::GateResult>, reason: String) -> StateRecord {
    StateRecord {
        state,
        gates,
        reason,
        changed_at_millis: now_millis(),
    }
}

fn judged(gates: &[Gate], manifest: &Manifest) -> StateRecord {
    let gates: Vec<_> = gates
        .iter()
        .map(|gate| gate.judge(&manifest.metrics))
        .collect();
    let next = match gates.iter().all(|judged| judged.passed) {
        true => VersionState::Approved,
        false => VersionState::Rejected,
    };
    state(next, gates, String::new())
}

/// Whether a rollout that is not over needs a version.
fn needs(record: &RolloutRecord, version: ModelVersion) -> bool {
    let versions = [record.candidate, record.stable];
    let mut versions = versions.into_iter().chain(record.teacher);
    record.rollout.phase.holds_slot() && versions.any(|needed| needed.version == version)
}

/// Whether a slot serves a version, or is to have it ready.
fn holds(slot: &DesiredSlot, version: ModelVersion) -> bool {
    let pending = slot.pending.iter().flat_map(|pending| &pending.active);
    slot.active
        .iter()
        .chain(pending)
        .any(|active| active.version == version)
        || slot
            .prepare
            .iter()
            .any(|prepared| prepared.version == version)
}
