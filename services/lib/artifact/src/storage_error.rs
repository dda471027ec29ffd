//! What can go wrong with an object store, and whether it may pass.

use std::error::Error as _;
use std::io;

use object_store::client::{HttpError, HttpErrorKind};
use thiserror::Error;

/// The object store failed.
#[derive(Debug, Error)]
#[error("the bundle store failed to {action}: {}", with_root_cause(.source))]
pub struct StorageError {
    action: String,
    source: object_store::Error,
}

/// What went wrong and why in the end, which `object_store` leaves out of its words about what a connection met.
fn with_root_cause(error: &object_store::Error) -> String {
    let words = error.to_string();
    let causes = std::iter::successors(error.source(), |cause| (*cause).source());
    match causes.last().map(ToString::to_string) {
        Some(root) if !words.contains(&root) => format!("{words}: {root}"),
        _ => words,
    }
}

impl StorageError {
    pub(crate) fn at(action: impl Into<String>) -> impl FnOnce(object_store::Error) -> Self {
        move |source| Self {
            action: action.into(),
            source,
        }
    }

    /// An error of a local folder, which `object_store` did not see.
    pub(crate) fn of_folder(action: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        move |source| Self {
            action: action.into(),
            source: object_store::Error::Generic {
                store: LOCAL,
                source: source.into(),
            },
        }
    }

    /// What lies in the store is not what Decant writes there.
    pub(crate) fn corrupt(action: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            action: action.into(),
            source: object_store::Error::Generic {
                store: "bundle store",
                source: reason.into().into(),
            },
        }
    }

    /// The store cannot do what it must.
    pub(crate) fn unsupported(action: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            action: action.into(),
            source: object_store::Error::NotSupported {
                source: reason.into().into(),
            },
        }
    }

    /// Whether the same may succeed a little later: the store was out of reach, slow or overloaded. What the store
    /// refuses for good (no permission, no such bucket, a full disk) is not transient.
    pub fn is_transient(&self) -> bool {
        let object_store::Error::Generic { .. } = &self.source else {
            return false;
        };
        if let Some(error) = self.find::<HttpError>() {
            return error.kind() != HttpErrorKind::Unknown;
        }
        if let Some(error) = self.io_error() {
            return matches!(
                error.kind(),
                io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
            );
        }
        self.http_status()
            .is_some_and(|status| status >= 500 && status != NOT_IMPLEMENTED || status == 429)
    }

    /// Whether the disk of a local folder is full.
    pub fn is_full_disk(&self) -> bool {
        self.io_error().is_some_and(|error| {
            matches!(
                error.kind(),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
            )
        })
    }

    /// Whether the store does not know what was asked of it.
    pub(crate) fn is_unsupported(&self) -> bool {
        matches!(
            self.source,
            object_store::Error::NotSupported { .. } | object_store::Error::NotImplemented { .. }
        ) || self.http_status() == Some(NOT_IMPLEMENTED)
    }

    fn io_error(&self) -> Option<&io::Error> {
        self.find()
    }

    /// The status of the store's answer. `object_store` keeps its type private, so its words are read.
    fn http_status(&self) -> Option<u16> {
        let words = self.source.to_string();
        let (_, rest) = words.split_once("status code: ")?;
        rest.get(..3)?.parse().ok()
    }

    /// The innermost cause of a type.
    fn find<Cause: std::error::Error + 'static>(&self) -> Option<&Cause> {
        let mut found = None;
        let mut cause = self.source.source();
        while let Some(error) = cause {
            found = error.downcast_ref().or(found);
            cause = error.source();
        }
        found
    }
}

/// The name under which errors of local folders go.
const LOCAL: &str = "local folder";
const NOT_IMPLEMENTED: u16 = 501;

#[cfg(test)]
mod tests {
    use super::*;

    fn generic(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StorageError {
        StorageError::at("test")(object_store::Error::Generic {
            store: "test",
            source: source.into(),
        })
    }

    #[test]
    fn what_may_pass_is_told_from_what_will_not() {
        let io = |kind| StorageError::of_folder("test")(io::Error::from(kind));
        assert!(io(io::ErrorKind::TimedOut).is_transient());
        assert!(!io(io::ErrorKind::PermissionDenied).is_transient());
        let full = io(io::ErrorKind::StorageFull);
        assert!(full.is_full_disk() && !full.is_transient());
        for (status, transient) in [
            (500, true),
            (503, true),
            (429, true),
            (501, false),
            (403, false),
        ] {
            let error = generic(format!("Server returned non-2xx status code: {status} : x"));
            assert_eq!(error.is_transient(), transient, "{status}");
            assert_eq!(error.is_unsupported(), status == 501);
        }
    }
}
