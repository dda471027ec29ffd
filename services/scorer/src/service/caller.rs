//! What a call's metadata says of its caller.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::Instant;

use bytes::Bytes;
use decant_model::split;
use tonic::metadata::{AsciiMetadataValue, BinaryMetadataValue, MetadataMap};

use super::deadline::deadline;
use crate::error::{CallError, Violation};
use crate::scoring::{Client, Priority};

/// What comes first under load: `critical`, `normal` (the default) or `sheddable`.
const PRIORITY: &str = "decant-priority";
/// The caller's name, for limits that count by client.
const CLIENT: &str = "decant-client";

/// Which requests belong together, as text and as bytes of any kind: while a slot's traffic is split, all of one key are
/// answered by the same version.
const ROUTING_KEY: &str = "decant-routing-key";
const ROUTING_KEY_BIN: &str = "decant-routing-key-bin";
/// Longer keys are mistakes, and hashing is not free.
const LONGEST_KEY: usize = 1 << 10;

/// How a call is to be treated.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) routing: Routing,
    pub(crate) deadline: Option<Instant>,
    pub(crate) priority: Priority,
    pub(crate) client: Client,
}

/// What decides between versions while a slot's traffic is split. It is looked at only then.
#[derive(Clone, Debug, Default)]
pub(crate) enum Routing {
    /// By a number drawn for each request.
    #[default]
    Drawn,
    /// By a key.
    Text(AsciiMetadataValue),
    /// By a key of any bytes.
    Binary(BinaryMetadataValue),
}

impl Routing {
    /// # Errors
    /// When the key is too long.
    fn read(metadata: &MetadataMap) -> Result<Self, CallError> {
        let (name, length, routing) = if let Some(key) = metadata.get(ROUTING_KEY) {
            (ROUTING_KEY, key.len(), Self::Text(key.clone()))
        } else if let Some(key) = metadata.get_bin(ROUTING_KEY_BIN) {
            // Base 64 takes four bytes for three.
            let length = key.as_encoded_bytes().len() / 4 * 3;
            (ROUTING_KEY_BIN, length, Self::Binary(key.clone()))
        } else {
            return Ok(Self::Drawn);
        };
        if length > LONGEST_KEY {
            let reason = format!("{length} bytes, but at most {LONGEST_KEY} are allowed");
            return Err(CallError::Invalid(vec![Violation::new(name, reason)]));
        }
        Ok(routing)
    }

    /// The bucket of the split that a request falls into.
    pub(crate) fn bucket(&self, salt: &str) -> u32 {
        match self {
            // A hasher with keys that nobody else has.
            Self::Drawn => split::scaled(RandomState::new().hash_one(0_u8)),
            Self::Text(key) => split::bucket(salt, key.as_bytes()),
            // What does not decode is the same key each time all the same.
            Self::Binary(key) => {
                let bytes = key.to_bytes();
                let bytes =
                    bytes.unwrap_or_else(|_| Bytes::copy_from_slice(key.as_encoded_bytes()));
                split::bucket(salt, &bytes)
            }
        }
    }
}

impl Caller {
    /// Reads the metadata.
    ///
    /// # Errors
    /// When the priority is none that there is, or the routing key is too long.
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
            routing: Routing::read(metadata)?,
            deadline: deadline(metadata),
            priority,
            client: client.map_or(Client::UNKNOWN, |name| Client::named(name.as_bytes())),
        })
    }
}
