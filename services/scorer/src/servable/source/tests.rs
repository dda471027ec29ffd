use decant_coordination::keys::ClusterRecord;
use decant_coordination::{EmbeddedStore, Key, Revision, Txn, View, follow};

use super::*;
use crate::config::Config;

struct World {
    store: Arc<dyn MetaStore>,
    source: Source,
    _folder: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = EmbeddedStore::open(&folder.path().join("store")).unwrap();
        let store: Arc<dyn MetaStore> = Arc::new(store);
        let manager = Arc::new(Manager::new(Config::default().retry(), u64::MAX));
        let source = Source::new(Arc::clone(&store), Keyspace::default(), manager, None);
        Self {
            store,
            source,
            _folder: folder,
        }
    }

    /// Writes raw values below `desired/`, or deletes them.
    async fn put(&self, slots: &[(&str, Option<Vec<u8>>)]) {
        let prefix = Keyspace::default().all::<DesiredKey>();
        let txn = slots.iter().fold(Txn::new(), |txn, (path, value)| {
            let key = Key::new(format!("{prefix}{path}"));
            match value {
                Some(value) => txn.put(key, value.clone()),
                None => txn.delete(key),
            }
        });
        self.store.commit(txn).await.unwrap();
    }

    /// What a watch shows now.
    async fn view(&self) -> View {
        let prefix = Keyspace::default().all::<DesiredKey>();
        let views = follow(Arc::clone(&self.store), prefix);
        pin!(views).next().await.unwrap()
    }

    /// The generations that the manager was told.
    fn wanted(&self) -> Vec<(String, u64)> {
        let observed = self.source.manager.observed();
        let observed = observed.borrow();
        let generation = |(place, state): (&Place, &crate::servable::ObservedPlace)| {
            (place.to_string(), state.generation.0)
        };
        observed.places.iter().map(generation).collect()
    }

    fn frozen(&self) -> Option<String> {
        self.source.manager.observed().borrow().frozen.clone()
    }
}

fn desired(generation: u64) -> Option<Vec<u8>> {
    let desired = DesiredSlot {
        generation: Generation(generation),
        ..DesiredSlot::default()
    };
    Some(serde_json::to_vec(&desired).unwrap())
}

fn is(slots: &[(&str, u64)]) -> Vec<(String, u64)> {
    let slot = |(name, generation): &(&str, u64)| ((*name).to_owned(), *generation);
    slots.iter().map(slot).collect()
}

#[tokio::test]
async fn what_cannot_be_read_leaves_what_was_wanted_before() {
    let mut world = World::new();
    world
        .put(&[("films/main", desired(1)), ("books/main", desired(4))])
        .await;
    world.source.examine().await;
    assert_eq!(world.wanted(), is(&[("books/main", 4), ("films/main", 1)]));
    world
        .put(&[
            ("films/main", Some(b"{".to_vec())),
            ("books/main", desired(5)),
            ("FILMS", desired(9)),
            ("new/main", Some(Vec::new())),
        ])
        .await;
    let view = world.view().await;
    assert!(world.source.take(&view));
    assert_eq!(world.wanted(), is(&[("books/main", 5), ("films/main", 1)]));
    world.put(&[("films/main", desired(2))]).await;
    let view = world.view().await;
    assert!(world.source.take(&view));
    assert_eq!(world.wanted(), is(&[("books/main", 5), ("films/main", 2)]));
}

#[tokio::test]
async fn what_cannot_be_read_after_a_restart_is_no_reason_to_freeze() {
    let mut world = World::new();
    world.put(&[("films/main", desired(6))]).await;
    world.source.examine().await;
    // Generation 6 was taken in, but 5 was in service.
    let seen = world.source.trust.known().cloned().unwrap();
    let place = seen.generations.keys().next().unwrap().clone();
    let in_service = DesiredSlot {
        generation: Generation(5),
        ..DesiredSlot::default()
    };
    let remembered = Some((seen, BTreeMap::from([(place, in_service)])));
    let manager = Arc::new(Manager::new(Config::default().retry(), u64::MAX));
    world.source = Source::new(
        Arc::clone(&world.store),
        Keyspace::default(),
        manager,
        remembered,
    );
    world
        .put(&[
            ("films/main", Some(b"{\"format\":2}".to_vec())),
            ("books/main", desired(1)),
        ])
        .await;
    world.source.examine().await;
    assert_eq!(world.frozen(), None);
    assert_eq!(world.wanted(), is(&[("books/main", 1), ("films/main", 5)]));
}

#[tokio::test]
async fn a_view_that_does_not_plainly_go_on_changes_nothing_by_itself() {
    let mut world = World::new();
    world
        .put(&[("films/main", desired(3)), ("books/main", desired(1))])
        .await;
    let view = world.view().await;
    assert!(!world.source.take(&view), "nothing is known yet");
    world.source.examine().await;
    let known = world.wanted();
    let older = View {
        revision: Revision(0),
        ..view.clone()
    };
    assert!(!world.source.take(&older));
    world.put(&[("books/main", None)]).await;
    let fewer = world.view().await;
    assert!(!world.source.take(&fewer));
    assert_eq!(world.wanted(), known);
    // Nor does the whole store: nobody takes a slot away.
    world.source.examine().await;
    assert_eq!(world.wanted(), known);
    assert!(
        world
            .frozen()
            .is_some_and(|doubt| doubt.contains("books/main is gone"))
    );
}

#[tokio::test]
async fn a_doubt_is_told_and_taken_back() {
    let mut world = World::new();
    world.put(&[("films/main", desired(3))]).await;
    world.source.examine().await;
    world.put(&[("films/main", desired(2))]).await;
    world.source.examine().await;
    assert_eq!(
        world.frozen().as_deref(),
        Some("the generation of films/main went back from 3 to 2")
    );
    assert_eq!(world.wanted(), is(&[("films/main", 3)]));
    world.put(&[("films/main", desired(4))]).await;
    let view = world.view().await;
    assert!(!world.source.take(&view));
    world.source.examine().await;
    assert_eq!(
        (world.frozen(), world.wanted()),
        (None, is(&[("films/main", 4)]))
    );
}

#[tokio::test]
async fn the_cluster_is_learned_when_it_gets_a_name() {
    let mut world = World::new();
    world.source.examine().await;
    let seen = world.source.seen();
    assert_eq!(seen.borrow().as_ref().unwrap().cluster, None);
    let record = ClusterRecord {
        uuid: "a".into(),
        incarnation: 1,
        created_at_millis: 0,
    };
    let key = Keyspace::default().key(&ClusterKey {});
    let value = decant_coordination::keys::encode(&ClusterKey {}, &record).unwrap();
    world
        .store
        .commit(Txn::new().put(key, value))
        .await
        .unwrap();
    world.source.examine().await;
    let cluster = seen.borrow().as_ref().unwrap().cluster.clone();
    assert_eq!(cluster, Some(record.into()));
}
