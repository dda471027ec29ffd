//! An S3 server that is slow, cut off, away, or hands out other bytes than it was given.

use std::time::{Duration, Instant};

use decant_artifact::testing::{S3Server, files, json, listed, manifest, written};
use decant_artifact::{
    BundleCache, BundleStore, CacheError, Limits, ReadError, StoreConfig, WriteError,
};
use decant_model::{BundlePath, Digest};

use crate::proxy::{Harm, Proxy};

/// Far more than the timeouts and retries below add up to, and far less than for ever.
const BOUND: Duration = Duration::from_secs(20);

/// The server through the proxy, by a client that waits for it so long, so many times and once.
fn through(
    server: &S3Server,
    proxy: &Proxy,
    prefix: &str,
    timeout_millis: u64,
    retries: usize,
) -> BundleStore {
    let config = StoreConfig {
        request_timeout_millis: timeout_millis,
        retries,
        ..server.config_through(proxy.address(), prefix)
    };
    BundleStore::connect_with(&config, server.env()).unwrap()
}

/// Gives a server up before the test does.
fn hasty(server: &S3Server, proxy: &Proxy, prefix: &str) -> BundleStore {
    through(server, proxy, prefix, 700, 1)
}

/// Is not misled by a machine that is busy.
fn patient(server: &S3Server, proxy: &Proxy, prefix: &str) -> BundleStore {
    through(server, proxy, prefix, 10_000, 2)
}

fn extra() -> BundlePath {
    "extra.bin".parse().unwrap()
}

async fn soon<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(BOUND, work)
        .await
        .expect("an answer in bounded time")
}

#[tokio::test]
async fn a_harmed_s3_server_gives_clear_errors_in_bounded_time() {
    let server = S3Server::start();
    let proxy = Proxy::start(server.address());
    a_server_without_conditions_is_refused_at_the_first_write(&server, &proxy).await;
    silence_and_cuts_are_transient(&server, &proxy).await;
    short_cuts_are_mended(&server, &proxy).await;
    caches_are_not_poisoned(&server, &proxy).await;
    what_is_refused_for_good_is_not_transient(&server).await;
}

async fn a_server_without_conditions_is_refused_at_the_first_write(
    server: &S3Server,
    proxy: &Proxy,
) {
    let store = patient(server, proxy, "unconditional");
    proxy.set(Harm::Unconditional);
    let files = files(b"extra");
    let (digest, json) = json(&manifest(&files));
    let mut writer = store.write(digest, json, &Limits::default()).unwrap();
    let error = writer
        .write(&extra(), files[&extra()].clone())
        .await
        .unwrap_err();
    proxy.set(Harm::None);
    assert!(error.to_string().contains("If-None-Match"), "{error}");
    assert!(matches!(error, WriteError::Storage(error) if !error.is_transient()));
    // The same store, once its server has learnt it.
    written(&store, &files).await;
}

async fn silence_and_cuts_are_transient(server: &S3Server, proxy: &Proxy) {
    let patient = patient(server, proxy, "silent");
    let store = hasty(server, proxy, "silent");
    let content = vec![7; 3 << 20];
    let digest = written(&patient, &files(&content)).await.digest();
    let bundle = store.open(digest).await.unwrap();
    for harm in [
        Harm::Silent,
        Harm::SilentAfter(100 << 10),
        Harm::CutAfter(100 << 10),
    ] {
        proxy.set(harm);
        let error = soon(bundle.read_file(&extra())).await.unwrap_err();
        assert!(
            matches!(&error, ReadError::Storage(error) if error.is_transient()),
            "{harm:?}: {error}"
        );
    }
    proxy.set(Harm::Silent);
    let error = soon(store.open(digest)).await.unwrap_err();
    assert!(
        matches!(&error, ReadError::Storage(error) if error.is_transient()),
        "{error}"
    );
    let (announced, json) = json(&manifest(&files(b"other")));
    let mut writer = store.write(announced, json, &Limits::default()).unwrap();
    let error = soon(writer.write(&extra(), "other".into()))
        .await
        .unwrap_err();
    assert!(
        matches!(&error, WriteError::Storage(error) if error.is_transient()),
        "{error}"
    );
    proxy.set(Harm::None);
    bundle.verify().await.unwrap();
    assert!(matches!(
        store.open(announced).await,
        Err(ReadError::NotFound { .. })
    ));

    let config = StoreConfig {
        retries: 0,
        ..server.config_through("127.0.0.1:1".parse().unwrap(), "away")
    };
    let away = BundleStore::connect_with(&config, server.env()).unwrap();
    let error = soon(away.open(digest)).await.unwrap_err();
    assert!(
        matches!(&error, ReadError::Storage(error) if error.is_transient()),
        "{error}"
    );
}

async fn short_cuts_are_mended(server: &S3Server, proxy: &Proxy) {
    let store = patient(server, proxy, "mended");
    let content = vec![9; 3 << 20];
    let bundle = written(&store, &files(&content)).await;
    // Two retries of a piece each are enough; the rest of the file is asked for, not the whole.
    proxy.set(Harm::CutAfter(2 << 20));
    let read = soon(bundle.read_file(&extra())).await.unwrap();
    proxy.set(Harm::None);
    assert!(read == content);
}

async fn caches_are_not_poisoned(server: &S3Server, proxy: &Proxy) {
    let store = patient(server, proxy, "poisoned");
    let folder = tempfile::tempdir().unwrap();
    let cache = BundleCache::open(folder.path(), 64 << 20).await.unwrap();
    let files = files(&vec![3; 3 << 20]);
    let digest = written(&store, &files).await.digest();
    for (harm, transient) in [(Harm::Flip, false), (Harm::CutAfter(100 << 10), true)] {
        proxy.set(harm);
        let error = soon(cache.fetch(&store, digest)).await.unwrap_err();
        assert_eq!(error.is_transient(), transient, "{error}");
        assert_eq!(
            matches!(error, CacheError::Remote(ReadError::Digest { .. })),
            !transient
        );
        assert_eq!(listed(folder.path()), [".lock"], "{harm:?}");
    }
    proxy.set(Harm::None);
    let bundle = cache.fetch(&store, digest).await.unwrap();
    assert_eq!(bundle.read_all().await.unwrap(), files);

    proxy.set(Harm::Silent);
    let began = Instant::now();
    let cached = cache.fetch(&store, digest).await.unwrap();
    assert_eq!(cached.read_all().await.unwrap(), files);
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "the server is not asked"
    );
    let hasty = hasty(server, proxy, "poisoned");
    let error = soon(cache.fetch(&hasty, Digest::of(b"other")))
        .await
        .unwrap_err();
    assert!(error.is_transient(), "{error}");
    proxy.set(Harm::None);
}

async fn what_is_refused_for_good_is_not_transient(server: &S3Server) {
    let config = StoreConfig {
        url: "s3://no-such-bucket/x".into(),
        ..server.config("x")
    };
    let store = BundleStore::connect_with(&config, server.env()).unwrap();
    let (digest, json) = json(&manifest(&files(b"extra")));
    let mut writer = store.write(digest, json, &Limits::default()).unwrap();
    let error = soon(writer.write(&extra(), "extra".into()))
        .await
        .unwrap_err();
    assert!(
        matches!(&error, WriteError::Storage(error) if !error.is_transient()),
        "{error}"
    );
}
