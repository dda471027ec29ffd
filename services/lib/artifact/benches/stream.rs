//! How much memory it takes to stream a bundle of 200 MiB, in and out, through a local folder and an S3 server.
//!
//! Prints the growth of the process's peak and the rate, and fails when the growth reaches 32 MiB.

#![allow(clippy::print_stdout, reason = "its output is its purpose")]
#![allow(
    clippy::unwrap_used,
    reason = "a measurement that cannot go on has failed"
)]

use std::fs;
use std::time::Instant;

use bytes::Bytes;
use decant_artifact::testing::{S3Server, json, manifest};
use decant_artifact::{Bundle, BundleCache, BundleStore, CHUNK_BYTES, Limits};
use decant_model::{BundlePath, Digest, FileEntry, Hasher, Manifest};
use futures::TryStreamExt;

const FILE_BYTES: u64 = 200 << 20;
const LIMIT_MIB: f64 = 32.0;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    println!(
        "a bundle of {} MiB; growth is that of this process's peak memory",
        FILE_BYTES >> 20
    );
    let server = S3Server::start();
    let folder = tempfile::tempdir().unwrap();
    let local = BundleStore::local(&folder.path().join("store")).unwrap();
    let s3 = BundleStore::connect_with(&server.config("bench"), server.env()).unwrap();
    let mut worst = 0.0_f64;
    for (name, store) in [("local folder", local), ("s3 server", s3)] {
        let cache = BundleCache::open(&folder.path().join(name), 1 << 30)
            .await
            .unwrap();
        let (digest, json) = announced();
        let mut measure = Measure::begin();
        push(&store, digest, json).await;
        worst = worst.max(measure.end(name, "push"));
        store.open(digest).await.unwrap().verify().await.unwrap();
        worst = worst.max(measure.end(name, "verify"));
        let bundle = cache.fetch(&store, digest).await.unwrap();
        worst = worst.max(measure.end(name, "fetch into the cache"));
        read(&bundle).await;
        worst = worst.max(measure.end(name, "read from the cache"));
        cache.get(digest).await.unwrap();
        worst = worst.max(measure.end(name, "get from the cache"));
    }
    assert!(
        worst < LIMIT_MIB,
        "memory grew by {worst:.1} MiB, but should stay below {LIMIT_MIB} MiB"
    );
}

fn large() -> BundlePath {
    "model.onnx".parse().unwrap()
}

/// The large file's chunks. They are made anew each time, so that nobody holds the file.
fn chunks() -> impl Iterator<Item = Bytes> {
    let mut state = 1_u64;
    (0..FILE_BYTES / CHUNK_BYTES as u64).map(move |_| {
        let words = (0..CHUNK_BYTES / 8).flat_map(|_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            state.to_be_bytes()
        });
        words.collect()
    })
}

fn announced() -> (Digest, Bytes) {
    let mut hasher = Hasher::default();
    chunks().for_each(|chunk| hasher.update(&chunk));
    let small = ["features.json", "golden.json", "model.onnx"]
        .map(|path| (path.parse().unwrap(), Bytes::new()));
    let mut manifest: Manifest = manifest(&small.into());
    let entry = FileEntry {
        sha256: hasher.finish(),
        size: FILE_BYTES,
    };
    manifest.files.insert(large(), entry);
    json(&manifest)
}

async fn push(store: &BundleStore, digest: Digest, json: Bytes) {
    let mut writer = store.write(digest, json, &Limits::default()).unwrap();
    for chunk in chunks() {
        writer.write(&large(), chunk).await.unwrap();
    }
    writer.finish().await.unwrap();
}

async fn read(bundle: &Bundle) {
    let mut chunks = bundle.stream_file(&large());
    while chunks.try_next().await.unwrap().is_some() {}
}

/// The process's memory since a moment.
struct Measure {
    before_kib: u64,
    began: Instant,
}

impl Measure {
    fn begin() -> Self {
        // Makes the kernel forget the peak until now.
        fs::write("/proc/self/clear_refs", "5").unwrap();
        Self {
            before_kib: status("VmRSS:"),
            began: Instant::now(),
        }
    }

    /// Prints what was measured, returns the growth in MiB and begins anew.
    fn end(&mut self, store: &str, work: &str) -> f64 {
        let growth = status("VmHWM:").saturating_sub(self.before_kib) as f64 / 1024.0;
        let seconds = self.began.elapsed().as_secs_f64();
        let rate = (FILE_BYTES >> 20) as f64 / seconds;
        println!("{store:>12}  {work:<20}  peak +{growth:5.1} MiB  {rate:6.0} MiB/s");
        *self = Self::begin();
        growth
    }
}

fn status(key: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(key))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
