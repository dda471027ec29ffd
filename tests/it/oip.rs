//! The Open Inference Protocol, as a client that knows nothing of Decant speaks it.

use std::process::Command;

use decant_chassis::client::channel;
use decant_proto::scorer::v1 as scorer;
use decant_proto::scorer::v1::scorer_service_client::ScorerServiceClient;
use decant_tests::tiny::MODEL;
use decant_tests::{Operated, Standalone, Tiny};
use scorer::column::Values;
use serde_json::json;

const USERS: [i64; 4] = [1, 2, 3, 9];
const AGES: [i16; 4] = [34, 21, 60, 34];
const FILMS: [i64; 4] = [100, 107, 103, 120];

/// The rows' scores over Decant's own protocol, and the version that gave them.
async fn scores(address: &str) -> scorer::ScoreResponse {
    let column = |name: &str, values: Values| scorer::Column {
        name: name.to_owned(),
        values: Some(values),
        ..scorer::Column::default()
    };
    let ints = |values: &[i64]| {
        Values::Int64Values(scorer::Int64Values {
            values: values.to_vec(),
        })
    };
    let ages = scorer::FloatValues {
        values: AGES.map(f32::from).to_vec(),
    };
    let request = scorer::ScoreRequest {
        model: Some(scorer::ModelRef {
            model: MODEL.to_owned(),
            slot: String::new(),
        }),
        columns: vec![
            column("user", ints(&USERS)),
            column("age", Values::FloatValues(ages)),
            column("film", ints(&FILMS)),
        ],
    };
    let mut client = ScorerServiceClient::new(channel("scorer", address).unwrap());
    client.score(request).await.unwrap().into_inner()
}

#[tokio::test(flavor = "multi_thread")]
async fn process_tritons_python_client_scores_as_our_own_does() {
    let python = std::env::var("DECANT_PYTHON").expect("DECANT_PYTHON is not set; run `make test`");
    let folder = tempfile::tempdir().unwrap();
    let standalone = Standalone::start(&folder.path().join("data"));
    standalone.create_model().await;
    standalone.serve(&Tiny::new(0.25)).await;
    standalone.serve(&Tiny::new(-0.5)).await;

    let address = standalone.address("scorer");
    let answer = scores(&address).await;
    let served_by = answer.served_by.unwrap();
    let expected = json!({
        "model": MODEL,
        "version": served_by.version.to_string(),
        "resident": (served_by.version - 1).to_string(),
        "digest": served_by.digest,
        "rows": { "user": USERS, "age": AGES, "film": FILMS },
        "scores": answer.scores,
    });
    let (expected_file, descriptors) = (
        folder.path().join("expected.json"),
        folder.path().join("descriptors.bin"),
    );
    std::fs::write(&expected_file, expected.to_string()).unwrap();
    std::fs::write(&descriptors, decant_proto::FILE_DESCRIPTOR_SET).unwrap();
    let output = Command::new(python)
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/python/oip_client.py"))
        .arg(address.trim_start_matches("http://"))
        .args([&expected_file, &descriptors])
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
