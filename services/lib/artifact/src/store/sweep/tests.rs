use std::fs;
use std::sync::Arc;

use bytes::Bytes;
use decant_model::BundlePath;
use proptest::prelude::*;

use super::*;
use crate::Bundle;
use crate::harmed::Harmed;
use crate::testing::{files, json, listed, manifest, written};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Makes all that lies in a folder as old as that.
fn age(folder: &std::path::Path, age: Duration) {
    for name in listed(folder) {
        age_file(&folder.join(name), age);
    }
}

fn age_file(path: &std::path::Path, age: Duration) {
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_modified(SystemTime::now() - age).unwrap();
}

async fn sweep(store: &BundleStore, referenced: &BTreeSet<Digest>) -> Swept {
    let now = SystemTime::now();
    store
        .sweep(referenced, DAY, now, Sweep::Delete)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_push_makes_what_was_there_young_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = BundleStore::local(folder.path()).unwrap();
    let bundle = written(&store, &files(b"extra")).await;
    age(folder.path(), 2 * DAY);
    // Pushed again, and not referenced yet when the sweep comes.
    written(&store, &files(b"extra")).await;
    let swept = sweep(&store, &BTreeSet::new()).await;
    assert_eq!((swept.bundles.len(), swept.blobs), (0, 0), "{swept:?}");
    bundle.verify().await.unwrap();

    // Its files are old, and another bundle takes some of them over.
    age(folder.path(), 2 * DAY);
    let other = written(&store, &files(b"other")).await;
    let swept = sweep(&store, &BTreeSet::new()).await;
    assert_eq!(swept.bundles, [bundle.digest()]);
    assert_eq!(swept.blobs, 1, "the file that only the old one has");
    other.verify().await.unwrap();
}

#[tokio::test]
async fn a_push_between_the_listing_and_the_deletion_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let store = BundleStore::local(folder.path()).unwrap();
    let bundle = written(&store, &files(b"extra")).await;
    age(folder.path(), 2 * DAY);
    let harmed = Harmed::new(folder.path());
    let pushed = folder.path().to_owned();
    harmed.before_head(move || age(&pushed, Duration::ZERO));
    let swept = sweep(&BundleStore::new(Arc::new(harmed)), &BTreeSet::new()).await;
    assert_eq!((swept.bundles.len(), swept.blobs), (0, 0), "{swept:?}");
    store
        .open(bundle.digest())
        .await
        .unwrap()
        .verify()
        .await
        .unwrap();
}

#[tokio::test]
async fn a_lone_signature_is_swept_when_it_is_old() {
    let folder = tempfile::tempdir().unwrap();
    let store = BundleStore::local(folder.path()).unwrap();
    let address = layout::signature(&Digest::of(b"crashed"));
    let path = folder.path().join(address.as_ref());
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, "x").unwrap();
    assert_eq!(sweep(&store, &BTreeSet::new()).await.kept_young, 1);
    age(folder.path(), 2 * DAY);
    let swept = sweep(&store, &BTreeSet::new()).await;
    assert_eq!((swept.bundles.len(), swept.bytes), (0, 1));
    assert!(listed(folder.path()).is_empty());
}

/// A bundle of the files with these numbers.
async fn numbered(store: &BundleStore, numbers: &BTreeSet<u8>) -> Bundle {
    let numbered = numbers.iter().map(|number| {
        let path: BundlePath = format!("file-{number}").parse().unwrap();
        (path, Bytes::from(vec![*number; 1 + usize::from(*number)]))
    });
    let mut files = files(b"shared by all");
    files.extend(numbered);
    let (digest, json) = json(&manifest(&files));
    let mut writer = store
        .write(digest, json, &crate::Limits::default())
        .unwrap();
    for (path, bytes) in &files {
        writer.write(path, bytes.clone()).await.unwrap();
    }
    writer.finish().await.unwrap()
}

#[derive(Clone, Debug)]
struct Pushed {
    files: BTreeSet<u8>,
    referenced: bool,
    manifest_is_old: bool,
}

fn pushed() -> impl Strategy<Value = Pushed> {
    let files = prop::collection::btree_set(0..12_u8, 0..5);
    (files, any::<bool>(), any::<bool>()).prop_map(|(files, referenced, manifest_is_old)| Pushed {
        files,
        referenced,
        manifest_is_old,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_that_is_needed_is_lost_and_a_second_sweep_takes_nothing(
        pushes in prop::collection::vec(pushed(), 1..8),
        old_blobs in any::<u64>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let store = BundleStore::local(folder.path()).unwrap();
            let mut bundles = BTreeMap::new();
            for push in &pushes {
                let bundle = numbered(&store, &push.files).await;
                bundles.insert(bundle.digest(), (bundle, push));
            }
            for (number, name) in listed(folder.path()).into_iter().enumerate() {
                if name.starts_with("blobs") && old_blobs >> (number % 64) & 1 == 1 {
                    age_file(&folder.path().join(name), 2 * DAY);
                }
            }
            for (digest, (_, push)) in &bundles {
                if push.manifest_is_old {
                    age_file(&folder.path().join(layout::manifest(digest).as_ref()), 2 * DAY);
                }
            }
            let referenced: BTreeSet<_> = bundles
                .iter()
                .filter(|(_, (_, push))| push.referenced)
                .map(|(digest, _)| *digest)
                .collect();

            let before = listed(folder.path());
            let now = SystemTime::now();
            let dry = store.sweep(&referenced, DAY, now, Sweep::DryRun).await.unwrap();
            assert_eq!(listed(folder.path()), before);
            let swept = store.sweep(&referenced, DAY, now, Sweep::Delete).await.unwrap();
            assert_eq!(swept, dry);
            assert_eq!(before.len() - listed(folder.path()).len(), swept.bundles.len() + swept.blobs as usize);
            for (digest, (bundle, push)) in &bundles {
                let stays = push.referenced || !push.manifest_is_old;
                assert_eq!(swept.bundles.contains(digest), !stays);
                if stays {
                    store.open(*digest).await.unwrap();
                    bundle.verify().await.unwrap();
                }
            }
            let again = store.sweep(&referenced, DAY, now, Sweep::Delete).await.unwrap();
            assert_eq!((again.bundles.len(), again.blobs, again.bytes), (0, 0, 0));
            assert_eq!(again.kept_young, swept.kept_young);
        });
    }
}
