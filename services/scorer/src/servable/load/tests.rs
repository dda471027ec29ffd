use std::path::{Path, PathBuf};

use decant_artifact::{BundleStore, Limits};
use decant_features::Transform;
use decant_inference::testing::runtime;
use decant_model::{ModelVersion, Prepared};

use super::*;
use crate::config::{CacheConfig, Config};
use crate::fixture;
use crate::scoring::Way;
use crate::servable::Place;
use crate::servable::manager::Superseded;

/// The files of a sound bundle.
fn files() -> fixture::Files {
    let golden = fixture::golden(0.5, 1, 30.0);
    fixture::Files::from([
        (file::MODEL, fixture::graph(0.5).to_onnx()),
        (file::FEATURES, fixture::schema().to_json()),
        (file::GOLDEN, golden.to_json().unwrap()),
    ])
}

/// Stores a bundle, and returns its digest and where its graph lies.
async fn store(bundles: &BundleStore, folder: &Path, files: fixture::Files) -> (Digest, PathBuf) {
    let manifest = Bytes::from(fixture::manifest("films", &files).to_json().unwrap());
    let digest = Digest::of(&manifest);
    let mut writer = bundles.write(digest, manifest, &Limits::default()).unwrap();
    for (path, content) in files {
        let path = path.parse().unwrap();
        writer.write(&path, content.into()).await.unwrap();
    }
    writer.finish().await.unwrap();
    let hex = Digest::of(&fixture::graph(0.5).to_onnx()).hex();
    (
        digest,
        folder.join("blobs/sha256").join(&hex[..2]).join(&hex),
    )
}

/// Loads a bundle where versions may take so many bytes.
async fn load(bundles: Bundles, digest: Digest, budget: u64) -> Result<Servable, LoadError> {
    let manager = Manager::new(Config::default().retry(), budget);
    let loading = Loading {
        runtime: runtime(),
        bundles,
        quarantine: Quarantine::default(),
        workers: WORKERS,
        max_golden_tolerance: f32::INFINITY,
        meters: Meters::unread(),
    };
    let load = Load {
        place: Place {
            model: "films".parse().unwrap(),
            slot: Default::default(),
        },
        prepared: Prepared {
            digest,
            version: ModelVersion::FIRST,
        },
        signers: Vec::new(),
        trace: None,
        superseded: Superseded::default(),
    };
    loading.load(&load, &manager).await
}

const WORKERS: NonZeroUsize = NonZeroUsize::new(3).unwrap();

fn step(loaded: Result<Servable, LoadError>) -> Option<Step> {
    match loaded.err()? {
        LoadError::Step { step, .. } => Some(step),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn what_would_not_fit_is_not_even_fetched() {
    let folder = tempfile::tempdir().unwrap();
    let bundles = BundleStore::local(&folder.path().join("store")).unwrap();
    let (digest, _) = store(&bundles, folder.path(), files()).await;
    let cache = folder.path().join("cache");
    let load_in = |budget| {
        let config = CacheConfig::default();
        let bundles = Bundles::cached(bundles.clone(), cache.clone(), &config);
        load(bundles, digest, budget)
    };
    assert_eq!(step(load_in(1 << 10).await), Some(Step::Memory));
    assert!(!cache.join("blobs").exists());
    assert_eq!(step(load_in(u64::MAX).await), None);
    assert!(cache.join("blobs").exists());
}

#[tokio::test]
async fn a_catalog_counts_for_what_it_takes_when_it_is_encoded() {
    let folder = tempfile::tempdir().unwrap();
    let bundles = BundleStore::local(folder.path()).unwrap();
    let mut features = Vec::new();
    for slots in [2, 4096] {
        let mut wide = fixture::schema().features().to_vec();
        for feature in &mut wide {
            if let Transform::Categories { max_length, .. } = &mut feature.transform {
                *max_length = slots;
            }
        }
        features.push(Schema::new(wide).unwrap().to_json());
    }
    let mut steps = Vec::new();
    for features in features {
        let mut files = files();
        files.insert(file::FEATURES, features);
        files.insert(file::CATALOG, fixture::catalog().to_arrow().unwrap());
        let manifest = fixture::manifest("films", &files);
        let budget = footprint(&manifest, WORKERS) + (100 << 10);
        let (digest, _) = store(&bundles, folder.path(), files).await;
        let loaded = load(Bundles::uncached(bundles.clone()), digest, budget).await;
        steps.push(step(loaded));
    }
    assert_eq!(steps, [None, Some(Step::Memory)]);
}

#[tokio::test]
async fn each_way_of_scoring_is_measured_before_it_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let bundles = BundleStore::local(folder.path()).unwrap();
    let mut files = files();
    files.insert(file::CATALOG, fixture::catalog().to_arrow().unwrap());
    let (digest, _) = store(&bundles, folder.path(), files).await;
    let loaded = load(Bundles::uncached(bundles), digest, u64::MAX).await;
    let loaded = loaded.unwrap();
    let ways = [Way::Pairs, Way::Described, Way::Catalog];
    let costs = ways.map(|way| loaded.costs().of(way));
    assert!(costs[0] != costs[1] && costs[1] != costs[2], "{costs:?}");
}

#[tokio::test]
async fn what_is_wrong_with_the_bytes_lasts_and_that_there_are_none_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let bundles = BundleStore::local(folder.path()).unwrap();
    let (digest, graph) = store(&bundles, folder.path(), files()).await;
    let load = |digest: Digest| {
        let loaded = load(Bundles::uncached(bundles.clone()), digest, u64::MAX);
        async { loaded.await.err() }
    };
    let sound = load(digest).await;
    assert!(sound.is_none(), "{sound:?}");
    let nothing = load(Digest::of(b"nothing")).await.unwrap();
    assert!(!nothing.lasts(), "it may come: {nothing}");
    let mut corrupt = std::fs::read(&graph).unwrap();
    corrupt[0] ^= 1;
    std::fs::write(&graph, corrupt).unwrap();
    let corrupt = load(digest).await.unwrap();
    assert!(corrupt.lasts(), "{corrupt}");
    assert!(corrupt.to_string().contains("model.onnx"), "{corrupt}");
}
