//! The copy: a file that only the scorer's user can read, as it says who may do what. It holds digests of tokens, and no
//! token.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use decant_coordination::access::Principals;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The newest format that this build reads, and the one that it writes.
const FORMAT: u64 = 1;
/// The file's name in the cache's folder.
const FILE: &str = "access.json";

/// Why there is no copy although there is a file, or none could be written.
#[derive(Debug, Error)]
pub(super) enum KeptError {
    #[error("cannot {action} {}: {source}", .path.display())]
    File {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("{} does not parse: {reason}", .path.display())]
    Corrupt { path: PathBuf, reason: String },
    #[error("{} has format {format}, but this build reads up to format {FORMAT}", .path.display())]
    Newer { path: PathBuf, format: u64 },
}

#[derive(Deserialize)]
struct Format {
    format: u64,
}

#[derive(Deserialize)]
struct Stored {
    principals: Principals,
}

#[derive(Serialize)]
struct ToStore<'a> {
    format: u64,
    principals: &'a Principals,
}

/// Reads the copy in a folder; `None` when there is none.
///
/// # Errors
/// When there is one that cannot be used.
pub(super) fn load(folder: &Path) -> Result<Option<Principals>, KeptError> {
    let path = folder.join(FILE);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(KeptError::File {
                action: "read",
                path,
                source,
            });
        }
    };
    let corrupt = |error: serde_json::Error| KeptError::Corrupt {
        path: path.clone(),
        reason: error.to_string(),
    };
    let Format { format } = serde_json::from_slice(&bytes).map_err(corrupt)?;
    if format > FORMAT {
        return Err(KeptError::Newer { path, format });
    }
    let stored: Stored = serde_json::from_slice(&bytes).map_err(corrupt)?;
    Ok(Some(stored.principals))
}

/// Writes the copy in a folder: whole, or not at all. Blocks.
///
/// # Errors
/// Names the file and what could not be done.
pub(super) fn save(folder: &Path, principals: &Principals) -> Result<(), KeptError> {
    let (path, written) = (folder.join(FILE), folder.join(format!("{FILE}.new")));
    let at = |action, path: &Path| {
        let path = path.to_owned();
        move |source| KeptError::File {
            action,
            path,
            source,
        }
    };
    let stored = ToStore {
        format: FORMAT,
        principals,
    };
    let bytes =
        serde_json::to_vec_pretty(&stored).map_err(|error| at("write", &written)(error.into()))?;
    fs::create_dir_all(folder).map_err(at("make", folder))?;
    // One that a crash left might be readable by others: it is made anew.
    match fs::remove_file(&written) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(at("replace", &written)(error));
        }
        Ok(()) | Err(_) => {}
    }
    let mut file = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&written)
        .map_err(at("make", &written))?;
    file.write_all(&bytes).map_err(at("write", &written))?;
    file.sync_all().map_err(at("write", &written))?;
    fs::rename(&written, &path).map_err(at("replace", &path))?;
    // Without this the folder may still name the old file after a loss of power.
    let folder = File::open(folder).map_err(at("replace", &path))?;
    folder.sync_all().map_err(at("replace", &path))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use decant_coordination::keys::AccessRecord;
    use decant_model::Digest;
    use decant_model::access::Role;

    use super::*;

    fn principals() -> Principals {
        let ci = AccessRecord {
            role: Role::Viewer,
            models: vec!["films".parse().unwrap()],
            token_sha256: Some(Digest::of(b"abc")),
            identities: vec!["dns:ci".into()],
            expires_at_millis: Some(9),
            created_at_millis: 5,
            issued_by: "ana".into(),
        };
        [("ci".parse().unwrap(), ci)].into()
    }

    #[test]
    fn a_copy_goes_round_and_is_for_its_user_alone() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("cache");
        assert!(load(&folder).unwrap().is_none());
        save(&folder, &principals()).unwrap();
        save(&folder, &principals()).unwrap();
        assert_eq!(load(&folder).unwrap(), Some(principals()));
        let mode = fs::metadata(folder.join(FILE)).unwrap().permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    }

    #[test]
    fn the_stored_copy_stays_readable() {
        let stored = br#"{"format":1,"principals":{"ci":{"role":"viewer","models":["films"],
            "token_sha256":"sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad","identities":["dns:ci"],
            "expires_at_millis":9,"created_at_millis":5,"issued_by":"ana"}}}"#;
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE), stored).unwrap();
        assert_eq!(load(folder.path()).unwrap(), Some(principals()));
    }

    #[test]
    fn what_cannot_be_used_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        for (stored, reason) in [
            ("{", "does not parse"),
            (r#"{"format":2}"#, "format 2"),
            (r#"{"format":1,"principals":[]}"#, "does not parse"),
        ] {
            fs::write(folder.path().join(FILE), stored).unwrap();
            let error = load(folder.path()).unwrap_err().to_string();
            assert!(error.contains(FILE) && error.contains(reason), "{error}");
        }
    }
}
