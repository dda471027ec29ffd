use super::*;
use crate::Txn;
use crate::flaky::{Faults, Flaky, flaky, open};

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

fn begin(store: &Arc<Flaky>) -> (impl Stream<Item = View> + Unpin, FollowStats) {
    let options = FollowOptions::default();
    let stats = options.stats.clone();
    let views = follow_with(
        Arc::clone(store) as Arc<dyn MetaStore>,
        Prefix::new("/followed/"),
        options,
    );
    (Box::pin(views), stats)
}

/// Long enough for several comparisons.
const SEVERAL_RELISTS: Duration = Duration::from_secs(200);

/// No view comes for a long time.
async fn stays_silent(views: &mut (impl Stream<Item = View> + Unpin)) {
    let silence = tokio::time::timeout(SEVERAL_RELISTS, views.next()).await;
    assert!(silence.is_err(), "{silence:?}");
}

#[tokio::test]
async fn a_view_shows_each_transaction() {
    let (_folder, store) = flaky(Faults::default());
    let (mut views, stats) = begin(&store);
    assert_eq!(stats.silence(), None);
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
    assert_eq!(view.store, store.identity().await.unwrap().id);
    assert_eq!(values(&views.next().await.unwrap()), ["1", "2"]);
    assert_eq!(values(&views.next().await.unwrap()), ["2"]);
    assert_eq!(values(&view), ["1"], "a view that is held does not change");
    assert!(stats.silence().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_failing_list_and_a_refused_watch_are_tried_again() {
    let (_folder, store) = flaky(Faults {
        lists_to_fail: 2,
        watches_to_refuse: 2,
        ..Faults::default()
    });
    put(&store, "a", "1").await;
    let (mut views, _) = begin(&store);
    assert_eq!(values(&views.next().await.unwrap()), ["1"]);
}

#[tokio::test(start_paused = true)]
async fn a_cut_watch_is_resumed_without_a_list() {
    let (_folder, store) = flaky(Faults {
        cut_after: Some(1),
        ..Faults::default()
    });
    let (mut views, stats) = begin(&store);
    views.next().await.unwrap();
    put(&store, "a", "1").await;
    assert_eq!(values(&views.next().await.unwrap()), ["1"]);
    store.faults().watches_to_refuse = 4;
    // The watch is cut before these changes can be read from it.
    put(&store, "a", "2").await;
    put(&store, "b", "3").await;
    assert_eq!(values(&views.next().await.unwrap()), ["2"]);
    assert_eq!(values(&views.next().await.unwrap()), ["2", "3"]);
    assert_eq!((stats.resumes(), stats.relists()), (1, 0));
    assert_eq!(store.faults().lists, 1);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_fell_behind_gets_the_outcome() {
    let (_folder, store) = flaky(Faults::default());
    let (mut views, stats) = begin(&store);
    views.next().await.unwrap();
    for n in 0..10 {
        put(&store, "a", &n.to_string()).await;
    }
    let view = views.next().await.unwrap();
    assert_eq!(
        (view.revision, values(&view)),
        (Revision(10), vec!["9".to_owned()])
    );
    assert_eq!((stats.relists(), stats.divergences()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn what_a_watch_does_not_tell_is_found_and_counted() {
    let (_folder, store) = flaky(Faults {
        hidden: Some("b"),
        ..Faults::default()
    });
    let (mut views, stats) = begin(&store);
    views.next().await.unwrap();
    let revision = put(&store, "b", "hidden").await;
    let view = views.next().await.unwrap();
    assert_eq!(
        (view.revision, values(&view)),
        (revision, vec!["hidden".to_owned()])
    );
    assert_eq!((stats.relists(), stats.divergences()), (1, 1));

    store
        .commit(Txn::new().delete(Key::new("/followed/b")))
        .await
        .unwrap();
    // What it does tell comes meanwhile, and does not hide the difference.
    put(&store, "a", "told").await;
    assert_eq!(values(&views.next().await.unwrap()), ["told", "hidden"]);
    assert_eq!(values(&views.next().await.unwrap()), ["told"]);
    assert_eq!(stats.divergences(), 2);
    stays_silent(&mut views).await;
    assert_eq!(stats.divergences(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_is_only_late_does_not_diverge() {
    let (_folder, store) = flaky(Faults {
        delay: Duration::from_secs(1),
        ..Faults::default()
    });
    let (mut views, stats) = begin(&store);
    views.next().await.unwrap();
    let write = async {
        for n in 0..400 {
            tokio::time::sleep(Duration::from_millis(1500)).await;
            put(&store, "a", &n.to_string()).await;
        }
    };
    let read = async {
        let mut before = Revision(0);
        for n in 0..400 {
            let view = views.next().await.unwrap();
            assert_eq!(values(&view), [n.to_string()], "each change is shown");
            assert!(view.revision > before);
            before = view.revision;
        }
    };
    futures::future::join(write, read).await;
    assert!(stats.relists() > 5);
    assert_eq!(stats.divergences(), 0);
}

#[tokio::test(start_paused = true)]
async fn another_store_or_an_older_copy_of_it_freezes_the_view() {
    for other in ["copy.redb", "new.redb"] {
        for cut_after in [None, Some(1)] {
            let (folder, store) = flaky(Faults {
                cut_after,
                ..Faults::default()
            });
            put(&store, "a", "0").await;
            std::fs::copy(
                folder.path().join("store.redb"),
                folder.path().join("copy.redb"),
            )
            .unwrap();
            let (mut views, _) = begin(&store);
            views.next().await.unwrap();
            put(&store, "a", "1").await;
            let before = store.identity().await.unwrap();
            assert_eq!(values(&views.next().await.unwrap()), ["1"]);

            // The watch on the old one, if it was not cut, tells nothing any more.
            *store.store.lock().unwrap() = open(&folder, other);
            let now = store.identity().await.unwrap();
            let view = views.next().await.unwrap();
            assert_eq!(view.replaced, Some(Replaced { before, now }), "{other}");
            assert_eq!(
                (view.revision, values(&view)),
                (before.revision, vec!["1".to_owned()]),
                "what was known stands"
            );
            stays_silent(&mut views).await;
        }
    }
}
