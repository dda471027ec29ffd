//! Transactions as etcd writes them: comparisons, the writes, and what to read when a comparison does not hold.

use etcd_client::{Compare, CompareOp, PutOptions, TxnOp, TxnOpResponse, TxnResponse};

use super::answer;
use crate::{Conflict, Expect, LeaseId, Revision, StoreError, Txn, Write};

pub(super) const ACTION: &str = "commit a transaction";

pub(super) fn request(txn: &Txn) -> etcd_client::Txn {
    let compares: Vec<_> = txn
        .expected
        .iter()
        .map(|(key, expect)| {
            let key = key.as_str();
            match expect {
                Expect::Absent => Compare::create_revision(key, CompareOp::Equal, 0),
                Expect::WrittenAt(revision) => {
                    Compare::mod_revision(key, CompareOp::Equal, of_a_key(*revision))
                }
                Expect::CreatedAt(revision) => {
                    Compare::create_revision(key, CompareOp::Equal, of_a_key(*revision))
                }
            }
        })
        .collect();
    let writes: Vec<_> = txn
        .writes
        .iter()
        .map(|write| match write {
            Write::Put(key, value, lease) => {
                let options = lease.map(|LeaseId(lease)| PutOptions::new().with_lease(lease));
                TxnOp::put(key.as_str(), value.as_ref(), options)
            }
            Write::Delete(key) => TxnOp::delete(key.as_str(), None),
        })
        .collect();
    let reads: Vec<_> = txn
        .expected
        .iter()
        .map(|(key, _)| TxnOp::get(key.as_str(), None))
        .collect();
    etcd_client::Txn::new()
        .when(compares)
        .and_then(writes)
        .or_else(reads)
}

/// For etcd, a key that does not exist has revision 0; for us, no key has.
fn of_a_key(revision: Revision) -> i64 {
    match revision {
        Revision(0) => -1,
        revision => answer::number(revision),
    }
}

/// The first key that is not as the transaction expected.
pub(super) fn conflict(txn: Txn, response: &TxnResponse) -> Result<Conflict, StoreError> {
    for ((key, expected), read) in txn.expected.into_iter().zip(response.op_responses()) {
        let TxnOpResponse::Get(mut read) = read else {
            break;
        };
        let found = answer::entries(ACTION, read.take_kvs())?.pop();
        if !expected.holds(found.as_ref()) {
            return Ok(Conflict {
                key,
                expected,
                found,
            });
        }
    }
    Err(StoreError::failed(ACTION)(
        "it was refused, but all that it expects holds",
    ))
}
