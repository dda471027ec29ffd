//! Watches: every change once, whole and in order, or the word that changes are gone.

use futures::StreamExt;
use futures::future::join_all;

use super::{PATIENCE, get, key, key_prefix, next, put};
use crate::{Changes, Entry, Event, Key, MetaStore, Prefix, Revision, StoreError, Txn};

/// A watch gives every change of its prefix once, whole and in order, from any revision on, past and future.
pub async fn watches_miss_nothing(store: &dyn MetaStore, scratch: &Prefix) {
    let (watched, elsewhere) = (key_prefix(scratch, "in/"), key(scratch, "out"));
    let (a, b) = (key(&watched, "a"), key(&watched, "b"));
    let start = put(store, &elsewhere, "0").await;
    let mut expected = Vec::new();
    let mut live = store
        .watch(&watched, start.next())
        .await
        .expect("a watch can begin now");
    for round in 0..8 {
        let value = format!("{round}");
        let txn = Txn::new()
            .put(a.clone(), value.clone())
            .put(b.clone(), value.clone())
            .put(elsewhere.clone(), value);
        let revision = store.commit(txn).await.expect("a put succeeds");
        let events = vec![
            Event::Put(read(store, &a).await),
            Event::Put(read(store, &b).await),
        ];
        expected.push(Changes { revision, events });
        put(store, &elsewhere, "noise").await;
        let revision = store
            .commit(Txn::new().delete(b.clone()))
            .await
            .expect("a deletion succeeds");
        expected.push(Changes {
            revision,
            events: vec![Event::Delete(b.clone())],
        });
    }
    for changes in &expected {
        assert_eq!(
            next(&mut live).await.expect("a live watch goes on"),
            *changes
        );
    }
    for (begin, first) in expected.iter().enumerate() {
        let mut late = store
            .watch(&watched, first.revision)
            .await
            .expect("a watch can begin at a held revision");
        for changes in &expected[begin..] {
            assert_eq!(
                next(&mut late).await.expect("a late watch catches up"),
                *changes
            );
        }
    }

    let future = Revision(put(store, &elsewhere, "1").await.0 + 3);
    let mut early = store
        .watch(&watched, future)
        .await
        .expect("a watch can begin in the future");
    // Others may write too, and take some of the revisions.
    let mut revision = put(store, &a, "before").await;
    while revision < future {
        revision = put(store, &a, "then").await;
    }
    assert_eq!(
        next(&mut early)
            .await
            .expect("a future revision comes")
            .revision,
        revision
    );
}

async fn read(store: &dyn MetaStore, key: &Key) -> Entry {
    get(store, key).await.expect("the key was just written")
}

/// Watches that begin while writers are at work see the same history.
pub async fn watchers_agree(store: &dyn MetaStore, scratch: &Prefix) {
    const WRITERS: usize = 4;
    const EACH: usize = 16;
    let start = put(store, &key(scratch, "start"), "0").await.next();
    let write = |writer: usize| async move {
        for n in 0..EACH {
            put(
                store,
                &key(scratch, &format!("writer/{writer}")),
                &n.to_string(),
            )
            .await;
        }
    };
    let watched = key_prefix(scratch, "writer/");
    let collect = |watched: Prefix| async move {
        let watch = store
            .watch(&watched, start)
            .await
            .expect("a watch can begin");
        let seen: Vec<_> = watch
            .take(WRITERS * EACH)
            .map(|changes| changes.expect("a watch goes on"))
            .collect()
            .await;
        seen
    };
    let watchers = join_all((0..3).map(|_| collect(watched.clone())));
    let (_, histories) = tokio::time::timeout(
        PATIENCE,
        futures::future::join(join_all((0..WRITERS).map(write)), watchers),
    )
    .await
    .expect("all changes arrive in time");
    assert!(histories[0].is_sorted_by(|a, b| a.revision < b.revision));
    assert!(histories.iter().all(|history| *history == histories[0]));
}

/// A watch from a revision whose changes are gone says so, and from which one it can begin. `compact` must make the store
/// forget what happened so far.
pub async fn compaction_is_reported(
    store: &dyn MetaStore,
    scratch: &Prefix,
    compact: impl AsyncFnOnce(),
) {
    let a = key(scratch, "a");
    let first = put(store, &a, "1").await;
    let mut stalled = store
        .watch(scratch, first)
        .await
        .expect("a watch can begin at a held revision");
    compact().await;
    let second = put(store, &key(scratch, "b"), "2").await;
    let error = match store.watch(scratch, first).await {
        Ok(mut watch) => next(&mut watch).await.err(),
        Err(error) => Some(error),
    };
    let Some(StoreError::Compacted { from, oldest }) = error else {
        panic!("the watch must say that changes are gone, and not {error:?}");
    };
    assert!(from == first && oldest > first);
    let mut resumed = store
        .watch(scratch, oldest)
        .await
        .expect("a watch can begin at the oldest revision held");
    loop {
        // What else is still held of this prefix comes before it.
        let changes = next(&mut resumed).await.expect("it goes on from there");
        assert!(changes.revision <= second);
        if changes.revision == second {
            break;
        }
    }
    // What it was sent before the compaction, it may still hand out.
    match next(&mut stalled).await {
        Ok(changes) => assert_eq!(changes.revision, first, "nothing was skipped"),
        Err(error) => assert!(
            matches!(error, StoreError::Compacted { from, .. } if from == first),
            "{error}"
        ),
    }
    assert_eq!(
        get(store, &a).await.map(|entry| entry.value),
        Some("1".into()),
        "values are never forgotten"
    );
}

/// A watch that is begun again behind the last change seen goes on as if it had never ended.
pub async fn watches_resume(store: &dyn MetaStore, scratch: &Prefix) {
    let a = key(scratch, "a");
    let mut expected = vec![put(store, &a, "0").await];
    let mut seen = Vec::new();
    let mut from = expected[0];
    for round in 0..6 {
        let mut watch = store
            .watch(scratch, from)
            .await
            .expect("a watch can begin again");
        // Some were written while nobody watched, some come now.
        expected.push(put(store, &a, &round.to_string()).await);
        while seen.len() < expected.len() {
            let changes = next(&mut watch).await.expect("a watch goes on");
            if !changes.events.is_empty() {
                seen.push(changes.revision);
                from = changes.revision.next();
            }
        }
        drop(watch);
        expected.push(put(store, &a, "meanwhile").await);
    }
    expected.pop();
    assert_eq!(seen, expected);
}
