//! A trained student becomes a bundle, and the bundle a version. Before: export. After: registry/admission.

use std::collections::BTreeMap;

use bytes::Bytes;
use decant_model::{
    BundlePath, Digest, FileEntry, Gate, Lineage, Manifest, ManifestError, ModelName,
};
use decant_proto::registry::push;
use decant_proto::registry::v1 as wire;
use decant_proto::registry::v1::registry_service_client::RegistryServiceClient;
use thiserror::Error;
use tonic::transport::Channel;
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

fn refused(action: &'static str) -> impl FnOnce(Status) -> PublishError {
    move |status| PublishError::Registry {
        action,
        status: Box::new(status),
    }
}

/// Creates the model with these gates, unless it exists: then its own gates hold, because a job must not be able to
/// lower them.
///
/// # Errors
/// When the registry cannot be reached or refuses.
pub async fn ensure_model(
    registry: &mut RegistryServiceClient<Channel>,
    model: &ModelName,
    gates: &[Gate],
) -> Result<(), PublishError> {
    let gates = gates.iter().map(|gate| wire::Gate {
        metric: gate.metric.clone(),
        min: gate.min,
        max: gate.max,
    });
    let model = wire::Model {
        name: model.to_string(),
        gates: gates.collect(),
        ..wire::Model::default()
    };
    match registry
        .create_model(wire::CreateModelRequest {
            model: Some(model),
            ..wire::CreateModelRequest::default()
        })
        .await
    {
        Ok(_) => Ok(()),
        Err(status) if status.code() == Code::AlreadyExists => Ok(()),
        Err(status) => Err(refused("create the model")(status)),
    }
}

/// The newest approved version's digest, if there is any: what the new version descends from.
///
/// # Errors
/// When the registry cannot be reached or refuses.
pub async fn parent(
    registry: &mut RegistryServiceClient<Channel>,
    model: &ModelName,
) -> Result<Option<Digest>, PublishError> {
    let mut request = wire::ListVersionsRequest {
        model: model.to_string(),
        ..wire::ListVersionsRequest::default()
    };
    loop {
        let page = registry
            .list_versions(request.clone())
            .await
            .map_err(refused("list the versions"))?
            .into_inner();
        let approved = page
            .versions
            .iter()
            .find(|version| version.state() == wire::VersionState::Approved);
        if approved.is_some() || page.next_page_token.is_empty() {
            return Ok(approved.and_then(|version| version.digest.parse().ok()));
        }
        request.page_token = page.next_page_token;
    }
}

/// Describes the files in a manifest and pushes all of it.
///
/// # Errors
/// When the bundle is incomplete, or the registry cannot be reached or refuses it.
pub async fn publish(
    registry: &mut RegistryServiceClient<Channel>,
    model: &ModelName,
    files: BTreeMap<BundlePath, Bytes>,
    metrics: BTreeMap<String, f64>,
    lineage: Lineage,
) -> Result<wire::Version, PublishError> {
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
    push::push_version(registry, model, manifest, None, files)
        .await
        .map_err(refused("take the version"))
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
