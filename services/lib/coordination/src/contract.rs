//! What every store must do, as functions for the tests of each. They use keys under a scratch prefix only, so that they
//! can share a store. A broken promise panics.

mod leases;
mod watches;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::join_all;

use crate::{
    Changes, Entry, Event, Expect, Key, MAX_BYTES, MAX_OPERATIONS, MetaStore, Order, Prefix,
    Revision, StoreError, Txn, Watch,
};

pub use leases::{
    a_lease_can_be_revoked, a_lost_lease_is_refused, leases_are_kept_alive, leases_expire,
    the_last_put_binds_a_key,
};
pub use watches::{compaction_is_reported, watchers_agree, watches_miss_nothing, watches_resume};

/// Longer than any answer takes, on any machine.
const PATIENCE: Duration = Duration::from_secs(20);

fn key(scratch: &Prefix, name: &str) -> Key {
    Key::new(format!("{scratch}{name}"))
}

async fn put(store: &dyn MetaStore, key: &Key, value: &str) -> Revision {
    let txn = Txn::new().put(key.clone(), value.to_owned());
    store
        .commit(txn)
        .await
        .expect("an unconditional put succeeds")
}

async fn get(store: &dyn MetaStore, key: &Key) -> Option<Entry> {
    store.get(key).await.expect("a key can be read")
}

async fn next(watch: &mut Watch) -> Result<Changes, StoreError> {
    tokio::time::timeout(PATIENCE, watch.next())
        .await
        .expect("a watch answers in time")
        .expect("a watch does not end by itself")
}

/// Entries hold what was written, and their revisions say when.
pub async fn revisions_grow(store: &dyn MetaStore, scratch: &Prefix) {
    let (a, b) = (key(scratch, "a"), key(scratch, "b"));
    assert_eq!(get(store, &a).await, None);
    let created = put(store, &a, "1").await;
    let other = put(store, &b, "1").await;
    let written = put(store, &a, "2").await;
    assert!(created < other && other < written);
    let entry = get(store, &a).await.expect("the key exists");
    assert_eq!(entry.value, "2");
    assert_eq!(
        (entry.create_revision, entry.mod_revision),
        (created, written)
    );

    let deleted = store
        .commit(Txn::new().delete(a.clone()))
        .await
        .expect("a deletion succeeds");
    assert!(deleted > written);
    assert_eq!(get(store, &a).await, None);
    let recreated = put(store, &a, "3").await;
    let entry = get(store, &a).await.expect("the key exists again");
    assert_eq!(
        (entry.create_revision, entry.mod_revision),
        (recreated, recreated)
    );

    let listing = store.list(scratch).await.expect("a prefix can be listed");
    let keys: Vec<_> = listing.entries.iter().map(|entry| &entry.key).collect();
    assert_eq!(keys, [&a, &b]);
    assert!(listing.revision >= recreated);
}

/// A prefix has its own keys and no others.
pub async fn lists_are_exact(store: &dyn MetaStore, scratch: &Prefix) {
    for name in ["a", "a/1", "a/2", "a0", "b"] {
        put(store, &key(scratch, name), name).await;
    }
    let listing = store
        .list(&Prefix::new(format!("{scratch}a/")))
        .await
        .expect("a prefix can be listed");
    let values: Vec<_> = listing
        .entries
        .iter()
        .map(|entry| entry.value.clone())
        .collect();
    assert_eq!(values, ["a/1", "a/2"]);
    let nothing = store
        .list(&key_prefix(scratch, "c"))
        .await
        .expect("an empty prefix can be listed");
    assert!(nothing.entries.is_empty());
}

fn key_prefix(scratch: &Prefix, name: &str) -> Prefix {
    Prefix::new(format!("{scratch}{name}"))
}

/// A transaction is made as a whole or not at all, and a conflict names the winner.
pub async fn transactions_are_atomic(store: &dyn MetaStore, scratch: &Prefix) {
    let (a, b) = (key(scratch, "a"), key(scratch, "b"));
    let both = Txn::new()
        .expect(a.clone(), Expect::Absent)
        .expect(b.clone(), Expect::Absent)
        .put(a.clone(), "1")
        .put(b.clone(), "1");
    let first = store
        .commit(both.clone())
        .await
        .expect("nothing stands against it");
    for entry in [get(store, &a).await, get(store, &b).await] {
        assert_eq!(
            entry.map(|entry| entry.mod_revision),
            Some(first),
            "one transaction has one revision"
        );
    }

    let Err(StoreError::Conflict(conflict)) = store.commit(both).await else {
        panic!("the keys exist, and must not be created again");
    };
    assert_eq!(
        (conflict.key, conflict.expected),
        (a.clone(), Expect::Absent)
    );
    assert_eq!(conflict.found, get(store, &a).await);

    let second = put(store, &b, "2").await;
    let stale = Txn::new()
        .expect(a.clone(), Expect::WrittenAt(first))
        .expect(b.clone(), Expect::WrittenAt(first))
        .put(a.clone(), "lost")
        .delete(b.clone());
    let Err(StoreError::Conflict(conflict)) = store.commit(stale).await else {
        panic!("the second key has changed");
    };
    assert_eq!(conflict.key, b);
    assert_eq!(conflict.found.map(|entry| entry.mod_revision), Some(second));
    assert_eq!(
        get(store, &a).await.map(|entry| entry.value),
        Some("1".into())
    );

    let gone = Txn::new()
        .expect(key(scratch, "c"), Expect::WrittenAt(first))
        .put(a, "lost");
    let Err(StoreError::Conflict(conflict)) = store.commit(gone).await else {
        panic!("the expected key does not exist");
    };
    assert_eq!(conflict.found, None);
}

/// What changes nothing takes no revision.
pub async fn nothing_done_takes_no_revision(store: &dyn MetaStore, scratch: &Prefix) {
    put(store, &key(scratch, "a"), "1").await;
    let before = store
        .list(scratch)
        .await
        .expect("a prefix can be listed")
        .revision;
    let same = store
        .commit(Txn::new().delete(key(scratch, "b")))
        .await
        .expect("deleting nothing succeeds");
    assert!(same >= before);
    let unchanged = store.list(scratch).await.expect("a prefix can be listed");
    assert!(
        unchanged
            .entries
            .iter()
            .all(|entry| entry.mod_revision <= before)
    );
}

/// Of 64 that race for a key, one wins, each time.
pub async fn one_racer_wins(store: &dyn MetaStore, scratch: &Prefix) {
    let contended = key(scratch, "contended");
    let mut expected = Expect::Absent;
    for _ in 0..3 {
        let race = (0..64).map(|racer| {
            let txn = Txn::new()
                .expect(contended.clone(), expected)
                .put(contended.clone(), format!("racer {racer}"));
            async move { (racer, store.commit(txn).await) }
        });
        let mut winners = Vec::new();
        let mut winners_seen = BTreeSet::new();
        for (racer, outcome) in join_all(race).await {
            match outcome {
                Ok(revision) => winners.push((racer, revision)),
                Err(StoreError::Conflict(conflict)) => {
                    winners_seen.insert(conflict.found.map(|entry| entry.mod_revision));
                }
                Err(error) => panic!("a racer neither won nor lost: {error}"),
            }
        }
        let [(winner, revision)] = winners[..] else {
            panic!("{} racers won", winners.len());
        };
        assert_eq!(
            winners_seen,
            BTreeSet::from([Some(revision)]),
            "all losers are told of the winner"
        );
        let entry = get(store, &contended).await.expect("somebody won");
        assert_eq!(entry.value, format!("racer {winner}"));
        expected = Expect::WrittenAt(revision);
    }
}

/// Values and transactions over the limits are refused, name the key or the number, and write nothing.
pub async fn limits_hold(store: &dyn MetaStore, scratch: &Prefix) {
    let (big, other) = (key(scratch, "big"), key(scratch, "other"));
    let too_large = Txn::new()
        .put(other.clone(), "1")
        .put(big.clone(), vec![0; MAX_BYTES + 1]);
    let error = store
        .commit(too_large)
        .await
        .expect_err("the value is too large");
    assert!(
        matches!(&error, StoreError::ValueTooLarge { key, .. } if *key == big),
        "{error}"
    );
    let together = Txn::new()
        .put(other.clone(), vec![0; MAX_BYTES / 2])
        .put(big.clone(), vec![0; MAX_BYTES / 2]);
    let error = store
        .commit(together)
        .await
        .expect_err("the values together are too large");
    assert!(
        matches!(error, StoreError::TransactionTooLarge { .. }),
        "{error}"
    );

    let many = |count: usize| {
        (0..count).fold(Txn::new(), |txn, n| {
            txn.put(key(scratch, &format!("many/{n:03}")), "1")
        })
    };
    let error = store
        .commit(many(MAX_OPERATIONS + 1))
        .await
        .expect_err("there are too many operations");
    assert!(
        matches!(error, StoreError::TooManyOperations { operations } if operations == MAX_OPERATIONS + 1)
    );
    let twice = Txn::new().put(other.clone(), "1").delete(other.clone());
    let error = store
        .commit(twice)
        .await
        .expect_err("a key is written twice");
    assert!(
        matches!(&error, StoreError::WrittenTwice { key } if *key == other),
        "{error}"
    );
    assert!(
        store
            .list(scratch)
            .await
            .expect("a prefix can be listed")
            .entries
            .is_empty()
    );

    store
        .commit(many(MAX_OPERATIONS))
        .await
        .expect("as many as are allowed");
    let largest = MAX_BYTES - big.as_str().len();
    store
        .commit(Txn::new().put(big.clone(), vec![7; largest]))
        .await
        .expect("as large as is allowed");
    assert_eq!(
        get(store, &big).await.map(|entry| entry.value.len()),
        Some(largest)
    );
}

/// A leader's epoch: holds while the key is rewritten, and never again after it was deleted.
pub async fn epochs_fence(store: &dyn MetaStore, scratch: &Prefix) {
    let (leader, a) = (key(scratch, "leader"), key(scratch, "a"));
    let fenced = |epoch, value: &str| {
        Txn::new()
            .expect(leader.clone(), Expect::CreatedAt(epoch))
            .put(a.clone(), value.to_owned())
    };
    let epoch = put(store, &leader, "first").await;
    let rewritten = put(store, &leader, "first, again").await;
    store
        .commit(fenced(epoch, "1"))
        .await
        .expect("rewriting a key does not end its epoch");
    let error = store.commit(fenced(rewritten, "2")).await;
    assert!(
        matches!(error, Err(StoreError::Conflict(_))),
        "a rewrite begins no epoch"
    );

    store
        .commit(Txn::new().delete(leader.clone()))
        .await
        .expect("a deletion succeeds");
    let Err(StoreError::Conflict(conflict)) = store.commit(fenced(epoch, "3")).await else {
        panic!("the leader is gone");
    };
    assert_eq!((&conflict.key, conflict.found), (&leader, None));
    let next = put(store, &leader, "second").await;
    let Err(StoreError::Conflict(conflict)) = store.commit(fenced(epoch, "4")).await else {
        panic!("there is another leader");
    };
    let found = conflict.found.map(|entry| entry.create_revision);
    assert_eq!(found, Some(next));
    assert_eq!(
        get(store, &a).await.map(|entry| entry.value),
        Some("1".into())
    );
    store
        .commit(fenced(next, "5"))
        .await
        .expect("the new epoch holds");
}

/// Pages begin where the one before ended, in both orders, and together are the whole prefix.
pub async fn pages_are_whole(store: &dyn MetaStore, scratch: &Prefix) {
    let paged = key_prefix(scratch, "in/");
    put(store, &key(scratch, "before"), "").await;
    put(store, &key(scratch, "in0"), "").await;
    let keys: Vec<_> = ["1", "2", "3", "3/a", "4"]
        .map(|name| key(&paged, name))
        .into();
    for key in &keys {
        put(store, key, key.as_str()).await;
    }
    let page = async |after: Option<&Key>, order, limit| {
        let page = store.page(&paged, after, order, limit).await;
        let page = page.expect("a page can be read");
        let keys: Vec<_> = page.entries.into_iter().map(|entry| entry.key).collect();
        (keys, page.more)
    };
    let mut down = keys.clone();
    down.reverse();
    for (order, keys) in [(Order::Ascending, &keys), (Order::Descending, &down)] {
        assert_eq!(page(None, order, 9).await, (keys.clone(), false));
        assert_eq!(page(None, order, 5).await, (keys.clone(), false));
        assert_eq!(page(None, order, 2).await, (keys[..2].to_vec(), true));
        assert_eq!(
            page(Some(&keys[1]), order, 2).await,
            (keys[2..4].to_vec(), true)
        );
        assert_eq!(
            page(Some(&keys[3]), order, 2).await,
            (keys[4..].to_vec(), false)
        );
        assert_eq!(page(Some(&keys[4]), order, 2).await, (vec![], false));
        assert_eq!(page(None, order, 0).await, (vec![], true));
    }
    // A key that is not there, inside the prefix and on either side of it.
    let inside = key(&paged, "2x");
    let (before, behind) = (key(scratch, "a"), key(scratch, "z"));
    for (after, up, down) in [(&inside, 2, 2), (&before, 0, 0), (&behind, 5, 5)] {
        let expected = keys[up..].to_vec();
        assert_eq!(
            page(Some(after), Order::Ascending, 9).await,
            (expected, false)
        );
        let mut expected = keys[..down].to_vec();
        expected.reverse();
        assert_eq!(
            page(Some(after), Order::Descending, 9).await,
            (expected, false)
        );
    }
}

/// A store is the same store each time, and says how far it has come.
pub async fn identity_is_stable(store: &dyn MetaStore, scratch: &Prefix) {
    let identity = async || store.identity().await.expect("a store says which it is");
    let before = identity().await;
    let written = put(store, &key(scratch, "a"), "1").await;
    let after = identity().await;
    assert_eq!(before.id, after.id);
    assert!(before.revision < written && written <= after.revision);
}

/// What was committed is there after the store was closed and opened again, and revisions go on from where they were.
pub async fn reopening_keeps_everything(
    scratch: &Prefix,
    open: impl AsyncFn() -> Arc<dyn MetaStore>,
) {
    let (a, b) = (key(scratch, "a"), key(scratch, "b"));
    let store = open().await;
    put(&*store, &a, "1").await;
    put(&*store, &b, "1").await;
    let deleted = store
        .commit(Txn::new().delete(b.clone()))
        .await
        .expect("a deletion succeeds");
    let before = store.list(scratch).await.expect("a prefix can be listed");
    drop(store);

    let store = open().await;
    assert_eq!(
        store.list(scratch).await.expect("a prefix can be listed"),
        before
    );
    let mut watch = store
        .watch(scratch, deleted)
        .await
        .expect("history is kept too");
    let changes = next(&mut watch).await.expect("history is kept too");
    assert_eq!(
        changes,
        Changes {
            revision: deleted,
            events: vec![Event::Delete(b.clone())]
        }
    );
    assert!(put(&*store, &b, "2").await > before.revision);
}
