//! A local folder that fails in ways that a test cannot bring about on a real disk.

use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};

type Hook = Box<dyn FnOnce() + Send>;

/// The folder.
#[derive(Clone)]
pub(crate) struct Harmed {
    folder: Arc<LocalFileSystem>,
    /// Bytes that still fit.
    room: Arc<AtomicU64>,
    /// What happens between the listing and the first look at an object.
    before_head: Arc<Mutex<Option<Hook>>>,
    /// How many objects were read.
    reads: Arc<AtomicU64>,
}

impl Harmed {
    pub(crate) fn new(folder: &std::path::Path) -> Self {
        Self {
            folder: Arc::new(LocalFileSystem::new_with_prefix(folder).unwrap()),
            room: Arc::new(AtomicU64::new(u64::MAX)),
            before_head: Arc::default(),
            reads: Arc::default(),
        }
    }

    pub(crate) fn set_room(&self, bytes: u64) {
        self.room.store(bytes, Ordering::Relaxed);
    }

    pub(crate) fn before_head(&self, hook: impl FnOnce() + Send + 'static) {
        *self.before_head.lock().unwrap() = Some(Box::new(hook));
    }

    pub(crate) fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }

    fn fill(&self, bytes: usize) -> Result<()> {
        let left = self.room.load(Ordering::Relaxed).checked_sub(bytes as u64);
        let left = left.ok_or_else(|| Error::Generic {
            store: "test",
            source: io::Error::from(io::ErrorKind::StorageFull).into(),
        })?;
        self.room.store(left, Ordering::Relaxed);
        Ok(())
    }
}

impl fmt::Debug for Harmed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Harmed({:?})", self.folder)
    }
}

impl fmt::Display for Harmed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, formatter)
    }
}

#[derive(Debug)]
struct Part {
    store: Harmed,
    upload: Box<dyn MultipartUpload>,
}

#[async_trait]
impl MultipartUpload for Part {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        match self.store.fill(data.content_length()) {
            Ok(()) => self.upload.put_part(data),
            Err(error) => Box::pin(async { Err(error) }),
        }
    }

    async fn complete(&mut self) -> Result<PutResult> {
        self.upload.complete().await
    }

    async fn abort(&mut self) -> Result<()> {
        self.upload.abort().await
    }
}

#[async_trait]
impl ObjectStore for Harmed {
    async fn put_opts(
        &self,
        path: &Path,
        data: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        self.fill(data.content_length())?;
        self.folder.put_opts(path, data, options).await
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let upload = self.folder.put_multipart_opts(path, options).await?;
        let store = self.clone();
        Ok(Box::new(Part { store, upload }))
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        if !options.head {
            self.reads.fetch_add(1, Ordering::Relaxed);
        } else if let Some(hook) = self.before_head.lock().unwrap().take() {
            hook();
        }
        self.folder.get_opts(path, options).await
    }

    async fn get_ranges(&self, path: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.folder.get_ranges(path, ranges).await
    }

    fn delete_stream(
        &self,
        paths: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.folder.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.folder.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.folder.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.folder.copy_opts(from, to, options).await
    }
}
