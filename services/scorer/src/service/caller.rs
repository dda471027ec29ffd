//! What a call's metadata says of its caller.

use std::time::Instant;

use tonic::metadata::MetadataMap;

use super::deadline::deadline;
use crate::error::{CallError, Violation};
use crate::scoring::{Client, Priority};

/// What comes first under load: `critical`, `normal` (the default) or `sheddable`.
const PRIORITY: &str = "decant-priority";
/// The caller's name, for limits that count by client.
const CLIENT: &str = "decant-client";

/// How a call is to be treated.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller {
    pub(crate) deadline: Option<Instant>,
    pub(crate) priority: Priority,
    pub(crate) client: Client,
}

impl Caller {
    /// Reads the metadata.
    ///
    /// # Errors
    /// When the priority is none that there is.
    pub(crate) fn read(metadata: &MetadataMap) -> Result<Self, CallError> {
        let priority = match metadata.get(PRIORITY).map(|value| value.as_bytes()) {
            None => Priority::default(),
            Some(name) => Priority::named(name).ok_or_else(|| {
                let reason = format!(
                    "`{}` is none of critical, normal and sheddable",
                    name.escape_ascii()
                );
                CallError::Invalid(vec![Violation::new(PRIORITY, reason)])
            })?,
        };
        let client = metadata.get(CLIENT);
        Ok(Self {
            deadline: deadline(metadata),
            priority,
            client: client.map_or(Client::UNKNOWN, |name| Client::named(name.as_bytes())),
        })
    }
}
