//! Metadata made anew from the bundles, for a cluster whose store was lost without a backup. What the bundles do not know is
//! lost: gates, signers, slots, and which versions were rejected or retired.

use std::collections::BTreeSet;

use decant_artifact::ReadError;
use decant_coordination::keys::VersionRecord;
use decant_model::ModelName;

use super::Care;
use crate::catalog::Settings;
use crate::clock::now_millis;
use crate::error::CallError;
use crate::ledger::Ask;

/// What was made, or would be.
#[derive(Default)]
pub(crate) struct Rebuilt {
    pub(crate) models: BTreeSet<ModelName>,
    pub(crate) versions: u64,
    /// Bundles that cannot be read, each with the reason.
    pub(crate) unreadable: Vec<String>,
}

impl Care {
    /// Makes the models and versions that are missing, in the order in which their bundles were stored.
    pub(crate) async fn rebuild(&self, ask: &Ask, dry_run: bool) -> Result<Rebuilt, CallError> {
        let mut stored = self.bundles.list().await.map_err(CallError::Storage)?;
        stored.sort_by_key(|stored| (stored.modified, stored.digest));
        let mut rebuilt = Rebuilt::default();
        for stored in stored {
            let bundle = match self.bundles.open(stored.digest).await {
                Ok(bundle) => bundle,
                Err(error @ ReadError::Storage(_)) => return Err(error.into()),
                Err(error) => {
                    rebuilt.unreadable.push(error.to_string());
                    continue;
                }
            };
            let model = &bundle.manifest().model;
            if self
                .catalog
                .version_of(model, stored.digest)
                .await?
                .is_some()
            {
                continue;
            }
            self.rebuild_model(ask, model, dry_run, &mut rebuilt)
                .await?;
            rebuilt.versions += 1;
            if dry_run {
                continue;
            }
            let record = VersionRecord {
                digest: stored.digest,
                manifest: bundle.manifest().clone(),
                signature: bundle.signature().copied(),
                created_at_millis: now_millis(),
            };
            let version = self.catalog.stage(&ask.step(), model, &record).await?;
            self.admission.finish(ask, model, version).await?;
        }
        Ok(rebuilt)
    }

    async fn rebuild_model(
        &self,
        ask: &Ask,
        model: &ModelName,
        dry_run: bool,
        rebuilt: &mut Rebuilt,
    ) -> Result<(), CallError> {
        if rebuilt.models.contains(model) {
            return Ok(());
        }
        match self.catalog.model(model).await {
            Ok(_) => return Ok(()),
            Err(CallError::UnknownModel(_)) => {}
            Err(error) => return Err(error),
        }
        rebuilt.models.insert(model.clone());
        if dry_run {
            return Ok(());
        }
        let settings = Settings {
            description: "made anew from its bundles".to_owned(),
            gates: Vec::new(),
            signers: Vec::new(),
        };
        self.catalog
            .create_model(&ask.step(), model.clone(), settings)
            .await
            .map(drop)
    }
}
