use std::path::{Path, PathBuf};

use decant_artifact::{BundleStore, Limits};
use decant_inference::testing::runtime;
use decant_model::{ModelVersion, Prepared};

use super::*;
use crate::fixture;
use crate::servable::Place;
use crate::servable::manager::Superseded;

/// Stores a sound bundle, and returns its digest and where its graph lies.
async fn store(bundles: &BundleStore, folder: &Path) -> (Digest, PathBuf) {
    let golden = fixture::golden(0.5, 1, 30.0);
    let files = fixture::Files::from([
        (file::MODEL, fixture::graph(0.5).to_onnx()),
        (file::FEATURES, fixture::schema().to_json()),
        (file::GOLDEN, golden.to_json().unwrap()),
    ]);
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

#[tokio::test]
async fn what_is_wrong_with_the_bytes_lasts_and_that_there_are_none_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let bundles = BundleStore::local(folder.path()).unwrap();
    let (digest, graph) = store(&bundles, folder.path()).await;
    let load = |digest: Digest| {
        let loading = Loading {
            runtime: runtime(),
            bundles: Bundles::uncached(bundles.clone()),
            quarantine: Quarantine::default(),
            workers: NonZeroUsize::MIN,
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
        async move { loading.load(&load, BTreeSet::new(), |_| Ok(())).await.err() }
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
