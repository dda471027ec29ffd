//! Making and changing models.

use decant_coordination::keys::{ModelKey, ModelRecord};
use decant_model::ModelName;

use super::{Catalog, Model, Settings, Update};
use crate::clock::now_millis;
use crate::error::{CallError, difference};
use crate::ledger::{Ask, Plan, Planned, summary};

impl Catalog {
    /// Creates a model; the same settings again are fine.
    pub(crate) async fn create_model(
        &self,
        ask: &Ask,
        name: ModelName,
        settings: Settings,
    ) -> Result<Model, CallError> {
        let (this, model, settings) = (self, &name, &settings);
        let record = self
            .ledger
            .mutate(ask, |_| this.plan_model(model, settings))
            .await?;
        Ok(Model { name, record })
    }

    async fn plan_model(
        &self,
        name: &ModelName,
        settings: &Settings,
    ) -> Result<Planned<ModelRecord>, CallError> {
        let key = ModelKey {
            model: name.clone(),
        };
        if let Some(existing) = self.records.get(&key).await? {
            return same(name, settings, existing.value).map(Planned::Nothing);
        }
        let record = ModelRecord {
            description: settings.description.clone(),
            gates: settings.gates.clone(),
            signers: settings.signers.clone(),
            created_at_millis: now_millis(),
            latest_version: None,
        };
        let plan = Plan::new("model.create", name, record.clone())
            .after(summary(settings))
            .create(&self.records, &key, &record)?;
        Ok(Planned::Do(plan))
    }

    /// Changes a model's settings.
    pub(crate) async fn update_model(
        &self,
        ask: &Ask,
        name: ModelName,
        update: Update,
    ) -> Result<Model, CallError> {
        let (this, model, update) = (self, &name, &update);
        let record = self
            .ledger
            .mutate(ask, |_| this.plan_update(model, update))
            .await?;
        Ok(Model { name, record })
    }

    async fn plan_update(
        &self,
        name: &ModelName,
        update: &Update,
    ) -> Result<Planned<ModelRecord>, CallError> {
        let found = self.model_found(name).await?;
        let before = found.value;
        let mut record = before.clone();
        if let Some(description) = &update.description {
            record.description.clone_from(description);
        }
        if let Some(gates) = &update.gates {
            record.gates.clone_from(gates);
        }
        if let Some(signers) = &update.signers {
            record.signers.clone_from(signers);
        }
        if record == before {
            return Ok(Planned::Nothing(record));
        }
        let key = ModelKey {
            model: name.clone(),
        };
        let plan = Plan::new("model.update", name, record.clone())
            .before(summary(&settings(&before)))
            .after(summary(&settings(&record)))
            .replace(&self.records, &key, Some(&found.entry), &record)?;
        Ok(Planned::Do(plan))
    }
}

fn settings(record: &ModelRecord) -> Settings {
    Settings {
        description: record.description.clone(),
        gates: record.gates.clone(),
        signers: record.signers.clone(),
    }
}

/// An existing model, if it has just these settings.
fn same(
    name: &ModelName,
    settings: &Settings,
    existing: ModelRecord,
) -> Result<ModelRecord, CallError> {
    let difference = difference([
        (
            "another description",
            existing.description != settings.description,
        ),
        ("other gates", existing.gates != settings.gates),
        ("other signers", existing.signers != settings.signers),
    ]);
    match difference {
        None => Ok(existing),
        Some(difference) => Err(CallError::ModelDiffers {
            model: name.clone(),
            difference,
        }),
    }
}
