//! Who may do what: principals, added and removed like everything else that changes.

mod adding;

use std::sync::Arc;

use decant_coordination::access::{self, Principals, table};
use decant_coordination::keys::{AccessKey, AccessRecord, AuditHeadKey};
use decant_model::PrincipalName;
use decant_model::access::Access as Known;
use futures::future::ready;
use futures::{Stream, StreamExt as _, stream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::clock::now_millis;
use crate::cluster::Cluster;
use crate::error::CallError;
use crate::ledger::{Ask, Ledger, Plan, Planned, summary};
use crate::records::Records;

pub(crate) use adding::Adding;

/// The principals of one cluster. Clones share them.
#[derive(Clone)]
pub(crate) struct Access {
    records: Records,
    ledger: Ledger,
    cluster: Cluster,
    /// None until the store has answered.
    known: watch::Receiver<Option<Arc<Principals>>>,
}

impl Access {
    /// The principals, and the future that follows them until it is told to stop.
    pub(crate) fn new(
        records: Records,
        ledger: Ledger,
        cluster: Cluster,
        stop: CancellationToken,
    ) -> (
        Self,
        impl Future<Output = Result<(), String>> + Send + 'static,
    ) {
        let (sender, known) = watch::channel(None);
        let (store, keyspace) = (Arc::clone(&records.store), records.keyspace.clone());
        let following = access::observe(store, keyspace, stop, move |principals| {
            sender.send_replace(Some(Arc::new(principals)));
        });
        let this = Self {
            records,
            ledger,
            cluster,
            known,
        };
        (this, following)
    }

    /// Adds a principal; the same again is fine.
    pub(crate) async fn add(
        &self,
        ask: &Ask,
        adding: &Adding,
        dry_run: bool,
    ) -> Result<AccessRecord, CallError> {
        if dry_run {
            return Ok(self.plan_add(ask, adding).await?.answer());
        }
        self.ledger
            .mutate(ask, |_| self.plan_add(ask, adding))
            .await
    }

    async fn plan_add(
        &self,
        ask: &Ask,
        adding: &Adding,
    ) -> Result<Planned<AccessRecord>, CallError> {
        self.cluster.check().await?;
        // Read first: whoever takes the name or a credential in the meantime moves it.
        let head = self.records.get(&AuditHeadKey {}).await?;
        for (name, record) in self.all().await? {
            if name == adding.name {
                return adding.same(record).map(Planned::Nothing);
            }
            adding.check_apart(&name, &record)?;
        }
        let key = AccessKey {
            name: adding.name.clone(),
        };
        let record = AccessRecord {
            created_at_millis: now_millis(),
            issued_by: ask.actor.clone(),
            ..adding.record.clone()
        };
        let head = head.as_ref().map(|head| &head.entry);
        let plan = Plan::new("access.add", subject(&key.name), record.clone())
            .after(summary(&record))
            .create(&self.records, &key, &record)?
            .alone_since(&self.records, head);
        Ok(Planned::Do(plan))
    }

    /// Removes a principal, and returns what it was.
    pub(crate) async fn remove(
        &self,
        ask: &Ask,
        name: &PrincipalName,
    ) -> Result<AccessRecord, CallError> {
        self.ledger.mutate(ask, |_| self.plan_removal(name)).await
    }

    async fn plan_removal(&self, name: &PrincipalName) -> Result<Planned<AccessRecord>, CallError> {
        self.cluster.check().await?;
        let key = AccessKey { name: name.clone() };
        let found = self.records.get(&key).await?;
        let found = found.ok_or_else(|| CallError::UnknownPrincipal(name.clone()))?;
        let plan = Plan::new("access.remove", subject(name), found.value.clone())
            .before(summary(&found.value))
            .remove(&found.entry);
        Ok(Planned::Do(plan))
    }

    /// All principals, by name.
    pub(crate) async fn all(&self) -> Result<Principals, CallError> {
        let prefix = self.records.keyspace.all::<AccessKey>();
        let found = self.records.list::<AccessKey>(&prefix).await?;
        let principals = found
            .into_iter()
            .map(|(key, found)| (key.name, found.value));
        Ok(principals.collect())
    }

    /// The table by which callers are known, now and after each change: the principals and the fixed grants; before the store
    /// has answered, those alone.
    pub(crate) fn follow(
        &self,
        fixed: Known,
        stop: CancellationToken,
    ) -> (
        watch::Receiver<Arc<Known>>,
        impl Future<Output = Result<(), String>> + Send + use<>,
    ) {
        let (sender, receiver) = watch::channel(Arc::new(fixed.clone()));
        let principals = self.watch();
        let following = async move {
            let tables = principals.for_each(|principals| {
                sender.send_replace(Arc::new(table(&fixed, &principals)));
                ready(())
            });
            // The principals end only with those who follow them.
            stop.run_until_cancelled(tables).await;
            Ok(())
        };
        (receiver, following)
    }

    /// All principals, now and after each change.
    pub(crate) fn watch(&self) -> impl Stream<Item = Arc<Principals>> + Send + use<> {
        let mut known = self.known.clone();
        known.mark_changed();
        stream::unfold(known, |mut known| async move {
            loop {
                known.changed().await.ok()?;
                let now = known.borrow_and_update().clone();
                if let Some(now) = now {
                    return Some((now, known));
                }
            }
        })
    }
}

/// A principal in an audit entry: no model has such a name.
fn subject(name: &PrincipalName) -> String {
    format!("access:{name}")
}
