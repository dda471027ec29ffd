//! The copy: a file that only the scorer's user can read, as it says who may do what. It holds digests of tokens, and no
//! token.

use std::path::Path;

use decant_coordination::access::Principals;
use serde::{Deserialize, Serialize};

use crate::kept::{Kept, KeptError};

const FILE: Kept = Kept {
    what: "copy of who may do what",
    file: "access.json",
    format: 1,
    mode: 0o600,
};

#[derive(Serialize, Deserialize)]
struct Stored {
    principals: Principals,
}

/// Reads the copy in a folder; `None` when there is none.
///
/// # Errors
/// When there is one that cannot be used.
pub(super) fn load(folder: &Path) -> Result<Option<Principals>, KeptError> {
    let stored: Option<Stored> = FILE.load(folder)?;
    Ok(stored.map(|stored| stored.principals))
}

/// Writes the copy in a folder: whole, or not at all. Blocks.
///
/// # Errors
/// Names the file and what could not be done.
pub(super) fn save(folder: &Path, principals: Principals) -> Result<(), KeptError> {
    FILE.save(folder, &Stored { principals })
}

#[cfg(test)]
mod tests {
    use std::fs;
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
        save(&folder, principals()).unwrap();
        save(&folder, principals()).unwrap();
        assert_eq!(load(&folder).unwrap(), Some(principals()));
        let mode = fs::metadata(folder.join(FILE.file)).unwrap().permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    }

    #[test]
    fn the_stored_copy_stays_readable() {
        let stored = br#"{"format":1,"principals":{"ci":{"role":"viewer","models":["films"],
            "token_sha256":"sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad","identities":["dns:ci"],
            "expires_at_millis":9,"created_at_millis":5,"issued_by":"ana"}}}"#;
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE.file), stored).unwrap();
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
            fs::write(folder.path().join(FILE.file), stored).unwrap();
            let error = load(folder.path()).unwrap_err().to_string();
            assert!(
                error.contains(FILE.file) && error.contains(reason),
                "{error}"
            );
        }
    }
}
