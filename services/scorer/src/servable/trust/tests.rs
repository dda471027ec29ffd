use proptest::collection::btree_map;
use proptest::prelude::*;

use super::*;

const STORE: u64 = 7;

fn place(name: &str) -> Place {
    Place {
        model: name.parse().unwrap(),
        slot: Default::default(),
    }
}

fn generations(slots: &[(&str, u64)]) -> BTreeMap<Place, Generation> {
    let slot = |(name, generation): &(&str, u64)| (place(name), Generation(*generation));
    slots.iter().map(slot).collect()
}

fn cluster(uuid: &str, incarnation: u64) -> Option<Cluster> {
    let uuid = uuid.to_owned();
    Some(Cluster { uuid, incarnation })
}

fn seen(revision: u64, slots: &[(&str, u64)]) -> Seen {
    Seen {
        store: STORE,
        cluster: cluster("a", 1),
        revision: Revision(revision),
        generations: generations(slots),
    }
}

impl Trust {
    fn believes(&mut self, found: Seen) -> bool {
        self.judge(found) != Verdict::Doubted
    }
}

/// Trust in a store at revision 10 with two slots.
fn trust() -> Trust {
    Trust::remembering(Some(seen(10, &[("books", 3), ("films", 5)])))
}

/// The doubt about what is found, and that nothing of it was taken in.
fn doubt(found: Seen) -> String {
    let mut trust = trust();
    let known = trust.known().cloned();
    assert!(!trust.believes(found));
    assert_eq!(trust.known().cloned(), known);
    trust.doubt().unwrap().to_string()
}

#[test]
fn without_a_memory_everything_is_believed() {
    let mut trust = Trust::default();
    assert!(!trust.follows(STORE, Revision(1), &generations(&[])));
    assert!(trust.believes(seen(4, &[("films", 2)])));
    assert!(trust.follows(
        STORE,
        Revision(5),
        &generations(&[("books", 1), ("films", 3)])
    ));
    assert_eq!(trust.known(), Some(&seen(5, &[("books", 1), ("films", 3)])));
}

#[test]
fn what_does_not_plainly_go_on_is_read_again() {
    for (store, revision, slots) in [
        (8, 11, [("books", 3), ("films", 5)].as_slice()),
        (STORE, 9, &[("books", 3), ("films", 5)]),
        (STORE, 11, &[("books", 3), ("films", 4)]),
        (STORE, 11, &[("films", 5)]),
    ] {
        assert!(!trust().follows(store, Revision(revision), &generations(slots)));
    }
}

#[test]
fn a_slot_that_is_gone_is_missing_from_an_older_copy() {
    assert!(doubt(seen(11, &[("films", 5)])).contains("books/main is gone"));
}

#[test]
fn the_incarnation_of_another_cluster_says_nothing() {
    let elsewhere = Seen {
        cluster: cluster("b", 9),
        ..seen(12, &[("books", 3), ("films", 5)])
    };
    assert_eq!(doubt(elsewhere), "the store is of cluster b, not of a");
}

#[test]
fn stores_that_look_older_are_doubted_and_the_reason_is_said() {
    let slots = [("books", 3), ("films", 5)];
    let wiped = Seen {
        cluster: None,
        ..seen(1, &[])
    };
    // The keys alone were deleted: the store itself goes on.
    let emptied = Seen {
        cluster: None,
        ..seen(12, &[])
    };
    for found in [wiped, emptied] {
        assert!(doubt(found).contains("it was a"));
    }
    let rebuilt = Seen {
        cluster: cluster("b", 1),
        ..seen(12, &slots)
    };
    assert_eq!(doubt(rebuilt), "the store is of cluster b, not of a");
    assert_eq!(
        doubt(seen(9, &slots)),
        "the store's revision went back from 10 to 9"
    );
    assert_eq!(
        doubt(seen(12, &[("films", 4)])),
        "the generation of films/main went back from 5 to 4"
    );
    let elsewhere = Seen {
        store: 8,
        ..seen(12, &[("films", 5)])
    };
    assert!(doubt(elsewhere).contains("books/main is gone"));
}

#[test]
fn before_the_cluster_has_a_name_the_stores_own_counts() {
    let nameless = |store, revision| Seen {
        store,
        cluster: None,
        ..seen(revision, &[("films", 1)])
    };
    let mut trust = Trust::remembering(Some(nameless(1, 4)));
    assert!(!trust.believes(nameless(2, 5)));
    assert_eq!(
        trust.doubt().unwrap().to_string(),
        "another store answers: 2, not 1"
    );
    assert!(trust.believes(nameless(1, 5)));
    let named = Seen {
        store: 1,
        ..seen(6, &[("films", 1)])
    };
    assert!(trust.believes(named));
}

#[test]
fn a_store_that_moved_without_losing_anything_is_believed() {
    let mut trust = trust();
    let moved = Seen {
        store: 8,
        ..seen(10, &[("books", 3), ("films", 5)])
    };
    assert!(trust.believes(moved));
}

#[test]
fn a_store_that_has_caught_up_is_believed_again() {
    let mut trust = trust();
    assert!(!trust.believes(seen(8, &[("films", 4)])));
    // A watch alone cannot say that it has.
    assert!(!trust.follows(
        STORE,
        Revision(11),
        &generations(&[("books", 3), ("films", 6)])
    ));
    // Further on, but a slot is missing that a copy may be too old to have.
    assert!(!trust.believes(seen(11, &[("films", 6)])));
    assert!(trust.believes(seen(11, &[("books", 3), ("films", 6)])));
    assert_eq!(trust.doubt(), None);
}

#[test]
fn an_operator_makes_any_store_the_truth() {
    let restored = Seen {
        store: 8,
        cluster: cluster("b", 2),
        ..seen(3, &[("films", 6)])
    };
    let mut trust = trust();
    assert!(!trust.believes(Seen {
        cluster: cluster("b", 1),
        ..restored.clone()
    }));
    assert!(trust.believes(restored.clone()));
    assert_eq!(trust.known(), Some(&restored));
    // Once is enough: the same incarnation does not adopt the store that was left.
    assert!(!trust.believes(seen(20, &[("books", 3), ("films", 9)])));
}

#[test]
fn a_copy_of_before_the_last_adoption_can_be_adopted() {
    let restored = |incarnation, revision| Seen {
        cluster: cluster("a", incarnation),
        ..seen(revision, &[("books", 3), ("films", 5)])
    };
    let mut trust = Trust::remembering(Some(restored(3, 10)));
    assert!(!trust.believes(restored(2, 4)));
    assert!(!trust.believes(restored(2, 5)));
    assert!(trust.believes(restored(3, 6)));
    // What was doubted is forgotten with the doubt.
    assert!(!trust.believes(restored(3, 5)));
}

fn any_seen() -> impl Strategy<Value = Seen> {
    let uuid = prop_oneof![4 => Just("a"), 1 => Just("b")];
    let cluster = proptest::option::weighted(0.9, (uuid, 1_u64..4));
    let slots = btree_map(prop_oneof![Just("books"), Just("films")], 1_u64..6, 0..=2);
    (7_u64..9, cluster, 1_u64..20, slots).prop_map(|(store, named, revision, slots)| Seen {
        store,
        cluster: named.and_then(|(uuid, incarnation)| self::cluster(uuid, incarnation)),
        revision: Revision(revision),
        generations: slots
            .into_iter()
            .map(|(name, generation)| (place(name), Generation(generation)))
            .collect(),
    })
}

proptest! {
    /// Whatever stores answer in whatever order: what is believed goes on from what was believed, or was adopted.
    #[test]
    fn what_is_believed_never_goes_back_unless_adopted(
        all in proptest::collection::vec((any_seen(), any::<bool>()), 1..40),
    ) {
        let mut trust = Trust::default();
        for (found, by_watch) in all {
            let (before, doubted) = (trust.known().cloned(), trust.doubt().is_some());
            let lowest = trust.doubted.clone();
            let believed = if by_watch {
                trust.follows(found.store, found.revision, &found.generations)
            } else {
                trust.believes(found.clone())
            };
            let Some(before) = before else { continue };
            let after = trust.known().cloned().unwrap();
            if !believed {
                prop_assert_eq!(after, before, "something was taken in");
                prop_assert!(by_watch || trust.doubt().is_some());
                continue;
            }
            prop_assert!(trust.doubt().is_none());
            let incarnation = |seen: &Seen| seen.cluster.as_ref().map(|cluster| cluster.incarnation);
            let grew = lowest.is_some_and(|lowest| {
                doubted && after.cluster.as_ref().is_some_and(|after| {
                    after.uuid == lowest.uuid && after.incarnation > lowest.incarnation
                })
            });
            if grew || incarnation(&after) > incarnation(&before) && before.cluster.is_some() {
                prop_assert!(!by_watch);
                continue;
            }
            let uuid = |seen: &Seen| seen.cluster.as_ref().map(|cluster| cluster.uuid.clone());
            prop_assert!(before.cluster.is_none() || uuid(&after) == uuid(&before));
            prop_assert!(before.cluster.is_some() || after.store == before.store);
            prop_assert!(after.revision >= before.revision);
            for (place, known) in &before.generations {
                match after.generations.get(place) {
                    Some(found) => prop_assert!(found >= known),
                    None => prop_assert!(!by_watch && !doubted && after.store == before.store),
                }
            }
        }
    }
}
