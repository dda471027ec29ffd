//! Bundles for tests.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use decant_model::{BundlePath, Digest, FileEntry, Lineage, Manifest};

use crate::{Bundle, BundleStore, Limits};

/// The files that every bundle needs, and one of a given content.
pub fn files(extra: &[u8]) -> BTreeMap<BundlePath, Bytes> {
    let fixed: [(&str, &[u8]); 4] = [
        ("extra.bin", extra),
        ("features.json", b"{}"),
        ("golden.json", b"[]"),
        ("model.onnx", b"onnx"),
    ];
    fixed
        .map(|(path, bytes)| (path.parse().unwrap(), Bytes::copy_from_slice(bytes)))
        .into()
}

/// The manifest of some files.
pub fn manifest(files: &BTreeMap<BundlePath, Bytes>) -> Manifest {
    let entry = |bytes: &Bytes| FileEntry {
        sha256: Digest::of(bytes),
        size: bytes.len() as u64,
    };
    Manifest {
        format: Manifest::FORMAT,
        model: "movies".parse().unwrap(),
        files: files
            .iter()
            .map(|(path, bytes)| (path.clone(), entry(bytes)))
            .collect(),
        metrics: BTreeMap::new(),
        lineage: Lineage {
            role: Default::default(),
            student: "d8".into(),
            teachers: Vec::new(),
            dataset: Digest::of(b"data"),
            job: "1".into(),
            spec: Digest::of(b"spec"),
            code_revision: "test".into(),
            parent: None,
        },
    }
}

/// The bytes of a manifest, and their digest.
pub fn json(manifest: &Manifest) -> (Digest, Bytes) {
    let bytes = Bytes::from(manifest.to_json().unwrap());
    (Digest::of(&bytes), bytes)
}

/// Writes some files as a bundle.
pub async fn written(store: &BundleStore, files: &BTreeMap<BundlePath, Bytes>) -> Bundle {
    let (digest, json) = json(&manifest(files));
    let mut writer = store.write(digest, json, &Limits::default()).unwrap();
    for (path, bytes) in files {
        writer.write(path, bytes.clone()).await.unwrap();
    }
    writer.finish().await.unwrap()
}

/// The files of a folder, relative to it, without folders.
pub fn listed(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path.strip_prefix(folder).unwrap().display().to_string());
            }
        }
    }
    found.sort();
    found
}
