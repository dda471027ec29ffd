//! The stream of an upload: a header, then chunks of files.

use bytes::Bytes;
use decant_artifact::BundleWriter;
use decant_failpoint::Point;
use decant_model::{BundlePath, Digest, ModelName, Signature};
use futures::{Stream, StreamExt};
use tokio::time::{Duration, timeout};

use crate::error::CallError;
use crate::ledger::Ask;
use crate::metrics::Metrics;

/// The largest chunk; what is in memory at once depends on it.
const MAX_CHUNK_BYTES: usize = 1 << 20;

/// What is going to be uploaded.
pub(crate) struct Header {
    pub(crate) model: ModelName,
    pub(crate) manifest: Bytes,
    pub(crate) digest: Digest,
    pub(crate) signature: Option<Signature>,
    /// Who pushes, and the push's name.
    pub(crate) ask: Ask,
}

/// One message of an upload.
pub(crate) enum Part {
    Header(Box<Header>),
    Chunk { path: BundlePath, bytes: Bytes },
}

/// The messages of an upload; an error is one that makes no sense, or a stream that was cut.
pub(crate) trait Parts: Stream<Item = Result<Part, CallError>> + Send + Unpin {}

impl<S: Stream<Item = Result<Part, CallError>> + Send + Unpin> Parts for S {}

/// Takes the header.
pub(super) async fn header(parts: &mut impl Parts, idle: Duration) -> Result<Header, CallError> {
    match next(parts, idle).await? {
        Some(Part::Header(header)) => Ok(*header),
        Some(Part::Chunk { .. }) => Err(CallError::field(
            "part",
            "the first message must be a header",
        )),
        None => Err(CallError::field(
            "part",
            "the stream has no message; the first must be a header",
        )),
    }
}

/// Takes the files, until the sender says that these were all.
pub(super) async fn files(
    parts: &mut impl Parts,
    idle: Duration,
    writer: &mut BundleWriter,
    metrics: &Metrics,
) -> Result<(), CallError> {
    while let Some(part) = next(parts, idle).await? {
        let Part::Chunk { path, bytes } = part else {
            return Err(CallError::field(
                "part",
                "only the first message may be a header",
            ));
        };
        if bytes.len() > MAX_CHUNK_BYTES {
            let reason = format!(
                "a chunk of `{path}` has {} bytes, but at most {MAX_CHUNK_BYTES} are allowed",
                bytes.len()
            );
            return Err(CallError::field("chunk.data", reason));
        }
        metrics.pushed(bytes.len());
        writer.write(&path, bytes).await?;
        Point::ChunkReceived.pass();
    }
    Ok(())
}

async fn next(parts: &mut impl Parts, idle: Duration) -> Result<Option<Part>, CallError> {
    match timeout(idle, parts.next()).await {
        Ok(part) => part.transpose(),
        Err(_) => Err(CallError::Idle(idle)),
    }
}
