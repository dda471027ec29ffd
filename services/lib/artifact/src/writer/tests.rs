use std::collections::BTreeMap;
use std::path::PathBuf;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::testing::{files, json, listed, manifest, written};
use crate::{BundleStore, Limits};

type Files = BTreeMap<BundlePath, Bytes>;

fn store() -> (TempDir, BundleStore) {
    let folder = tempfile::tempdir().unwrap();
    let store = BundleStore::local(folder.path()).unwrap();
    (folder, store)
}

fn path(text: &str) -> BundlePath {
    text.parse().unwrap()
}

/// Sends what is given as the bundle of other files, and returns why it was refused. Nothing may be left of it.
async fn refused(announced: &Files, sent: &[(&str, &[u8])]) -> Rejection {
    let (folder, store) = store();
    let (digest, json) = json(&manifest(announced));
    let mut writer = store.write(digest, json, &Limits::default()).unwrap();
    for (name, bytes) in sent {
        if let Err(error) = writer
            .write(&path(name), Bytes::copy_from_slice(bytes))
            .await
        {
            writer.abort().await;
            assert_eq!(listed(folder.path()), [""; 0]);
            return rejection(error);
        }
    }
    let error = writer.finish().await.unwrap_err();
    assert_eq!(listed(folder.path()), [""; 0]);
    rejection(error)
}

fn rejection(error: WriteError) -> Rejection {
    match error {
        WriteError::Rejected(rejection) => rejection,
        WriteError::Storage(error) => panic!("{error}"),
    }
}

const WHOLE: [(&str, &[u8]); 4] = [
    ("extra.bin", b"extra"),
    ("features.json", b"{}"),
    ("golden.json", b"[]"),
    ("model.onnx", b"onnx"),
];

#[tokio::test]
async fn wrong_uploads_are_refused_and_leave_nothing() {
    let announced = files(b"extra");
    let first = || WHOLE[0];
    let incomplete = refused(&announced, &[first(), ("features.json", b"{")]).await;
    assert_eq!(
        incomplete,
        Rejection::Incomplete {
            path: path("features.json"),
            found: 1,
            expected: 2
        }
    );
    let missing = refused(&announced, &WHOLE[..3]).await;
    assert_eq!(
        missing,
        Rejection::Incomplete {
            path: path("model.onnx"),
            found: 0,
            expected: 4
        }
    );
    let nothing = refused(&announced, &[]).await;
    assert_eq!(
        nothing,
        Rejection::Incomplete {
            path: path("extra.bin"),
            found: 0,
            expected: 5
        }
    );
    let not_listed = refused(&announced, &[first(), ("other.bin", b"x")]).await;
    assert_eq!(
        not_listed,
        Rejection::NotListed {
            path: path("other.bin")
        }
    );
    let skipped = refused(&announced, &[first(), WHOLE[2]]).await;
    assert_eq!(
        skipped,
        Rejection::OutOfOrder {
            path: path("golden.json"),
            expected: Some(path("features.json"))
        }
    );
    let back = refused(&announced, &[first(), WHOLE[1], first()]).await;
    assert_eq!(
        back,
        Rejection::OutOfOrder {
            path: path("extra.bin"),
            expected: Some(path("golden.json"))
        }
    );
    let too_long = refused(&announced, &[first(), ("extra.bin", b"x")]).await;
    assert_eq!(
        too_long,
        Rejection::TooLong {
            path: path("extra.bin"),
            expected: 5
        }
    );
    let wrong = refused(&announced, &[("extra.bin", b"other")]).await;
    let (expected, found) = (
        decant_model::Digest::of(b"extra"),
        decant_model::Digest::of(b"other"),
    );
    assert_eq!(
        wrong,
        Rejection::FileDigest {
            path: path("extra.bin"),
            expected,
            found
        }
    );
}

#[tokio::test]
async fn an_empty_file_whose_digest_is_not_that_of_nothing_is_refused() {
    let (folder, store) = store();
    let mut manifest = manifest(&files(b""));
    manifest.files.get_mut(&path("extra.bin")).unwrap().sha256 = decant_model::Digest::of(b"x");
    let (digest, json) = json(&manifest);
    let mut writer = store.write(digest, json, &Limits::default()).unwrap();
    let error = writer
        .write(&path("features.json"), Bytes::from_static(b"{}"))
        .await
        .unwrap_err();
    assert!(matches!(rejection(error), Rejection::FileDigest { .. }));
    writer.abort().await;
    assert_eq!(listed(folder.path()), [""; 0]);
}

#[tokio::test]
async fn nothing_is_visible_before_the_end() {
    let (folder, store) = store();
    let (digest, json) = json(&manifest(&files(b"extra")));
    let mut writer = store.write(digest, json, &Limits::default()).unwrap();
    for (name, bytes) in WHOLE {
        writer
            .write(&path(name), Bytes::from_static(bytes))
            .await
            .unwrap();
        assert!(store.open(digest).await.is_err());
        assert!(writer.bundle().read_file(&path("extra.bin")).await.is_err());
    }
    writer.finish().await.unwrap();
    let found = listed(folder.path());
    assert_eq!(found.len(), 5);
    assert!(found.iter().all(|name| !name.contains('#')), "{found:?}");
    assert_eq!(
        store.open(digest).await.unwrap().read_all().await.unwrap(),
        files(b"extra")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_writer_leaves_nothing() {
    let (folder, store) = store();
    let (digest, json) = json(&manifest(&files(b"extra")));
    let mut writer = store.write(digest, json, &Limits::default()).unwrap();
    writer
        .write(&path("extra.bin"), Bytes::from_static(b"ext"))
        .await
        .unwrap();
    drop(writer);
    for _ in 0..500 {
        if listed(folder.path()).is_empty() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("left behind: {:?}", listed(folder.path()));
}

#[tokio::test]
async fn bundles_share_files_and_a_failed_one_does_not_take_them_away() {
    let (folder, store) = store();
    let first = written(&store, &files(b"first")).await;
    assert_eq!(
        written(&store, &files(b"first")).await.digest(),
        first.digest()
    );
    let second = written(&store, &files(b"second")).await;
    // Two manifests, two extra files, and three files that both share.
    assert_eq!(listed(folder.path()).len(), 7);
    let (digest, json) = json(&manifest(&files(b"third")));
    let mut writer = store.write(digest, json, &Limits::default()).unwrap();
    writer
        .write(&path("extra.bin"), Bytes::from_static(b"third"))
        .await
        .unwrap();
    writer
        .write(&path("features.json"), Bytes::from_static(b"{}"))
        .await
        .unwrap();
    assert!(writer.finish().await.is_err());
    assert_eq!(listed(folder.path()).len(), 7);
    assert_eq!(first.read_all().await.unwrap(), files(b"first"));
    assert_eq!(second.read_all().await.unwrap(), files(b"second"));
}

#[tokio::test]
async fn a_store_that_cannot_write_says_what_it_could_not() {
    let (folder, store) = store();
    // A file where a folder is needed stands for a full or read-only disk.
    std::fs::write(folder.path().join("blobs"), "x").unwrap();
    let (digest, json) = json(&manifest(&files(b"extra")));
    let mut writer = store.write(digest, json, &Limits::default()).unwrap();
    let error = writer
        .write(&path("extra.bin"), Bytes::from_static(b"extra"))
        .await
        .unwrap_err();
    assert!(
        matches!(&error, WriteError::Storage(_)) && error.to_string().contains("extra.bin"),
        "{error}"
    );
}

#[test]
fn a_local_store_that_cannot_be_made_names_its_folder() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let folder: PathBuf = file.path().join("bundles");
    let error = BundleStore::local(&folder).unwrap_err().to_string();
    assert!(error.contains(&folder.display().to_string()), "{error}");
}

#[test]
fn manifests_are_checked_before_any_byte_is_written() {
    let (_folder, store) = store();
    let announced = manifest(&files(b"extra"));
    let (digest, bytes) = json(&announced);
    let begin = |digest, bytes, limits: &Limits| {
        store.write(digest, bytes, limits).map(|_| ()).unwrap_err()
    };
    let limits = Limits::default();

    let other = decant_model::Digest::of(b"other");
    assert_eq!(
        begin(other, bytes.clone(), &limits),
        Rejection::ManifestDigest {
            expected: other,
            found: digest
        }
    );
    let large = Bytes::from(vec![b' '; (1 << 20) + 1]);
    assert_eq!(
        begin(digest, large, &limits),
        Rejection::ManifestTooLarge {
            bytes: (1 << 20) + 1
        }
    );
    let text = Bytes::from_static(b"no json");
    assert!(matches!(
        begin(decant_model::Digest::of(&text), text, &limits),
        Rejection::Manifest(_)
    ));
    let outside = bytes
        .iter()
        .map(|byte| char::from(*byte))
        .collect::<String>()
        .replace("extra.bin", "../extra.bin");
    let outside = Bytes::from(outside);
    let error = begin(decant_model::Digest::of(&outside), outside, &limits).to_string();
    assert!(error.contains("`../extra.bin`"), "{error}");

    let few = Limits { files: 3, ..limits };
    assert_eq!(
        begin(digest, bytes.clone(), &few),
        Rejection::TooManyFiles { files: 4, limit: 3 }
    );
    let small = Limits {
        file_bytes: 4,
        ..limits
    };
    let expected = Rejection::FileTooLarge {
        path: path("extra.bin"),
        bytes: 5,
        limit: 4,
    };
    assert_eq!(begin(digest, bytes.clone(), &small), expected);
    let tight = Limits {
        bundle_bytes: 12,
        ..limits
    };
    assert_eq!(
        begin(digest, bytes, &tight),
        Rejection::BundleTooLarge {
            bytes: 13,
            limit: 12
        }
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_files_in_any_chunks_go_round(
        contents in prop::collection::btree_map("[a-d]{1,3}(/[a-d]{1,3})?", prop::collection::vec(any::<u8>(), 0..200), 0..5),
        chunk in 1..64_usize,
    ) {
        let mut files = files(b"extra");
        files.extend(contents.into_iter().map(|(name, bytes)| (path(&name), Bytes::from(bytes))));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (_folder, store) = store();
            let (digest, json) = json(&manifest(&files));
            let mut writer = store.write(digest, json, &Limits::default()).unwrap();
            for (path, bytes) in &files {
                for piece in bytes.chunks(chunk) {
                    writer.write(path, Bytes::copy_from_slice(piece)).await.unwrap();
                }
            }
            writer.finish().await.unwrap();
            assert_eq!(store.open(digest).await.unwrap().read_all().await.unwrap(), files);
        });
    }
}
