//! `decant version fetch`: the folder appears whole and verified, or not at all.

use std::fs;
use std::path::Path;

use decant_model::{Digest, Manifest, file};
use decant_proto::registry::v1::fetch_bundle_response::Part;
use decant_proto::registry::v1::{FileChunk, Version};
use serde_json::json;

use crate::fakes::Fake;
use crate::models::manifest;
use crate::running::{Ran, Server, text};

/// In the manifest's order.
const FILES: [(&str, &[u8]); 4] = [
    (file::FEATURES, b"{}"),
    (file::GOLDEN, b""),
    (file::MODEL, b"a network"),
    ("weights/part-1.bin", b"1234567"),
];

fn chunk(path: &str, data: &[u8]) -> Part {
    Part::Chunk(FileChunk {
        path: path.into(),
        data: data.to_vec().into(),
    })
}

/// The bundle as a sound registry sends it, files of more than four bytes in two chunks.
fn bundle() -> (Manifest, Vec<Part>) {
    let manifest = manifest(&FILES);
    let mut parts = vec![Part::Manifest(manifest.to_json().unwrap().into())];
    for (path, bytes) in FILES {
        let (first, second) = bytes.split_at(bytes.len().min(4));
        parts.push(chunk(path, first));
        if !second.is_empty() {
            parts.push(chunk(path, second));
        }
    }
    (manifest, parts)
}

async fn fetch(parts: Vec<Part>, to: &Path, extra: &[&str]) -> Ran {
    let manifest = manifest(&FILES);
    let version = Version {
        model: "movies".into(),
        version: 3,
        digest: Digest::of(&manifest.to_json().unwrap()).to_string(),
        size_bytes: manifest.size(),
        ..Version::default()
    };
    let server = Server::start(Fake {
        versions: vec![version],
        bundle: parts,
        ..Fake::default()
    })
    .await;
    let arguments = [
        &["version", "fetch", "movies", "latest", "--to", text(to)],
        extra,
    ]
    .concat();
    server.run(&arguments).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_is_fetched_whole() {
    let (manifest, parts) = bundle();
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("movies-3");
    let ran = fetch(parts.clone(), &to, &[]).await;
    assert_eq!(
        (ran.code, ran.stderr.as_str()),
        (Some(0), "fetching movies v3, 18 B\n")
    );
    assert_eq!(
        ran.stdout,
        format!(
            "movies v3 is in {}: 5 files, all digests verified\n",
            to.display()
        )
    );
    for (path, bytes) in FILES {
        assert_eq!(fs::read(to.join(path)).unwrap(), bytes, "{path}");
    }
    assert_eq!(
        fs::read(to.join(file::MANIFEST)).unwrap(),
        manifest.to_json().unwrap()
    );

    let again = fetch(parts.clone(), &to, &[]).await;
    assert_eq!(again.code, Some(1));
    assert!(again.stderr.contains("exists already"), "{}", again.stderr);

    let json_to = folder.path().join("json");
    let json: serde_json::Value =
        serde_json::from_str(&fetch(parts, &json_to, &["-o", "json"]).await.stdout).unwrap();
    let digest = Digest::of(&manifest.to_json().unwrap()).to_string();
    assert_eq!(
        json,
        json!({ "model": "movies", "version": 3, "digest": digest, "path": text(&json_to) })
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_that_is_wrong_leaves_nothing_behind_and_says_why() {
    let (_, sound) = bundle();
    let mut other_manifest = sound.clone();
    other_manifest[0] = Part::Manifest(b"{}".to_vec().into());
    let mut wrong_bytes = sound.clone();
    wrong_bytes[1] = chunk(file::FEATURES, b"[]");
    let mut too_long = sound.clone();
    too_long[1] = chunk(file::FEATURES, b"{ }");
    let mut out_of_order = sound.clone();
    out_of_order.remove(4);
    let mut surplus = sound.clone();
    surplus.push(chunk("../../etc/passwd", b"root"));
    let mut two_manifests = sound.clone();
    two_manifests.insert(1, sound[0].clone());
    let cut = sound[..sound.len() - 1].to_vec();

    for (parts, reason) in [
        (Vec::new(), "the registry did not send the manifest first"),
        (
            other_manifest,
            "the manifest has digest sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a, not ",
        ),
        (
            wrong_bytes,
            "`features.json` has digest sha256:4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945, not ",
        ),
        (
            too_long,
            "`features.json` is longer than the 2 bytes that the manifest lists",
        ),
        (
            out_of_order,
            "`model.onnx` broke off at byte 4, where `weights/part-1.bin` began",
        ),
        (
            surplus,
            "the registry sent more of `../../etc/passwd` than the manifest lists",
        ),
        (two_manifests, "the registry sent a second manifest"),
        (
            cut,
            "the download broke off at byte 4 of `weights/part-1.bin`",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let ran = fetch(parts, &folder.path().join("bundle"), &[]).await;
        let error = ran.stderr.lines().last().unwrap();
        assert!(
            error.starts_with(&format!("error: cannot fetch movies v3: {reason}")),
            "{error}"
        );
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "{reason}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_cannot_be_made_is_an_error() {
    let (_, parts) = bundle();
    let folder = tempfile::tempdir().unwrap();
    let ran = fetch(parts, &folder.path().join("missing").join("bundle"), &[]).await;
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.stderr.contains("bundle: No such file or directory"),
        "{}",
        ran.stderr
    );
}
