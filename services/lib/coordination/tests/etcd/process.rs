//! What the store promises while members stall, die, lose their quorum, forget and are restored. One at a time: each has
//! several processes, and watches their clocks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use decant_coordination::keys::LeaderRecord;
use decant_coordination::testing::{Etcd, EtcdOptions};
use decant_coordination::{
    Election, Epoch, EtcdConfig, EtcdStore, Event, FollowOptions, FollowStats, Key, Keyspace,
    MetaStore, Prefix, Revision, StoreError, Txn, View, contract, follow_with,
};
use futures::{Stream, StreamExt};
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(30);

fn key(name: &str) -> Key {
    Key::new(format!("/decant/test/{name}"))
}

fn everything() -> Prefix {
    Prefix::new("/decant/test/")
}

fn config(etcd: &Etcd) -> EtcdConfig {
    EtcdConfig {
        request_timeout_millis: 500,
        watch_idle_millis: 1_000,
        ..etcd.config()
    }
}

async fn connect(etcd: &Etcd) -> Arc<EtcdStore> {
    Arc::new(EtcdStore::connect(&config(etcd)).await.unwrap())
}

/// A store that knows one member only, whether it answers or not.
fn only(etcd: &Etcd, index: usize) -> EtcdStore {
    let config = EtcdConfig {
        endpoints: vec![etcd.endpoints()[index].clone()],
        ..config(etcd)
    };
    EtcdStore::new(&config).unwrap()
}

async fn put(store: &EtcdStore, name: &str, value: &str) -> Result<Revision, StoreError> {
    let txn = Txn::new().put(key(name), value.to_owned());
    store.commit(txn).await
}

/// Makes a write again until it is surely made.
async fn put_surely(store: &EtcdStore, name: &str, value: &str) -> Revision {
    let begin = Instant::now();
    loop {
        match put(store, name, value).await {
            Ok(revision) => return revision,
            Err(error) => assert!(begin.elapsed() < PATIENCE, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn begin(store: &Arc<EtcdStore>) -> (impl Stream<Item = View> + Unpin + Send, FollowStats) {
    let options = FollowOptions::default();
    let stats = options.stats.clone();
    let store = Arc::clone(store) as Arc<dyn MetaStore>;
    (Box::pin(follow_with(store, everything(), options)), stats)
}

async fn next(views: &mut (impl Stream<Item = View> + Unpin)) -> View {
    let view = tokio::time::timeout(PATIENCE, views.next()).await;
    view.expect("a view comes in time").unwrap()
}

fn values(view: &View) -> BTreeMap<String, String> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let entries = view.entries.values();
    entries
        .map(|entry| (entry.key.as_str().to_owned(), text(&entry.value)))
        .collect()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_and_a_login_that_expires() {
    let etcd = Etcd::start(EtcdOptions {
        tls: true,
        login_seconds: Some(1),
        ..EtcdOptions::default()
    })
    .await;
    let store = EtcdStore::connect(&etcd.config()).await.unwrap();
    let scratch = |name| Prefix::new(format!("/decant/test/{name}/"));
    contract::transactions_are_atomic(&store, &scratch("transactions")).await;
    contract::watches_miss_nothing(&store, &scratch("watches")).await;
    contract::a_lost_lease_is_refused(&store, &scratch("leases")).await;

    // Each is the first after a login that has expired: what is waited for here is time itself.
    let expire = || tokio::time::sleep(Duration::from_secs(4));
    expire().await;
    let revision = put(&store, "a", "1").await.unwrap();
    expire().await;
    let mut watch = store.watch(&everything(), revision).await.unwrap();
    let changes = tokio::time::timeout(PATIENCE, watch.next()).await.unwrap();
    assert_eq!(changes.unwrap().unwrap().revision, revision);
    expire().await;
    assert!(store.get(&key("a")).await.unwrap().is_some());

    let elsewhere = store.get(&Key::new("/elsewhere")).await;
    assert!(
        matches!(elsewhere, Err(StoreError::Denied { .. })),
        "{elsewhere:?}"
    );
    let elsewhere = store.watch(&Prefix::new("/elsewhere/"), Revision(1)).await;
    assert!(matches!(elsewhere, Err(StoreError::Denied { .. })));

    let password = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&password, "wrong").unwrap();
    let wrong = EtcdConfig {
        password_file: Some(password.path().to_owned()),
        ..etcd.config()
    };
    let Err(error) = EtcdStore::connect(&wrong).await else {
        panic!("the password is wrong");
    };
    assert!(matches!(error, StoreError::Denied { .. }), "{error}");

    let mut stranger = etcd.config();
    stranger.tls.certificate = None;
    stranger.tls.key = None;
    let Err(error) = EtcdStore::connect(&stranger).await else {
        panic!("it shows no certificate");
    };
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
}

#[tokio::test]
async fn nobody_answers() {
    let mut etcd = Etcd::single().await;
    let endpoint = etcd.endpoints().remove(0);
    etcd.kill(0);
    let Err(error) = EtcdStore::connect(&config(&etcd)).await else {
        panic!("nobody listens");
    };
    let error = error.to_string();
    assert!(
        error.contains("connect") && error.contains(&endpoint),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_follower_costs_little() {
    let mut etcd = Etcd::cluster(3).await;
    // Each begins with a member drawn at random: some with the one that will stall.
    let mut stores = Vec::new();
    for _ in 0..8 {
        stores.push(connect(&etcd).await);
    }
    put(&stores[0], "a", "0").await.unwrap();
    let leader = etcd.leader().await;
    etcd.stall((leader + 1) % 3);
    let (mut reads, mut writes, mut ambiguous) = (Vec::new(), Vec::new(), 0);
    for n in 0..200 {
        let store = &stores[n % stores.len()];
        let begin = Instant::now();
        match put(store, "a", &n.to_string()).await {
            Ok(_) => writes.push(begin.elapsed()),
            Err(StoreError::Unavailable { .. }) => ambiguous += 1,
            Err(error) => panic!("{error}"),
        }
        let begin = Instant::now();
        assert!(store.get(&key("a")).await.unwrap().is_some());
        reads.push(begin.elapsed());
    }
    assert!(ambiguous <= stores.len(), "{ambiguous} writes failed");
    let (longest, reads, writes) = (*reads.iter().max().unwrap(), median(reads), median(writes));
    assert!(longest < Duration::from_secs(2), "{longest:?}");
    assert!(reads < Duration::from_millis(50), "{reads:?}");
    assert!(writes < Duration::from_millis(100), "{writes:?}");
    let store = &stores[0];

    // A watch that hangs on the stalled member ends by itself, and others begin elsewhere.
    etcd.resume((leader + 1) % 3);
    let stalled = only(&etcd, leader);
    let revision = put_surely(store, "b", "1").await;
    let mut watch = stalled.watch(&everything(), revision).await.unwrap();
    assert!(watch.next().await.unwrap().is_ok());
    etcd.stall(leader);
    let end = async {
        // The writes of which nobody knew what became of them may be made by now.
        loop {
            if let Err(error) = watch.next().await.unwrap() {
                break error;
            }
        }
    };
    let end = tokio::time::timeout(PATIENCE, end).await;
    let end = end.expect("a silent member is noticed");
    assert!(matches!(end, StoreError::Unavailable { .. }), "{end}");
    let mut elsewhere = store.watch(&everything(), revision).await.unwrap();
    assert!(elsewhere.next().await.unwrap().is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_leaders_lose_nothing() {
    const WRITES: usize = 400;
    let mut etcd = Etcd::cluster(3).await;
    let store = connect(&etcd).await;
    let start = store.list(&everything()).await.unwrap().revision.next();
    let (written, mut progress) = tokio::sync::watch::channel(0);
    let write = async {
        let mut revisions = Vec::new();
        for n in 0..WRITES {
            revisions.push(put_surely(&store, &format!("{n:04}"), "1").await);
            written.send_replace(n);
        }
        revisions
    };
    // One for each member: who watches a leader that is killed has to begin again.
    let members: Vec<_> = (0..3).map(|index| only(&etcd, index)).collect();
    let watches = members
        .iter()
        .map(|member| watch_all(member, start, WRITES));
    let watches = futures::future::join_all(watches);
    let kill = async {
        for round in 1..=2 {
            let reached = progress.wait_for(|n| *n >= round * WRITES / 3).await;
            reached.unwrap();
            let leader = etcd.leader().await;
            etcd.kill(leader);
            etcd.restart(leader);
            etcd.healthy().await;
        }
    };
    let all = async { tokio::join!(write, watches, kill) };
    let (revisions, histories, ()) = tokio::time::timeout(PATIENCE * 3, all).await.unwrap();
    assert!(revisions.is_sorted_by(|a, b| a < b));
    let begun_again: usize = histories.iter().map(|history| history.breaks).sum();
    // The second kill may meet a member whose watch is still being begun again.
    assert!(begun_again >= 1, "no kill broke a watch");
    // A write of which nobody knows what became of it is made again, and told twice: the last one counts.
    let listing = store.list(&everything()).await.unwrap();
    assert_eq!(listing.entries.len(), WRITES);
    for history in &histories {
        assert_eq!(history.told, histories[0].told, "all tell the same");
        for entry in &listing.entries {
            let told = history.told.iter().rfind(|(key, _)| *key == entry.key);
            assert_eq!(told, Some(&(entry.key.clone(), entry.mod_revision)));
        }
    }
}

struct History {
    told: Vec<(Key, Revision)>,
    breaks: usize,
}

/// Watches until so many keys were told, and begins again where it was each time that the watch breaks.
async fn watch_all(store: &EtcdStore, start: Revision, keys: usize) -> History {
    let (mut next, mut breaks) = (start, 0);
    let mut told = Vec::new();
    let last = key(&format!("{:04}", keys - 1));
    loop {
        let Ok(mut watch) = store.watch(&everything(), next).await else {
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        while let Some(Ok(changes)) = watch.next().await {
            if changes.events.is_empty() {
                continue;
            }
            assert!(changes.revision >= next, "never back");
            next = changes.revision.next();
            for event in changes.events {
                let Event::Put(entry) = event else {
                    panic!("nobody deletes");
                };
                let is_last = entry.key == last;
                told.push((entry.key, entry.mod_revision));
                if is_last {
                    return History { told, breaks };
                }
            }
        }
        breaks += 1;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_quorum_calls_fail_in_bounded_time() {
    let mut etcd = Etcd::cluster(3).await;
    let store = connect(&etcd).await;
    put(&store, "a", "1").await.unwrap();
    let (mut views, stats) = begin(&store);
    next(&mut views).await;
    let leader = etcd.leader().await;
    etcd.kill(leader);
    etcd.stall((leader + 1) % 3);
    let a = key("a");
    for _ in 0..2 {
        let begin = Instant::now();
        let (read, written, granted) = tokio::join!(
            store.get(&a),
            put(&store, "a", "2"),
            store.grant(Duration::from_secs(10)),
        );
        // Three members, half a second each.
        assert!(
            begin.elapsed() < Duration::from_secs(3),
            "{:?}",
            begin.elapsed()
        );
        for error in [read.err(), written.err(), granted.err()] {
            assert!(
                matches!(error, Some(StoreError::Unavailable { .. })),
                "{error:?}"
            );
        }
    }
    etcd.resume((leader + 1) % 3);
    let begin = Instant::now();
    put_surely(&store, "a", "3").await;
    assert!(begin.elapsed() < Duration::from_secs(20));
    let expected = BTreeMap::from([(key("a").to_string(), "3".to_owned())]);
    while values(&next(&mut views).await) != expected {}
    assert_eq!((stats.relists(), stats.divergences()), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_slept_through_a_compaction_misses_nothing() {
    let mut etcd = Etcd::single().await;
    let store = connect(&etcd).await;
    put(&store, "a", "1").await.unwrap();
    put(&store, "b", "1").await.unwrap();
    let (mut views, stats) = begin(&store);
    assert_eq!(values(&next(&mut views).await).len(), 2);

    // Nobody reads the views, and the member dies: what happens now comes by no watch.
    etcd.kill(0);
    etcd.restart(0);
    etcd.healthy().await;
    put_surely(&store, "a", "2").await;
    store.commit(Txn::new().delete(key("b"))).await.unwrap();
    let last = put(&store, "c", "1").await.unwrap();
    etcd.compact(last).await;
    let view = next(&mut views).await;
    let expected = [(key("a"), "2"), (key("c"), "1")];
    let expected = expected.map(|(key, value)| (key.to_string(), value.to_owned()));
    assert_eq!(values(&view), BTreeMap::from(expected));
    assert_eq!(view.revision, last);
    assert_eq!((stats.relists(), stats.divergences()), (1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_backup_freezes_the_view() {
    let mut etcd = Etcd::cluster(3).await;
    let store = connect(&etcd).await;
    put(&store, "a", "1").await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let backup = folder.path().join("backup");
    etcd.save(&backup).await;
    for n in 0..10 {
        put(&store, "a", &format!("lost {n}")).await.unwrap();
    }
    let (mut views, _) = begin(&store);
    let before = next(&mut views).await;
    etcd.restore(&backup).await;
    let restored = store.get(&key("a")).await.unwrap().unwrap();
    assert_eq!(restored.value, "1");
    let view = next(&mut views).await;
    let replaced = view.replaced.expect("it is an older copy");
    assert_eq!(replaced.before.revision, before.revision);
    assert!(replaced.now.revision < before.revision);
    assert_eq!(values(&view), values(&before));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_dies_is_followed_by_another() {
    const TTL: Duration = Duration::from_secs(2);
    let mut etcd = Etcd::cluster(3).await;
    let store = connect(&etcd).await;
    let candidate = async |name: &str| {
        let record = LeaderRecord {
            boot_id: name.to_owned(),
            address: String::new(),
        };
        let store = connect(&etcd).await as Arc<dyn MetaStore>;
        Election::new(store, &Keyspace::default(), &record, TTL).unwrap()
    };
    let (one, other) = (candidate("one").await, candidate("other").await);
    let (mut one_leads, mut other_leads) = (one.epoch(), other.epoch());
    let mut one_runs = Box::pin(one.run(CancellationToken::new()));
    let first = tokio::select! {
        () = &mut one_runs => panic!("nobody stops it"),
        epoch = leads(&mut one_leads) => epoch,
    };
    let stop = CancellationToken::new();
    let test = async {
        // A member of etcd that dies ends no lease, and so no epoch.
        let member = etcd.leader().await;
        etcd.kill(member);
        tokio::select! {
            () = &mut one_runs => panic!("nobody stops it"),
            () = tokio::time::sleep(TTL * 2) => {}
        }
        let txn = first.fence(Txn::new()).put(key("fenced"), "1");
        store.commit(txn).await.unwrap();
        assert_eq!(*other_leads.borrow(), None);

        // It dies: nothing is given back.
        drop(one_runs);
        let begin = Instant::now();
        let second = leads(&mut other_leads).await;
        assert!(begin.elapsed() < TTL * 5, "{:?}", begin.elapsed());
        assert!(second.revision() > first.revision());
        let txn = first.fence(Txn::new()).put(key("fenced"), "2");
        let fenced = store.commit(txn).await;
        assert!(matches!(fenced, Err(StoreError::Conflict(_))), "{fenced:?}");
        stop.cancel();
    };
    tokio::join!(test, other.run(stop.clone()));
}

async fn leads(epoch: &mut tokio::sync::watch::Receiver<Option<Epoch>>) -> Epoch {
    let leads = tokio::time::timeout(PATIENCE, epoch.wait_for(Option::is_some)).await;
    leads.expect("somebody leads").unwrap().clone().unwrap()
}
