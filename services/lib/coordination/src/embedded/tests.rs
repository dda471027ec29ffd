use std::collections::BTreeMap;
use std::path::PathBuf;

use futures::StreamExt;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::{Event, Expect, contract};

/// Every contract function gets a store of its own in a fresh folder.
fn store() -> (TempDir, EmbeddedStore, Prefix) {
    let folder = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(&folder.path().join("store.redb")).unwrap();
    (folder, store, Prefix::new("/scratch/"))
}

macro_rules! keeps_the_contract {
    ($($promise:ident),* $(,)?) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $promise() {
            let (_folder, store, scratch) = store();
            contract::$promise(&store, &scratch).await;
        }
    )*};
}

keeps_the_contract!(
    revisions_grow,
    lists_are_exact,
    transactions_are_atomic,
    nothing_done_takes_no_revision,
    one_racer_wins,
    limits_hold,
    epochs_fence,
    pages_are_whole,
    identity_is_stable,
    leases_expire,
    leases_are_kept_alive,
    a_lease_can_be_revoked,
    a_lost_lease_is_refused,
    the_last_put_binds_a_key,
    watches_miss_nothing,
    watches_resume,
    watchers_agree,
);

#[tokio::test]
async fn compaction_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { held_revisions: 4 };
    let store = EmbeddedStore::open_with(&folder.path().join("store.redb"), options).unwrap();
    let compact = async || {
        for n in 0..10 {
            store
                .commit(Txn::new().put(Key::new("/noise"), n.to_string()))
                .await
                .unwrap();
        }
    };
    contract::compaction_is_reported(&store, &Prefix::new("/scratch/"), compact).await;
}

#[tokio::test]
async fn reopening_keeps_everything() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let open = async || Arc::new(EmbeddedStore::open(&path).unwrap()) as Arc<dyn MetaStore>;
    contract::reopening_keeps_everything(&Prefix::new("/scratch/"), open).await;
}

#[tokio::test]
async fn a_crash_keeps_everything_that_was_committed() {
    let folder = tempfile::tempdir().unwrap();
    let (path, crashed) = (
        folder.path().join("store.redb"),
        folder.path().join("crashed.redb"),
    );
    let store = EmbeddedStore::open(&path).unwrap();
    for n in 0..50 {
        store
            .commit(Txn::new().put(Key::new(format!("/{n}")), vec![n; 1000]))
            .await
            .unwrap();
    }
    // What a process that dies now leaves behind: the file, never closed.
    std::fs::copy(&path, &crashed).unwrap();
    let everything = store.list(&Prefix::new("/")).await.unwrap();
    let survivor = EmbeddedStore::open(&crashed).unwrap();
    assert_eq!(survivor.list(&Prefix::new("/")).await.unwrap(), everything);
    assert_eq!(everything.revision, Revision(50));
}

#[tokio::test]
async fn a_file_that_is_in_use_or_no_store_or_of_a_newer_format_is_refused_by_name() {
    let (folder, _store, _) = store();
    let refused = |path: PathBuf| {
        EmbeddedStore::open(&path)
            .map(|_| ())
            .unwrap_err()
            .to_string()
    };
    let in_use = refused(folder.path().join("store.redb"));
    assert!(
        in_use.contains("store.redb") && in_use.contains("already open"),
        "{in_use}"
    );

    let text = folder.path().join("text");
    std::fs::write(&text, "x".repeat(8192)).unwrap();
    assert!(refused(text).contains("text"));
    assert!(refused(folder.path().join("missing/store.redb")).contains("missing/store.redb"));

    let newer = folder.path().join("newer.redb");
    let database = redb::Database::create(&newer).unwrap();
    let writing = database.begin_write().unwrap();
    writing
        .open_table(redb::TableDefinition::<&str, u64>::new("counters"))
        .unwrap()
        .insert("format", 2)
        .unwrap();
    writing.commit().unwrap();
    drop(database);
    for _ in 0..2 {
        let error = refused(newer.clone());
        assert!(
            error.contains("format 2") && error.contains("format 1"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_watch_ends_when_nobody_can_write_any_more() {
    let (_folder, store, scratch) = store();
    let mut watch = store.watch(&scratch, Revision(1)).await.unwrap();
    drop(store);
    assert!(watch.next().await.is_none());
}

#[derive(Clone, Debug)]
enum Operation {
    Put(u8, u8),
    PutTwo(u8, u8),
    Delete(u8),
    /// Expects the key as the model knows it, or wrongly.
    Swap(u8, u8, bool),
    Reopen,
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        (0..4_u8, any::<u8>()).prop_map(|(key, value)| Operation::Put(key, value)),
        (0..3_u8, any::<u8>()).prop_map(|(key, value)| Operation::PutTwo(key, value)),
        (0..4_u8).prop_map(Operation::Delete),
        (0..4_u8, any::<u8>(), any::<bool>())
            .prop_map(|(key, value, right)| Operation::Swap(key, value, right)),
        Just(Operation::Reopen),
    ]
}

fn key(number: u8) -> Key {
    Key::new(format!("/{number}"))
}

/// Runs the operations on a store and on a map, and returns the history that the store tells in the end.
async fn run(operations: Vec<Operation>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let mut store = EmbeddedStore::open(&path).unwrap();
    let mut model: BTreeMap<Key, (Revision, u8)> = BTreeMap::new();
    let mut revision = Revision(0);
    for operation in operations {
        let (txn, wins) = match operation {
            Operation::Put(at, value) => (Txn::new().put(key(at), vec![value]), true),
            Operation::PutTwo(at, value) => (
                Txn::new()
                    .put(key(at), vec![value])
                    .put(key(at + 1), vec![value]),
                true,
            ),
            Operation::Delete(at) => (Txn::new().delete(key(at)), true),
            Operation::Swap(at, value, right) => {
                let known = model.get(&key(at)).map(|(revision, _)| *revision);
                let expect = match (known, right) {
                    (Some(known), true) => Expect::WrittenAt(known),
                    (None, false) => Expect::WrittenAt(revision.next()),
                    (None, true) | (Some(_), false) => Expect::Absent,
                };
                (
                    Txn::new().expect(key(at), expect).put(key(at), vec![value]),
                    right,
                )
            }
            Operation::Reopen => {
                drop(store);
                store = EmbeddedStore::open(&path).unwrap();
                continue;
            }
        };
        let changes = txn
            .writes
            .iter()
            .any(|write| matches!(write, crate::Write::Put(..)) || model.contains_key(write.key()));
        match store.commit(txn.clone()).await {
            Ok(committed) => {
                assert!(wins);
                revision = if changes { revision.next() } else { revision };
                assert_eq!(committed, revision);
                for write in txn.writes {
                    match write {
                        crate::Write::Put(key, value, _) => model.insert(key, (revision, value[0])),
                        crate::Write::Delete(key) => model.remove(&key),
                    };
                }
            }
            Err(StoreError::Conflict(_)) => assert!(!wins),
            Err(error) => panic!("{error}"),
        }
    }
    let listing = store.list(&Prefix::new("/")).await.unwrap();
    let listed: BTreeMap<_, _> = listing
        .entries
        .iter()
        .map(|entry| (entry.key.clone(), (entry.mod_revision, entry.value[0])))
        .collect();
    assert_eq!((listed, listing.revision), (model.clone(), revision));
    assert_eq!(replay(&store, revision).await, model);
}

/// The map that follows from a watch of everything that ever happened.
async fn replay(store: &EmbeddedStore, until: Revision) -> BTreeMap<Key, (Revision, u8)> {
    let mut watch = store.watch(&Prefix::new("/"), Revision(1)).await.unwrap();
    let mut replayed = BTreeMap::new();
    let mut reached = Revision(0);
    while reached < until {
        let changes = watch.next().await.unwrap().unwrap();
        assert_eq!(
            changes.revision,
            reached.next(),
            "no revision is skipped or repeated"
        );
        reached = changes.revision;
        for event in changes.events {
            match event {
                Event::Put(entry) => {
                    replayed.insert(entry.key, (entry.mod_revision, entry.value[0]))
                }
                Event::Delete(key) => replayed.remove(&key),
            };
        }
    }
    replayed
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn store_and_history_agree_with_a_map(operations in prop::collection::vec(operation(), 0..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(run(operations));
    }
}
