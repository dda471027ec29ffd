//! What the leader tells of pending changes that it could activate and does not: only it knows why. It is bound to the
//! leader's lease, since of what a leader said that is gone nothing counts.

use std::collections::BTreeMap;

use decant_coordination::keys::{self, DesiredKey, RefusalKey, RefusalRecord};
use decant_coordination::{Epoch, Key, Txn};

use crate::error::CallError;
use crate::records::Records;

pub(super) struct Refusals {
    records: Records,
    epoch: Epoch,
    /// What is written; none before it was looked for.
    written: Option<BTreeMap<Key, RefusalRecord>>,
}

impl Refusals {
    pub(super) fn new(records: Records, epoch: Epoch) -> Self {
        Self {
            records,
            epoch,
            written: None,
        }
    }

    /// Writes what differs from what is written. What cannot be written now differs again the next time.
    pub(super) async fn tell(
        &mut self,
        refused: Vec<(DesiredKey, RefusalRecord)>,
    ) -> Result<(), CallError> {
        let mut written = match self.written.take() {
            Some(written) => written,
            None => self.read().await?,
        };
        let mut wanted = BTreeMap::new();
        for (DesiredKey { model, slot }, record) in refused {
            let refusal = RefusalKey { model, slot };
            let value = keys::encode(&refusal, &record)?;
            wanted.insert(self.records.key(&refusal), (record, value));
        }
        let mut txns = Vec::new();
        for key in written.keys().filter(|key| !wanted.contains_key(*key)) {
            txns.push((key.clone(), None, Txn::new().delete(key.clone())));
        }
        for (key, (record, value)) in wanted {
            if written.get(&key) != Some(&record) {
                let txn = Txn::new().put_leased(key.clone(), value, self.epoch.lease());
                txns.push((key, Some(record), txn));
            }
        }
        for (key, record, txn) in txns {
            self.records.store.commit(self.epoch.fence(txn)).await?;
            match record {
                Some(record) => written.insert(key, record),
                None => written.remove(&key),
            };
        }
        self.written = Some(written);
        Ok(())
    }

    /// What is there from before, such as from an earlier term under the same lease.
    async fn read(&self) -> Result<BTreeMap<Key, RefusalRecord>, CallError> {
        let all = self.records.keyspace.all::<RefusalKey>();
        let found = self.records.list::<RefusalKey>(&all).await?;
        Ok(found
            .into_iter()
            .map(|(_, found)| (found.entry.key, found.value))
            .collect())
    }
}
