//! Pushes that are refused. Each says why, and none leaves anything behind.

use bytes::Bytes;
use decant_artifact::Limits;
use decant_model::Digest;
use decant_proto::registry::v1::push_version_request::Part;
use decant_proto::registry::v1::*;
use decant_registry::Config;
use futures::{StreamExt, stream};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::fixture::{Registry, bundle, bundle_with, chunk, eventually, header};

/// Pushes messages that must be refused, and checks that nothing is left of them.
async fn refused(registry: &Registry, parts: Vec<Part>) -> Status {
    let before = registry.kept().await;
    let status = registry.send(parts).await.unwrap_err();
    assert_eq!(registry.kept().await, before, "{status}");
    status
}

fn says(status: &Status, code: Code, words: &[&str]) {
    assert_eq!(status.code(), code, "{status}");
    for word in words {
        assert!(status.message().contains(word), "{word}: {status}");
    }
}

async fn with_movies(config: Config) -> Registry {
    let registry = Registry::start_with(config).await;
    registry.create("movies", vec![]).await;
    registry
}

#[tokio::test]
async fn headers_that_are_wrong() {
    let registry = with_movies(Config::default()).await;
    let good = bundle("good");
    let (manifest, digest) = (&good.manifest, good.digest().to_string());
    let other = Digest::of(b"other").to_string();
    let invalid = Code::InvalidArgument;

    let status = refused(&registry, vec![header("nobody", manifest, &digest)]).await;
    says(&status, Code::NotFound, &["`nobody`"]);
    let status = refused(&registry, vec![header("No Body", manifest, &digest)]).await;
    says(&status, invalid, &["header.model", "`No Body`"]);
    let status = refused(&registry, vec![header("movies", manifest, "md5:0")]).await;
    says(&status, invalid, &["header.digest", "`md5:0`"]);
    let status = refused(&registry, vec![header("movies", manifest, &other)]).await;
    says(&status, invalid, &["manifest.json", &other, &digest]);

    let tampered = |bytes: Bytes| {
        let digest = Digest::of(&bytes).to_string();
        refused(&registry, vec![header("movies", &bytes, &digest)])
    };
    let status = tampered(vec![b' '; (1 << 20) + 1].into()).await;
    says(&status, invalid, &["manifest.json", "1048577"]);
    let text = String::from_utf8(manifest.to_vec()).unwrap();
    let status = tampered(text.replace("features.json", "../features.json").into()).await;
    says(&status, invalid, &["`../features.json`"]);
    let status = tampered(text.replace("golden.json", "gold.json").into()).await;
    says(&status, invalid, &["does not list `golden.json`"]);
    let status = tampered(text.replace("\"format\": 1", "\"format\": 2").into()).await;
    says(&status, invalid, &["format 2"]);

    let of_another = bundle_with("good", |manifest| manifest.model = "books".parse().unwrap());
    let status = refused(&registry, of_another.parts()).await;
    says(&status, invalid, &["`books`", "`movies`"]);
}

#[tokio::test]
async fn streams_that_are_out_of_shape() {
    let registry = with_movies(Config::default()).await;
    let good = bundle("good");
    let first = || chunk("features.json", b"{}");
    let invalid = Code::InvalidArgument;

    says(&refused(&registry, vec![]).await, invalid, &["header"]);
    says(
        &refused(&registry, vec![first()]).await,
        invalid,
        &["first message must be a header"],
    );
    let twice = vec![good.header(), first(), good.header()];
    says(
        &refused(&registry, twice).await,
        invalid,
        &["only the first"],
    );
    let large = vec![
        good.header(),
        chunk("features.json", &vec![0; (1 << 20) + 1]),
    ];
    says(
        &refused(&registry, large).await,
        invalid,
        &["`features.json`", "1048577"],
    );
    let empty = stream::iter([PushVersionRequest { part: None }]);
    let status = registry.client().push_version(empty).await.unwrap_err();
    says(&status, invalid, &["part: not given"]);
}

#[tokio::test]
async fn files_that_are_not_as_announced() {
    let registry = with_movies(Config::default()).await;
    let good = bundle("good");
    let (features, golden, model) = (
        chunk("features.json", b"{}"),
        chunk("golden.json", b"[]"),
        chunk("model.onnx", b"good"),
    );
    let with = |chunks: &[&Part]| {
        let chunks = chunks.iter().map(|chunk| (*chunk).clone());
        [good.header()]
            .into_iter()
            .chain(chunks)
            .collect::<Vec<_>>()
    };
    let invalid = Code::InvalidArgument;

    let missing = refused(&registry, with(&[&features, &golden])).await;
    says(&missing, invalid, &["`model.onnx`", "0 of the 4 bytes"]);
    let cut = refused(
        &registry,
        with(&[&features, &golden, &chunk("model.onnx", b"go")]),
    )
    .await;
    says(&cut, invalid, &["`model.onnx`", "2 of the 4 bytes"]);
    let extra = refused(
        &registry,
        with(&[&features, &chunk("other.bin", b"x"), &golden, &model]),
    )
    .await;
    says(&extra, invalid, &["`other.bin`", "not listed"]);
    let late_extra = refused(
        &registry,
        with(&[&features, &golden, &model, &chunk("other.bin", b"x")]),
    )
    .await;
    says(&late_extra, invalid, &["`other.bin`", "not listed"]);
    let out_of_order = refused(&registry, with(&[&golden, &features, &model])).await;
    says(
        &out_of_order,
        invalid,
        &["`golden.json`", "`features.json`'s turn"],
    );
    let again = refused(&registry, with(&[&features, &golden, &features, &model])).await;
    says(&again, invalid, &["`features.json`", "out of order"]);
    let outside = refused(
        &registry,
        with(&[&features, &chunk("../golden.json", b"[]")]),
    )
    .await;
    says(&outside, invalid, &["chunk.path", "`../golden.json`"]);
    assert_eq!(
        outside.get_details_bad_request().unwrap().field_violations[0].field,
        "chunk.path"
    );
    let too_long = refused(
        &registry,
        with(&[&features, &golden, &chunk("model.onnx", b"good!")]),
    )
    .await;
    says(&too_long, invalid, &["`model.onnx`", "4 bytes"]);
    let wrong = refused(
        &registry,
        with(&[&features, &golden, &chunk("model.onnx", b"evil")]),
    )
    .await;
    says(
        &wrong,
        invalid,
        &[
            "`model.onnx`",
            &Digest::of(b"good").to_string(),
            &Digest::of(b"evil").to_string(),
        ],
    );

    let version = registry.send(good.parts()).await.unwrap();
    assert_eq!(version.version, 1, "a refused push takes no number");
}

#[tokio::test]
async fn bundles_over_the_limits() {
    let limits = Limits {
        files: 3,
        file_bytes: 100,
        bundle_bytes: 103,
    };
    let registry = with_movies(Config {
        limits,
        ..Config::default()
    })
    .await;
    let file = refused(&registry, bundle(&"x".repeat(101)).parts()).await;
    says(
        &file,
        Code::InvalidArgument,
        &["`model.onnx`", "101", "100"],
    );
    let together = refused(&registry, bundle(&"x".repeat(100)).parts()).await;
    says(&together, Code::InvalidArgument, &["104", "103"]);
    let many = bundle_with("x", |manifest| {
        let entry = manifest.files[&"model.onnx".parse().unwrap()];
        manifest.files.insert("other.bin".parse().unwrap(), entry);
    });
    says(
        &refused(&registry, many.parts()).await,
        Code::InvalidArgument,
        &["4 files", "3"],
    );
    registry.push(&bundle(&"x".repeat(99))).await.unwrap();
}

#[tokio::test]
async fn a_digest_that_a_version_has() {
    let registry = with_movies(Config::default()).await;
    registry.push(&bundle("first")).await.unwrap();
    registry.push(&bundle("second")).await.unwrap();
    let status = refused(&registry, bundle("first").parts()).await;
    says(
        &status,
        Code::AlreadyExists,
        &["v1", &bundle("first").digest().to_string()],
    );
}

/// Messages after which no more come, while the stream stays open.
fn unfinished(chunks: &[Part]) -> impl futures::Stream<Item = PushVersionRequest> + Send + 'static {
    let parts: Vec<_> = [bundle("good").header()]
        .into_iter()
        .chain(chunks.iter().cloned())
        .collect();
    let requests = parts
        .into_iter()
        .map(|part| PushVersionRequest { part: Some(part) });
    stream::iter(requests).chain(stream::pending())
}

#[tokio::test]
async fn a_stream_whose_client_goes_away() {
    let registry = with_movies(Config::default()).await;
    let before = registry.kept().await;
    let begun = unfinished(&[chunk("features.json", b"{}"), chunk("golden.json", b"[")]);
    let mut client = registry.client();
    tokio::select! {
        outcome = client.push_version(begun) => panic!("{outcome:?}"),
        () = eventually("the upload", || registry.is_uploading()) => {}
    }
    eventually("taking the upload back", || {
        registry.bundle_files().is_empty()
    })
    .await;
    assert_eq!(registry.kept().await, before);
    registry.push(&bundle("good")).await.unwrap();
}

#[tokio::test]
async fn a_stream_that_falls_silent() {
    let registry = with_movies(Config {
        push_idle_millis: 100,
        ..Config::default()
    })
    .await;
    let before = registry.kept().await;
    let silent = unfinished(&[chunk("features.json", b"{")]);
    let status = registry.client().push_version(silent).await.unwrap_err();
    says(&status, Code::DeadlineExceeded, &["100ms"]);
    assert_eq!(registry.kept().await, before);
}

#[tokio::test]
async fn more_pushes_than_have_room() {
    let registry = with_movies(Config {
        pushes: 1,
        ..Config::default()
    })
    .await;
    let mut client = registry.client();
    tokio::select! {
        outcome = client.push_version(unfinished(&[chunk("features.json", b"{")])) => panic!("{outcome:?}"),
        () = async {
            eventually("the upload", || registry.is_uploading()).await;
            let status = registry.push(&bundle("other")).await.unwrap_err();
            says(&status, Code::ResourceExhausted, &["at work already"]);
            assert!(status.get_details_retry_info().is_some());
        } => {}
    }
    eventually("taking the upload back", || {
        registry.bundle_files().is_empty()
    })
    .await;
}
