use std::collections::BTreeMap;
use std::time::Duration;

use decant_model::BundlePath;
use futures::future;
use tempfile::TempDir;

use super::*;
use crate::SigningKey;
use crate::harmed::Harmed;
use crate::testing::{files, json, listed, manifest, written};

type Files = BTreeMap<BundlePath, Bytes>;

/// A remote store with a bundle in it, and a cache.
struct Setting {
    remote_folder: TempDir,
    remote: BundleStore,
    folder: TempDir,
    cache: BundleCache,
}

async fn setting(max_bytes: u64) -> Setting {
    let (remote_folder, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    Setting {
        remote: BundleStore::local(remote_folder.path()).unwrap(),
        remote_folder,
        cache: BundleCache::open(folder.path(), max_bytes).await.unwrap(),
        folder,
    }
}

impl Setting {
    async fn push(&self, extra: &[u8]) -> (Digest, Files) {
        let files = files(extra);
        (written(&self.remote, &files).await.digest(), files)
    }

    fn blob(&self, content: &[u8]) -> PathBuf {
        let address = layout::blob(&Digest::of(content));
        self.folder.path().join(address.as_ref())
    }

    fn takes(&self, files: &Files) -> u64 {
        let (_, json) = json(&manifest(files));
        json.len() as u64 + files.values().map(|bytes| bytes.len() as u64).sum::<u64>()
    }
}

/// A store that nobody answers for.
fn away() -> BundleStore {
    BundleStore::new(Arc::new(object_store::memory::InMemory::new()))
}

#[tokio::test]
async fn a_bundle_is_fetched_once_and_survives_a_restart_without_its_store() {
    let setting = setting(1 << 20).await;
    let (_, files) = setting.push(b"extra").await;
    let (digest, json) = json(&manifest(&files));
    let key = SigningKey::generate().unwrap();
    let limits = crate::Limits::default();
    let writer = setting.remote.write(digest, json.clone(), &limits).unwrap();
    let mut writer = writer.signed(key.sign(&json)).unwrap();
    for (path, bytes) in &files {
        writer.write(path, bytes.clone()).await.unwrap();
    }
    writer.finish().await.unwrap();

    let counted = Harmed::new(setting.remote_folder.path());
    let remote = BundleStore::new(Arc::new(counted.clone()));
    let racers = (0..16).map(|_| setting.cache.fetch(&remote, digest));
    for bundle in future::join_all(racers).await {
        assert_eq!(bundle.unwrap().read_all().await.unwrap(), files);
    }
    // The manifest, the signature and four files, each once.
    assert_eq!(counted.reads(), 6);
    assert_eq!(setting.cache.bytes(), setting.takes(&files));

    let Setting { folder, cache, .. } = setting;
    let refused = BundleCache::open(folder.path(), 1 << 20).await.unwrap_err();
    assert!(matches!(refused, CacheError::InUse { .. }), "{refused}");
    drop(cache);
    let cache = BundleCache::open(folder.path(), 1 << 20).await.unwrap();
    assert_eq!(cache.bundles(), [digest].into());
    let bundle = cache.get(digest).await.unwrap();
    assert_eq!(bundle.signature(), Some(&key.sign(&json)));
    assert_eq!(bundle.read_all().await.unwrap(), files);
    assert_eq!(cache.fetch(&away(), digest).await.unwrap().digest(), digest);
}

#[tokio::test]
async fn what_is_corrupt_on_the_disk_is_removed_and_fetched_anew() {
    let setting = setting(1 << 20).await;
    let (digest, files) = setting.push(b"extra").await;
    setting.cache.fetch(&setting.remote, digest).await.unwrap();
    for damaged in [&b"extrA"[..], b"", b"extra and more"] {
        fs::write(setting.blob(b"extra"), damaged).unwrap();
        assert!(setting.cache.get(digest).await.is_none());
        assert!(
            !setting.blob(b"extra").exists(),
            "it is not looked at twice"
        );
        let error = setting.cache.fetch(&away(), digest).await.unwrap_err();
        assert!(
            matches!(error, CacheError::Remote(ReadError::NotFound { .. })),
            "{error}"
        );
        let bundle = setting.cache.fetch(&setting.remote, digest).await.unwrap();
        assert_eq!(bundle.read_all().await.unwrap(), files);
    }
    // Damaged after it was looked at: reading finds it, and the next fetch mends it.
    let bundle = setting.cache.get(digest).await.unwrap();
    fs::write(setting.blob(b"extra"), "extrA").unwrap();
    assert!(bundle.read_all().await.unwrap_err().is_corruption());
    let bundle = setting.cache.fetch(&setting.remote, digest).await.unwrap();
    assert_eq!(bundle.read_all().await.unwrap(), files);

    let address = layout::manifest(&digest);
    fs::write(setting.folder.path().join(address.as_ref()), "{").unwrap();
    assert!(setting.cache.get(digest).await.is_none());
    let bundle = setting.cache.fetch(&setting.remote, digest).await.unwrap();
    assert_eq!(bundle.read_all().await.unwrap(), files);
}

#[tokio::test]
async fn a_corrupt_store_does_not_poison_the_cache() {
    let setting = setting(1 << 20).await;
    let (digest, files) = setting.push(b"extra").await;
    let address = layout::blob(&Digest::of(b"extra"));
    let stored = setting.remote_folder.path().join(address.as_ref());
    fs::write(&stored, "extrA").unwrap();
    let error = setting
        .cache
        .fetch(&setting.remote, digest)
        .await
        .unwrap_err();
    assert!(
        matches!(error, CacheError::Remote(ReadError::Digest { .. })),
        "{error}"
    );
    assert_eq!(listed(setting.folder.path()), [LOCK]);
    fs::write(&stored, "extra").unwrap();
    let bundle = setting.cache.fetch(&setting.remote, digest).await.unwrap();
    assert_eq!(bundle.read_all().await.unwrap(), files);
}

#[tokio::test]
async fn what_a_crash_left_is_removed_and_never_a_bundle() {
    let setting = setting(1 << 20).await;
    let (digest, _) = setting.push(b"extra").await;
    let (half, _) = setting.push(b"half").await;
    setting.cache.fetch(&setting.remote, digest).await.unwrap();
    let whole = listed(setting.folder.path());
    let Setting {
        folder,
        cache,
        remote,
        ..
    } = setting;
    drop(cache);
    // A file of a bundle whose manifest did not come, one that is in the making, and a manifest that was cut off.
    let stray = layout::blob(&Digest::of(b"half"));
    let cut = layout::manifest(&half);
    for (path, content) in [
        (stray.as_ref(), "half"),
        ("blobs/x#1", "ha"),
        (cut.as_ref(), "{\"for"),
    ] {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    let cache = BundleCache::open(folder.path(), 1 << 20).await.unwrap();
    assert_eq!(cache.bundles(), [digest].into());
    assert_eq!(listed(folder.path()), whole);
    assert!(cache.get(half).await.is_none());
    cache
        .fetch(&remote, half)
        .await
        .unwrap()
        .verify()
        .await
        .unwrap();
}

#[tokio::test]
async fn the_longest_unused_is_evicted_also_after_a_restart_and_pinned_ones_never() {
    let extras: Vec<Vec<u8>> = (0..4).map(|number| vec![number; 10_000]).collect();
    // Room for two.
    let setting = setting(25_000).await;
    let mut digests = Vec::new();
    for extra in &extras {
        digests.push(setting.push(extra).await.0);
    }
    let fetch = async |cache: &BundleCache, number: usize| {
        let bundle = cache.fetch(&setting.remote, digests[number]).await;
        bundle.map(|bundle| bundle.digest())
    };
    fetch(&setting.cache, 0).await.unwrap();
    fetch(&setting.cache, 1).await.unwrap();
    fetch(&setting.cache, 0).await.unwrap();
    let folder = setting.folder.path();
    drop(setting.cache);
    let cache = BundleCache::open(folder, 25_000).await.unwrap();
    fetch(&cache, 2).await.unwrap();
    assert_eq!(cache.bundles(), [digests[0], digests[2]].into());
    assert!(cache.bytes() <= 25_000);
    let on_disk: u64 = listed(folder)
        .iter()
        .map(|name| folder.join(name).metadata().unwrap().len())
        .sum();
    assert_eq!(on_disk, cache.bytes());

    cache.pin([digests[0]].into());
    fetch(&cache, 2).await.unwrap();
    fetch(&cache, 3).await.unwrap();
    assert_eq!(cache.bundles(), [digests[0], digests[3]].into());
    cache.pin([digests[0], digests[3]].into());
    let before = listed(folder);
    let error = fetch(&cache, 1).await.unwrap_err();
    let message = error.to_string();
    assert!(
        matches!(error, CacheError::TooLarge { limit: 25_000, .. }),
        "{message}"
    );
    assert!(message.contains("25000"), "{message}");
    assert_eq!(listed(folder), before);
}

#[tokio::test]
async fn a_full_disk_leaves_no_partial_file_and_the_pinned_ones() {
    let (remote_folder, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let remote = BundleStore::local(remote_folder.path()).unwrap();
    let pinned = written(&remote, &files(b"pinned")).await.digest();
    let large = written(&remote, &files(&vec![1; 3 * PART_BYTES]))
        .await
        .digest();
    let disk = Harmed::new(folder.path());
    let store = BundleStore::new(Arc::new(disk.clone()));
    let locked = lock(folder.path()).unwrap();
    let cache = BundleCache::over(folder.path(), store, locked, 1 << 30)
        .await
        .unwrap();
    cache.pin([pinned].into());
    cache.fetch(&remote, pinned).await.unwrap();
    let before = listed(folder.path());
    // Full in the middle of a file, at its end, and when only the manifest is missing.
    for room in [0, PART_BYTES as u64 + 1, 3 * PART_BYTES as u64] {
        disk.set_room(room);
        let error = cache.fetch(&remote, large).await.unwrap_err();
        assert!(matches!(error, CacheError::DiskFull { .. }), "{error}");
        assert!(
            error
                .to_string()
                .contains(&folder.path().display().to_string()),
            "{error}"
        );
        assert_eq!(listed(folder.path()), before, "with room for {room} bytes");
        cache.get(pinned).await.unwrap().verify().await.unwrap();
    }
    disk.set_room(u64::MAX);
    cache.fetch(&remote, large).await.unwrap();
}

#[tokio::test]
async fn a_fetch_that_is_given_up_leaves_the_way_free() {
    let setting = setting(1 << 30).await;
    let (digest, files) = setting.push(&vec![1; 4 * PART_BYTES]).await;
    let Setting {
        remote,
        folder,
        cache,
        ..
    } = setting;
    let slow = cache.with_max_bytes_per_second(Some(100_000));
    let given_up = tokio::time::timeout(Duration::from_millis(100), slow.fetch(&remote, digest));
    given_up.await.unwrap_err();
    assert!(slow.bundles().is_empty());
    let quick = slow.with_max_bytes_per_second(None);
    let bundle = quick.fetch(&remote, digest).await.unwrap();
    assert_eq!(bundle.read_all().await.unwrap(), files);
    assert!(listed(folder.path()).iter().all(|name| !name.contains('#')));
}
