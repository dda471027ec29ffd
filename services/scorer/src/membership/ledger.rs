//! What was written under a lease, and so what is left to write.

use std::collections::BTreeMap;

use bytes::Bytes;
use decant_coordination::{Key, LeaseId, Txn};

/// Changes of one transaction, at most: well under what a transaction may have.
const MAX_CHANGES: usize = 32;

/// The keys that are known to be written, and their values.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    written: BTreeMap<Key, Bytes>,
}

/// Changes that are made together: new values, and keys to delete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part(Vec<(Key, Option<Bytes>)>);

impl Ledger {
    /// What makes the store hold exactly these.
    pub(super) fn changes(&self, wanted: &BTreeMap<Key, Bytes>) -> Vec<Part> {
        let put = wanted
            .iter()
            .filter(|(key, value)| self.written.get(*key) != Some(value))
            .map(|(key, value)| (key.clone(), Some(value.clone())));
        let deleted = self
            .written
            .keys()
            .filter(|key| !wanted.contains_key(*key))
            .map(|key| (key.clone(), None));
        let changes: Vec<_> = put.chain(deleted).collect();
        let parts = changes.chunks(MAX_CHANGES);
        parts.map(|part| Part(part.to_vec())).collect()
    }

    /// They were made.
    pub(super) fn note(&mut self, part: Part) {
        for (key, value) in part.0 {
            match value {
                Some(value) => self.written.insert(key, value),
                None => self.written.remove(&key),
            };
        }
    }
}

impl Part {
    /// Puts the changes into a transaction.
    pub(super) fn add_to(&self, txn: Txn, lease: LeaseId) -> Txn {
        self.0.iter().fold(txn, |txn, (key, value)| match value {
            Some(value) => txn.put_leased(key.clone(), value.clone(), lease),
            None => txn.delete(key.clone()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(pairs: &[(&str, &'static str)]) -> BTreeMap<Key, Bytes> {
        let pair = |(key, value): &(&str, &'static str)| {
            (Key::new(*key), Bytes::from_static(value.as_bytes()))
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn only_what_differs_is_written() {
        let mut ledger = Ledger::default();
        for part in ledger.changes(&records(&[("a", "1"), ("b", "1")])) {
            ledger.note(part);
        }
        assert_eq!(ledger.changes(&records(&[("a", "1"), ("b", "1")])), []);
        let changes = ledger.changes(&records(&[("a", "2"), ("c", "1")]));
        let expected = [("a", Some("2")), ("c", Some("1")), ("b", None)];
        let expected = expected.map(|(key, value)| (Key::new(key), value.map(Bytes::from)));
        assert_eq!(changes, [Part(expected.to_vec())]);
    }

    #[test]
    fn many_changes_are_several_transactions() {
        let many = (0..70).map(|number| (Key::new(format!("{number:03}")), Bytes::new()));
        let parts = Ledger::default().changes(&many.collect());
        let sizes: Vec<usize> = parts.iter().map(|part| part.0.len()).collect();
        assert_eq!(sizes, [32, 32, 6]);
    }
}
