//! Files that a scorer keeps beside its cached bundles, to start from while the store is away: JSON with a format, written
//! whole or not at all.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A file of this kind.
pub(crate) struct Kept {
    /// What it is, for errors.
    pub(crate) what: &'static str,
    /// Its name in the cache's folder.
    pub(crate) file: &'static str,
    /// The newest format that this build reads, and the one that it writes.
    pub(crate) format: u64,
    /// Who may read it, as far as the process's umask lets them.
    pub(crate) mode: u32,
}

/// Why nothing can be had from a file although it is there, or it could not be written.
#[derive(Debug, Error)]
pub(crate) enum KeptError {
    #[error("cannot {action} the {what} {}: {source}", .path.display())]
    File {
        what: &'static str,
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("the {what} {} does not parse: {reason}", .path.display())]
    Corrupt {
        what: &'static str,
        path: PathBuf,
        reason: String,
    },
    #[error("the {what} {} has format {format}, but this build reads up to format {known}", .path.display())]
    Newer {
        what: &'static str,
        path: PathBuf,
        format: u64,
        known: u64,
    },
}

#[derive(Deserialize)]
struct Format {
    format: u64,
}

#[derive(Serialize)]
struct Formatted<'a, T> {
    format: u64,
    #[serde(flatten)]
    value: &'a T,
}

impl Kept {
    /// What the file in a folder holds; `None` when there is none.
    ///
    /// # Errors
    /// When there is one that cannot be used.
    pub(crate) fn load<T: DeserializeOwned>(&self, folder: &Path) -> Result<Option<T>, KeptError> {
        let path = folder.join(self.file);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(self.cannot("read", &path)(source)),
        };
        let corrupt = |error: serde_json::Error| KeptError::Corrupt {
            what: self.what,
            path: path.clone(),
            reason: error.to_string(),
        };
        let Format { format } = serde_json::from_slice(&bytes).map_err(corrupt)?;
        if format > self.format {
            return Err(KeptError::Newer {
                what: self.what,
                path,
                format,
                known: self.format,
            });
        }
        serde_json::from_slice(&bytes).map(Some).map_err(corrupt)
    }

    /// Writes the file in a folder, which is made if need be. Blocks.
    ///
    /// # Errors
    /// Names the file and what could not be done.
    pub(crate) fn save<T: Serialize>(&self, folder: &Path, value: &T) -> Result<(), KeptError> {
        let path = folder.join(self.file);
        let written = folder.join(format!("{}.new", self.file));
        let formatted = Formatted {
            format: self.format,
            value,
        };
        let bytes = serde_json::to_vec_pretty(&formatted)
            .map_err(|error| self.cannot("write", &written)(error.into()))?;
        // A scorer that has fetched nothing yet has no cache folder either.
        fs::create_dir_all(folder).map_err(self.cannot("make", folder))?;
        // One that a crash left might be readable by others: it is made anew.
        match fs::remove_file(&written) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(self.cannot("replace", &written)(error));
            }
            Ok(()) | Err(_) => {}
        }
        let mut file = File::options()
            .write(true)
            .create_new(true)
            .mode(self.mode)
            .open(&written)
            .map_err(self.cannot("make", &written))?;
        file.write_all(&bytes)
            .map_err(self.cannot("write", &written))?;
        file.sync_all().map_err(self.cannot("write", &written))?;
        fs::rename(&written, &path).map_err(self.cannot("replace", &path))?;
        // Without this the folder may still name the old file after a loss of power.
        let folder = File::open(folder).map_err(self.cannot("replace", &path))?;
        folder.sync_all().map_err(self.cannot("replace", &path))
    }

    fn cannot(&self, action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> KeptError {
        let (what, path) = (self.what, path.to_owned());
        move |source| KeptError::File {
            what,
            action,
            path,
            source,
        }
    }
}
