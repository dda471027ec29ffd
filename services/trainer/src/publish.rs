//! A trained student or teacher becomes a bundle, and the bundle a version. Before: export. After: registry/admission.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use decant_artifact::SigningKey;
use decant_chassis::client::Channel;
use decant_model::{
    BundlePath, Digest, FileEntry, Gate, Lineage, LineageRole, Manifest, ManifestError, ModelName,
};
use decant_proto::registry::push;
use decant_proto::registry::v1 as wire;
use decant_proto::registry::v1::registry_service_client::RegistryServiceClient;
use decant_proto::status::ErrorCode;
use thiserror::Error;
use tonic::{Code, Status};

/// Why a version was not pushed.
#[derive(Debug, Error)]
pub enum PublishError {
    /// The bundle would not be accepted.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The registry did not take it.
    #[error("the registry did not {action}: {} ({:?})", .status.message(), .status.code())]
    Registry {
        /// What was asked of it.
        action: &'static str,
        /// Its answer.
        status: Box<Status>,
    },
}

/// Who pushes, for the record.
const ISSUED_BY: &str = "trainer";
/// For how long registries are asked before a push is given up: hours of training are worth some patience.
const PATIENCE: Duration = Duration::from_secs(5 * 60);
/// Waits between two rounds: the first, and the longest, to which they double.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(5);
/// How long one call may take.
const DEADLINE: Duration = Duration::from_secs(120);

/// Pushes versions to a registry, signed if there is a key.
#[derive(Clone)]
pub struct Publisher {
    /// Replicas of one registry: any will do.
    registries: Vec<RegistryServiceClient<Channel>>,
    key: Option<Arc<SigningKey>>,
    cancelled: Arc<AtomicBool>,
}

impl Publisher {
    /// Pushes to any of these replicas.
    pub fn new(registries: impl IntoIterator<Item = Channel>, key: Option<SigningKey>) -> Self {
        Self {
            registries: registries
                .into_iter()
                .map(RegistryServiceClient::new)
                .collect(),
            key: key.map(Arc::new),
            cancelled: Arc::default(),
        }
    }

    /// The same for one job, which asks nobody again once it is cancelled.
    #[must_use]
    pub fn until(&self, cancelled: Arc<AtomicBool>) -> Self {
        Self {
            cancelled,
            ..self.clone()
        }
    }

    /// Creates the model with these gates, unless it exists: then its own gates hold, because a job must not be able to
    /// lower them.
    ///
    /// # Errors
    /// When no registry can be reached or one refuses.
    pub async fn ensure_model(
        &self,
        model: &ModelName,
        gates: &[Gate],
    ) -> Result<(), PublishError> {
        let gates = gates.iter().map(|gate| wire::Gate {
            metric: gate.metric.clone(),
            min: gate.min,
            max: gate.max,
        });
        let request = wire::CreateModelRequest {
            model: Some(wire::Model {
                name: model.to_string(),
                gates: gates.collect(),
                ..wire::Model::default()
            }),
            issued_by: ISSUED_BY.to_owned(),
            ..wire::CreateModelRequest::default()
        };
        let created = self
            .call("create the model", |mut registry| {
                let request = request.clone();
                async move { registry.create_model(request).await }
            })
            .await;
        match created {
            Ok(_) => Ok(()),
            Err(PublishError::Registry { status, .. }) if status.code() == Code::AlreadyExists => {
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// The newest approved version's digest, if there is any: what the new version descends from. A teacher's version is
    /// passed over.
    ///
    /// # Errors
    /// When no registry can be reached or one refuses.
    pub async fn parent(&self, model: &ModelName) -> Result<Option<Digest>, PublishError> {
        let mut request = wire::ListVersionsRequest {
            model: model.to_string(),
            ..wire::ListVersionsRequest::default()
        };
        loop {
            let page = self
                .call("list the versions", |mut registry| {
                    let request = request.clone();
                    async move { registry.list_versions(request).await }
                })
                .await?
                .into_inner();
            for version in &page.versions {
                let approved = version.state() == wire::VersionState::Approved;
                if approved && !self.is_teacher(version).await? {
                    return Ok(version.digest.parse().ok());
                }
            }
            if page.next_page_token.is_empty() {
                return Ok(None);
            }
            request.page_token = page.next_page_token;
        }
    }

    /// Whether a listed version is a teacher's: only its manifest says so, and lists leave that out.
    async fn is_teacher(&self, version: &wire::Version) -> Result<bool, PublishError> {
        let request = wire::GetVersionRequest {
            model: version.model.clone(),
            version: version.version,
        };
        let answer = self
            .call("show a version", |mut registry| {
                let request = request.clone();
                async move { registry.get_version(request).await }
            })
            .await?
            .into_inner();
        let manifest = answer.version.unwrap_or_default().manifest;
        // One that a newer Decant wrote is taken for a student's, as most are.
        Ok(Manifest::from_json(&manifest)
            .is_ok_and(|manifest| manifest.lineage.role == LineageRole::Teacher))
    }

    /// Describes the files in a manifest and pushes all of it. Answers with the manifest's digest as well, which is the
    /// version's identity.
    ///
    /// # Errors
    /// When the bundle is incomplete, or no registry can be reached or one refuses it.
    pub async fn publish(
        &self,
        model: &ModelName,
        files: BTreeMap<BundlePath, Bytes>,
        metrics: BTreeMap<String, f64>,
        lineage: Lineage,
    ) -> Result<(Digest, wire::Version), PublishError> {
        let entry = |bytes: &Bytes| FileEntry {
            sha256: Digest::of(bytes),
            size: bytes.len() as u64,
        };
        let entries = files
            .iter()
            .map(|(path, bytes)| (path.clone(), entry(bytes)))
            .collect();
        let manifest = Manifest {
            format: Manifest::FORMAT,
            model: model.clone(),
            files: entries,
            metrics,
            lineage,
        };
        let manifest = Bytes::from(manifest.to_json()?);
        let signature = self.key.as_ref().map(|key| key.sign(&manifest));
        let version = self
            .call("take the version", |mut registry| {
                let (manifest, files) = (manifest.clone(), files.clone());
                async move {
                    push::push_version(&mut registry, model, manifest, signature.as_ref(), files)
                        .await
                }
            })
            .await?;
        Ok((Digest::of(&manifest), version))
    }

    /// Asks one replica after the other, as long as they are away. Nothing is done twice: creating and listing are
    /// idempotent, and a push is named by its digest.
    async fn call<T, F>(
        &self,
        action: &'static str,
        call: impl Fn(RegistryServiceClient<Channel>) -> F,
    ) -> Result<T, PublishError>
    where
        F: Future<Output = Result<T, Status>>,
    {
        let begun = Instant::now();
        let mut wait = FIRST_WAIT;
        loop {
            for registry in &self.registries {
                let answer = tokio::time::timeout(DEADLINE, call(registry.clone())).await;
                let late = |_| ErrorCode::Expired.status(format!("no answer within {DEADLINE:?}"));
                let status = match answer.map_err(late).and_then(|answer| answer) {
                    Ok(answer) => return Ok(answer),
                    Err(status) => status,
                };
                let over = begun.elapsed() > PATIENCE || self.cancelled.load(Ordering::Relaxed);
                if over || !may_pass(&status) {
                    let status = Box::new(status);
                    return Err(PublishError::Registry { action, status });
                }
                tracing::warn!(action, %status, "no registry has done it yet; asking again");
            }
            tokio::time::sleep(wait).await;
            wait = LONGEST_WAIT.min(wait * 2);
        }
    }
}

/// Whether asking again may help: the registry is away or busy, or the connection was cut, which has a cause below it.
fn may_pass(status: &Status) -> bool {
    let code = matches!(
        status.code(),
        Code::Unavailable | Code::ResourceExhausted | Code::DeadlineExceeded
    );
    code || status.source().is_some()
}

/// A bundle's files, by the names that they have in every bundle.
///
/// # Errors
/// Never, as long as the names of [`file`] are paths.
pub fn files(
    parts: impl IntoIterator<Item = (&'static str, Vec<u8>)>,
) -> Result<BTreeMap<BundlePath, Bytes>, ManifestError> {
    parts
        .into_iter()
        .map(|(name, bytes)| Ok((name.parse()?, Bytes::from(bytes))))
        .collect()
}
