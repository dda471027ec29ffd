//! Names for what is not whole yet.

use std::path::{Path, PathBuf};

use ulid::Ulid;

use crate::failure::Failure;

/// That what is asked for cannot be made.
pub(crate) fn cannot_create(target: &Path, reason: impl std::fmt::Display) -> Failure {
    Failure::new(format!("cannot create {}: {reason}", target.display()))
}

/// A place beside the one that is asked for, under a name that nobody takes for it, and that no earlier run has left.
pub(crate) fn beside(target: &Path) -> Result<PathBuf, Failure> {
    let name = target
        .file_name()
        .ok_or_else(|| cannot_create(target, "it has no name"))?;
    let hidden = format!(".{}.partial-{}", name.to_string_lossy(), Ulid::generate());
    Ok(target.with_file_name(hidden))
}
