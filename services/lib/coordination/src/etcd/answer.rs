//! etcd's messages as ours.

use bytes::Bytes;
use etcd_client::{KeyValue, ResponseHeader};

use crate::{Entry, Key, Revision, StoreError};

/// etcd counts with a sign, and never below zero.
pub(super) fn revision(number: i64) -> Revision {
    Revision(number.unsigned_abs())
}

/// As etcd counts.
pub(super) fn number(revision: Revision) -> i64 {
    i64::try_from(revision.0).unwrap_or(i64::MAX)
}

pub(super) fn header<'a>(
    action: &'static str,
    header: Option<&'a ResponseHeader>,
) -> Result<&'a ResponseHeader, StoreError> {
    header.ok_or_else(|| StoreError::failed(action)("an answer has no header"))
}

pub(super) fn key(action: &'static str, bytes: &[u8]) -> Result<Key, StoreError> {
    let text = std::str::from_utf8(bytes).map_err(|_| {
        let key = bytes.escape_ascii();
        StoreError::failed(action)(format!("key {key} is no text: another program wrote it"))
    })?;
    Ok(Key::new(text))
}

pub(super) fn entry(action: &'static str, stored: KeyValue) -> Result<Entry, StoreError> {
    let (create_revision, mod_revision) = (stored.create_revision(), stored.mod_revision());
    let (name, value) = stored.into_key_value();
    Ok(Entry {
        key: key(action, &name)?,
        value: Bytes::from(value),
        create_revision: revision(create_revision),
        mod_revision: revision(mod_revision),
    })
}

pub(super) fn entries(
    action: &'static str,
    stored: Vec<KeyValue>,
) -> Result<Vec<Entry>, StoreError> {
    stored
        .into_iter()
        .map(|stored| entry(action, stored))
        .collect()
}
