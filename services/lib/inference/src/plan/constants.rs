//! The numbers that a graph holds, or computes of nothing else.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use ort::session::SessionInputValue;
use ort::value::DynValue;
use prost::Message;

use crate::onnx::{self, GraphDef, Model, Node, Tensor, Value};
use crate::{Error, Graph};

/// Numbers of a value that a plan has a copy of, at most: whoever keeps more keeps a table, of which a session has one already.
pub(super) const MOST_COPIED: usize = 1 << 20;

/// Floats.
pub(super) struct Constant {
    pub(super) dims: Vec<usize>,
    held: Held,
}

enum Held {
    /// By ONNX Runtime too.
    Shared(Arc<DynValue>),
    Own(Vec<f32>),
}

/// A value that depends on no input.
pub(super) enum Known {
    Floats(Constant),
    /// A list of them, or one.
    Integers(Vec<i64>),
}

impl Constant {
    pub(super) fn own(dims: Vec<usize>, numbers: Vec<f32>) -> Self {
        Self {
            dims,
            held: Held::Own(numbers),
        }
    }

    pub(super) fn numbers(&self) -> &[f32] {
        match &self.held {
            Held::Own(numbers) => numbers,
            // It is one of floats, or would not have been made.
            Held::Shared(value) => value
                .try_extract_tensor::<f32>()
                .map_or(&[], |(_, numbers)| numbers),
        }
    }
}

/// What depends on no input, as far as it is needed to compute what does: what the graph holds, and what some nodes make of
/// it, which ONNX Runtime computes.
pub(super) fn known(
    graph: &Graph,
    model: &Model,
    nodes: &[Node],
) -> Result<HashMap<String, Known>, Error> {
    let mut held: HashMap<String, Bytes> = HashMap::new();
    let definition = model.graph.as_ref();
    for bytes in definition.iter().flat_map(|graph| &graph.initializer) {
        held.insert(onnx::read::<Tensor>(bytes.clone())?.name, bytes.clone());
    }
    let shared: HashMap<&str, &Arc<DynValue>> = graph
        .shared()
        .map(|(name, value)| (name.as_str(), value))
        .collect();
    let mut constant: HashSet<&str> = held.keys().map(String::as_str).collect();
    let mut wanted: HashSet<&str> = HashSet::new();
    // With their bytes, as not all of a node is read.
    let mut makers: Vec<(&Node, &Bytes)> = Vec::new();
    let bytes = definition.iter().flat_map(|graph| &graph.node);
    for (node, bytes) in nodes.iter().zip(bytes) {
        if is_pure(node) && node.input().all(|name| constant.contains(name)) {
            constant.extend(node.output.iter().map(String::as_str));
            makers.push((node, bytes));
        } else {
            wanted.extend(node.input().filter(|name| constant.contains(name)));
        }
    }
    let mut known = HashMap::new();
    for (name, bytes) in held.iter().filter(|(name, _)| wanted.contains(&***name)) {
        let value = match shared.get(&**name) {
            Some(value) => of_value(value, Some(value)),
            None => of_tensor(&onnx::read(bytes.clone())?),
        };
        known.extend(value.map(|value| (name.clone(), value)));
    }
    let made = makers.iter().flat_map(|(node, _)| &node.output);
    let made: Vec<&String> = made.filter(|name| wanted.contains(&***name)).collect();
    if made.is_empty() {
        return Ok(known);
    }
    let part = Model {
        graph: Some(part(&held, &makers, &made)),
        ..model.clone()
    };
    let mut session = graph.part(part.encode_to_vec().into())?.commit()?;
    let failed = |error: ort::Error| Error::Run(error.to_string());
    let nothing: [SessionInputValue<'_>; 0] = [];
    let outputs = session.run(nothing).map_err(failed)?;
    for name in made {
        let value = outputs.get(name).and_then(|value| of_value(value, None));
        known.extend(value.map(|value| (name.clone(), value)));
    }
    Ok(known)
}

/// Whether a node makes the same of the same, and of its inputs only.
fn is_pure(node: &Node) -> bool {
    let is_random = |name: &&str| node.op_type.starts_with(*name);
    let random = ["Random", "Bernoulli", "Multinomial", "Dropout"];
    !node.holds_graphs() && !random.iter().any(is_random)
}

/// A graph of these nodes alone.
fn part(held: &HashMap<String, Bytes>, makers: &[(&Node, &Bytes)], made: &[&String]) -> GraphDef {
    let used: HashSet<&str> = makers.iter().flat_map(|(node, _)| node.input()).collect();
    let initializer = held.iter().filter(|(name, _)| used.contains(&***name));
    // Of which type it is, ONNX Runtime finds out.
    let output = |name: &&String| {
        let value = Value {
            name: (*name).clone(),
            kind: None,
        };
        Bytes::from(value.encode_to_vec())
    };
    GraphDef {
        node: makers.iter().map(|(_, bytes)| (*bytes).clone()).collect(),
        name: "constants".to_owned(),
        initializer: initializer.map(|(_, bytes)| bytes.clone()).collect(),
        output: made.iter().map(output).collect(),
        ..GraphDef::default()
    }
}

/// A tensor that sessions have copies of; nothing, when it is of a type that no plan computes with.
fn of_tensor(tensor: &Tensor) -> Option<Known> {
    Some(match tensor.data_type {
        onnx::FLOAT => {
            let numbers = tensor.elements(f32::from_le_bytes)?;
            Known::Floats(Constant::own(dims(&tensor.dims)?, numbers))
        }
        onnx::INT32 => {
            let read = |bytes| i64::from(i32::from_le_bytes(bytes));
            Known::Integers(tensor.elements(read)?)
        }
        onnx::INT64 => Known::Integers(tensor.elements(i64::from_le_bytes)?),
        _ => return None,
    })
}

fn of_value(value: &DynValue, shared: Option<&Arc<DynValue>>) -> Option<Known> {
    if let Ok((shape, numbers)) = value.try_extract_tensor::<f32>() {
        let held = match shared {
            Some(value) => Held::Shared(Arc::clone(value)),
            None if numbers.len() <= MOST_COPIED => Held::Own(numbers.to_vec()),
            None => return None,
        };
        let dims = dims(shape)?;
        return Some(Known::Floats(Constant { dims, held }));
    }
    let (_, numbers) = value.try_extract_tensor::<i64>().ok()?;
    Some(Known::Integers(numbers.to_vec()))
}

fn dims(dims: &[i64]) -> Option<Vec<usize>> {
    let dims = dims.iter().map(|size| usize::try_from(*size).ok());
    dims.collect()
}
