//! A stored file as a stream of its bytes.

use std::fs::File;
use std::io::{self, Read};

use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::{GetResult, GetResultPayload};

use super::CHUNK_BYTES;

/// The bytes of a stored file, in pieces of any size. `object_store` would read a local file in pieces of 8 KiB, each by way
/// of another thread, which takes far longer than comparing the digest does.
pub(super) fn bytes(stored: GetResult) -> BoxStream<'static, object_store::Result<Bytes>> {
    let size = stored.meta.size;
    match stored.payload {
        GetResultPayload::File(file, _) => stream::try_unfold(file.take(size), piece)
            .map_err(|error| object_store::Error::Generic {
                store: "local folder",
                source: error.into(),
            })
            .boxed(),
        GetResultPayload::Stream(bytes) => bytes,
    }
}

async fn piece(mut file: io::Take<File>) -> io::Result<Option<(Bytes, io::Take<File>)>> {
    let read = tokio::task::spawn_blocking(move || {
        let mut piece = Vec::with_capacity(CHUNK_BYTES);
        (&mut file)
            .take(CHUNK_BYTES as u64)
            .read_to_end(&mut piece)?;
        Ok((!piece.is_empty()).then(|| (piece.into(), file)))
    });
    read.await?
}
