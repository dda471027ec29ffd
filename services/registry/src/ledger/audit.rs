//! Reading the audit log, and checking its chain.

use decant_coordination::keys::{self, AuditHeadKey, AuditKey, AuditRecord};
use decant_coordination::{Entry, Order};
use decant_model::Digest;

use crate::error::CallError;
use crate::paging::Paging;
use crate::records::{PageOf, Records};

/// Entries read at once.
const BATCH: usize = 256;
/// Entries that one call looks through for those of one subject.
const MOST_LOOKED_AT: usize = 4096;

/// An entry of the log.
pub(crate) struct Audited {
    pub(crate) number: u64,
    pub(crate) hash: Digest,
    pub(crate) record: AuditRecord,
}

/// What checking the log came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) entries: u64,
    pub(crate) head: Option<Digest>,
    /// The first entry that breaks the chain, and how.
    pub(crate) broken: Option<String>,
}

/// The log, the newest entry first; only a subject's entries, unless it is empty.
pub(crate) async fn list(
    records: &Records,
    subject: &str,
    size: u32,
    token: &str,
) -> Result<PageOf<Audited>, CallError> {
    let prefix = records.keyspace.all::<AuditKey>();
    let mut paging = Paging::of(&prefix, size, token)?;
    let wanted = paging.size;
    let (mut items, mut looked_at) = (Vec::new(), 0);
    loop {
        let page = records
            .page::<AuditKey>(&prefix, Order::Descending, &paging)
            .await?;
        looked_at += page.items.len();
        for (key, found) in page.items {
            paging.after = Some(found.entry.key.clone());
            if subject.is_empty() || found.value.subject == subject {
                items.push(Audited {
                    number: key.number,
                    hash: Digest::of(&found.entry.value),
                    record: found.value,
                });
                if items.len() == wanted {
                    break;
                }
            }
        }
        let is_over = page.next_page_token.is_empty();
        let is_full = items.len() == wanted || looked_at >= MOST_LOOKED_AT;
        if !is_over && !is_full {
            paging.size = BATCH;
            continue;
        }
        // The last entry looked at has a follower, unless it is the log's first.
        let last = paging.after.as_ref();
        let last = last.filter(|key| {
            let number = records.keyspace.parse::<AuditKey>(key);
            number.is_ok_and(|key| key.number > 1)
        });
        return Ok(PageOf {
            items,
            next_page_token: last.map_or_else(String::new, |key| Paging::token(&prefix, key)),
        });
    }
}

/// Reads the whole log and checks its chain; memory holds a page of it.
pub(crate) async fn verify(records: &Records) -> Result<Verdict, CallError> {
    // Read first: entries that come while the log is read lie behind it.
    let head = records.get(&AuditHeadKey {}).await?;
    let mut chain = Chain::default();
    let prefix = records.keyspace.all::<AuditKey>();
    let mut after = None;
    let broken = 'log: loop {
        let page = records
            .store
            .page(&prefix, after.as_ref(), Order::Ascending, BATCH)
            .await?;
        for entry in &page.entries {
            if let Err(how) = chain.add(records, entry) {
                break 'log Some(how);
            }
            if let Some(head) = &head
                && head.value.number == chain.number
                && head.value.hash != chain.hash
            {
                break 'log Some(format!(
                    "entry {} is not the one that the head of the log names",
                    chain.number
                ));
            }
        }
        after = page.entries.last().map(|last| last.key.clone());
        if !page.more {
            break None;
        }
    };
    let promised = head.map_or(0, |head| head.value.number);
    let cut = || {
        (chain.number < promised).then(|| {
            format!(
                "entry {} is missing, but the head of the log is at {promised}",
                chain.number + 1
            )
        })
    };
    Ok(Verdict {
        entries: chain.number,
        head: chain.hash,
        broken: broken.or_else(cut),
    })
}

/// The chain as far as it was read.
#[derive(Default)]
struct Chain {
    number: u64,
    hash: Option<Digest>,
}

impl Chain {
    fn add(&mut self, records: &Records, entry: &Entry) -> Result<(), String> {
        let expected = self.number + 1;
        let number = match records.keyspace.parse::<AuditKey>(&entry.key) {
            Ok(key) => key.number,
            Err(error) => return Err(error.to_string()),
        };
        if number != expected {
            return Err(format!("entry {expected} is missing"));
        }
        let record = keys::value::<AuditKey>(entry)
            .map_err(|error| format!("entry {number} cannot be read: {error}"))?;
        if record.previous != self.hash {
            let words = |hash: Option<Digest>| {
                hash.map_or_else(|| "none".to_owned(), |hash| hash.to_string())
            };
            return Err(format!(
                "entry {number} says that the hash of the entry before is {}, but it is {}: one of the two was changed",
                words(record.previous),
                words(self.hash)
            ));
        }
        *self = Self {
            number,
            hash: Some(Digest::of(&entry.value)),
        };
        Ok(())
    }
}
