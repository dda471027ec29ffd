//! `inference`: the Open Inference Protocol v2, with Triton's numbers.

mod infer_response;

pub use generated::*;
pub use infer_response::{
    InferOutputTensor, InferResponseFields, ModelInferResponse, Parameter, ParameterValue, Told,
};

#[allow(missing_docs, unreachable_pub, clippy::large_enum_variant)]
mod generated {
    tonic::include_proto!("inference");
}
