//! What lies in the file, and the blocking reads and writes of it.

use std::ops::Bound;
use std::path::Path;

use bytes::Bytes;
use redb::{
    Database, Durability, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition,
    WriteTransaction,
};

use super::leases;
use crate::{
    Changes, Conflict, Entry, Event, Key, LeaseId, Listing, Order, Page, Prefix, Revision,
    StoreError, StoreIdentity, Txn, Write,
};

/// Key -> (create revision, mod revision, value).
const ENTRIES: TableDefinition<'_, &str, (u64, u64, &[u8])> = TableDefinition::new("entries");
/// A revision, and a place in its transaction.
type Place = (u64, u32);
/// A key, its create revision, and its value; no value means that the key was deleted.
type Change<'a> = (&'a str, u64, Option<&'a [u8]>);
/// What changed, by when.
const HISTORY: TableDefinition<'_, Place, Change<'_>> = TableDefinition::new("history");
/// Counters, by name.
const COUNTERS: TableDefinition<'_, &str, u64> = TableDefinition::new("counters");

/// The version of this layout.
const FORMAT: (&str, u64) = ("format", 1);
/// The last revision taken.
const REVISION: &str = "revision";
/// The newest revision whose changes are no longer held.
const COMPACTED: &str = "compacted";
/// Which store this is.
const IDENTITY: &str = "identity";

/// redb would take up to 1 GiB; the store holds small facts.
const CACHE_BYTES: usize = 16 << 20;
/// Stop reading changes at the first revision beyond so many bytes of values, to bound what a watch holds in memory.
const READ_AHEAD_BYTES: usize = 4 << 20;

/// The file.
pub(super) struct Disk {
    database: Database,
    held_revisions: u64,
}

/// Some of the changes that a watch asked for.
pub(super) struct Read {
    /// The changes, by revision.
    pub(super) changes: Vec<Changes>,
    /// Where to go on.
    pub(super) next: Revision,
}

impl Disk {
    /// Opens or makes the file, and says which revision it is at.
    pub(super) fn open(path: &Path, held_revisions: u64) -> Result<(Self, Revision), StoreError> {
        let refuse = |reason: String| StoreError::Open {
            path: path.to_owned(),
            reason,
        };
        let database = Database::builder()
            .set_cache_size(CACHE_BYTES)
            .create(path)
            .map_err(|error| refuse(error.to_string()))?;
        let disk = Self {
            database,
            held_revisions,
        };
        match disk.prepare() {
            Ok(Ok(revision)) => Ok((disk, revision)),
            Ok(Err(format)) => Err(refuse(format!(
                "it has format {format}, but this build knows format {} only",
                FORMAT.1
            ))),
            Err(error) => Err(refuse(error.to_string())),
        }
    }

    /// Makes the tables, so that readers find them, and returns the revision; or a format that is not ours, with nothing
    /// touched.
    fn prepare(&self) -> Result<Result<Revision, u64>, redb::Error> {
        let writing = begin_write(&self.database)?;
        let revision = {
            let mut counters = writing.open_table(COUNTERS)?;
            let format = counters
                .insert(FORMAT.0, FORMAT.1)?
                .map(|format| format.value());
            if let Some(format) = format.filter(|format| *format != FORMAT.1) {
                // Dropping a transaction takes it back.
                return Ok(Err(format));
            }
            writing.open_table(ENTRIES)?;
            writing.open_table(HISTORY)?;
            leases::prepare(&writing)?;
            if counters.get(IDENTITY)?.is_none() {
                counters.insert(IDENTITY, rand::random::<u64>())?;
            }
            counter(&counters, REVISION)?
        };
        writing.commit()?;
        Ok(Ok(Revision(revision)))
    }

    pub(super) fn get(&self, key: &Key) -> Result<Option<Entry>, StoreError> {
        let read = || -> Result<_, redb::Error> {
            let entries = self.database.begin_read()?.open_table(ENTRIES)?;
            read_entry(&entries, key.as_str())
        };
        read().map_err(StoreError::failed("read a key"))
    }

    pub(super) fn list(&self, prefix: &Prefix) -> Result<Listing, StoreError> {
        let read = || -> Result<_, redb::Error> {
            let reading = self.database.begin_read()?;
            let mut entries = Vec::new();
            for row in reading.open_table(ENTRIES)?.range(prefix.as_str()..)? {
                let (key, stored) = row?;
                if !prefix.contains(key.value()) {
                    break;
                }
                entries.push(entry(key.value(), stored.value()));
            }
            Ok(Listing {
                entries,
                revision: revision_of(&reading)?,
            })
        };
        read().map_err(StoreError::failed("list keys"))
    }

    pub(super) fn page(
        &self,
        prefix: &Prefix,
        after: Option<&Key>,
        order: Order,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let read = || -> Result<_, redb::Error> {
            let entries = self.database.begin_read()?.open_table(ENTRIES)?;
            // No key goes on with the last character that there is, so this lies behind all keys of the prefix.
            let end = format!("{prefix}{}", char::MAX);
            let start = prefix.as_str();
            let mut found = Vec::new();
            let after = after.map(Key::as_str);
            let mut rows: Box<dyn Iterator<Item = _>> = match order {
                Order::Ascending => {
                    let from = match after {
                        Some(after) if after >= &*end => return Ok(Page::default()),
                        Some(after) if after >= start => Bound::Excluded(after),
                        _ => Bound::Included(start),
                    };
                    Box::new(entries.range::<&str>((from, Bound::Excluded(&*end)))?)
                }
                Order::Descending => {
                    let end = after.unwrap_or(&end).clamp(start, &end);
                    Box::new(entries.range(start..end)?.rev())
                }
            };
            for row in rows.by_ref().take(limit) {
                let (key, stored) = row?;
                found.push(entry(key.value(), stored.value()));
            }
            let more = rows.next().transpose()?.is_some();
            Ok(Page {
                entries: found,
                more,
            })
        };
        read().map_err(StoreError::failed("list a page of keys"))
    }

    pub(super) fn identity(&self) -> Result<StoreIdentity, StoreError> {
        let read = || -> Result<_, redb::Error> {
            let reading = self.database.begin_read()?;
            Ok(StoreIdentity {
                id: counter(&reading.open_table(COUNTERS)?, IDENTITY)?,
                revision: revision_of(&reading)?,
            })
        };
        read().map_err(StoreError::failed("read the store's identity"))
    }

    /// The leases, and how long each lives, in milliseconds.
    pub(super) fn leases(&self) -> Result<Vec<(LeaseId, u64)>, StoreError> {
        let read = || leases::all(&self.database.begin_read()?);
        read().map_err(StoreError::failed("read the leases"))
    }

    pub(super) fn grant(&self, ttl_millis: u64) -> Result<LeaseId, StoreError> {
        let write = || -> Result<_, redb::Error> {
            let writing = begin_write(&self.database)?;
            let lease = leases::grant(&writing, ttl_millis)?;
            writing.commit()?;
            Ok(lease)
        };
        write().map_err(StoreError::failed("grant a lease"))
    }

    /// Deletes a lease and its keys, and returns the revision after that.
    pub(super) fn end_lease(&self, lease: LeaseId) -> Result<Revision, StoreError> {
        let write = || -> Result<_, redb::Error> {
            let writing = begin_write(&self.database)?;
            let keys = leases::delete(&writing, lease)?;
            let txn = keys
                .into_iter()
                .fold(Txn::new(), |txn, key| txn.delete(Key::new(key)));
            self.write(writing, &txn)
        };
        write().map_err(StoreError::failed("end a lease"))
    }

    pub(super) fn commit(&self, txn: &Txn) -> Result<Revision, StoreError> {
        let write = || -> Result<_, redb::Error> {
            let writing = begin_write(&self.database)?;
            if let Some(conflict) = first_conflict(&writing, txn)? {
                writing.abort()?;
                return Ok(Err(StoreError::Conflict(Box::new(conflict))));
            }
            if let Some(lease) = leases::first_lost(&writing, txn)? {
                writing.abort()?;
                return Ok(Err(StoreError::LeaseLost { lease }));
            }
            self.write(writing, txn).map(Ok)
        };
        write().map_err(StoreError::failed("commit a transaction"))?
    }

    /// Makes a transaction's writes and commits.
    fn write(&self, writing: WriteTransaction, txn: &Txn) -> Result<Revision, redb::Error> {
        let current = counter(&writing.open_table(COUNTERS)?, REVISION)?;
        let revision = current + 1;
        if apply(&writing, txn, revision)? == 0 {
            // What was done besides the keys, such as ending a lease that has none, stands.
            writing.commit()?;
            return Ok(Revision(current));
        }
        writing.open_table(COUNTERS)?.insert(REVISION, revision)?;
        self.forget_old(&writing, revision)?;
        writing.commit()?;
        Ok(Revision(revision))
    }

    /// Drops the changes that are older than what is held.
    fn forget_old(&self, writing: &WriteTransaction, revision: u64) -> Result<(), redb::Error> {
        let compacted = revision.saturating_sub(self.held_revisions);
        if compacted > 0 {
            writing
                .open_table(HISTORY)?
                .retain_in(..(compacted + 1, 0), |_, _| false)?;
            writing.open_table(COUNTERS)?.insert(COMPACTED, compacted)?;
        }
        Ok(())
    }

    /// Reads changes of a prefix from a revision on, until there are no more or enough to hand out.
    pub(super) fn changes(&self, prefix: &Prefix, from: Revision) -> Result<Read, StoreError> {
        let read = || -> Result<_, redb::Error> {
            let reading = self.database.begin_read()?;
            let oldest = Revision(counter(&reading.open_table(COUNTERS)?, COMPACTED)?).next();
            if from < oldest {
                return Ok(Err(StoreError::Compacted { from, oldest }));
            }
            Ok(Ok(read_history(&reading, prefix, from)?))
        };
        read().map_err(StoreError::failed("read changes"))?
    }
}

fn begin_write(database: &Database) -> Result<WriteTransaction, redb::Error> {
    let mut writing = database.begin_write()?;
    writing.set_durability(Durability::Immediate)?;
    // Costs a little at each commit, and lets the store open at once after a crash.
    writing.set_quick_repair(true);
    Ok(writing)
}

fn first_conflict(writing: &WriteTransaction, txn: &Txn) -> Result<Option<Conflict>, redb::Error> {
    let entries = writing.open_table(ENTRIES)?;
    for (key, expected) in &txn.expected {
        let found = read_entry(&entries, key.as_str())?;
        if !expected.holds(found.as_ref()) {
            return Ok(Some(Conflict {
                key: key.clone(),
                expected: *expected,
                found,
            }));
        }
    }
    Ok(None)
}

/// Makes the writes at a revision, records them, and returns how many changed anything.
fn apply(writing: &WriteTransaction, txn: &Txn, revision: u64) -> Result<u32, redb::Error> {
    let mut entries = writing.open_table(ENTRIES)?;
    let mut history = writing.open_table(HISTORY)?;
    let mut bindings = leases::Bindings::open(writing)?;
    let mut changed = 0;
    for write in &txn.writes {
        let key = write.key().as_str();
        let created = entries.get(key)?.map(|stored| stored.value().0);
        match write {
            Write::Put(_, value, lease) => {
                bindings.bind(key, *lease)?;
                let created = created.unwrap_or(revision);
                entries.insert(key, (created, revision, value.as_ref()))?;
                history.insert((revision, changed), (key, created, Some(value.as_ref())))?;
            }
            Write::Delete(_) => {
                let Some(created) = created else {
                    continue;
                };
                entries.remove(key)?;
                bindings.bind(key, None)?;
                history.insert((revision, changed), (key, created, None))?;
            }
        }
        changed += 1;
    }
    Ok(changed)
}

fn read_history(
    reading: &ReadTransaction,
    prefix: &Prefix,
    from: Revision,
) -> Result<Read, redb::Error> {
    let mut read = Read {
        changes: Vec::new(),
        next: revision_of(reading)?.next().max(from),
    };
    let mut bytes = 0;
    for row in reading.open_table(HISTORY)?.range((from.0, 0)..)? {
        let (place, change) = row?;
        let revision = Revision(place.value().0);
        let (key, created, value) = change.value();
        if !prefix.contains(key) {
            continue;
        }
        let same_transaction = read
            .changes
            .last()
            .is_some_and(|last| last.revision == revision);
        if !same_transaction {
            if bytes > READ_AHEAD_BYTES {
                read.next = revision;
                break;
            }
            read.changes.push(Changes {
                revision,
                events: Vec::new(),
            });
        }
        bytes += key.len() + value.map_or(0, <[u8]>::len);
        let event = match value {
            Some(value) => Event::Put(entry(key, (created, revision.0, value))),
            None => Event::Delete(Key::new(key)),
        };
        if let Some(last) = read.changes.last_mut() {
            last.events.push(event);
        }
    }
    Ok(read)
}

fn revision_of(reading: &ReadTransaction) -> Result<Revision, redb::Error> {
    Ok(Revision(counter(&reading.open_table(COUNTERS)?, REVISION)?))
}

/// A counter that was never written is 0.
fn counter(
    counters: &impl ReadableTable<&'static str, u64>,
    name: &str,
) -> Result<u64, redb::Error> {
    Ok(counters.get(name)?.map_or(0, |value| value.value()))
}

fn read_entry(
    entries: &impl ReadableTable<&'static str, (u64, u64, &'static [u8])>,
    key: &str,
) -> Result<Option<Entry>, redb::Error> {
    Ok(entries.get(key)?.map(|stored| entry(key, stored.value())))
}

fn entry(key: &str, (created, modified, value): (u64, u64, &[u8])) -> Entry {
    Entry {
        key: Key::new(key),
        value: Bytes::copy_from_slice(value),
        create_revision: Revision(created),
        mod_revision: Revision(modified),
    }
}
