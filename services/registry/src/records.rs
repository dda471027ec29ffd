//! Reading the store: typed records, one, all of a kind, or a page.

use std::sync::Arc;

use decant_coordination::keys::{self, ClusterKey, Record};
use decant_coordination::{
    Entry, FollowOptions, FollowStats, Key, Keyspace, MetaStore, Order, Prefix, View, follow_with,
};
use futures::Stream;

use crate::error::CallError;
use crate::paging::Paging;

/// The records of one cluster.
#[derive(Clone)]
pub(crate) struct Records {
    pub(crate) store: Arc<dyn MetaStore>,
    pub(crate) keyspace: Keyspace,
    /// How well the store's watches tell.
    pub(crate) watched: FollowStats,
}

/// A record, and the entry that it was read from, for transactions that depend on it.
pub(crate) struct Found<R: Record> {
    pub(crate) entry: Entry,
    pub(crate) value: R::Value,
}

/// Some records, and where to go on.
pub(crate) struct PageOf<T> {
    pub(crate) items: Vec<T>,
    pub(crate) next_page_token: String,
}

impl Records {
    pub(crate) fn key<R: Record>(&self, record: &R) -> Key {
        self.keyspace.key(record)
    }

    /// The records of a prefix now and after each change, without end; see [`follow_with`].
    pub(crate) fn follow(&self, prefix: Prefix) -> impl Stream<Item = View> + Send + use<> {
        let options = FollowOptions {
            stats: self.watched.clone(),
            ..FollowOptions::default()
        };
        follow_with(Arc::clone(&self.store), prefix, options)
    }

    pub(crate) async fn get<R: Record>(&self, record: &R) -> Result<Option<Found<R>>, CallError> {
        let Some(entry) = self.store.get(&self.key(record)).await? else {
            return Ok(None);
        };
        let value = keys::value::<R>(&entry)?;
        Ok(Some(Found { entry, value }))
    }

    /// All records of a prefix, by key.
    pub(crate) async fn list<R: Record>(
        &self,
        prefix: &Prefix,
    ) -> Result<Vec<(R, Found<R>)>, CallError> {
        let listing = self.store.list(prefix).await?;
        listing
            .entries
            .into_iter()
            .map(|entry| self.found(entry))
            .collect()
    }

    /// A page of a prefix's records.
    pub(crate) async fn page<R: Record>(
        &self,
        prefix: &Prefix,
        order: Order,
        paging: &Paging,
    ) -> Result<PageOf<(R, Found<R>)>, CallError> {
        let page = self
            .store
            .page(prefix, paging.after.as_ref(), order, paging.size)
            .await?;
        let next_page_token = match page.entries.last() {
            Some(last) if page.more => Paging::token(prefix, &last.key),
            _ => String::new(),
        };
        let items = page.entries.into_iter().map(|entry| self.found(entry));
        Ok(PageOf {
            items: items.collect::<Result<_, _>>()?,
            next_page_token,
        })
    }

    pub(crate) fn found<R: Record>(&self, entry: Entry) -> Result<(R, Found<R>), CallError> {
        let (key, value) = self.keyspace.read::<R>(&entry)?;
        Ok((key, Found { entry, value }))
    }

    /// A key without the cluster's root, as it stands in exports.
    pub(crate) fn relative<'a>(&self, key: &'a Key) -> Option<&'a str> {
        let root = self.keyspace.everything();
        key.as_str().strip_prefix(root.as_str())
    }

    /// The opposite.
    pub(crate) fn absolute(&self, relative: &str) -> Key {
        Key::new(format!("{}{relative}", self.keyspace.everything()))
    }

    pub(crate) async fn cluster(&self) -> Result<Option<Found<ClusterKey>>, CallError> {
        self.get(&ClusterKey {}).await
    }
}
