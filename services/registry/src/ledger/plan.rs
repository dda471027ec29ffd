//! What a mutation expects and writes.

use bytes::Bytes;
use decant_coordination::keys::{self, AuditHeadKey, Record};
use decant_coordination::{Entry, Expect, Key, Txn};
use serde::Serialize;
use serde_json::Value;

use crate::error::CallError;
use crate::records::Records;

/// What came of planning.
#[expect(
    clippy::large_enum_variant,
    reason = "made once for each mutation, and kept by nobody"
)]
pub(crate) enum Planned<A> {
    /// All is as asked for already: nothing is written, and nothing audited.
    Nothing(A),
    /// This is to be done.
    Do(Plan<A>),
}

impl<A> Planned<A> {
    /// What would be answered: all that somebody is told who only asks what would be done.
    pub(crate) fn answer(self) -> A {
        match self {
            Planned::Nothing(answer) => answer,
            Planned::Do(plan) => plan.answer,
        }
    }
}

/// A mutation that is ready to be made.
pub(crate) struct Plan<A> {
    pub(super) action: &'static str,
    pub(super) subject: String,
    pub(super) before: Value,
    pub(super) after: Value,
    /// Replaces the reason of who asked.
    pub(super) reason: Option<String>,
    /// Whether the plan is void when any other mutation comes first.
    pub(super) alone: bool,
    expects: Vec<(Key, Expect)>,
    writes: Vec<(Key, Bytes)>,
    deletes: Vec<Key>,
    pub(super) answer: A,
}

impl<A> Plan<A> {
    pub(crate) fn new(action: &'static str, subject: impl ToString, answer: A) -> Self {
        Self {
            action,
            subject: subject.to_string(),
            before: Value::Null,
            after: Value::Null,
            reason: None,
            alone: false,
            expects: Vec::new(),
            writes: Vec::new(),
            deletes: Vec::new(),
            answer,
        }
    }

    /// The same, with another answer.
    pub(crate) fn map_answer<B>(self, map: impl FnOnce(A) -> B) -> Plan<B> {
        Plan {
            action: self.action,
            subject: self.subject,
            before: self.before,
            after: self.after,
            reason: self.reason,
            alone: self.alone,
            expects: self.expects,
            writes: self.writes,
            deletes: self.deletes,
            answer: map(self.answer),
        }
    }

    /// What the audit log says was there before.
    pub(crate) fn before(self, before: Value) -> Self {
        Self { before, ..self }
    }

    /// What the audit log says is there now.
    pub(crate) fn after(self, after: Value) -> Self {
        Self { after, ..self }
    }

    pub(crate) fn reason(self, reason: impl Into<String>) -> Self {
        Self {
            reason: Some(reason.into()),
            ..self
        }
    }

    /// That an entry is as it was read.
    pub(crate) fn unchanged(mut self, entry: &Entry) -> Self {
        let expect = Expect::unchanged(Some(entry));
        self.expects.push((entry.key.clone(), expect));
        self
    }

    /// Gives a record a value, if it is as it was read.
    pub(crate) fn replace<R: Record>(
        self,
        records: &Records,
        record: &R,
        read: Option<&Entry>,
        value: &R::Value,
    ) -> Result<Self, CallError> {
        let mut this = self.put(records, record, value)?;
        this.expects
            .push((records.key(record), Expect::unchanged(read)));
        Ok(this)
    }

    /// Makes a record that is not there yet.
    pub(crate) fn create<R: Record>(
        self,
        records: &Records,
        record: &R,
        value: &R::Value,
    ) -> Result<Self, CallError> {
        self.replace(records, record, None, value)
    }

    /// Takes a record away, if it is as it was read.
    pub(crate) fn remove(self, read: &Entry) -> Self {
        let mut this = self.unchanged(read);
        this.deletes.push(read.key.clone());
        this
    }

    fn put<R: Record>(
        mut self,
        records: &Records,
        record: &R,
        value: &R::Value,
    ) -> Result<Self, CallError> {
        let value = keys::encode(record, value)?;
        self.writes.push((records.key(record), value));
        Ok(self)
    }

    /// That no mutation at all was made since the head of the audit log was read. For plans that depend on what is not
    /// there, which no transaction can compare.
    pub(crate) fn alone_since(mut self, records: &Records, head: Option<&Entry>) -> Self {
        let key = records.key(&AuditHeadKey {});
        self.expects.push((key, Expect::unchanged(head)));
        self.alone = true;
        self
    }

    pub(super) fn add_to(&self, txn: Txn) -> Txn {
        let txn = self
            .expects
            .iter()
            .fold(txn, |txn, (key, expect)| txn.expect(key.clone(), *expect));
        let txn = self
            .writes
            .iter()
            .fold(txn, |txn, (key, value)| txn.put(key.clone(), value.clone()));
        self.deletes
            .iter()
            .fold(txn, |txn, key| txn.delete(key.clone()))
    }
}

/// A value for the audit log.
pub(crate) fn summary(value: &impl Serialize) -> Value {
    // What cannot be written as JSON could not be stored either, which is found out where it is stored.
    serde_json::to_value(value).unwrap_or_default()
}
