//! One JSON file for each job.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::job::Job;

/// The folder of the job files.
#[derive(Clone, Debug)]
pub struct Folder(PathBuf);

/// A job file that cannot be read or written.
#[derive(Debug, Error)]
#[error("job file {}: {source}", path.display())]
pub struct FolderError {
    path: PathBuf,
    source: io::Error,
}

impl Folder {
    /// Makes the folder when it is not there.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn create(path: &Path) -> Result<Self, FolderError> {
        std::fs::create_dir_all(path).map_err(|source| FolderError {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self(path.to_owned()))
    }

    /// All jobs, the oldest first.
    ///
    /// # Errors
    /// Names the file that cannot be read: a job is never forgotten in silence.
    pub fn read_all(&self) -> Result<Vec<Job>, FolderError> {
        let at = |path: &Path| {
            let path = path.to_owned();
            move |source| FolderError { path, source }
        };
        let mut jobs = Vec::new();
        for entry in std::fs::read_dir(&self.0).map_err(at(&self.0))? {
            let path = entry.map_err(at(&self.0))?.path();
            if path
                .extension()
                .is_some_and(|extension| extension == "json")
            {
                let bytes = std::fs::read(&path).map_err(at(&path))?;
                jobs.push(
                    serde_json::from_slice::<Job>(&bytes)
                        .map_err(io::Error::from)
                        .map_err(at(&path))?,
                );
            }
        }
        jobs.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(jobs)
    }

    /// Writes a job's file as a whole: a reader, or a crash, sees the old one or the new one.
    ///
    /// # Errors
    /// Names the file.
    pub fn write(&self, job: &Job) -> Result<(), FolderError> {
        let path = self.0.join(format!("{}.json", job.id));
        let new = path.with_extension("new");
        let write = || {
            std::fs::write(&new, serde_json::to_vec_pretty(job)?)?;
            std::fs::File::open(&new)?.sync_all()?;
            std::fs::rename(&new, &path)
        };
        write().map_err(|source| FolderError {
            path: path.clone(),
            source,
        })
    }
}
