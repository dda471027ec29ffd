//! Creating without overwriting.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode};
use tokio::sync::OnceCell;

use crate::{StorageError, layout};

/// What was written so long ago is written anew when it is written again, so that a sweep takes it for new. Far below any
/// sensible grace of a sweep, and far above the difference of two clocks.
const RENEWED_AFTER: Duration = Duration::from_secs(60 * 60);

/// What the marker holds.
const FORMAT: Bytes = Bytes::from_static(b"decant bundles 1\n");

/// Whether the store creates without overwriting, which some that speak S3 do not. Asked at the first write.
#[derive(Debug)]
pub(crate) struct Creation {
    proved: OnceCell<()>,
}

impl Creation {
    /// A store that is known to.
    pub(crate) fn trusted() -> Self {
        Self {
            proved: OnceCell::new_with(Some(())),
        }
    }

    /// A store that has to prove it.
    pub(crate) fn doubted() -> Self {
        Self {
            proved: OnceCell::new(),
        }
    }

    /// Creates the marker twice, if nobody has yet; the second time must fail.
    pub(crate) async fn prove(&self, objects: &dyn ObjectStore) -> Result<(), StorageError> {
        self.proved
            .get_or_try_init(|| async {
                for _ in 0..2 {
                    let action = "create the marker of its format";
                    match put(objects, &layout::format(), FORMAT).await {
                        Ok(()) => {}
                        Err(object_store::Error::AlreadyExists { .. }) => return Ok(()),
                        Err(error) => return Err(said_clearly(StorageError::at(action)(error))),
                    }
                }
                Err(StorageError::unsupported(
                    "create without overwriting",
                    "it ignores If-None-Match when it takes an object, so that bundles could be replaced; \
                     use a store with conditional writes",
                ))
            })
            .await
            .copied()
    }
}

/// Creates an object. If there is one already it is left alone and returned, unless it is the same and old: then it is
/// written anew.
pub(crate) async fn create(
    objects: &dyn ObjectStore,
    address: &Path,
    content: Bytes,
    action: &str,
) -> Result<Option<Bytes>, StorageError> {
    let failed = || StorageError::at(action);
    match put(objects, address, content.clone()).await {
        Ok(()) => return Ok(None),
        Err(object_store::Error::AlreadyExists { .. }) => {}
        Err(error) => return Err(said_clearly(failed()(error))),
    }
    let stored = objects.get(address).await.map_err(failed())?;
    let written = SystemTime::from(stored.meta.last_modified);
    let found = if stored.meta.size == content.len() as u64 {
        stored.bytes().await.map_err(failed())?
    } else {
        Bytes::new()
    };
    if found == content && written + RENEWED_AFTER < SystemTime::now() {
        let renewed = objects.put(address, content.into()).await;
        renewed.map_err(failed())?;
    }
    Ok(Some(found))
}

async fn put(
    objects: &dyn ObjectStore,
    address: &Path,
    content: Bytes,
) -> Result<(), object_store::Error> {
    let put = objects.put_opts(address, content.into(), PutMode::Create.into());
    put.await.map(drop)
}

fn said_clearly(error: StorageError) -> StorageError {
    if error.is_unsupported() {
        StorageError::unsupported(
            "create without overwriting",
            format!("it has no conditional writes (If-None-Match), which bundles need: {error}"),
        )
    } else {
        error
    }
}
