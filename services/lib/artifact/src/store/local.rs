//! A local folder as an object store: durable once it says so, and tidied of what a crash left.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use object_store::local::LocalFileSystem;

use crate::StorageError;

/// An upload that nobody wrote to for so long is not at work any more, in this process or another.
const STALE: Duration = Duration::from_secs(24 * 60 * 60);

/// Opens the folder, and makes it if there is none.
pub(super) fn open(folder: &Path) -> Result<LocalFileSystem, StorageError> {
    let action = |verb: &str| format!("{verb} {}", folder.display());
    fs::create_dir_all(folder).map_err(StorageError::of_folder(action("make")))?;
    remove_stale_uploads(folder, SystemTime::now() - STALE, false)
        .map_err(StorageError::of_folder(action("tidy")))?;
    let objects =
        LocalFileSystem::new_with_prefix(folder).map_err(StorageError::at(action("open")))?;
    Ok(objects.with_fsync(true))
}

/// Removes uploads that a crash cut off. They lie beside their destination, with `#` in the name, and no reader sees them.
/// Returns how many; in a dry run, how many it would be.
pub(super) fn remove_stale_uploads(
    folder: &Path,
    before: SystemTime,
    dry_run: bool,
) -> io::Result<u64> {
    let mut removed = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            removed += remove_stale_uploads(&entry.path(), before, dry_run)?;
        } else if entry.file_name().to_string_lossy().contains('#')
            && entry.metadata()?.modified()? < before
        {
            removed += 1;
            if !dry_run {
                tracing::info!(path = %entry.path().display(), "removing an upload that was cut off long ago");
                fs::remove_file(entry.path())?;
            }
        }
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_uploads_that_were_cut_off_long_ago_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = folder.path().join("blobs");
        fs::create_dir(&blobs).unwrap();
        for name in ["whole", "old#1", "new#1"] {
            fs::write(blobs.join(name), "x").unwrap();
        }
        let long_ago = SystemTime::now() - STALE - Duration::from_secs(60);
        for name in ["whole", "old#1"] {
            fs::File::options()
                .write(true)
                .open(blobs.join(name))
                .unwrap()
                .set_modified(long_ago)
                .unwrap();
        }
        open(folder.path()).unwrap();
        let mut left: Vec<_> = fs::read_dir(&blobs)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        left.sort();
        assert_eq!(left, ["new#1", "whole"]);
    }
}
