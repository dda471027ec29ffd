use decant_coordination::{Entry, Key};
use decant_model::Generation;

use super::*;

fn view(revision: u64, entries: &[(&str, Vec<u8>)]) -> View {
    let entry = |(path, value): &(&str, Vec<u8>)| {
        let key = Key::new(format!("{}{path}", Keyspace::default().all::<DesiredKey>()));
        let revision = Revision(revision);
        let value = value.clone().into();
        (
            key.clone(),
            Entry {
                key,
                value,
                create_revision: revision,
                mod_revision: revision,
            },
        )
    };
    View {
        revision: Revision(revision),
        entries: Arc::new(entries.iter().map(entry).collect()),
    }
}

fn desired(generation: u64) -> Vec<u8> {
    let desired = DesiredSlot {
        generation: Generation(generation),
        active: Vec::new(),
        issued_by: "test".into(),
        reason: String::new(),
        issued_at_millis: 0,
        ..DesiredSlot::default()
    };
    serde_json::to_vec(&desired).unwrap()
}

fn wanted(slots: &Wanted) -> Vec<(String, u64)> {
    slots
        .slots
        .iter()
        .map(|(place, desired)| (place.to_string(), desired.generation.0))
        .collect()
}

#[test]
fn what_cannot_be_read_leaves_what_was_wanted_before() {
    let mut known = Wanted {
        keyspace: Keyspace::default(),
        revision: Revision(0),
        slots: BTreeMap::new(),
    };
    assert!(known.update(&view(
        1,
        &[("films/main", desired(1)), ("books/main", desired(4))]
    )));
    assert!(known.update(&view(
        2,
        &[
            ("films/main", b"{".to_vec()),
            ("FILMS", desired(9)),
            ("new/main", b"".to_vec())
        ]
    )));
    assert_eq!(wanted(&known), [("films/main".to_owned(), 1)]);
    assert!(known.update(&view(3, &[("films/main", desired(2))])));
    assert_eq!(wanted(&known), [("films/main".to_owned(), 2)]);
}

#[test]
fn a_store_that_went_back_in_time_is_not_believed() {
    let mut known = Wanted {
        keyspace: Keyspace::default(),
        revision: Revision(0),
        slots: BTreeMap::new(),
    };
    assert!(known.update(&view(7, &[("films/main", desired(3))])));
    assert!(!known.update(&view(2, &[])));
    assert_eq!(wanted(&known), [("films/main".to_owned(), 3)]);
    assert!(known.update(&view(7, &[("films/main", desired(3))])));
}
