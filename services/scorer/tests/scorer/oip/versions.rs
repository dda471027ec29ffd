//! Which version is asked, and what is told of versions.

use decant_coordination::keys::DesiredKey;
use decant_model::{Active, Arm, BASIS_POINTS, DesiredSlot, Digest, file};
use decant_proto::inference as oip;
use decant_proto::scorer::v1 as wire;
use decant_proto::scorer::v1::ServableState::{Available, End};
use decant_scorer::Config;
use oip::Told;
use tonic::Code;

use super::{request, scores, tensors, told, within};
use crate::fixture;
use crate::harness::{Scorer, desired, eventually, files, prepared, quick, score, wrong_golden};
use crate::releases::{has_canary, release};

const OLD: f32 = 0.0;
const NEW: f32 = 1.5;

/// A request of one row to a version of a model.
fn asked(model: &str, version: &str) -> oip::ModelInferRequest {
    oip::ModelInferRequest {
        model_name: model.into(),
        model_version: version.into(),
        ..request(&tensors(1, &[100]), true)
    }
}

/// Versions 1 and 2 in service, the second as a canary that answers nothing by itself.
fn with_canary(generation: u64, stable: Digest, canary: Digest) -> DesiredSlot {
    let mut desired = desired(generation, Some((1, stable)));
    desired.active.push(Active {
        digest: canary,
        version: prepared(2, canary).version,
        arm: Arm::Canary,
        weight_basis_points: 0,
    });
    desired
}

#[tokio::test]
async fn a_version_is_asked_by_its_number_and_a_slot_by_its_name() {
    let (scorer, first) = Scorer::serving().await;
    let second = scorer.push(&files(NEW)).await;
    scorer.world.desire(&with_canary(2, first, second)).await;
    let trial = DesiredKey {
        model: "films".parse().unwrap(),
        slot: "trial".parse().unwrap(),
    };
    scorer
        .world
        .put(&trial, &desired(1, Some((2, second))))
        .await;
    eventually("both slots have their versions", || async {
        let mut client = scorer.inference.clone();
        client.model_infer(asked("films", "2")).await.is_ok()
            && client.model_infer(asked("films/trial", "")).await.is_ok()
    })
    .await;

    let expected = [OLD, NEW].map(|bias| fixture::expected(bias, 1, 30.0)[0]);
    for (model, version, answers, name) in [
        ("films", "", 1, "stable"),
        ("films/main", "1", 1, "stable"),
        ("films", "2", 2, "canary"),
        ("films/trial", "", 2, "stable"),
    ] {
        let answer = scorer.infer(asked(model, version)).await;
        assert_eq!(
            answer.fields.model_version,
            answers.to_string(),
            "{model} {version}"
        );
        assert_eq!(answer.fields.model_name, model);
        assert_eq!(told(&answer, "decant_arm"), Some(&arm(name)));
        assert!((scores(&answer)[0] - expected[answers - 1]).abs() < 1e-6);
    }
    let unknown = scorer
        .inference
        .clone()
        .model_infer(asked("films", "3"))
        .await;
    let status = unknown.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    assert!(
        status.message().ends_with("in service: 1, 2"),
        "{}",
        status.message()
    );

    let metadata = oip::ModelMetadataRequest {
        name: "films".into(),
        version: String::new(),
    };
    let metadata = scorer.inference.clone().model_metadata(metadata).await;
    assert_eq!(metadata.unwrap().into_inner().versions, ["1", "2"]);
    scorer.stop().await;
}

/// That a version of this part answered.
fn arm(name: &'static str) -> Told {
    Told::Text(name.into())
}

#[tokio::test]
async fn a_split_slot_is_asked_by_key_and_a_version_that_is_asked_by_number_counts_for_nothing() {
    const WEIGHT: u32 = 5_000;
    let (scorer, first) = Scorer::serving().await;
    let second = scorer.push(&files(NEW)).await;
    let parts = [
        (1, first, Arm::Stable, BASIS_POINTS - WEIGHT),
        (2, second, Arm::Canary, WEIGHT),
    ];
    scorer.world.desire(&release(2, &parts, 0)).await;
    eventually("the split is in service", || async {
        let mut client = scorer.inference.clone();
        client.model_infer(asked("films", "2")).await.is_ok()
    })
    .await;
    let mut answered = [0_u64; 2];
    for user in (0..40).map(|user| format!("user-{user}")) {
        let mut request = tonic::Request::new(asked("films", ""));
        let key = user.parse().unwrap();
        request.metadata_mut().insert("decant-routing-key", key);
        let answer = scorer.inference.clone().model_infer(request).await;
        let answer = answer.unwrap().into_inner();
        let (version, part) = if has_canary(&user, WEIGHT) {
            (2, "canary")
        } else {
            (1, "stable")
        };
        assert_eq!(answer.fields.model_version, version.to_string());
        assert_eq!(told(&answer, "decant_arm"), Some(&arm(part)));
        answered[version - 1] += 1;
    }
    scorer.infer(asked("films", "2")).await;
    let request = wire::GetEvidenceRequest {
        model: crate::harness::films(),
    };
    let counted = scorer.client.clone().get_evidence(request).await;
    let counted = counted.unwrap().into_inner().arms;
    let succeeded: Vec<u64> = counted.iter().map(|arm| arm.succeeded).collect();
    assert_eq!(succeeded, answered);
    scorer.stop().await;
}

#[tokio::test]
async fn a_model_says_what_it_takes_and_gives() {
    let (scorer, _) = Scorer::serving().await;
    let mut client = scorer.inference.clone();
    let server = client.server_metadata(oip::ServerMetadataRequest {}).await;
    let server = server.unwrap().into_inner();
    assert_eq!(
        (server.name.as_str(), server.version.as_str()),
        ("decant-scorer", env!("CARGO_PKG_VERSION"))
    );
    assert_eq!(
        server.extensions,
        ["model_configuration", "model_repository", "statistics"]
    );

    let name = || "films".to_owned();
    let metadata = oip::ModelMetadataRequest {
        name: name(),
        version: "1".into(),
    };
    let metadata = client.model_metadata(metadata).await.unwrap().into_inner();
    assert_eq!(
        (metadata.name, metadata.platform.as_str()),
        (name(), "onnxruntime_onnx")
    );
    let tensor = |tensor: &oip::model_metadata_response::TensorMetadata| {
        (
            tensor.name.clone(),
            tensor.datatype.clone(),
            tensor.shape.clone(),
        )
    };
    let inputs: Vec<_> = metadata.inputs.iter().map(tensor).collect();
    let expected = [
        ("user", "BYTES", vec![-1]),
        ("age", "FP32", vec![-1]),
        ("film", "BYTES", vec![-1]),
        ("genres", "BYTES", vec![-1, -1]),
    ];
    assert_eq!(
        inputs,
        expected.map(|(name, datatype, shape)| (name.to_owned(), datatype.to_owned(), shape))
    );
    let outputs: Vec<_> = metadata.outputs.iter().map(tensor).collect();
    assert_eq!(outputs, [("score".to_owned(), "FP32".to_owned(), vec![-1])]);

    let config = oip::ModelConfigRequest {
        name: name(),
        version: String::new(),
    };
    let config = client
        .model_config(config)
        .await
        .unwrap()
        .into_inner()
        .config
        .unwrap();
    assert_eq!(
        (config.name.as_str(), config.backend.as_str()),
        ("films", "onnxruntime")
    );
    assert_eq!(config.max_batch_size, 10_000);
    let specific = oip::model_version_policy::Specific { versions: vec![1] };
    let policy = oip::model_version_policy::PolicyChoice::Specific(specific);
    assert_eq!(config.version_policy.unwrap().policy_choice, Some(policy));
    for (described, given) in config.input.iter().zip(&metadata.inputs) {
        assert_eq!(described.name, given.name);
        assert_eq!([&[-1], &described.dims[..]].concat(), given.shape);
    }
    assert_eq!(config.input.len(), metadata.inputs.len());
    let types: Vec<_> = config
        .input
        .iter()
        .map(oip::ModelInput::data_type)
        .collect();
    let (string, fp32) = (oip::DataType::TypeString, oip::DataType::TypeFp32);
    assert_eq!(types, [string, fp32, string, string]);
    let [output] = &config.output[..] else {
        panic!("{:?}", config.output)
    };
    assert_eq!((output.data_type(), output.dims.len()), (fp32, 0));
    scorer.stop().await;
}

/// Everything that the scorer says to have, or only what is ready.
async fn index(scorer: &Scorer, ready: bool) -> Vec<(String, String, String, String)> {
    let request = oip::RepositoryIndexRequest {
        ready,
        ..oip::RepositoryIndexRequest::default()
    };
    let index = scorer.inference.clone().repository_index(request).await;
    let models = index.unwrap().into_inner().models.into_iter();
    models
        .map(|model| (model.name, model.version, model.state, model.reason))
        .collect()
}

#[tokio::test]
async fn the_index_lists_each_version_of_each_slot_with_its_state() {
    let (scorer, first) = Scorer::serving().await;
    let second = scorer.pour(2, &files(NEW)).await;
    let mut bad = files(0.5);
    bad.insert(file::GOLDEN, wrong_golden(0.5));
    let third = scorer.push(&bad).await;
    scorer.set(3, 3, third).await;
    scorer.listed(3, End).await;
    let trial = DesiredKey {
        model: "films".parse().unwrap(),
        slot: "trial".parse().unwrap(),
    };
    scorer
        .world
        .put(&trial, &desired(1, Some((1, first))))
        .await;
    eventually("the trial is ready", || async {
        index(&scorer, true).await.len() == 2
    })
    .await;

    let entry = |name: &str, version: &str, state: &str| {
        (
            name.to_owned(),
            version.to_owned(),
            state.to_owned(),
            String::new(),
        )
    };
    let ready = [
        entry("films", "2", "READY"),
        entry("films/trial", "1", "READY"),
    ];
    assert_eq!(index(&scorer, true).await, ready);
    let mut all = index(&scorer, false).await;
    assert!(all[2].3.contains("golden row 3"), "{all:?}");
    assert_eq!(all[0].3, "loaded, but not in service");
    for (_, _, _, reason) in &mut all {
        reason.clear();
    }
    let unavailable = |version: &str| entry("films", version, "UNAVAILABLE");
    let [second_ready, trial_ready] = ready;
    assert_eq!(
        all,
        [
            unavailable("1"),
            second_ready,
            unavailable("3"),
            trial_ready
        ]
    );
    assert_ne!(second, third);
    scorer.stop().await;
}

/// The statistics of a version.
async fn statistics(scorer: &Scorer, name: &str, version: &str) -> Vec<oip::ModelStatistics> {
    let request = oip::ModelStatisticsRequest {
        name: name.into(),
        version: version.into(),
    };
    let answer = scorer.inference.clone().model_statistics(request).await;
    answer.unwrap().into_inner().model_stats
}

#[tokio::test]
async fn statistics_count_what_each_version_was_asked() {
    // Batches may take so long that none of these requests is split, however slow the machine is.
    let config = Config {
        batch_micros: 10_000_000,
        ..quick()
    };
    let scorer = Scorer::start_with(config).await;
    scorer.pour(1, &files(OLD)).await;
    let [before] = &statistics(&scorer, "films", "1").await[..] else {
        panic!("version 1 has no statistics")
    };
    let successes = |statistics: &oip::ModelStatistics| {
        let stats = statistics.inference_stats.unwrap();
        (stats.success.unwrap().count, stats.fail.unwrap().count)
    };
    let answered = successes(before).0;

    scorer.infer(request(&tensors(1, &[100; 5]), true)).await;
    scorer.infer(request(&tensors(1, &[100; 8]), false)).await;
    scorer
        .client
        .clone()
        .score(score(1, &[100; 4]))
        .await
        .unwrap();
    let late = within(1, request(&tensors(1, &[100]), true));
    scorer
        .inference
        .clone()
        .model_infer(late)
        .await
        .unwrap_err();
    // What never reached a version is nobody's failure.
    let mut wrong = request(&tensors(1, &[100]), true);
    wrong.inputs.clear();
    scorer
        .inference
        .clone()
        .model_infer(wrong)
        .await
        .unwrap_err();

    let [after] = &statistics(&scorer, "", "").await[..] else {
        panic!("one version is in memory")
    };
    assert_eq!(
        (after.name.as_str(), after.version.as_str()),
        ("films", "1")
    );
    assert_eq!(successes(after), (answered + 3, 1));
    assert_eq!(after.inference_count, before.inference_count + 17);
    assert_eq!(after.execution_count, answered + 3);
    assert!(
        after.last_inference >= before.last_inference && after.last_inference > 1_600_000_000_000
    );
    let stats = after.inference_stats.unwrap();
    let success = stats.success.unwrap();
    assert!(stats.fail.unwrap().ns > 0);
    let sizes: Vec<_> = after
        .batch_stats
        .iter()
        .map(|batch| (batch.batch_size, batch.compute_infer.unwrap().count))
        .collect();
    assert_eq!(sizes, [(1, answered), (4, 1), (5, 1), (8, 1)]);
    // Each request was a batch by itself, so that requests and batches took the same time.
    let of_requests = [
        stats.compute_input,
        stats.compute_infer,
        stats.compute_output,
    ];
    let of_batches = |batch: &oip::InferBatchStatistics| {
        [
            batch.compute_input,
            batch.compute_infer,
            batch.compute_output,
        ]
    };
    for (step, told) in of_requests.into_iter().enumerate() {
        let told = told.unwrap();
        assert_eq!(told.count, success.count);
        let batches = after.batch_stats.iter().map(of_batches);
        let nanos: u64 = batches.map(|steps| steps[step].unwrap().ns).sum();
        assert!(nanos > 0 && nanos == told.ns, "{after:?}");
    }
    let computed: u64 = of_requests.iter().map(|step| step.unwrap().ns).sum();
    assert!(computed + stats.queue.unwrap().ns <= success.ns);

    // Another version begins at nothing, and the previous one keeps what it has while it is resident.
    scorer.pour(2, &files(NEW)).await;
    scorer.listed(2, Available).await;
    let versions = statistics(&scorer, "films", "").await;
    let numbers: Vec<&str> = versions
        .iter()
        .map(|version| version.version.as_str())
        .collect();
    assert_eq!(numbers, ["1", "2"]);
    assert!(successes(&versions[0]).0 >= answered + 3);
    assert!(statistics(&scorer, "films", "2").await[0].inference_count < 17);

    let nameless = oip::ModelStatisticsRequest {
        name: String::new(),
        version: "1".into(),
    };
    let status = scorer
        .inference
        .clone()
        .model_statistics(nameless)
        .await
        .unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    scorer.stop().await;
}
