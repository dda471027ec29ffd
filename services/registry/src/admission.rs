//! From an upload to a version, in this order: header, files, gates, number. Nothing is visible before the last step, and
//! a failure of any leaves nothing behind.

mod upload;

use std::sync::Arc;

use decant_artifact::{Bundle, BundleStore, BundleWriter, Limits};
use decant_coordination::keys::{StateRecord, VersionRecord, VersionState};
use decant_model::{Gate, Manifest, ModelName};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Duration;

use crate::catalog::{Catalog, Version, now_millis};
use crate::config::Config;
use crate::error::CallError;

pub(crate) use upload::{Header, Part, Parts};

/// When to come again, if too many pushes are at work.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Admits versions.
#[derive(Clone)]
pub(crate) struct Admission {
    catalog: Catalog,
    bundles: BundleStore,
    limits: Limits,
    idle: Duration,
    places: Arc<Semaphore>,
    place_count: usize,
}

impl Admission {
    pub(crate) fn new(config: &Config, catalog: Catalog, bundles: BundleStore) -> Self {
        Self {
            catalog,
            bundles,
            limits: config.limits,
            idle: config.push_idle(),
            places: Arc::new(Semaphore::new(config.pushes)),
            place_count: config.pushes,
        }
    }

    /// A place among the pushes at work.
    pub(crate) fn enter(&self) -> Result<OwnedSemaphorePermit, CallError> {
        let busy = |_| CallError::Busy {
            limit: self.place_count,
            retry_after: RETRY_AFTER,
        };
        Arc::clone(&self.places).try_acquire_owned().map_err(busy)
    }

    /// Takes an upload to its end.
    pub(crate) async fn admit(&self, mut parts: impl Parts) -> Result<Version, CallError> {
        let header = upload::header(&mut parts, self.idle).await?;
        let model = header.model.clone();
        let mut writer = self.begin(header).await?;
        if let Err(error) = upload::files(&mut parts, self.idle, &mut writer).await {
            writer.abort().await;
            return Err(error);
        }
        let bundle = writer.finish().await?;
        self.add(&model, &bundle).await
    }

    /// Checks all that can be known before the first byte of a file.
    async fn begin(&self, header: Header) -> Result<BundleWriter, CallError> {
        self.catalog.model(&header.model).await?;
        let writer = self
            .bundles
            .write(header.digest, header.manifest, &self.limits)?;
        let of = &writer.bundle().manifest().model;
        if *of != header.model {
            let reason = format!(
                "it is of model `{of}`, but pushed to model `{}`",
                header.model
            );
            return Err(CallError::field("header.manifest", reason));
        }
        self.catalog.check_new(&header.model, header.digest).await?;
        Ok(writer)
    }

    /// The bundle is whole. If the store fails now, it stays: nothing names it, the next attempt finds it there, and a
    /// store that failed to answer may have made the version nevertheless.
    async fn add(&self, model: &ModelName, bundle: &Bundle) -> Result<Version, CallError> {
        let manifest = bundle.manifest();
        let record = VersionRecord {
            digest: bundle.digest(),
            manifest: manifest.clone(),
            created_at_millis: now_millis(),
        };
        let added = self
            .catalog
            .add_version(model, record, |gates| judge(gates, manifest))
            .await?;
        tracing::info!(
            %model,
            version = added.version.get(),
            digest = %added.record.digest,
            state = ?added.state.state,
            "added a version"
        );
        Ok(added)
    }
}

/// Judges a version by its model's gates: all must hold.
fn judge(gates: &[Gate], manifest: &Manifest) -> StateRecord {
    let gates: Vec<_> = gates
        .iter()
        .map(|gate| gate.judge(&manifest.metrics))
        .collect();
    let all_hold = gates.iter().all(|judged| judged.passed);
    let state = if all_hold {
        VersionState::Approved
    } else {
        VersionState::Rejected
    };
    StateRecord { state, gates }
}
