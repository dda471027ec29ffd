use std::sync::Mutex;

use async_trait::async_trait;
use tempfile::TempDir;

use super::*;
use crate::{EmbeddedStore, Lease, LeaseId, Listing, Options, Order, Page, StoreIdentity, Txn};

/// A store that fails when told to.
struct Flaky {
    store: EmbeddedStore,
    lists_to_fail: Mutex<u32>,
    /// Watches begun from now on end with this error after so many changes.
    cut_after: Mutex<Option<usize>>,
}

#[async_trait]
impl MetaStore for Flaky {
    async fn get(&self, key: &Key) -> Result<Option<Entry>, StoreError> {
        self.store.get(key).await
    }

    async fn list(&self, prefix: &Prefix) -> Result<Listing, StoreError> {
        let fails = {
            let mut left = self.lists_to_fail.lock().unwrap();
            let fails = *left > 0;
            *left = left.saturating_sub(1);
            fails
        };
        if fails {
            Err(StoreError::failed("list")("no quorum"))
        } else {
            self.store.list(prefix).await
        }
    }

    async fn page(
        &self,
        prefix: &Prefix,
        after: Option<&Key>,
        order: Order,
        limit: usize,
    ) -> Result<Page, StoreError> {
        self.store.page(prefix, after, order, limit).await
    }

    async fn identity(&self) -> Result<StoreIdentity, StoreError> {
        self.store.identity().await
    }

    async fn grant(&self, ttl: Duration) -> Result<Lease, StoreError> {
        self.store.grant(ttl).await
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<Duration, StoreError> {
        self.store.keep_alive(lease).await
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), StoreError> {
        self.store.revoke(lease).await
    }

    async fn commit(&self, txn: Txn) -> Result<Revision, StoreError> {
        self.store.commit(txn).await
    }

    async fn watch(&self, prefix: &Prefix, from: Revision) -> Result<Watch, StoreError> {
        let cut_after = self.cut_after.lock().unwrap().take();
        let watch = self.store.watch(prefix, from).await?;
        Ok(match cut_after {
            None => watch,
            Some(count) => {
                let cut = stream::once(async {
                    Err(StoreError::failed("watch")("the connection was cut"))
                });
                watch.take(count).chain(cut).boxed()
            }
        })
    }
}

fn flaky(lists_to_fail: u32, cut_after: Option<usize>) -> (TempDir, Arc<Flaky>) {
    let folder = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open_with(
        &folder.path().join("store.redb"),
        Options { held_revisions: 3 },
    )
    .unwrap();
    let flaky = Flaky {
        store,
        lists_to_fail: Mutex::new(lists_to_fail),
        cut_after: Mutex::new(cut_after),
    };
    (folder, Arc::new(flaky))
}

async fn put(store: &Flaky, name: &str, value: &str) -> Revision {
    store
        .commit(Txn::new().put(Key::new(format!("/followed/{name}")), value.to_owned()))
        .await
        .unwrap()
}

fn values(view: &View) -> Vec<String> {
    view.entries
        .values()
        .map(|entry| String::from_utf8(entry.value.to_vec()).unwrap())
        .collect()
}

fn begin(store: &Arc<Flaky>) -> impl Stream<Item = View> + Unpin {
    Box::pin(follow(
        Arc::clone(store) as Arc<dyn MetaStore>,
        Prefix::new("/followed/"),
    ))
}

#[tokio::test]
async fn a_view_shows_each_transaction() {
    let (_folder, store) = flaky(0, None);
    let mut views = begin(&store);
    assert_eq!(values(&views.next().await.unwrap()), [""; 0]);
    let first = put(&store, "a", "1").await;
    put(&store, "b", "2").await;
    store
        .commit(Txn::new().delete(Key::new("/followed/a")))
        .await
        .unwrap();
    let view = views.next().await.unwrap();
    assert_eq!(
        (view.revision, values(&view)),
        (first, vec!["1".to_owned()])
    );
    assert_eq!(values(&views.next().await.unwrap()), ["1", "2"]);
    assert_eq!(values(&views.next().await.unwrap()), ["2"]);
    assert_eq!(values(&view), ["1"], "a view that is held does not change");
}

#[tokio::test]
async fn a_cut_watch_and_a_failing_list_are_healed() {
    let (_folder, store) = flaky(2, Some(1));
    let mut views = begin(&store);
    views.next().await.unwrap();
    put(&store, "a", "1").await;
    assert_eq!(values(&views.next().await.unwrap()), ["1"]);
    *store.lists_to_fail.lock().unwrap() = 2;
    // The watch is cut before this change can be read from it.
    put(&store, "a", "2").await;
    assert_eq!(values(&views.next().await.unwrap()), ["2"]);
}

#[tokio::test]
async fn a_reader_that_fell_behind_gets_the_outcome() {
    let (_folder, store) = flaky(0, None);
    let mut views = begin(&store);
    views.next().await.unwrap();
    for n in 0..10 {
        put(&store, "a", &n.to_string()).await;
    }
    let view = views.next().await.unwrap();
    assert_eq!(
        (view.revision, values(&view)),
        (Revision(10), vec!["9".to_owned()])
    );
}
