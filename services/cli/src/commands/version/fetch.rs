//! `decant version fetch`: a version's bundle as a folder that exists only once every byte is verified.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use decant_chassis::signal::Signals;
use decant_model::{BundlePath, Digest, FileEntry, Hasher, Manifest, ModelName, file};
use decant_proto::registry::v1::fetch_bundle_response::Part;
use decant_proto::registry::v1::{FetchBundleResponse, FileChunk, Version};
use serde_json::json;

use crate::arguments::version::VersionArgument;
use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::output::{names, units};
use crate::partial;
use crate::remote::Answers;

/// Downloads a version into a folder that does not exist yet.
pub(crate) async fn fetch(
    context: &Context,
    model: &ModelName,
    argument: VersionArgument,
    to: &Path,
) -> Result<Exit, Failure> {
    if to.symlink_metadata().is_ok() {
        return Err(Failure::new(format!(
            "{} exists already; a bundle is never written over something",
            to.display()
        )));
    }
    let version = context
        .registry
        .get_version(model.as_str(), argument)
        .await?;
    let name = format!("{} {}", version.model, names::version(version.version));
    context.output.note(&format!(
        "fetching {name}, {}",
        units::bytes(version.size_bytes)
    ));

    // An interrupted download drops the partial folder, which deletes it.
    let mut signals = Signals::listen()
        .map_err(|error| Failure::new(format!("cannot listen to signals: {error}")))?;
    let manifest = tokio::select! {
        fetched = download(context, &version, to) => fetched,
        _ = signals.next() => {
            context.output.note("interrupted; nothing is left behind");
            return Ok(Exit::Interrupted);
        }
    };
    let manifest = manifest.map_err(|failure| failure.context(&format!("cannot fetch {name}")))?;
    let (path, files) = (to.display().to_string(), manifest.files.len() + 1);
    context.output.named(
        [names::qualified(&version)],
        || {
            json!({
                "model": version.model,
                "version": version.version,
                "digest": version.digest,
                "path": path,
            })
        },
        |_| format!("{name} is in {path}: {files} files, all digests verified\n"),
    )?;
    Ok(Exit::Ok)
}

async fn download(context: &Context, version: &Version, to: &Path) -> Result<Manifest, Failure> {
    let mut parts = context
        .registry
        .fetch_bundle(&version.model, version.version)
        .await?;
    let first = parts.next().await?.and_then(|answer| answer.part);
    let Some(Part::Manifest(bytes)) = first else {
        return Err(Failure::new("the registry did not send the manifest first"));
    };
    if Digest::of(&bytes).to_string() != version.digest {
        return Err(Failure::new(format!(
            "the manifest has digest {}, not {}",
            Digest::of(&bytes),
            version.digest
        )));
    }
    let manifest = Manifest::from_json(&bytes).map_err(|error| Failure::new(error.to_string()))?;

    let folder = PartialFolder::create(to)?;
    folder
        .file(file::MANIFEST)?
        .write_all(&bytes)
        .map_err(disk)?;
    let mut chunks = Chunks(parts);
    for (path, entry) in &manifest.files {
        receive(&mut chunks, path, entry, folder.file(path.as_str())?).await?;
    }
    if let Some(surplus) = chunks.next().await? {
        return Err(Failure::new(format!(
            "the registry sent more of `{}` than the manifest lists",
            surplus.path
        )));
    }
    folder.finish(to)?;
    Ok(manifest)
}

/// Writes one file, and checks its size as it grows and its digest at the end.
async fn receive(
    chunks: &mut Chunks,
    path: &BundlePath,
    entry: &FileEntry,
    mut to: File,
) -> Result<(), Failure> {
    let (mut hasher, mut size) = (Hasher::default(), 0);
    while size < entry.size {
        let chunk = match chunks.next().await? {
            Some(chunk) if chunk.path == path.as_str() => chunk,
            Some(other) => {
                let reason = format!(
                    "`{path}` broke off at byte {size}, where `{}` began",
                    other.path
                );
                return Err(Failure::new(reason));
            }
            None => {
                return Err(Failure::new(format!(
                    "the download broke off at byte {size} of `{path}`"
                )));
            }
        };
        size += chunk.data.len() as u64;
        if size > entry.size {
            let reason = format!(
                "`{path}` is longer than the {} bytes that the manifest lists",
                entry.size
            );
            return Err(Failure::new(reason));
        }
        hasher.update(&chunk.data);
        to.write_all(&chunk.data).map_err(disk)?;
    }
    let digest = hasher.finish();
    if digest != entry.sha256 {
        return Err(Failure::new(format!(
            "`{path}` has digest {digest}, not {}",
            entry.sha256
        )));
    }
    to.sync_all().map_err(disk)
}

/// The files' bytes, in the order in which they arrive.
struct Chunks(Answers<FetchBundleResponse>);

impl Chunks {
    /// The next chunk that holds something.
    async fn next(&mut self) -> Result<Option<FileChunk>, Failure> {
        while let Some(answer) = self.0.next().await? {
            match answer.part {
                Some(Part::Chunk(chunk)) if chunk.data.is_empty() => {}
                Some(Part::Chunk(chunk)) => return Ok(Some(chunk)),
                Some(Part::Manifest(_)) => {
                    return Err(Failure::new("the registry sent a second manifest"));
                }
                None => {
                    return Err(Failure::new(
                        "the registry sent a part that this build does not know",
                    ));
                }
            }
        }
        Ok(None)
    }
}

/// A folder beside the one that is asked for, under a name that nobody takes for it. Dropped, it is deleted.
struct PartialFolder(PathBuf);

impl PartialFolder {
    fn create(target: &Path) -> Result<Self, Failure> {
        let path = partial::beside(target)?;
        fs::create_dir(&path).map_err(|error| partial::cannot_create(target, error))?;
        Ok(Self(path))
    }

    /// A new file in the folder; the path is a [`BundlePath`] or the manifest's, and so stays inside.
    fn file(&self, path: &str) -> Result<File, Failure> {
        let path = self.0.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(disk)?;
        }
        File::create_new(path).map_err(disk)
    }

    /// Gives the folder its final name.
    fn finish(self, target: &Path) -> Result<(), Failure> {
        fs::rename(&self.0, target).map_err(|error| partial::cannot_create(target, error))
    }
}

impl Drop for PartialFolder {
    fn drop(&mut self) {
        // After `finish` there is nothing of this name; otherwise a left-over is unpleasant, and no reason to fail.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn disk(error: io::Error) -> Failure {
    Failure::new(format!("cannot write: {error}"))
}
