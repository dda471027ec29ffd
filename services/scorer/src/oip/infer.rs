//! A request for scores: read, scored and answered.

mod inputs;
mod tensor;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use decant_model::access::Permission;
use decant_proto::inference as wire;
use prost::Message as _;
use tonic::Status;
use wire::infer_parameter::ParameterChoice;
use wire::model_infer_request::InferRequestedOutputTensor;
use wire::{InferOutputTensor, Parameter, Told};

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

    let own_deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let caller = Caller {
        deadline: caller.deadline.into_iter().chain(own_deadline).min(),
        priority: priority.unwrap_or(caller.priority),
        ..caller
    };
    let scored = service
        .score_columns(&handle, columns, routing, caller)
        .await?;
    let encoded = handle
        .part()
        .same_for_all
        .get_or_init(|| served_by(&handle));
    let fields = wire::InferResponseFields {
        model_name: request.model_name,
        id: request.id,
        parameters: price(&scored),
        ..answer(scored.into_scores()?, is_raw)
    };
    Ok(wire::ModelInferResponse {
        encoded: encoded.clone(),
        fields,
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
                encoded: Bytes::new(),
                fields: wire::InferResponseFields {
                    id,
                    ..wire::InferResponseFields::default()
                },
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
        let field = || format!("outputs[{}]", output.name);
        if output.name != SCORE {
            let reason = format!("the model has the output `{SCORE}` and no other");
            problems.add(field(), reason);
        }
        check_parameters(field, &output.parameters, problems);
    }
}

/// Refuses parameters of a tensor that must not be ignored.
fn check_parameters(
    field: impl Fn() -> String,
    parameters: &HashMap<String, wire::InferParameter>,
    problems: &mut Problems<'_>,
) {
    for name in UNSUPPORTED
        .into_iter()
        .filter(|name| parameters.contains_key(*name))
    {
        let field = format!("{}.parameters[{name}]", field());
        problems.add(field, "is not supported");
    }
}

/// The one output.
fn answer(scores: Vec<f32>, is_raw: bool) -> wire::InferResponseFields {
    let shape = vec![i64::try_from(scores.len()).unwrap_or(i64::MAX)];
    let bytes = is_raw.then(|| {
        let mut bytes = Vec::with_capacity(size_of_val(&scores[..]));
        bytes.extend(scores.iter().flat_map(|score| score.to_le_bytes()));
        Bytes::from(bytes)
    });
    let contents = (!is_raw).then(|| wire::InferTensorContents {
        fp32_contents: scores,
        ..wire::InferTensorContents::default()
    });
    let output = InferOutputTensor {
        name: Bytes::from_static(SCORE.as_bytes()),
        datatype: Bytes::from_static(Datatype::Fp32.name().as_bytes()),
        shape,
        contents,
    };
    wire::InferResponseFields {
        outputs: vec![output],
        raw_output_contents: bytes.into_iter().collect(),
        ..wire::InferResponseFields::default()
    }
}

/// Who answers, as the fields of an answer.
fn served_by(handle: &Handle) -> Bytes {
    let part = handle.part();
    let fields = wire::InferResponseFields {
        model_version: part.active.version.get().to_string().into(),
        parameters: vec![
            Parameter::new(
                "decant_slot",
                Told::Text(part.place.slot.to_string().into()),
            ),
            Parameter::new(
                "decant_digest",
                Told::Text(part.active.digest.to_string().into()),
            ),
            Parameter::new("decant_arm", Told::Text(part.active.arm.name().into())),
            Parameter::new("decant_generation", count(part.generation.0)),
        ],
        ..wire::InferResponseFields::default()
    };
    fields.encode_to_vec().into()
}

/// At what price it was answered, as parameters.
fn price(scored: &Scored) -> Vec<Parameter> {
    let micros = |time: Duration| count(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    let compute = scored.compute.until_scored();
    vec![
        Parameter::new("decant_queue_micros", micros(scored.queue)),
        Parameter::new("decant_compute_micros", micros(compute)),
        Parameter::new("decant_load", Told::Double(scored.load.into())),
    ]
}

fn count(value: u64) -> Told {
    Told::Int64(i64::try_from(value).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests;
