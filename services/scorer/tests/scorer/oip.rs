//! The scorer as clients of the Open Inference Protocol meet it.

#[path = "oip/refusals.rs"]
mod refusals;
#[path = "oip/versions.rs"]
mod versions;

use std::collections::HashMap;

use bytes::Bytes;
use decant_proto::inference as oip;
use decant_proto::scorer::v1 as wire;
use oip::Told;
use oip::infer_parameter::ParameterChoice;
use oip::model_infer_request::{InferInputTensor, InferRequestedOutputTensor};
use tokio_stream::StreamExt;

use crate::fixture::FILMS;
use crate::harness::{Scorer, floats, ints, score, texts};

/// An input with its elements, of which the request takes one form.
#[derive(Clone)]
struct Tensor {
    name: &'static str,
    datatype: &'static str,
    shape: Vec<i64>,
    typed: oip::InferTensorContents,
    raw: Vec<u8>,
}

impl Tensor {
    fn int64(name: &'static str, shape: &[i64], values: &[i64]) -> Self {
        Self {
            name,
            datatype: "INT64",
            shape: shape.to_vec(),
            typed: oip::InferTensorContents {
                int64_contents: values.to_vec(),
                ..oip::InferTensorContents::default()
            },
            raw: values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect(),
        }
    }

    fn fp32(name: &'static str, shape: &[i64], values: &[f32]) -> Self {
        Self {
            name,
            datatype: "FP32",
            shape: shape.to_vec(),
            typed: oip::InferTensorContents {
                fp32_contents: values.to_vec(),
                ..oip::InferTensorContents::default()
            },
            raw: values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect(),
        }
    }

    fn bytes(name: &'static str, shape: &[i64], values: &[&str]) -> Self {
        let raw = values.iter().flat_map(|value| {
            let length = (value.len() as u32).to_le_bytes();
            length.into_iter().chain(value.bytes())
        });
        let contents = values.iter().map(|value| Bytes::from((*value).to_owned()));
        Self {
            name,
            datatype: "BYTES",
            shape: shape.to_vec(),
            typed: oip::InferTensorContents {
                bytes_contents: contents.collect(),
                ..oip::InferTensorContents::default()
            },
            raw: raw.collect(),
        }
    }
}

/// A request for scores of the model of films.
fn request(tensors: &[Tensor], is_raw: bool) -> oip::ModelInferRequest {
    let input = |tensor: &Tensor| InferInputTensor {
        name: tensor.name.to_owned(),
        datatype: tensor.datatype.to_owned(),
        shape: tensor.shape.clone(),
        parameters: HashMap::new(),
        contents: (!is_raw).then(|| tensor.typed.clone()),
    };
    let buffers = tensors.iter().filter(|_| is_raw);
    oip::ModelInferRequest {
        model_name: "films".into(),
        id: "42".into(),
        inputs: tensors.iter().map(input).collect(),
        raw_input_contents: buffers.map(|tensor| tensor.raw.clone().into()).collect(),
        ..oip::ModelInferRequest::default()
    }
}

/// What [`score`] asks, as tensors.
fn tensors(user: i64, films: &[i64]) -> Vec<Tensor> {
    let rows = films.len();
    let shape = [rows as i64];
    let genre = |film: &i64| ["drama", "comedy", "western"][(film - 100) as usize % 3];
    let genres: Vec<&str> = films.iter().map(genre).collect();
    vec![
        Tensor::int64("user", &shape, &vec![user; rows]),
        Tensor::fp32("age", &shape, &vec![30.0; rows]),
        Tensor::int64("film", &shape, films),
        Tensor::bytes("genres", &[rows as i64, 1], &genres),
    ]
}

fn parameter(choice: ParameterChoice) -> oip::InferParameter {
    oip::InferParameter {
        parameter_choice: Some(choice),
    }
}

/// A request that is to be answered within so many microseconds.
fn within(micros: i64, mut request: oip::ModelInferRequest) -> oip::ModelInferRequest {
    let timeout = parameter(ParameterChoice::Int64Param(micros));
    request.parameters.insert("timeout".into(), timeout);
    request
}

/// What an answer says of this.
fn told<'a>(answer: &'a oip::ModelInferResponse, name: &str) -> Option<&'a Told> {
    let mut parameters = answer.fields.parameters.iter();
    let parameter = parameters.find(|parameter| parameter.name == name)?;
    parameter.value.as_ref()?.told.as_ref()
}

/// The scores of an answer, which are where the request had its elements.
fn scores(answer: &oip::ModelInferResponse) -> Vec<f32> {
    let [output] = &answer.fields.outputs[..] else {
        panic!("{answer:?}")
    };
    assert_eq!(
        (&output.name[..], &output.datatype[..]),
        (&b"score"[..], &b"FP32"[..])
    );
    let scores = match (&output.contents, &answer.fields.raw_output_contents[..]) {
        (None, [raw]) => {
            let (elements, []) = raw.as_chunks() else {
                panic!("{answer:?}")
            };
            elements
                .iter()
                .map(|element| f32::from_le_bytes(*element))
                .collect()
        }
        (Some(contents), []) => contents.fp32_contents.clone(),
        _ => panic!("{answer:?}"),
    };
    assert_eq!(output.shape, [scores.len() as i64]);
    scores
}

impl Scorer {
    async fn infer(&self, request: oip::ModelInferRequest) -> oip::ModelInferResponse {
        let answer = self.inference.clone().model_infer(request).await;
        answer.unwrap().into_inner()
    }

    async fn scored(&self, request: wire::ScoreRequest) -> Vec<f32> {
        let answer = self.client.clone().score(request).await;
        answer.unwrap().into_inner().scores
    }
}

#[tokio::test]
async fn rows_have_the_scores_that_score_gives_them_in_either_form() {
    let (scorer, digest) = Scorer::serving().await;
    let films = [100, 107, 100, 103];
    let expected = scorer.scored(score(2, &films)).await;
    for is_raw in [true, false] {
        let mut asked = request(&tensors(2, &films), is_raw);
        let unknown = parameter(ParameterChoice::BoolParam(true));
        asked.parameters.insert("decant_unknown".into(), unknown);
        asked.outputs.push(InferRequestedOutputTensor {
            name: "score".into(),
            parameters: HashMap::new(),
        });
        let answer = scorer.infer(within(30_000_000, asked)).await;
        assert_eq!(scores(&answer), expected);
        assert_eq!(answer.fields.raw_output_contents.is_empty(), !is_raw);
        assert_eq!(
            (
                answer.fields.model_name.as_str(),
                &answer.fields.model_version[..],
                answer.fields.id.as_str()
            ),
            ("films", &b"1"[..], "42")
        );
        let text = |text: &str| Told::Text(text.to_owned().into());
        let who = [
            ("decant_slot", text("main")),
            ("decant_digest", text(&digest.to_string())),
            ("decant_arm", text("stable")),
            ("decant_generation", Told::Int64(1)),
        ];
        for (name, expected) in &who {
            assert_eq!(told(&answer, name), Some(expected), "{name}");
        }
        for cost in ["decant_queue_micros", "decant_compute_micros"] {
            assert!(
                matches!(told(&answer, cost), Some(Told::Int64(0..))),
                "{cost}"
            );
        }
        assert!(matches!(
            told(&answer, "decant_load"),
            Some(Told::Double(0.0..))
        ));
        assert_eq!(answer.fields.parameters.len(), who.len() + 3);
    }
    scorer.stop().await;
}

#[tokio::test]
async fn lists_come_in_rows_of_one_length_whose_ends_are_padding() {
    let (scorer, _) = Scorer::serving().await;
    let rows = [3];
    let ragged = wire::ScoreRequest {
        columns: vec![
            texts("user", &["1", "2", "3"], &[]),
            ints("age", &[20, 30, 40]),
            texts("film", &["100", "101", "102"], &[]),
            texts("genres", &["drama", "comedy", "western"], &[0, 2, 2, 3]),
        ],
        ..score(1, &[])
    };
    let expected = scorer.scored(ragged).await;
    let padded = ["drama", "comedy", "", "", "", "", "western", "", ""];
    let padded = [
        Tensor::bytes("user", &rows, &["1", "2", "3"]),
        Tensor::int64("age", &[3, 1], &[20, 30, 40]),
        Tensor::bytes("film", &[3, 1], &["100", "101", "102"]),
        Tensor::bytes("genres", &[3, 3], &padded),
    ];
    for is_raw in [true, false] {
        let answer = scorer.infer(request(&padded, is_raw)).await;
        assert_eq!(scores(&answer), expected);
    }
    // Integers are numbers as well as names.
    let floats_instead = wire::ScoreRequest {
        columns: vec![
            ints("user", &[1, 2, 3]),
            floats("age", &[20.0, 30.0, 40.0]),
            ints("film", &[100, 101, 102]),
            texts("genres", &["drama", "comedy", "western"], &[0, 2, 2, 3]),
        ],
        ..score(1, &[])
    };
    assert_eq!(scorer.scored(floats_instead).await, expected);
    scorer.stop().await;
}

#[tokio::test]
async fn a_stream_answers_in_order_and_survives_bad_requests() {
    let (scorer, _) = Scorer::serving().await;
    let expected = scorer
        .scored(score(1, &[100, 101, 102, 103, 104, 105, 106, 107]))
        .await;
    let requests = (0..200_i64).map(|id| {
        let film = 100 + id % FILMS as i64;
        let mut request = request(&tensors(1, &[film]), id % 3 == 0);
        request.id = id.to_string();
        match id % 10 {
            7 => request.model_name = "books".into(),
            8 => request.inputs.truncate(3),
            _ => {}
        }
        request
    });
    let answers = scorer
        .inference
        .clone()
        .model_stream_infer(tokio_stream::iter(requests))
        .await
        .unwrap();
    let answers: Vec<_> = answers
        .into_inner()
        .collect::<Result<_, _>>()
        .await
        .unwrap();
    assert_eq!(answers.len(), 200);
    for (id, answer) in answers.into_iter().enumerate() {
        let response = answer.infer_response.unwrap();
        assert_eq!(response.fields.id, id.to_string());
        let reason = match id % 10 {
            7 => "this scorer has no slot `main` of a model `books`",
            8 if id % 3 == 0 => "raw_input_contents: 4 buffers for 3 inputs",
            8 => "inputs[genres]: missing",
            _ => {
                assert_eq!(answer.error_message, "");
                assert_eq!(scores(&response), [expected[id % FILMS]]);
                continue;
            }
        };
        assert!(
            answer.error_message.contains(reason),
            "{}",
            answer.error_message
        );
        assert!(response.fields.outputs.is_empty());
    }
    scorer.stop().await;
}
