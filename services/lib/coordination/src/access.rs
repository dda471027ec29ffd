//! Who may do what, as the store says, for services that ask callers who they are.
//!
//! While the store is away, what was known last stands. So it does when another store, or an older copy of this one, has come
//! in its place, until an operator says that it is the truth: in an older copy, whoever was removed since would be let in
//! again.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use decant_model::PrincipalName;
use decant_model::access::Access;
use futures::StreamExt;
use tokio_util::sync::CancellationToken;

use crate::keys::{AccessKey, AccessRecord, ClusterKey, ClusterRecord};
use crate::{Keyspace, MetaStore, Prefix, StoreError, View, follow as follow_prefix};

/// Between two looks at whether an operator has adopted a store that came in another's place.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Everybody whom the store knows.
pub type Principals = BTreeMap<PrincipalName, AccessRecord>;

/// Tells everybody whom the store knows, now and after each change, until it is told to stop.
///
/// # Errors
/// Never while the store's views go on, which have no end.
pub async fn observe(
    store: Arc<dyn MetaStore>,
    keyspace: Keyspace,
    stop: CancellationToken,
    tell: impl FnMut(Principals) + Send,
) -> Result<(), String> {
    let follower = Follower {
        store,
        keyspace,
        cluster: None,
        principals: None,
        tell,
    };
    tokio::select! {
        () = stop.cancelled() => Ok(()),
        ended = follower.run() => ended,
    }
}

/// The table of these principals and of the fixed grants. Those come first: whoever can change the store must not be able to
/// take a credential away from who is to mend it.
pub fn table(fixed: &Access, principals: &Principals) -> Access {
    let mut access = Access::default();
    for (name, record) in principals {
        let identities = record.identities.iter().cloned();
        access.insert(record.principal(name), record.token_sha256, identities);
    }
    access.extend(fixed);
    access
}

struct Follower<T> {
    store: Arc<dyn MetaStore>,
    keyspace: Keyspace,
    /// Which cluster the store was of when it was believed last.
    cluster: Option<ClusterRecord>,
    /// Who was told last.
    principals: Option<Principals>,
    tell: T,
}

impl<T: FnMut(Principals) + Send> Follower<T> {
    async fn run(mut self) -> Result<(), String> {
        loop {
            self.follow_one_store().await?;
            tracing::error!(
                "another store is in the place of the one that says who may do what: what was known stands until it is adopted"
            );
            self.adopted().await;
            tracing::warn!("the store was adopted, and says again who may do what");
        }
    }

    /// Until another store, or an older copy of this one, has come in its place.
    async fn follow_one_store(&mut self) -> Result<(), String> {
        let cluster = Prefix::new(self.keyspace.key(&ClusterKey {}).as_str());
        let principals = self.keyspace.all::<AccessKey>();
        let follow = |prefix| follow_prefix(Arc::clone(&self.store), prefix);
        let (mut clusters, mut views) = (pin!(follow(cluster)), pin!(follow(principals)));
        loop {
            tokio::select! {
                view = views.next() => {
                    let view = view.ok_or("the view of the principals ended")?;
                    if view.replaced.is_some() {
                        return Ok(());
                    }
                    self.take(&view);
                }
                view = clusters.next() => {
                    let view = view.ok_or("the view of the cluster ended")?;
                    if view.replaced.is_some() {
                        return Ok(());
                    }
                    let mut found = view.entries.values().map(|entry| self.keyspace.read::<ClusterKey>(entry));
                    if let Some(Ok((_, record))) = found.next() {
                        self.cluster = Some(record);
                    }
                }
            }
        }
    }

    fn take(&mut self, view: &View) {
        let principals = self.read(view);
        if self.principals.as_ref() != Some(&principals) {
            (self.tell)(principals.clone());
            self.principals = Some(principals);
        }
    }

    /// A principal that cannot be read may do nothing.
    fn read(&self, view: &View) -> Principals {
        let mut principals = Principals::new();
        for entry in view.entries.values() {
            match self.keyspace.read::<AccessKey>(entry) {
                Ok((AccessKey { name }, record)) => {
                    principals.insert(name, record);
                }
                Err(error) => tracing::error!(%error, "a principal cannot be read, and is refused"),
            }
        }
        principals
    }

    /// Waits until an operator has said that the store as it is now is the truth: the cluster's incarnation is above the one
    /// that was known; or it grew while it was looked at, as that of a copy does which is older than the last time.
    async fn adopted(&mut self) {
        let mut first_seen: Option<ClusterRecord> = None;
        loop {
            match look(&*self.store, &self.keyspace).await {
                Ok(Some(found)) => {
                    let grew = |before: &ClusterRecord| found.incarnation > before.incarnation;
                    let same = first_seen
                        .as_ref()
                        .filter(|before| before.uuid == found.uuid);
                    if self.cluster.as_ref().is_some_and(grew) || same.is_some_and(grew) {
                        return;
                    }
                    if same.is_none() {
                        first_seen = Some(found);
                    }
                }
                Ok(None) => {}
                Err(error) => tracing::debug!(%error, "cannot look whether the store was adopted"),
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}

async fn look(
    store: &dyn MetaStore,
    keyspace: &Keyspace,
) -> Result<Option<ClusterRecord>, StoreError> {
    let entry = store.get(&keyspace.key(&ClusterKey {})).await?;
    let read = entry.map(|entry| keyspace.read::<ClusterKey>(&entry));
    // One that cannot be read says nothing.
    Ok(read.and_then(Result::ok).map(|(_, record)| record))
}
