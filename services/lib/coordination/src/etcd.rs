//! The store of a cluster: etcd, 3.4 or later.

mod config;
mod endpoints;
mod fault;
mod answer;
mod transaction;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use etcd_client::{Client, Error, GetOptions, GetResponse, KvClient, SortOrder, SortTarget};
use futures::StreamExt;

pub use self::config::{EtcdConfig, EtcdConfigError, TlsConfig};
use self::endpoints::{Endpoints, Repeat};
use self::fault::Fault;
use self::watch::Cancelled;
use crate::{
    Entry, Key, Lease, LeaseId, Listing, MAX_BYTES, MetaStore, Order, Page, Prefix, Revision,
    StoreCondition, StoreError, StoreIdentity, Txn, Watch, Write,
};

/// Entries that are read at once. A listing of more is put together from several answers of one revision.
const PAGE: usize = 256;
/// A page of the largest values that there can be.
const MAX_MESSAGE_BYTES: usize = (PAGE + 1) * 2 * MAX_BYTES;
/// Read to learn which cluster answers. Nothing is stored there, and whoever may use Decant's keys may read it.
const ROOT: &str = "/decant/";

/// A store in etcd. Clones share it.
///
/// Reads are linearizable. What does no harm twice is asked of one member after the other until one answers; a transaction
/// of which nobody knows what became of it is not made again, but fails with [`StoreError::Unavailable`].
#[derive(Clone)]
pub struct EtcdStore {
    endpoints: Arc<Endpoints>,
    watch_idle: Duration,
}

impl EtcdStore {
    /// A store that connects when it is first used. Reads the files that the configuration names.
    ///
    /// # Errors
    /// Names the key of the configuration that is wrong, and the reason.
    pub fn new(config: &EtcdConfig) -> Result<Self, EtcdConfigError> {
        config.check()?;
        Ok(Self {
            endpoints: Arc::new(Endpoints::new(config)?),
            watch_idle: config.watch_idle(),
        })
    }

    /// A store of which at least one member has answered.
    ///
    /// # Errors
    /// When the configuration is wrong, the user is refused, or no member answers: names them and their reasons.
    pub async fn connect(config: &EtcdConfig) -> Result<Self, StoreError> {
        let store = Self::new(config).map_err(StoreError::failed("read etcd's configuration"))?;
        store.root("connect").await?;
        Ok(store)
    }

    /// Makes a call that does no harm twice.
    async fn call<T, F, Fut>(&self, action: &'static str, call: F) -> Result<T, StoreError>
    where
        F: Fn(Client) -> Fut,
        Fut: Future<Output = Result<T, Error>>,
    {
        self.endpoints
            .call(Repeat::Harmless, call)
            .await
            .map_err(|fault| fault.into_error(action))
    }

    async fn root(&self, action: &'static str) -> Result<GetResponse, StoreError> {
        let options = GetOptions::new().with_count_only();
        self.call(action, |client| read(client, ROOT.into(), options.clone()))
            .await
    }

    /// Reads a prefix page by page, at the revision of the first one; `None` when that is forgotten meanwhile.
    async fn try_list(&self, prefix: &Prefix) -> Result<Option<Listing>, StoreError> {
        const ACTION: &str = "list keys";
        let mut listing = Listing {
            entries: Vec::new(),
            revision: Revision::default(),
        };
        let end = end_of(prefix);
        let mut start = start_of(prefix);
        loop {
            let options = GetOptions::new()
                .with_range(end.clone())
                .with_limit(PAGE as i64)
                .with_revision(answer::number(listing.revision));
            let read = self
                .endpoints
                .call(Repeat::Harmless, |client| {
                    read(client, start.clone(), options.clone())
                })
                .await;
            let mut page = match read {
                Ok(page) => page,
                Err(Fault::Compacted) => return Ok(None),
                Err(fault) => return Err(fault.into_error(ACTION)),
            };
            if listing.revision == Revision::default() {
                let header = answer::header(ACTION, page.header())?;
                listing.revision = answer::revision(header.revision());
            }
            let more = page.more();
            listing
                .entries
                .extend(answer::entries(ACTION, page.take_kvs())?);
            match listing.entries.last() {
                Some(last) if more => start = behind(&last.key),
                _ => return Ok(Some(listing)),
            }
        }
    }

    /// Which of a transaction's leases etcd meant when it said that one is gone.
    async fn first_lost(&self, txn: &Txn) -> Result<LeaseId, StoreError> {
        const ACTION: &str = "look for a lease";
        let leases = txn.writes.iter().filter_map(|write| match write {
            Write::Put(_, _, lease) => *lease,
            Write::Delete(_) => None,
        });
        let mut first = None;
        for lease in leases {
            let answer = self
                .call(ACTION, |mut client| async move {
                    client.lease_time_to_live(lease.0, None).await
                })
                .await?;
            if answer.ttl() <= 0 {
                return Ok(lease);
            }
            first = first.or(Some(lease));
        }
        first.ok_or_else(|| StoreError::failed(ACTION)("the transaction has none"))
    }
}

fn kv(client: &Client) -> KvClient {
    client
        .kv_client()
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
}

async fn read(client: Client, key: String, options: GetOptions) -> Result<GetResponse, Error> {
    kv(&client).get(key, Some(options)).await
}

/// The first key behind a prefix's keys.
fn end_of(prefix: &Prefix) -> Vec<u8> {
    let mut end = prefix.as_str().as_bytes().to_vec();
    match end.last_mut() {
        // Text has no byte 255.
        Some(last) => *last += 1,
        None => end.push(u8::MAX),
    }
    end
}

/// The first key that a prefix can have. For etcd, no key is empty.
fn start_of(prefix: &Prefix) -> String {
    prefix.as_str().to_owned().max("\0".to_owned())
}

/// The first key behind a key.
fn behind(key: &Key) -> String {
    format!("{key}\0")
}

#[async_trait]
impl MetaStore for EtcdStore {
    async fn get(&self, key: &Key) -> Result<Option<Entry>, StoreError> {
        const ACTION: &str = "read a key";
        let mut answer = self
            .call(ACTION, |client| {
                read(client, key.as_str().to_owned(), GetOptions::new())
            })
            .await?;
        Ok(answer::entries(ACTION, answer.take_kvs())?.pop())
    }

    async fn list(&self, prefix: &Prefix) -> Result<Listing, StoreError> {
        // Between two pages there is hardly time for one compaction, never for several.
        for _ in 0..3 {
            if let Some(listing) = self.try_list(prefix).await? {
                return Ok(listing);
            }
        }
        Err(StoreError::failed("list keys")(
            "etcd compacts faster than the prefix can be read",
        ))
    }

    async fn page(
        &self,
        prefix: &Prefix,
        after: Option<&Key>,
        order: Order,
        limit: usize,
    ) -> Result<Page, StoreError> {
        const ACTION: &str = "list a page of keys";
        let (mut start, mut end) = (start_of(prefix), end_of(prefix));
        let (sort, after) = match (order, after) {
            (Order::Ascending, after) => (SortOrder::Ascend, after),
            (Order::Descending, None) => (SortOrder::Descend, None),
            (Order::Descending, Some(after)) => {
                end = end.min(after.as_str().as_bytes().to_vec());
                (SortOrder::Descend, None)
            }
        };
        if let Some(after) = after {
            start = start.max(behind(after));
        }
        if start.as_bytes() >= &end[..] {
            return Ok(Page::default());
        }
        // For etcd, no limit is 0.
        let asked = i64::try_from(limit.max(1)).unwrap_or(i64::MAX);
        let options = GetOptions::new()
            .with_range(end)
            .with_limit(asked)
            .with_sort(SortTarget::Key, sort);
        let mut answer = self
            .call(ACTION, |client| {
                read(client, start.clone(), options.clone())
            })
            .await?;
        let more = answer.more();
        let entries = answer::entries(ACTION, answer.take_kvs())?;
        if limit == 0 {
            return Ok(Page {
                more: !entries.is_empty(),
                entries: Vec::new(),
            });
        }
        Ok(Page { entries, more })
    }

    async fn commit(&self, txn: Txn) -> Result<Revision, StoreError> {
        txn.check()?;
        if txn.expected.is_empty() && txn.writes.is_empty() {
            return Ok(self.identity().await?.revision);
        }
        let request = transaction::request(&txn);
        let made = self
            .endpoints
            .call(Repeat::Harmful, |client| {
                let request = request.clone();
                async move { kv(&client).txn(request).await }
            })
            .await;
        let response = match made {
            Ok(response) => response,
            Err(Fault::NoLease) => {
                let lease = self.first_lost(&txn).await?;
                return Err(StoreError::LeaseLost { lease });
            }
            Err(fault) => return Err(fault.into_error(transaction::ACTION)),
        };
        if !response.succeeded() {
            let conflict = transaction::conflict(txn, &response)?;
            return Err(StoreError::Conflict(Box::new(conflict)));
        }
        let header = answer::header(transaction::ACTION, response.header())?;
        Ok(answer::revision(header.revision()))
    }

    async fn watch(&self, prefix: &Prefix, from: Revision) -> Result<Watch, StoreError> {
        let opened = self
            .call("watch", |client| watch::open(client, prefix.clone(), from))
            .await?;
        match opened {
            Ok(stream) => Ok(watch::changes(stream, from, self.watch_idle).boxed()),
            Err(Cancelled::Compacted(revision)) => Err(watch::compacted(from, revision)),
            Err(Cancelled::Refused(reason)) => Err(StoreError::Denied {
                action: "watch",
                reason,
            }),
        }
    }

    async fn identity(&self) -> Result<StoreIdentity, StoreError> {
        const ACTION: &str = "read the store's identity";
        let answer = self.root(ACTION).await?;
        let header = answer::header(ACTION, answer.header())?;
        Ok(StoreIdentity {
            id: header.cluster_id(),
            revision: answer::revision(header.revision()),
        })
    }

    async fn condition(&self) -> Result<StoreCondition, StoreError> {
        let status = self
            .call("read a member's status", |mut client| async move {
                client.status().await
            })
            .await?;
        Ok(StoreCondition {
            kind: "etcd",
            version: status.version().to_owned(),
            bytes: u64::try_from(status.db_size()).ok(),
            // A member that knows of none says 0.
            has_leader: Some(status.leader() != 0),
            errors: status.errors().to_vec(),
        })
    }

    async fn grant(&self, ttl: Duration) -> Result<Lease, StoreError> {
        // etcd counts whole seconds. One granted twice, since an answer was lost, expires by itself.
        let seconds = ttl.as_millis().div_ceil(1000).max(1);
        let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
        let granted = self
            .call("grant a lease", |mut client| async move {
                client.lease_grant(seconds, None).await
            })
            .await?;
        Ok(Lease {
            id: LeaseId(granted.id()),
            ttl: Duration::from_secs(granted.ttl().unsigned_abs()),
        })
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<Duration, StoreError> {
        const ACTION: &str = "keep a lease alive";
        let kept = self
            .endpoints
            .call(Repeat::Harmless, |mut client| async move {
                // The first answer says whether the lease lives, the second one how long.
                let (mut keeper, mut answers) = client.lease_keep_alive(lease.0).await?;
                keeper.keep_alive().await?;
                answers.message().await
            })
            .await;
        match kept {
            Ok(Some(answer)) if answer.ttl() > 0 => {
                Ok(Duration::from_secs(answer.ttl().unsigned_abs()))
            }
            Ok(Some(_)) | Err(Fault::NoLease) => Err(StoreError::LeaseLost { lease }),
            Ok(None) => Err(StoreError::Unavailable {
                action: ACTION,
                reason: "the member ended the stream".to_owned(),
            }),
            Err(fault) => Err(fault.into_error(ACTION)),
        }
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), StoreError> {
        const ACTION: &str = "revoke a lease";
        let revoked = self
            .endpoints
            .call(Repeat::Harmless, |mut client| async move {
                client.lease_revoke(lease.0).await
            })
            .await;
        match revoked {
            Ok(_) | Err(Fault::NoLease) => Ok(()),
            Err(fault) => Err(fault.into_error(ACTION)),
        }
    }
}
