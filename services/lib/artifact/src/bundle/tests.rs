use std::path::PathBuf;

use tempfile::TempDir;

use super::*;
use crate::BundleStore;
use crate::testing::{files, written};

async fn bundle(extra: &[u8]) -> (TempDir, BundleStore, Bundle) {
    let folder = tempfile::tempdir().unwrap();
    let store = BundleStore::local(folder.path()).unwrap();
    let bundle = written(&store, &files(extra)).await;
    (folder, store, bundle)
}

fn extra_path() -> BundlePath {
    "extra.bin".parse().unwrap()
}

fn on_disk(folder: &TempDir, content: &[u8]) -> PathBuf {
    folder
        .path()
        .join(layout::blob(&Digest::of(content)).as_ref())
}

#[tokio::test]
async fn what_was_written_is_read() {
    let extra = vec![7; 3 * CHUNK_BYTES + 1];
    let (_folder, store, bundle) = bundle(&extra).await;
    let opened = store.open(bundle.digest()).await.unwrap();
    assert_eq!(opened.manifest(), bundle.manifest());
    assert_eq!(Digest::of(opened.manifest_bytes()), bundle.digest());
    assert_eq!(opened.read_all().await.unwrap(), files(&extra));
    let chunks: Vec<Bytes> = opened
        .stream_file(&extra_path())
        .try_collect()
        .await
        .unwrap();
    assert!(chunks.len() > 2 && chunks.iter().all(|chunk| chunk.len() <= 2 * CHUNK_BYTES));
    assert_eq!(chunks.concat(), extra);
}

#[tokio::test]
async fn an_empty_file_is_read() {
    let (_folder, _store, bundle) = bundle(b"").await;
    assert_eq!(bundle.read_file(&extra_path()).await.unwrap(), "");
}

#[tokio::test]
async fn flipped_bits_are_found_and_the_file_is_never_complete() {
    let extra = vec![7; 4 * CHUNK_BYTES];
    let (folder, _store, bundle) = bundle(&extra).await;
    let mut flipped = extra.clone();
    flipped[100] ^= 1;
    std::fs::write(on_disk(&folder, &extra), &flipped).unwrap();
    let error = bundle.read_file(&extra_path()).await.unwrap_err();
    let message = error.to_string();
    assert!(matches!(error, ReadError::Digest { .. }));
    for named in [
        "extra.bin".to_owned(),
        Digest::of(&extra).to_string(),
        Digest::of(&flipped).to_string(),
    ] {
        assert!(message.contains(&named), "{message}");
    }
    let mut handed_out = 0;
    let mut chunks = bundle.stream_file(&extra_path());
    while let Some(Ok(chunk)) = chunks.next().await {
        handed_out += chunk.len();
    }
    assert!(handed_out < extra.len());
    assert!(chunks.next().await.is_none(), "an error is the end");
    assert!(bundle.read_all().await.is_err());
}

#[tokio::test]
async fn truncated_grown_and_missing_files_are_found() {
    let extra = vec![7; 1000];
    let (folder, _store, bundle) = bundle(&extra).await;
    for size in [0, 999, 1001] {
        std::fs::write(on_disk(&folder, &extra), vec![7; size]).unwrap();
        let error = bundle.read_file(&extra_path()).await.unwrap_err();
        assert!(
            matches!(error, ReadError::Size { expected: 1000, found, .. } if found == size as u64),
            "{error}"
        );
    }
    std::fs::remove_file(on_disk(&folder, &extra)).unwrap();
    let error = bundle.read_file(&extra_path()).await.unwrap_err();
    assert!(
        matches!(&error, ReadError::Missing { .. }) && error.to_string().contains("extra.bin"),
        "{error}"
    );
    let error = bundle
        .read_file(&"other".parse().unwrap())
        .await
        .unwrap_err();
    assert!(matches!(error, ReadError::NoFile { .. }), "{error}");
}

#[tokio::test]
async fn a_corrupt_or_unknown_manifest_is_refused() {
    let (folder, store, bundle) = bundle(b"x").await;
    let unknown = store.open(Digest::of(b"unknown")).await.unwrap_err();
    assert!(matches!(unknown, ReadError::NotFound { .. }), "{unknown}");
    let path = folder
        .path()
        .join(layout::manifest(&bundle.digest()).as_ref());
    for bytes in [
        bundle.manifest_bytes()[1..].to_vec(),
        vec![b' '; (1 << 20) + 1],
    ] {
        std::fs::write(&path, bytes).unwrap();
        let error = store.open(bundle.digest()).await.unwrap_err();
        assert!(matches!(error, ReadError::Manifest { .. }), "{error}");
    }
}
