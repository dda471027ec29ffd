//! A graph's weights, held once for all sessions on it.
//!
//! ONNX Runtime gives each session a copy of the weights, and a second one packed for its kernels. Weights that the
//! caller supplies are shared instead, and so is what it packs of them.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use ort::session::builder::PrepackedWeights;
use ort::value::{DynValue, PrimitiveTensorElementType};

use crate::Error;
use crate::onnx::{self, Model, Tensor};

/// Weights below this size are left to the sessions: shapes and axes are among them, which ONNX Runtime wants to know
/// while it optimises the graph.
const WORTH_SHARING: usize = 4096;

/// Weights that all sessions on a graph share.
pub(crate) struct Weights {
    pub(crate) named: Vec<(String, Arc<DynValue>)>,
    pub(crate) packed: PrepackedWeights,
    /// Bytes of them that no other graph has, before packing.
    pub(crate) bytes: usize,
}

impl Weights {
    /// Takes the large weights out of a graph. Types that networks have no weights of, and weights that are not stored
    /// as raw bytes, stay with the sessions.
    pub(crate) fn read(onnx: &Bytes) -> Result<Self, Error> {
        let model: Model = onnx::read(onnx.clone())?;
        let mut weights = Self {
            named: Vec::new(),
            packed: PrepackedWeights::new(),
            bytes: 0,
        };
        for tensor in model.graph.unwrap_or_default().initializer {
            let tensor: Tensor = onnx::read(tensor)?;
            if tensor.raw_data.len() < WORTH_SHARING {
                continue;
            }
            let value = value(&tensor).map_err(|error| Error::Open(error.to_string()))?;
            if let Some(value) = value {
                weights.bytes += tensor.raw_data.len();
                weights.named.push((tensor.name, Arc::new(value)));
            }
        }
        Ok(weights)
    }

    /// Those that a part of the graph has too, shared with it.
    pub(crate) fn of_part(&self, onnx: &Bytes) -> Result<Self, Error> {
        let model: Model = onnx::read(onnx.clone())?;
        let tensors = model.graph.unwrap_or_default().initializer.into_iter();
        let names = tensors.map(|tensor| Ok(onnx::read::<Tensor>(tensor)?.name));
        let names: HashSet<String> = names.collect::<Result<_, Error>>()?;
        let shared = self.named.iter().filter(|(name, _)| names.contains(name));
        Ok(Self {
            named: shared.cloned().collect(),
            packed: PrepackedWeights::new(),
            bytes: 0,
        })
    }
}

/// The weight as ONNX Runtime takes it; `None` when the type is another or the bytes do not fill the shape.
fn value(tensor: &Tensor) -> ort::Result<Option<DynValue>> {
    match tensor.data_type {
        1 => filled(tensor, f32::from_le_bytes),
        2 => filled(tensor, u8::from_le_bytes),
        3 => filled(tensor, i8::from_le_bytes),
        6 => filled(tensor, i32::from_le_bytes),
        7 => filled(tensor, i64::from_le_bytes),
        _ => Ok(None),
    }
}

fn filled<T, const SIZE: usize>(
    tensor: &Tensor,
    read: fn([u8; SIZE]) -> T,
) -> ort::Result<Option<DynValue>>
where
    T: PrimitiveTensorElementType + std::fmt::Debug + Clone + 'static,
{
    // Memory of ours, as ONNX Runtime shares only what it does not own.
    let Some(values) = tensor.elements(read) else {
        return Ok(None);
    };
    let value = ort::value::Tensor::from_array((tensor.dims.clone(), values))?;
    Ok(Some(value.into_dyn()))
}
