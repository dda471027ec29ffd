//! Backups: all metadata out of one cluster, and into an empty one.

use std::collections::BTreeMap;

use bytes::Bytes;
use decant_coordination::keys::{
    self, AccessKey, AuditHead, AuditHeadKey, AuditKey, ClusterKey, ClusterRecord, DesiredKey,
    DigestKey, HistoryKey, ModelKey, PlanKey, ProgressKey, Record, RecordError, RolloutKey,
    StateKey, VersionKey,
};
use decant_coordination::{Entry, Expect, Key, MAX_BYTES, MAX_OPERATIONS, Order, Revision, Txn};
use serde_json::json;

use super::{Care, note};
use crate::error::CallError;
use crate::ledger::Ask;
use crate::records::Records;

/// Bytes of a transaction's writes; half of what it may have.
const BATCH_BYTES: usize = MAX_BYTES / 2;

/// A record of an export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Metadatum {
    /// The key below the cluster's root.
    pub(crate) key: String,
    pub(crate) value: Bytes,
}

/// An import under way. Records that make nothing happen by themselves are written as they come; the models, by which
/// the cluster counts as filled, and the slots, which scorers act on, come last.
pub(crate) struct Import {
    care: Care,
    ask: Ask,
    batch: Vec<(Key, Bytes)>,
    batch_bytes: usize,
    last: BTreeMap<Key, Bytes>,
    cluster: Option<ClusterRecord>,
    head: Option<AuditHead>,
    written: u64,
}

/// Where a record goes.
enum Place {
    Now,
    Last,
    Cluster,
    Head,
}

impl Care {
    /// All metadata as of one revision, but what lives only as long as a process does.
    pub(crate) async fn export(&self) -> Result<Vec<Metadatum>, CallError> {
        let everything = self.records.keyspace.everything();
        let listing = self.records.store.list(&everything).await?;
        let mut exported = Vec::with_capacity(listing.entries.len());
        for entry in listing.entries {
            if Kind::of(&self.records, &entry.key).is_none() {
                continue;
            }
            if let Some(key) = self.records.relative(&entry.key) {
                exported.push(Metadatum {
                    key: key.to_owned(),
                    value: entry.value.clone(),
                });
            }
        }
        Ok(exported)
    }

    /// Begins an import. The cluster must be empty.
    pub(crate) async fn import(&self, ask: Ask) -> Result<Import, CallError> {
        let models = self.records.keyspace.all::<ModelKey>();
        let page = self
            .records
            .store
            .page(&models, None, Order::Ascending, 1)
            .await?;
        if let Some(model) = page.entries.first() {
            return Err(CallError::NotEmpty(format!("{} is there", model.key)));
        }
        if let Some(head) = self.records.get(&AuditHeadKey {}).await? {
            return Err(CallError::NotEmpty(format!(
                "the audit log has {} entries",
                head.value.number
            )));
        }
        Ok(Import {
            care: self.clone(),
            ask,
            batch: Vec::new(),
            batch_bytes: 0,
            last: BTreeMap::new(),
            cluster: None,
            head: None,
            written: 0,
        })
    }
}

impl Import {
    /// Takes a record.
    pub(crate) async fn add(&mut self, record: Metadatum) -> Result<(), CallError> {
        let entry = Entry {
            key: self.care.records.absolute(&record.key),
            value: record.value,
            create_revision: Revision(0),
            mod_revision: Revision(0),
        };
        let Some(kind) = Kind::of(&self.care.records, &entry.key) else {
            let reason = format!("`{}` is no key that a backup holds", record.key);
            return Err(CallError::field("records", reason));
        };
        (kind.check)(&self.care.records, &entry)
            .map_err(|error| CallError::field("records", error))?;
        match kind.place {
            Place::Now => self.write(entry.key, entry.value).await?,
            Place::Last => {
                self.last.insert(entry.key, entry.value);
            }
            Place::Cluster => self.cluster = Some(keys::value::<ClusterKey>(&entry)?),
            Place::Head => self.head = Some(keys::value::<AuditHeadKey>(&entry)?),
        }
        Ok(())
    }

    /// Writes what is left, and returns how many records there were.
    pub(crate) async fn finish(mut self) -> Result<u64, CallError> {
        // By the names of the kinds, slots come before models: from the last to the first, scorers see theirs at the end.
        for (key, value) in std::mem::take(&mut self.last).into_iter().rev() {
            self.write(key, value).await?;
        }
        self.flush().await?;
        let (records, after) = (
            &self.care.records,
            json!({ "records": self.written, "cluster": self.cluster }),
        );
        let found = self.care.cluster.record().await?;
        // Nobody may have changed anything since the import began.
        let mut txn = Txn::new()
            .expect(records.key(&AuditHeadKey {}), Expect::Absent)
            .expect(
                found.entry.key.clone(),
                Expect::unchanged(Some(&found.entry)),
            );
        if let Some(head) = &self.head {
            let key = records.key(&AuditHeadKey {});
            txn = txn.put(key, keys::encode(&AuditHeadKey {}, head)?);
        }
        if let Some(cluster) = &self.cluster {
            let record = ClusterRecord {
                incarnation: cluster.incarnation.max(found.value.incarnation) + 1,
                ..cluster.clone()
            };
            let key = records.key(&ClusterKey {});
            txn = txn.put(key, keys::encode(&ClusterKey {}, &record)?);
        }
        records
            .store
            .commit(txn)
            .await
            .map_err(|error| self.cut(error.into()))?;
        self.care
            .ledger
            .mutate(&self.ask, |_| {
                std::future::ready(Ok(note("metadata.import", after.clone(), self.written)))
            })
            .await
    }

    async fn write(&mut self, key: Key, value: Bytes) -> Result<(), CallError> {
        let bytes = key.as_str().len() + value.len();
        if 2 * self.batch.len() == MAX_OPERATIONS || self.batch_bytes + bytes > BATCH_BYTES {
            self.flush().await?;
        }
        self.batch_bytes += bytes;
        self.batch.push((key, value));
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), CallError> {
        let batch = std::mem::take(&mut self.batch);
        self.batch_bytes = 0;
        let count = batch.len() as u64;
        let create = |txn: Txn, (key, value): (Key, Bytes)| {
            txn.expect(key.clone(), Expect::Absent).put(key, value)
        };
        let txn = batch.into_iter().fold(Txn::new(), create);
        match self.care.records.store.commit(txn).await {
            Ok(_) => {
                self.written += count;
                Ok(())
            }
            Err(error) => Err(self.cut(error.into())),
        }
    }

    fn cut(&self, error: CallError) -> CallError {
        CallError::ImportCut {
            written: self.written,
            reason: error.to_string(),
        }
    }
}

/// A kind of records that a backup holds.
struct Kind {
    name: &'static str,
    check: fn(&Records, &Entry) -> Result<(), RecordError>,
    place: Place,
}

impl Kind {
    const fn new<R: Record>(place: Place) -> Self {
        Self {
            name: R::KIND,
            check: |records, entry| records.keyspace.read::<R>(entry).map(drop),
            place,
        }
    }

    /// The kind of a key; none when a backup holds none of it.
    fn of(records: &Records, key: &Key) -> Option<&'static Self> {
        let relative = records.relative(key)?;
        KINDS.iter().find(|kind| {
            let rest = relative.strip_prefix(kind.name);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }
}

/// All but what lives only as long as a process does, or a day.
const KINDS: [Kind; 13] = [
    Kind::new::<AccessKey>(Place::Now),
    Kind::new::<AuditKey>(Place::Now),
    Kind::new::<DigestKey>(Place::Now),
    Kind::new::<HistoryKey>(Place::Now),
    Kind::new::<PlanKey>(Place::Now),
    Kind::new::<ProgressKey>(Place::Now),
    Kind::new::<RolloutKey>(Place::Now),
    Kind::new::<StateKey>(Place::Now),
    Kind::new::<VersionKey>(Place::Now),
    Kind::new::<ModelKey>(Place::Last),
    Kind::new::<DesiredKey>(Place::Last),
    Kind::new::<ClusterKey>(Place::Cluster),
    Kind::new::<AuditHeadKey>(Place::Head),
];
