//! The answer to a request for scores. Most of what it says is the same for all answers of a version, and can be encoded once.
//! Of the rest, texts are bytes, which need not be copied, and parameters are a list, which hashes no names. On the wire, all of
//! it is as the protocol has it.

use prost::bytes::{Buf, BufMut, Bytes};
use prost::encoding::{DecodeContext, WireType};
use prost::{DecodeError, Message};

use super::generated::InferTensorContents;

/// `inference.ModelInferResponse`: its fields, some of which may be encoded already.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ModelInferResponse {
    /// Fields that are encoded already, in front of the others.
    pub encoded: Bytes,
    /// The others; all of them, in an answer that was read.
    pub fields: InferResponseFields,
}

/// The fields of an answer.
#[derive(Clone, PartialEq, prost::Message)]
pub struct InferResponseFields {
    /// Which model answered, as the request named it.
    #[prost(string, tag = "1")]
    pub model_name: String,
    /// The version that answered, in UTF-8.
    #[prost(bytes = "bytes", tag = "2")]
    pub model_version: Bytes,
    /// The request's id.
    #[prost(string, tag = "3")]
    pub id: String,
    /// Who answered, and at what price. The protocol's map is a list of pairs on the wire.
    #[prost(message, repeated, tag = "4")]
    pub parameters: Vec<Parameter>,
    /// The outputs.
    #[prost(message, repeated, tag = "5")]
    pub outputs: Vec<InferOutputTensor>,
    /// The elements of all outputs, in their order, if the inputs came in `raw_input_contents`.
    #[prost(bytes = "bytes", repeated, tag = "6")]
    pub raw_output_contents: Vec<Bytes>,
}

impl Message for ModelInferResponse {
    fn encode_raw(&self, buffer: &mut impl BufMut) {
        buffer.put_slice(&self.encoded);
        self.fields.encode_raw(buffer);
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buffer: &mut impl Buf,
        context: DecodeContext,
    ) -> Result<(), DecodeError> {
        self.fields.merge_field(tag, wire_type, buffer, context)
    }

    fn encoded_len(&self) -> usize {
        self.encoded.len() + self.fields.encoded_len()
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}

/// `inference.ModelInferResponse.InferOutputTensor`: an output.
#[derive(Clone, PartialEq, prost::Message)]
pub struct InferOutputTensor {
    /// Its name, in UTF-8.
    #[prost(bytes = "bytes", tag = "1")]
    pub name: Bytes,
    /// The type of its elements, in UTF-8.
    #[prost(bytes = "bytes", tag = "2")]
    pub datatype: Bytes,
    /// Its sizes.
    #[prost(int64, repeated, tag = "3")]
    pub shape: Vec<i64>,
    /// Its elements, unless they come in `raw_output_contents`.
    #[prost(message, optional, tag = "5")]
    pub contents: Option<InferTensorContents>,
}

/// A parameter of an answer: a pair of the protocol's map.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Parameter {
    /// Its name, in UTF-8.
    #[prost(bytes = "bytes", tag = "1")]
    pub name: Bytes,
    /// What it says.
    #[prost(message, optional, tag = "2")]
    pub value: Option<ParameterValue>,
}

/// `inference.InferParameter`, as far as Decant's answers use it.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ParameterValue {
    /// The value.
    #[prost(oneof = "Told", tags = "2, 3, 4")]
    pub told: Option<Told>,
}

/// The value of an answer's parameter.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Told {
    /// An integer.
    #[prost(int64, tag = "2")]
    Int64(i64),
    /// A text, in UTF-8.
    #[prost(bytes = "bytes", tag = "3")]
    Text(Bytes),
    /// A number.
    #[prost(double, tag = "4")]
    Double(f64),
}

impl Parameter {
    /// One of this name.
    pub fn new(name: &'static str, told: Told) -> Self {
        Self {
            name: Bytes::from_static(name.as_bytes()),
            value: Some(ParameterValue { told: Some(told) }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::super::generated::InferParameter;
    use super::super::generated::infer_parameter::ParameterChoice;
    use super::*;

    /// What prost makes of the protocol's message.
    #[derive(Clone, PartialEq, prost::Message)]
    struct Generated {
        #[prost(string, tag = "1")]
        model_name: String,
        #[prost(string, tag = "2")]
        model_version: String,
        #[prost(string, tag = "3")]
        id: String,
        #[prost(map = "string, message", tag = "4")]
        parameters: HashMap<String, InferParameter>,
        #[prost(message, repeated, tag = "5")]
        outputs: Vec<GeneratedOutput>,
        #[prost(bytes = "bytes", repeated, tag = "6")]
        raw_output_contents: Vec<Bytes>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    struct GeneratedOutput {
        #[prost(string, tag = "1")]
        name: String,
        #[prost(string, tag = "2")]
        datatype: String,
        #[prost(int64, repeated, tag = "3")]
        shape: Vec<i64>,
        #[prost(map = "string, message", tag = "4")]
        parameters: HashMap<String, InferParameter>,
        #[prost(message, optional, tag = "5")]
        contents: Option<InferTensorContents>,
    }

    #[test]
    fn it_is_on_the_wire_what_the_protocol_has() {
        let contents = InferTensorContents {
            fp32_contents: vec![0.5, 0.25],
            ..InferTensorContents::default()
        };
        let parameter = |choice| InferParameter {
            parameter_choice: Some(choice),
        };
        let generated = Generated {
            model_name: "films".to_owned(),
            model_version: "7".to_owned(),
            id: "42".to_owned(),
            parameters: HashMap::from([
                (
                    "slot".to_owned(),
                    parameter(ParameterChoice::StringParam("main".to_owned())),
                ),
                (
                    "generation".to_owned(),
                    parameter(ParameterChoice::Int64Param(-3)),
                ),
                (
                    "load".to_owned(),
                    parameter(ParameterChoice::DoubleParam(0.5)),
                ),
            ]),
            outputs: vec![GeneratedOutput {
                name: "score".to_owned(),
                datatype: "FP32".to_owned(),
                shape: vec![2],
                parameters: HashMap::new(),
                contents: Some(contents.clone()),
            }],
            raw_output_contents: vec![Bytes::from_static(b"\0\x01")],
        };
        let told = vec![
            Parameter::new("slot", Told::Text("main".into())),
            Parameter::new("generation", Told::Int64(-3)),
            Parameter::new("load", Told::Double(0.5)),
        ];
        let same_for_all = InferResponseFields {
            model_version: "7".into(),
            parameters: told[..1].to_vec(),
            ..InferResponseFields::default()
        };
        let mut fields = InferResponseFields {
            model_name: "films".to_owned(),
            id: "42".to_owned(),
            parameters: told[1..].to_vec(),
            outputs: vec![InferOutputTensor {
                name: "score".into(),
                datatype: "FP32".into(),
                shape: vec![2],
                contents: Some(contents),
            }],
            raw_output_contents: vec![Bytes::from_static(b"\0\x01")],
            ..InferResponseFields::default()
        };
        let own = ModelInferResponse {
            encoded: same_for_all.encode_to_vec().into(),
            fields: fields.clone(),
        };
        let bytes = own.encode_to_vec();
        assert_eq!(own.encoded_len(), bytes.len());
        assert_eq!(Generated::decode(&bytes[..]).unwrap(), generated);

        fields.model_version = "7".into();
        fields.parameters = told;
        let mut read = ModelInferResponse::decode(&generated.encode_to_vec()[..]).unwrap();
        let place = |parameter: &Parameter| {
            fields
                .parameters
                .iter()
                .position(|told| told.name == parameter.name)
        };
        read.fields.parameters.sort_by_key(place);
        let encoded = Bytes::new();
        assert_eq!(read, ModelInferResponse { encoded, fields });
    }
}
