use std::fs;

use super::*;

fn place(name: &str) -> Place {
    Place {
        model: name.parse().unwrap(),
        slot: Default::default(),
    }
}

fn snapshot() -> Snapshot {
    let desired = DesiredSlot {
        generation: Generation(4),
        issued_by: "ana".into(),
        ..DesiredSlot::default()
    };
    let cluster = Cluster {
        uuid: "a".into(),
        incarnation: 2,
    };
    Snapshot {
        seen: Seen {
            store: u64::MAX,
            cluster: Some(cluster),
            revision: Revision(9),
            generations: [
                (place("books"), Generation(1)),
                (place("films"), Generation(5)),
            ]
            .into(),
        },
        slots: [(place("films"), desired)].into(),
    }
}

#[test]
fn a_snapshot_goes_round_and_replaces_the_one_before() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(load(folder.path()).unwrap(), None);
    save(folder.path(), snapshot()).unwrap();
    assert_eq!(load(folder.path()).unwrap(), Some(snapshot()));
    let mut next = snapshot();
    next.seen.revision = Revision(10);
    save(folder.path(), next.clone()).unwrap();
    assert_eq!(load(folder.path()).unwrap(), Some(next));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn the_stored_snapshot_stays_readable() {
    let stored = br#"{"format":1,"store":18446744073709551615,"revision":9,"cluster":{"uuid":"a","incarnation":2},"slots":[
        {"model":"books","slot":"main","generation":1,"in_service":null},
        {"model":"films","slot":"main","generation":5,"in_service":{"generation":4,"active":[],"issued_by":"ana","reason":"",
        "issued_at_millis":0}}]}"#;
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(FILE.file), stored).unwrap();
    assert_eq!(load(folder.path()).unwrap(), Some(snapshot()));
}

#[test]
fn the_folder_is_made_when_nothing_was_kept_yet() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("scorer-0/cache");
    assert_eq!(load(&cache).unwrap(), None);
    save(&cache, snapshot()).unwrap();
    assert_eq!(load(&cache).unwrap(), Some(snapshot()));
}

#[test]
fn what_cannot_be_used_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(FILE.file);
    save(folder.path(), snapshot()).unwrap();
    let whole = fs::read(&path).unwrap();
    for (content, reason) in [
        (&whole[..whole.len() / 2], "does not parse"),
        (b"", "does not parse"),
        (br#"{"format":1}"#, "does not parse"),
        (br#"{"format":2,"anything":"else"}"#, "has format 2"),
    ] {
        fs::write(&path, content).unwrap();
        let error = load(folder.path()).unwrap_err().to_string();
        assert!(
            error.contains("desired.json") && error.contains(reason),
            "{error}"
        );
    }
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(
        load(folder.path())
            .unwrap_err()
            .to_string()
            .contains("cannot read")
    );
    assert!(
        save(folder.path(), snapshot())
            .unwrap_err()
            .to_string()
            .contains("cannot replace")
    );
}

#[tokio::test]
async fn only_what_changes_what_is_served_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let Snapshot { seen, slots } = snapshot();
    let (seen_sender, seen_receiver) = watch::channel(Some(seen.clone()));
    let (slots_sender, slots_receiver) = watch::channel(slots.clone());
    let stop = CancellationToken::new();
    let following = follow(
        folder.path().to_owned(),
        seen_receiver,
        slots_receiver,
        stop.clone(),
    );
    let changes = async {
        let written = |expected: Snapshot| {
            let path = folder.path().to_owned();
            async move {
                while load(&path).unwrap().as_ref() != Some(&expected) {
                    tokio::task::yield_now().await;
                }
            }
        };
        written(snapshot()).await;
        // A revision alone is not; with the next change it is.
        let mut later = seen.clone();
        later.revision = Revision(11);
        seen_sender.send_replace(Some(later.clone()));
        later.generations.remove(&place("books"));
        later.revision = Revision(12);
        seen_sender.send_replace(Some(later.clone()));
        written(Snapshot {
            seen: later.clone(),
            slots: slots.clone(),
        })
        .await;
        slots_sender.send_replace(BTreeMap::new());
        written(Snapshot {
            seen: later,
            slots: BTreeMap::new(),
        })
        .await;
        stop.cancel();
    };
    let (ended, ()) = futures::future::join(following, changes).await;
    ended.unwrap();
}
