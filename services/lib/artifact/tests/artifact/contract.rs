//! What every bundle store keeps, whatever it lies on.

use std::collections::BTreeSet;
use std::time::SystemTime;

use bytes::Bytes;
use decant_artifact::testing::{S3Server, files, json, manifest, written};
use decant_artifact::{
    BundleCache, Limits, ReadError, Rejection, SignatureRejection, SigningKey, Sweep, SweepError,
    WriteError, check_signer,
};
use decant_model::{BundlePath, Digest};
use futures::{TryStreamExt, future};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use crate::place::{DAY, Place, in_two_days};

#[tokio::test]
async fn a_local_folder_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    contract(|name| {
        let below = folder.path().join(name);
        std::fs::create_dir(&below).unwrap();
        Place::folder(&below)
    })
    .await;
}

#[tokio::test]
async fn an_s3_server_keeps_the_contract() {
    let server = S3Server::start();
    contract(|name| Place::s3(&server, name)).await;
}

async fn contract(place: impl Fn(&str) -> Place) {
    what_was_written_is_read(&place("read")).await;
    large_files_go_round_in_parts(&place("large")).await;
    bundles_are_written_once(&place("once")).await;
    signatures_lie_beside_manifests(&place("signed")).await;
    a_damaged_manifest_is_replaced_by_the_next_push(&place("healed")).await;
    every_file_is_verified(&place("verified")).await;
    sweeps_take_what_nothing_needs(&place("swept")).await;
    a_manifest_that_cannot_be_read_stops_the_sweep(&place("unreadable")).await;
    unfinished_uploads_are_swept(&place("unfinished")).await;
    caches_fill_from_it(&place("cached")).await;
}

fn blob(content: &[u8]) -> Path {
    let hex = Digest::of(content).hex();
    Path::from(format!("blobs/sha256/{}/{hex}", &hex[..2]))
}

fn beside(digest: Digest, name: &str) -> Path {
    let hex = digest.hex();
    Path::from(format!("bundles/sha256/{}/{hex}/{name}", &hex[..2]))
}

/// Bytes that repeat nowhere, so that parts cannot be mistaken for each other.
fn noise(length: usize) -> Bytes {
    let mut state = 1_u64;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        state.to_be_bytes()
    };
    (0..length.div_ceil(8))
        .flat_map(|_| next())
        .take(length)
        .collect()
}

async fn stored(place: &Place) -> usize {
    let listed = place.objects.list(None).try_collect::<Vec<_>>().await;
    let marker = Path::from("format");
    listed
        .unwrap()
        .iter()
        .filter(|meta| meta.location != marker)
        .count()
}

async fn what_was_written_is_read(Place { store, .. }: &Place) {
    let nothing = store.open(Digest::of(b"nothing")).await.unwrap_err();
    assert!(matches!(nothing, ReadError::NotFound { .. }), "{nothing}");
    for extra in [&b""[..], b"extra"] {
        let files = files(extra);
        let digest = written(store, &files).await.digest();
        let bundle = store.open(digest).await.unwrap();
        assert_eq!(bundle.read_all().await.unwrap(), files);
        assert!(bundle.signature().is_none());
    }
}

async fn large_files_go_round_in_parts(Place { store, .. }: &Place) {
    let extra = noise((20 << 20) + 7);
    let bundle = written(store, &files(&extra)).await;
    let mut chunks = bundle.stream_file(&"extra.bin".parse().unwrap());
    let mut at = 0;
    while let Some(chunk) = chunks.try_next().await.unwrap() {
        assert!(chunk == extra[at..at + chunk.len()], "at {at}");
        at += chunk.len();
    }
    assert_eq!(at, extra.len());
}

async fn bundles_are_written_once(place: &Place) {
    let files = files(b"extra");
    let racers = (0..8).map(|_| written(&place.store, &files));
    let bundles = future::join_all(racers).await;
    assert!(
        bundles
            .iter()
            .all(|bundle| bundle.digest() == bundles[0].digest())
    );
    assert_eq!(bundles[0].read_all().await.unwrap(), files);
    assert_eq!(stored(place).await, 5, "four files and a manifest");
}

async fn signatures_lie_beside_manifests(place @ Place { store, .. }: &Place) {
    let (key, other) = (
        SigningKey::generate().unwrap(),
        SigningKey::generate().unwrap(),
    );
    let files = files(b"extra");
    let (digest, json) = json(&manifest(&files));
    let begin = || {
        store
            .write(digest, json.clone(), &Limits::default())
            .unwrap()
    };
    let push = async |key: &SigningKey| {
        let mut writer = begin().signed(key.sign(&json)).unwrap();
        for (path, bytes) in &files {
            writer.write(path, bytes.clone()).await?;
        }
        writer.finish().await
    };

    let wrong = begin().signed(key.sign(b"another manifest"));
    let wrong = wrong.map(drop).unwrap_err();
    assert!(
        matches!(
            wrong,
            Rejection::Signature(SignatureRejection::Wrong { .. })
        ),
        "{wrong}"
    );

    let unsigned = written(store, &files).await;
    check_signer(&unsigned, &[]).unwrap();
    let error = check_signer(&unsigned, &[key.public()]).unwrap_err();
    assert_eq!(error, SignatureRejection::Unsigned { digest });

    push(&key).await.unwrap();
    push(&key).await.unwrap();
    let signed = store.open(digest).await.unwrap();
    assert_eq!(signed.signature(), Some(&key.sign(&json)));
    check_signer(&signed, &[other.public(), key.public()]).unwrap();
    let error = check_signer(&signed, &[other.public()]).unwrap_err();
    let by = key.public();
    assert_eq!(error, SignatureRejection::UnknownKey { digest, key: by });

    let refused = push(&other).await.unwrap_err();
    assert!(
        matches!(refused, WriteError::Rejected(Rejection::SignedByOther { by: found, .. }) if found == by),
        "{refused}"
    );
    assert_eq!(
        store.open(digest).await.unwrap().signature(),
        signed.signature()
    );

    let address = beside(digest, "manifest.sig");
    let forged = other.sign(b"another manifest").to_string();
    place.objects.put(&address, forged.into()).await.unwrap();
    let error = check_signer(&store.open(digest).await.unwrap(), &[other.public()]);
    assert!(
        matches!(error, Err(SignatureRejection::Wrong { .. })),
        "{error:?}"
    );
    for damaged in ["no signature".to_owned(), "x".repeat(2_000)] {
        place.objects.put(&address, damaged.into()).await.unwrap();
        let error = store.open(digest).await.unwrap_err();
        assert!(matches!(error, ReadError::Signature { .. }), "{error}");
    }
}

async fn a_damaged_manifest_is_replaced_by_the_next_push(place: &Place) {
    let digest = written(&place.store, &files(b"extra")).await.digest();
    let address = beside(digest, "manifest.json");
    place.objects.put(&address, "{}".into()).await.unwrap();
    assert!(place.store.open(digest).await.unwrap_err().is_corruption());
    written(&place.store, &files(b"extra")).await;
    place
        .store
        .open(digest)
        .await
        .unwrap()
        .verify()
        .await
        .unwrap();
}

async fn every_file_is_verified(place: &Place) {
    let files = files(b"extra");
    let bundle = written(&place.store, &files).await;
    bundle.verify().await.unwrap();
    for (path, content) in &files {
        let address = blob(content);
        let mut flipped = content.to_vec();
        flipped[0] ^= 1;
        for damaged in [flipped, [content, &b"more"[..]].concat(), vec![]] {
            place.objects.put(&address, damaged.into()).await.unwrap();
            let error = bundle.verify().await.unwrap_err();
            assert!(error.is_corruption(), "{error}");
            assert!(error.to_string().contains(path.as_str()), "{error}");
        }
        place.objects.delete(&address).await.unwrap();
        let error = bundle.verify().await.unwrap_err();
        assert!(matches!(error, ReadError::Missing { .. }), "{error}");
        place
            .objects
            .put(&address, content.clone().into())
            .await
            .unwrap();
    }
    bundle.verify().await.unwrap();
}

async fn sweeps_take_what_nothing_needs(place @ Place { store, .. }: &Place) {
    let kept = written(store, &files(b"kept")).await;
    let gone = written(store, &files(b"gone")).await.digest();
    let foreign = Path::from("bundles/README");
    place
        .objects
        .put(&foreign, "ours to keep".into())
        .await
        .unwrap();
    let referenced = BTreeSet::from([kept.digest()]);
    let before = stored(place).await;

    let young = store
        .sweep(&referenced, DAY, SystemTime::now(), Sweep::Delete)
        .await
        .unwrap();
    assert!(young.bundles.is_empty() && young.blobs == 0, "{young:?}");
    assert_eq!(
        young.kept_young, 1,
        "the manifest of the one that nothing refers to"
    );
    let dry = store
        .sweep(&referenced, DAY, in_two_days(), Sweep::DryRun)
        .await
        .unwrap();
    assert_eq!((dry.bundles.as_slice(), dry.blobs), (&[gone][..], 1));
    assert_eq!(stored(place).await, before);

    let swept = store
        .sweep(&referenced, DAY, in_two_days(), Sweep::Delete)
        .await
        .unwrap();
    assert_eq!(swept, dry);
    assert_eq!(stored(place).await, before - 2);
    assert!(matches!(
        store.open(gone).await,
        Err(ReadError::NotFound { .. })
    ));
    kept.verify().await.unwrap();
    place.objects.head(&foreign).await.unwrap();
    let again = store
        .sweep(&referenced, DAY, in_two_days(), Sweep::Delete)
        .await
        .unwrap();
    assert_eq!(again, decant_artifact::Swept::default());
}

async fn a_manifest_that_cannot_be_read_stops_the_sweep(place @ Place { store, .. }: &Place) {
    let kept = written(store, &files(b"kept")).await.digest();
    written(store, &files(b"gone")).await;
    let before = stored(place).await;
    place
        .objects
        .put(&beside(kept, "manifest.json"), "{".into())
        .await
        .unwrap();
    for referenced in [kept, Digest::of(b"lost")] {
        let referenced = BTreeSet::from([referenced]);
        let swept = store
            .sweep(&referenced, DAY, in_two_days(), Sweep::Delete)
            .await;
        assert!(matches!(swept, Err(SweepError::Unreadable(_))), "{swept:?}");
        assert_eq!(stored(place).await, before);
    }
}

async fn unfinished_uploads_are_swept(place @ Place { store, .. }: &Place) {
    let path = blob(b"never finished");
    let mut upload = place.objects.put_multipart(&path).await.unwrap();
    upload.put_part(noise(6 << 20).into()).await.unwrap();
    // As a crash does: nothing is cleaned up.
    std::mem::forget(upload);
    let sweep = async |now, mode| {
        let swept = store.sweep(&BTreeSet::new(), DAY, now, mode).await;
        swept.unwrap().uploads
    };
    // The test server says of every upload that it began in 2010.
    if !place.on_s3 {
        assert_eq!(sweep(SystemTime::now(), Sweep::Delete).await, 0);
    }
    assert_eq!(sweep(in_two_days(), Sweep::DryRun).await, 1);
    assert_eq!(sweep(in_two_days(), Sweep::Delete).await, 1);
    assert_eq!(sweep(in_two_days(), Sweep::Delete).await, 0);
}

async fn caches_fill_from_it(place @ Place { store, .. }: &Place) {
    let folder = tempfile::tempdir().unwrap();
    let cache = BundleCache::open(folder.path(), 10 << 20).await.unwrap();
    let files = files(&noise(3 << 20));
    let digest = written(store, &files).await.digest();
    let path: BundlePath = "extra.bin".parse().unwrap();
    assert!(cache.get(digest).await.is_none());
    let bundle = cache.fetch(store, digest).await.unwrap();
    // It is read from the folder: the store may lose it.
    place.objects.delete(&blob(&files[&path])).await.unwrap();
    assert_eq!(bundle.read_all().await.unwrap(), files);
    assert_eq!(
        cache
            .get(digest)
            .await
            .unwrap()
            .read_file(&path)
            .await
            .unwrap(),
        files[&path]
    );
}
