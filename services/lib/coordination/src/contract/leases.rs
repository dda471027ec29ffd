//! Leases: they live at least as long as was promised, and take their keys along when they go.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::{get, key, next, put};
use crate::{
    Changes, Event, Expect, Key, Lease, LeaseId, MetaStore, Prefix, Revision, StoreError, Txn,
};

/// As short as a store grants.
const TTL: Duration = Duration::from_secs(1);

async fn grant(store: &dyn MetaStore, ttl: Duration) -> Lease {
    let lease = store.grant(ttl).await.expect("a lease is granted");
    assert!(lease.ttl >= ttl, "{:?} is less than asked for", lease.ttl);
    lease
}

async fn put_leased(store: &dyn MetaStore, key: &Key, lease: LeaseId) -> Revision {
    store
        .commit(Txn::new().put_leased(key.clone(), "leased", lease))
        .await
        .expect("a key is bound to a lease that lives")
}

async fn revoke(store: &dyn MetaStore, lease: LeaseId) {
    store.revoke(lease).await.expect("a lease is revoked");
}

async fn exists(store: &dyn MetaStore, key: &Key) -> bool {
    get(store, key).await.is_some()
}

/// Waits for the one transaction behind a revision that deletes these keys and no others.
async fn deleted_together(store: &dyn MetaStore, scratch: &Prefix, since: Revision, keys: &[Key]) {
    let mut watch = store
        .watch(scratch, since.next())
        .await
        .expect("a watch can begin");
    let events = loop {
        let Changes { events, .. } = next(&mut watch).await.expect("a watch goes on");
        if !events.is_empty() {
            break events;
        }
    };
    let deleted = |event| match event {
        Event::Delete(key) => key,
        Event::Put(entry) => panic!("nobody wrote {}", entry.key),
    };
    let gone: BTreeSet<_> = events.into_iter().map(deleted).collect();
    assert_eq!(gone, keys.iter().cloned().collect(), "they go together");
}

/// A lease that nobody keeps alive ends, not before its time, and its keys go with it.
pub async fn leases_expire(store: &dyn MetaStore, scratch: &Prefix) {
    let (a, b, free) = (key(scratch, "a"), key(scratch, "b"), key(scratch, "free"));
    put(store, &free, "1").await;
    let begin = Instant::now();
    let lease = grant(store, TTL).await;
    put_leased(store, &a, lease.id).await;
    let written = put_leased(store, &b, lease.id).await;
    deleted_together(store, scratch, written, &[a, b]).await;
    assert!(begin.elapsed() >= TTL, "it ended too soon");
    assert!(exists(store, &free).await);
    let error = store.keep_alive(lease.id).await;
    assert!(matches!(error, Err(StoreError::LeaseLost { lease: lost }) if lost == lease.id));
}

/// A lease that is kept alive lives on.
pub async fn leases_are_kept_alive(store: &dyn MetaStore, scratch: &Prefix) {
    let a = key(scratch, "a");
    let lease = grant(store, TTL).await;
    let written = put_leased(store, &a, lease.id).await;
    let begin = Instant::now();
    let mut beat = tokio::time::interval(lease.ttl / 4);
    while begin.elapsed() < lease.ttl * 2 {
        beat.tick().await;
        let ttl = store
            .keep_alive(lease.id)
            .await
            .expect("a lease that lives is kept alive");
        assert!(ttl >= TTL);
    }
    assert!(exists(store, &a).await);
    deleted_together(store, scratch, written, &[a]).await;
}

/// A revoked lease takes its keys along at once, and revoking it again is fine.
pub async fn a_lease_can_be_revoked(store: &dyn MetaStore, scratch: &Prefix) {
    let keys = [key(scratch, "a"), key(scratch, "b")];
    let lease = grant(store, Duration::from_secs(600)).await;
    let empty = grant(store, Duration::from_secs(600)).await;
    put_leased(store, &keys[0], lease.id).await;
    let written = put_leased(store, &keys[1], lease.id).await;
    revoke(store, lease.id).await;
    for key in &keys {
        assert!(!exists(store, key).await);
    }
    deleted_together(store, scratch, written, &keys).await;
    revoke(store, lease.id).await;
    revoke(store, empty.id).await;
}

/// With a lease that is gone nothing can be done, and nothing is.
pub async fn a_lost_lease_is_refused(store: &dyn MetaStore, scratch: &Prefix) {
    let (a, b) = (key(scratch, "a"), key(scratch, "b"));
    let lost = grant(store, TTL).await.id;
    let held = grant(store, Duration::from_secs(600)).await.id;
    revoke(store, lost).await;
    let is_lost =
        |error: &StoreError| matches!(error, StoreError::LeaseLost { lease } if *lease == lost);
    let error = store.keep_alive(lost).await.expect_err("it is gone");
    assert!(is_lost(&error), "{error}");
    let txn = Txn::new()
        .put_leased(b.clone(), "1", held)
        .put_leased(a.clone(), "1", lost);
    let error = store.commit(txn).await.expect_err("the lease is gone");
    assert!(is_lost(&error), "{error}");
    assert!(!exists(store, &a).await && !exists(store, &b).await);

    let current = put(store, &a, "1").await;
    let txn = Txn::new()
        .expect(a.clone(), Expect::Absent)
        .put_leased(a.clone(), "2", lost);
    let Err(StoreError::Conflict(conflict)) = store.commit(txn).await else {
        panic!("what is expected is looked at first");
    };
    assert_eq!(
        conflict.found.map(|entry| entry.mod_revision),
        Some(current)
    );
    revoke(store, held).await;
}

/// A key belongs to the lease that it was last put with, or to none.
pub async fn the_last_put_binds_a_key(store: &dyn MetaStore, scratch: &Prefix) {
    let (free, moved) = (key(scratch, "free"), key(scratch, "moved"));
    let first = grant(store, Duration::from_secs(600)).await.id;
    let second = grant(store, Duration::from_secs(600)).await.id;
    put_leased(store, &free, first).await;
    put_leased(store, &moved, first).await;
    put(store, &free, "for ever").await;
    put_leased(store, &moved, second).await;
    revoke(store, first).await;
    assert!(exists(store, &free).await && exists(store, &moved).await);
    revoke(store, second).await;
    assert!(exists(store, &free).await && !exists(store, &moved).await);
}
