//! From an upload to a version, in this order: header, signature, files, number; then the version is read back and judged.
//! Nothing is visible before it has its number, and a failure until then leaves nothing behind. A failure after that is
//! made good by the registry's leader.

mod upload;

use std::sync::Arc;

use decant_artifact::{BundleStore, BundleWriter, Limits, ReadError, check_signer};
use decant_coordination::keys::{VersionRecord, VersionState};
use decant_failpoint::Point;
use decant_model::{ModelName, ModelVersion};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Duration;

use crate::catalog::{Catalog, Version};
use crate::clock::now_millis;
use crate::config::Config;
use crate::error::CallError;
use crate::ledger::{Ask, Ledger};
use crate::metrics::Metrics;

pub(crate) use upload::{Header, Part, Parts};

/// When to come again, if too many pushes are at work.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Admits versions.
#[derive(Clone)]
pub(crate) struct Admission {
    catalog: Catalog,
    ledger: Ledger,
    bundles: BundleStore,
    limits: Limits,
    idle: Duration,
    places: Arc<Semaphore>,
    place_count: usize,
    metrics: Metrics,
}

impl Admission {
    /// Admits as many at once as there are places.
    pub(crate) fn new(
        config: &Config,
        catalog: Catalog,
        ledger: Ledger,
        bundles: BundleStore,
        places: Arc<Semaphore>,
        metrics: Metrics,
    ) -> Self {
        Self {
            catalog,
            ledger,
            bundles,
            limits: config.limits,
            idle: config.push_idle(),
            places,
            place_count: config.pushes,
            metrics,
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

    /// Takes an upload to its end. A push that was made before, by its request's id, goes on where that one stopped.
    pub(crate) async fn admit(&self, mut parts: impl Parts) -> Result<Version, CallError> {
        let header = upload::header(&mut parts, self.idle).await?;
        let (model, ask) = (header.model.clone(), header.ask.clone());
        if let Some(version) = self.ledger.recall::<ModelVersion>(&ask).await? {
            return self.finish(&ask, &model, version).await;
        }
        Point::PushAnnounced.pass();
        let (mut writer, record) = match self.begin(header).await {
            Ok(begun) => begun,
            // The same push may have been at work beside this one.
            Err(error) => match self.ledger.recall::<ModelVersion>(&ask).await? {
                Some(version) => return self.finish(&ask, &model, version).await,
                None => return Err(error),
            },
        };
        Point::PushBegun.pass();
        let files = upload::files(&mut parts, self.idle, &mut writer, &self.metrics);
        if let Err(error) = files.await {
            writer.abort().await;
            return Err(error);
        }
        // If the store fails after this, the bundle stays: nothing names it, the next attempt finds it there, and a store
        // that failed to answer may have made the version nevertheless.
        writer.finish().await?;
        let version = self.catalog.stage(&ask, &model, &record).await?;
        self.finish(&ask, &model, version).await
    }

    /// Checks all that can be known before the first byte of a file.
    async fn begin(&self, header: Header) -> Result<(BundleWriter, VersionRecord), CallError> {
        let model = self.catalog.model(&header.model).await?;
        let mut writer = self
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
        if let Some(signature) = header.signature {
            writer = writer.signed(signature)?;
        }
        check_signer(writer.bundle(), &model.record.signers)
            .map_err(|error| CallError::field("header.signature", error))?;
        self.catalog.check_new(&header.model, header.digest).await?;
        let record = VersionRecord {
            digest: header.digest,
            manifest: writer.bundle().manifest().clone(),
            signature: header.signature,
            created_at_millis: now_millis(),
        };
        Ok((writer, record))
    }

    /// Takes a version through the rest of its states. Somebody else may do the same at the same time.
    pub(crate) async fn finish(
        &self,
        ask: &Ask,
        model: &ModelName,
        version: ModelVersion,
    ) -> Result<Version, CallError> {
        loop {
            let current = self.catalog.version(model, Some(version)).await?;
            match current.state.state {
                VersionState::Staged => {
                    let outcome = self.read_back(&current).await?;
                    Point::VersionReadBack.pass();
                    self.catalog
                        .validated(&ask.step(), &current, &outcome)
                        .await?;
                }
                VersionState::Validated => self.catalog.judge(&ask.step(), &current).await?,
                VersionState::Approved | VersionState::Rejected | VersionState::Retired => {
                    tracing::info!(
                        %model,
                        version = version.get(),
                        digest = %current.record.digest,
                        state = ?current.state.state,
                        "finished a version"
                    );
                    return Ok(current);
                }
            }
        }
    }

    /// Reads every byte of a staged version. An error is the store's: it says nothing about the version.
    async fn read_back(&self, version: &Version) -> Result<Result<(), String>, CallError> {
        let signers = self.catalog.model(&version.model).await?.record.signers;
        let read = async {
            let bundle = self.bundles.open(version.record.digest).await?;
            bundle.verify().await?;
            Ok(bundle)
        };
        let bundle = match read.await {
            Ok(bundle) => bundle,
            Err(error @ ReadError::Storage(_)) => return Err(error.into()),
            Err(error) => return Ok(Err(error.to_string())),
        };
        Ok(check_signer(&bundle, &signers).map_err(|error| error.to_string()))
    }
}
