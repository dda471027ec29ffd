//! A request for scores: read, scored and answered.

mod inputs;
mod tensor;

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use decant_model::access::Permission;
use decant_proto::inference as wire;
use tonic::Status;
use wire::infer_parameter::ParameterChoice;
use wire::model_infer_request::InferRequestedOutputTensor;
use wire::model_infer_response::InferOutputTensor;

use super::datatype::Datatype;
use super::names::{Asked, Fields};
use super::signature::SCORE;
use crate::error::CallError;
use crate::scoring::{Priority, Scored};
use crate::servable::Handle;
use crate::service::Service;
use crate::service::asking::Asking;
use crate::service::caller::Caller;
use crate::service::request::columns::Problems;

/// Parameters of tensors that would make the answer another one, and are not there.
const UNSUPPORTED: [&str; 2] = ["classification", "shared_memory_region"];

/// Scores the rows of a request, until the deadline or the request's own, whichever is sooner.
pub(super) async fn infer(
    service: &Service,
    request: wire::ModelInferRequest,
    mut asking: Asking<'_>,
) -> Result<wire::ModelInferResponse, CallError> {
    let began = Instant::now();
    let (name, version) = (&request.model_name, &request.model_version);
    let asked = asking.with_wrong(Asked::read(Fields::MODEL_NAME, name, version))?;
    asking.who.may(Permission::Score, &asked.place.model)?;
    let (routing, caller) = (asking.routing, asking.caller);
    let handle = service.pin_at(asked.place, asked.version, routing)?;
    let (schema, max_rows) = (handle.servable().schema(), service.config().max_rows);

    let mut problems = Problems::new(schema, asking.wrong);
    let is_raw = !request.raw_input_contents.is_empty();
    let timeout = timeout(&request.parameters, &mut problems);
    let priority = priority(&request.parameters, &mut problems);
    check_outputs(&request.outputs, &mut problems);
    let buffers = request.raw_input_contents;
    let columns = inputs::read(request.inputs, buffers, schema, max_rows, &mut problems);
    let columns = problems.or(columns);
    let columns = columns.inspect_err(|error| handle.count_failure(error))?;

    let own_deadline = timeout.and_then(|timeout| began.checked_add(timeout));
    let caller = Caller {
        deadline: caller.deadline.into_iter().chain(own_deadline).min(),
        priority: priority.unwrap_or(caller.priority),
        ..caller
    };
    let scored = service
        .score_columns(&handle, columns, routing, caller)
        .await?;
    let parameters = served_by(&handle, &scored);
    let version = handle.part().active.version;
    Ok(wire::ModelInferResponse {
        model_name: request.model_name,
        model_version: version.get().to_string(),
        id: request.id,
        parameters,
        ..answer(scored.into_scores()?, is_raw)
    })
}

/// An answer within a stream, in which an error is one of them.
pub(super) fn outcome(
    id: String,
    outcome: Result<wire::ModelInferResponse, CallError>,
) -> wire::ModelStreamInferResponse {
    match outcome {
        Ok(response) => wire::ModelStreamInferResponse {
            error_message: String::new(),
            infer_response: Some(response),
        },
        Err(error) => wire::ModelStreamInferResponse {
            error_message: Status::from(error).message().to_owned(),
            infer_response: Some(wire::ModelInferResponse {
                id,
                ..wire::ModelInferResponse::default()
            }),
        },
    }
}

/// How long the caller waits; none when it does not say.
fn timeout(
    parameters: &HashMap<String, wire::InferParameter>,
    problems: &mut Problems<'_>,
) -> Option<Duration> {
    let micros = match parameters.get("timeout")?.parameter_choice {
        Some(ParameterChoice::Int64Param(micros)) => u64::try_from(micros).ok(),
        Some(ParameterChoice::Uint64Param(micros)) => Some(micros),
        _ => None,
    };
    if micros.is_none() {
        let reason = "microseconds are expected, as an int64_param that is not negative";
        problems.add("parameters[timeout]", reason);
    }
    micros
        .filter(|micros| *micros > 0)
        .map(Duration::from_micros)
}

/// What comes first, by Decant's names or by Triton's numbers: 1 is the highest, 0 the default.
fn priority(
    parameters: &HashMap<String, wire::InferParameter>,
    problems: &mut Problems<'_>,
) -> Option<Priority> {
    let named = match parameters.get("priority")?.parameter_choice.as_ref() {
        Some(ParameterChoice::StringParam(name)) => Priority::named(name.as_bytes()),
        Some(ParameterChoice::Int64Param(0) | ParameterChoice::Uint64Param(0)) => return None,
        Some(ParameterChoice::Int64Param(1) | ParameterChoice::Uint64Param(1)) => {
            Some(Priority::Critical)
        }
        Some(ParameterChoice::Int64Param(2) | ParameterChoice::Uint64Param(2)) => {
            Some(Priority::Normal)
        }
        Some(ParameterChoice::Int64Param(3..) | ParameterChoice::Uint64Param(3..)) => {
            Some(Priority::Sheddable)
        }
        _ => None,
    };
    if named.is_none() {
        let reason = "critical, normal or sheddable is expected, or a number from 1, the highest";
        problems.add("parameters[priority]", reason);
    }
    named
}

fn check_outputs(outputs: &[InferRequestedOutputTensor], problems: &mut Problems<'_>) {
    for output in outputs {
        let field = format!("outputs[{}]", output.name);
        if output.name != SCORE {
            problems.add(
                &field,
                format!("the model has the output `{SCORE}` and no other"),
            );
        }
        check_parameters(&field, &output.parameters, problems);
    }
}

/// Refuses parameters of a tensor that must not be ignored.
fn check_parameters(
    field: &str,
    parameters: &HashMap<String, wire::InferParameter>,
    problems: &mut Problems<'_>,
) {
    for name in UNSUPPORTED
        .into_iter()
        .filter(|name| parameters.contains_key(*name))
    {
        problems.add(format!("{field}.parameters[{name}]"), "is not supported");
    }
}

/// The one output.
fn answer(scores: Vec<f32>, is_raw: bool) -> wire::ModelInferResponse {
    let shape = vec![i64::try_from(scores.len()).unwrap_or(i64::MAX)];
    let bytes = is_raw.then(|| {
        scores
            .iter()
            .flat_map(|score| score.to_le_bytes())
            .collect()
    });
    let contents = (!is_raw).then(|| wire::InferTensorContents {
        fp32_contents: scores,
        ..wire::InferTensorContents::default()
    });
    let output = InferOutputTensor {
        name: SCORE.to_owned(),
        datatype: Datatype::Fp32.name().to_owned(),
        shape,
        parameters: HashMap::new(),
        contents,
    };
    wire::ModelInferResponse {
        outputs: vec![output],
        raw_output_contents: bytes.into_iter().collect(),
        ..wire::ModelInferResponse::default()
    }
}

/// Who answered and at what price, as parameters.
fn served_by(handle: &Handle, scored: &Scored) -> BTreeMap<String, wire::InferParameter> {
    let part = handle.part();
    let text = |value: String| ParameterChoice::StringParam(value);
    let count = |value: u64| ParameterChoice::Int64Param(i64::try_from(value).unwrap_or(i64::MAX));
    let micros = |time: Duration| count(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    let parameters = [
        ("decant_slot", text(part.place.slot.to_string())),
        ("decant_digest", text(part.active.digest.to_string())),
        ("decant_arm", text(part.active.arm.name().to_owned())),
        ("decant_generation", count(part.generation.0)),
        ("decant_queue_micros", micros(scored.queue)),
        (
            "decant_compute_micros",
            micros(scored.compute.until_scored()),
        ),
        (
            "decant_load",
            ParameterChoice::DoubleParam(scored.load.into()),
        ),
    ];
    let named = parameters.into_iter().map(|(name, value)| {
        let value = wire::InferParameter {
            parameter_choice: Some(value),
        };
        (name.to_owned(), value)
    });
    named.collect()
}

#[cfg(test)]
mod tests;
