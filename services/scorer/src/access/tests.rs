use std::path::Path;

use decant_coordination::keys::{AccessKey, AccessRecord, encode};
use decant_coordination::{EmbeddedStore, Txn};
use decant_model::Digest;
use decant_model::access::{Principal, Role};

use super::*;
use crate::config::CacheConfig;

fn config(folder: &Path) -> Config {
    Config {
        cache: CacheConfig {
            folder: folder.to_owned(),
            ..CacheConfig::default()
        },
        ..Config::default()
    }
}

fn fixed() -> Access {
    let mut access = Access::default();
    let ops = Principal::new("ops", Role::Admin, Vec::new());
    access.insert(ops, [Digest::of(b"ops")], []);
    access
}

#[tokio::test]
async fn a_scorer_that_starts_without_the_store_knows_who_was_known_last() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(&folder.path().join("cache"));
    let store = EmbeddedStore::open(&folder.path().join("store.redb")).unwrap();
    let store: Arc<dyn MetaStore> = Arc::new(store);
    let follow = || {
        follow_access(
            &config,
            Arc::clone(&store),
            fixed(),
            CancellationToken::new(),
        )
    };

    let (mut access, following) = follow();
    assert!(access.borrow().by_token("ops").is_some());
    assert!(access.borrow().by_token("one").is_none());
    let key = AccessKey {
        name: "ci".parse().unwrap(),
    };
    let record = AccessRecord {
        role: Role::Viewer,
        models: Vec::new(),
        token_sha256: Some(Digest::of(b"one")),
        identities: Vec::new(),
        expires_at_millis: None,
        created_at_millis: 1,
        issued_by: "ana".into(),
    };
    let value = encode(&key, &record).unwrap();
    let txn = Txn::new().put(Keyspace::default().key(&key), value);
    store.commit(txn).await.unwrap();
    let kept = folder.path().join("cache/access.json");
    let is_kept = async {
        access
            .wait_for(|access| access.by_token("one").is_some())
            .await
            .unwrap();
        while !std::fs::read_to_string(&kept).is_ok_and(|text| text.contains("\"ci\"")) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        _ = following => panic!("it does not end by itself"),
        () = is_kept => {}
    }

    // Nobody asks the store any more.
    let (access, _following) = follow();
    assert_eq!(access.borrow().by_token("one").unwrap().name, "ci");
    assert!(access.borrow().by_token("ops").is_some());
}
