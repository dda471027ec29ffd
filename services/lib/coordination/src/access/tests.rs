use decant_model::Digest;
use decant_model::access::{Principal, Role};

use tokio::sync::watch;

use super::*;
use crate::flaky::{Faults, Flaky, flaky, open};
use crate::{Txn, keys};

fn name(text: &str) -> PrincipalName {
    text.parse().unwrap()
}

fn record(token: &str) -> AccessRecord {
    AccessRecord {
        role: Role::Operator,
        models: vec!["films".parse().unwrap()],
        token_sha256: Some(Digest::of(token.as_bytes())),
        identities: vec![format!("spiffe://decant/{token}")],
        expires_at_millis: None,
        created_at_millis: 1,
        issued_by: "ana".into(),
    }
}

async fn add(store: &Flaky, text: &str, record: &AccessRecord) {
    let key = AccessKey { name: name(text) };
    let value = keys::encode(&key, record).unwrap();
    let txn = Txn::new().put(Keyspace::default().key(&key), value);
    store.commit(txn).await.unwrap();
}

async fn remove(store: &Flaky, text: &str) {
    let key = Keyspace::default().key(&AccessKey { name: name(text) });
    store.commit(Txn::new().delete(key)).await.unwrap();
}

async fn set_incarnation(store: &Flaky, incarnation: u64) {
    let record = ClusterRecord {
        uuid: "u".into(),
        incarnation,
        created_at_millis: 0,
    };
    let value = keys::encode(&ClusterKey {}, &record).unwrap();
    let txn = Txn::new().put(Keyspace::default().key(&ClusterKey {}), value);
    store.commit(txn).await.unwrap();
}

fn fixed() -> Access {
    let mut access = Access::default();
    let ops = Principal::new("ops", Role::Admin, Vec::new());
    access.insert(ops, [Digest::of(b"ops")], []);
    access
}

fn begin(store: &Arc<Flaky>) -> (watch::Receiver<Arc<Access>>, impl Future + use<>) {
    let store = Arc::clone(store) as Arc<dyn MetaStore>;
    let (sender, receiver) = watch::channel(Arc::new(fixed()));
    let stop = CancellationToken::new();
    let following = observe(store, Keyspace::default(), stop, move |principals| {
        sender.send_replace(Arc::new(table(&fixed(), &principals)));
    });
    (receiver, following)
}

/// Who is known by a token, once that is so.
async fn known(access: &mut watch::Receiver<Arc<Access>>, token: &str, expected: Option<&str>) {
    let is_so =
        |access: &Arc<Access>| access.by_token(token).map(|found| found.name.as_str()) == expected;
    access.wait_for(is_so).await.unwrap();
}

/// Looks on while something goes on beside it.
macro_rules! beside {
    ($following:ident, $checks:block) => {
        tokio::select! {
            _ = $following => panic!("it does not end by itself"),
            () = async $checks => {}
        }
    };
}

#[tokio::test(start_paused = true)]
async fn principals_are_known_while_they_are_in_the_store_and_fixed_ones_always() {
    let (_folder, store) = flaky(Faults::default());
    let (mut access, following) = begin(&store);
    assert!(access.borrow().by_token("ops").is_some(), "from the first");
    beside!(following, {
        add(&store, "ci", &record("one")).await;
        known(&mut access, "one", Some("ci")).await;
        let by_identity = access
            .borrow()
            .by_identities(["spiffe://decant/one"])
            .cloned();
        assert_eq!(by_identity.unwrap().role, Role::Operator);
        // What is fixed cannot be taken over.
        add(&store, "eve", &record("ops")).await;
        add(&store, "ci", &record("two")).await;
        known(&mut access, "two", Some("ci")).await;
        known(&mut access, "one", None).await;
        known(&mut access, "ops", Some("ops")).await;
        remove(&store, "ci").await;
        known(&mut access, "two", None).await;
    });
}

#[tokio::test(start_paused = true)]
async fn while_the_store_is_away_what_was_known_stands() {
    let (_folder, store) = flaky(Faults::default());
    add(&store, "ci", &record("one")).await;
    let (mut access, following) = begin(&store);
    beside!(following, {
        known(&mut access, "one", Some("ci")).await;
        store.faults().unreachable = true;
        tokio::time::sleep(Duration::from_secs(600)).await;
        known(&mut access, "one", Some("ci")).await;
        store.faults().unreachable = false;
        remove(&store, "ci").await;
        known(&mut access, "one", None).await;
    });
}

#[tokio::test(start_paused = true)]
async fn who_was_removed_does_not_come_back_with_an_older_copy_before_it_is_adopted() {
    let (folder, store) = flaky(Faults::default());
    set_incarnation(&store, 1).await;
    add(&store, "ci", &record("one")).await;
    let file = |name: &str| folder.path().join(name);
    std::fs::copy(file("store.redb"), file("copy.redb")).unwrap();
    let (mut access, following) = begin(&store);
    beside!(following, {
        known(&mut access, "one", Some("ci")).await;
        remove(&store, "ci").await;
        known(&mut access, "one", None).await;
        *store.store.lock().unwrap() = open(&folder, "copy.redb");
        tokio::time::sleep(Duration::from_secs(600)).await;
        known(&mut access, "one", None).await;
        set_incarnation(&store, 2).await;
        known(&mut access, "one", Some("ci")).await;
    });
}

#[tokio::test(start_paused = true)]
async fn one_that_cannot_be_read_is_refused_and_the_others_are_not() {
    let (_folder, store) = flaky(Faults::default());
    let key = AccessKey { name: name("eve") };
    let value = &br#"{"format":9,"role":"emperor"}"#[..];
    let txn = Txn::new().put(Keyspace::default().key(&key), value);
    store.commit(txn).await.unwrap();
    add(&store, "ci", &record("one")).await;
    let (mut access, following) = begin(&store);
    beside!(following, {
        known(&mut access, "one", Some("ci")).await;
    });
}

#[tokio::test]
async fn it_ends_when_it_is_told_to() {
    let (_folder, store) = flaky(Faults::default());
    let stop = CancellationToken::new();
    stop.cancel();
    let ended = observe(store, Keyspace::default(), stop, |_| {}).await;
    assert_eq!(ended, Ok(()));
}
