//! Uploading a bundle, for everybody who pushes versions.

use std::collections::BTreeMap;

use bytes::Bytes;
use decant_model::{BundlePath, Digest, Signature};
use tonic::Status;
use tonic::body::Body;
use tonic::client::GrpcService;
use tonic::codegen::StdError;

use super::v1::registry_service_client::RegistryServiceClient;
use super::v1::{FileChunk, PushHeader, PushVersionRequest, Version, push_version_request::Part};
use crate::status::ErrorCode;

/// Bytes of a file in one message; a quarter of what the registry takes.
const CHUNK: usize = 256 << 10;

/// Pushes a bundle as the model's next version: the manifest, with a signature if there is one, then the files in order.
///
/// # Errors
/// The registry's, or the transport's.
pub async fn push_version<T>(
    registry: &mut RegistryServiceClient<T>,
    model: &decant_model::ModelName,
    manifest: Bytes,
    signature: Option<&Signature>,
    files: BTreeMap<BundlePath, Bytes>,
) -> Result<Version, Status>
where
    T: GrpcService<Body>,
    T::Error: Into<StdError>,
    T::ResponseBody: http_body::Body<Data = Bytes> + Send + 'static,
    <T::ResponseBody as http_body::Body>::Error: Into<StdError> + Send,
{
    let messages = messages(model, manifest, signature, files);
    let answer = registry
        .push_version(tokio_stream::iter(messages))
        .await?
        .into_inner();
    answer
        .version
        .ok_or_else(|| ErrorCode::Internal.status("the registry answered without a version"))
}

/// What is sent to push a bundle.
pub fn messages(
    model: &decant_model::ModelName,
    manifest: Bytes,
    signature: Option<&Signature>,
    files: BTreeMap<BundlePath, Bytes>,
) -> impl Iterator<Item = PushVersionRequest> + use<> {
    let digest = Digest::of(&manifest).to_string();
    let header = Part::Header(PushHeader {
        model: model.to_string(),
        manifest,
        // The digest is the push's identity already: pushing again after a lost answer gives the version that it became.
        request_id: digest.clone(),
        digest,
        signature: signature.map(Signature::to_string).unwrap_or_default(),
        issued_by: String::new(),
    });
    let parts = std::iter::once(header).chain(
        files
            .into_iter()
            .flat_map(|(path, bytes)| chunks(path, bytes)),
    );
    parts.map(|part| PushVersionRequest { part: Some(part) })
}

/// An empty file is one empty chunk: the registry has to hear of it.
fn chunks(path: BundlePath, bytes: Bytes) -> impl Iterator<Item = Part> {
    let count = bytes.len().div_ceil(CHUNK).max(1);
    (0..count).map(move |position| {
        let data = bytes.slice(position * CHUNK..bytes.len().min((position + 1) * CHUNK));
        Part::Chunk(FileChunk {
            path: path.to_string(),
            data,
        })
    })
}
