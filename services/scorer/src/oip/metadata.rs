//! What a model takes and gives, as messages.

use decant_features::Schema;
use decant_model::ModelVersion;
use decant_proto::inference as wire;
use wire::model_metadata_response::TensorMetadata;
use wire::model_version_policy::{PolicyChoice, Specific};

use super::datatype::Datatype;
use super::signature::{self, SCORE};

/// What the protocol's clients know ONNX by.
const PLATFORM: &str = "onnxruntime_onnx";
const BACKEND: &str = "onnxruntime";

/// A version's inputs and output, and the versions that are in service beside it.
pub(super) fn model(
    name: String,
    schema: &Schema,
    versions: &[ModelVersion],
) -> wire::ModelMetadataResponse {
    let tensor = |name: &str, datatype: Datatype, row_sizes: Vec<i64>| TensorMetadata {
        name: name.to_owned(),
        datatype: datatype.name().to_owned(),
        shape: std::iter::once(-1).chain(row_sizes).collect(),
    };
    let inputs = signature::inputs(schema);
    let inputs = inputs
        .iter()
        .map(|input| tensor(input.name, input.datatype, input.row_sizes()));
    wire::ModelMetadataResponse {
        name,
        versions: versions
            .iter()
            .map(|version| version.get().to_string())
            .collect(),
        platform: PLATFORM.to_owned(),
        inputs: inputs.collect(),
        outputs: vec![tensor(SCORE, Datatype::Fp32, Vec::new())],
    }
}

/// The same as a configuration, in which the number of rows is not one of a tensor's sizes.
pub(super) fn config(
    name: String,
    schema: &Schema,
    versions: &[ModelVersion],
    max_rows: usize,
) -> wire::ModelConfig {
    let inputs = signature::inputs(schema);
    let inputs = inputs.iter().map(|input| wire::ModelInput {
        name: input.name.to_owned(),
        data_type: input.datatype.in_config().into(),
        dims: input.row_sizes(),
    });
    let number = |version: &ModelVersion| i64::try_from(version.get()).unwrap_or(i64::MAX);
    let specific = Specific {
        versions: versions.iter().map(number).collect(),
    };
    wire::ModelConfig {
        name,
        platform: PLATFORM.to_owned(),
        backend: BACKEND.to_owned(),
        version_policy: Some(wire::ModelVersionPolicy {
            policy_choice: Some(PolicyChoice::Specific(specific)),
        }),
        max_batch_size: i32::try_from(max_rows).unwrap_or(i32::MAX),
        input: inputs.collect(),
        output: vec![wire::ModelOutput {
            name: SCORE.to_owned(),
            data_type: Datatype::Fp32.in_config().into(),
            dims: Vec::new(),
        }],
    }
}
