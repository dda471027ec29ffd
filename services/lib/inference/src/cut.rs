//! A graph cut in two: what it computes of an item alone, and what it makes of that and of a query.
//!
//! Items of a catalog are the same in every request, and so is all that a graph computes of them before it looks at the query.
//! In a student that is most of the work: looking up embeddings, pooling them, and the items' share of the first layer, which is
//! linear in both sides. Computed once, the second half is left for requests.
//!
//! The cut lies behind the last values that depend on items alone, as far as the operators on the way take each row by itself.

use std::collections::{BTreeSet, HashMap, HashSet};

use bytes::Bytes;
use prost::Message;

use crate::Error;
use crate::contract::{Input, SCORE};
use crate::onnx::{self, Dimension, Extent, GraphDef, Model, Node, Shape, Tensor, Value};

/// Operators of which a row of the result comes from that row of the inputs, as networks use them. Whether this one does is
/// tried afterwards.
const BY_ROW: [&str; 32] = [
    "Abs",
    "Add",
    "Cast",
    "Clip",
    "Concat",
    "DequantizeLinear",
    "Div",
    "Elu",
    "Exp",
    "Flatten",
    "Gather",
    "Gemm",
    "Identity",
    "LeakyRelu",
    "Log",
    "MatMul",
    "Mul",
    "Neg",
    "Pow",
    "QuantizeLinear",
    "ReduceMean",
    "ReduceSum",
    "ReduceSumSquare",
    "Relu",
    "Reshape",
    "Sigmoid",
    "Slice",
    "Sqrt",
    "Squeeze",
    "Sub",
    "Tanh",
    "Unsqueeze",
];

/// The name of the free number of rows.
const ROWS: &str = "N";

/// What a value depends on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    Nothing,
    Query,
    Items,
    Both,
}

impl Of {
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Nothing, of) | (of, Self::Nothing) => of,
            (left, right) if left == right => left,
            _ => Self::Both,
        }
    }
}

/// A graph that can be cut, and where.
pub(crate) struct Cut {
    model: Model,
    graph: GraphDef,
    nodes: Vec<(Node, Of)>,
    /// The values on the cut.
    names: Vec<String>,
}

impl Cut {
    /// Looks for the cut. There is none where nothing of items can be computed beforehand, or where that is not known.
    ///
    /// # Errors
    /// When the bytes are no ONNX model.
    pub(crate) fn find(bytes: &Bytes) -> Result<Option<Self>, Error> {
        let mut model: Model = onnx::read(bytes.clone())?;
        let Some(graph) = model.graph.take() else {
            return Ok(None);
        };
        if !model.functions.is_empty() || !graph.sparse_initializer.is_empty() {
            return Ok(None);
        }
        let mut known: HashMap<String, Of> = HashMap::new();
        let mut given: HashSet<String> = HashSet::new();
        for value in &graph.input {
            let name = onnx::read::<Value>(value.clone())?.name;
            let of = match Input::named(&name) {
                Some(input) if input.is_of_query() => Of::Query,
                Some(_) => Of::Items,
                None => Of::Nothing,
            };
            known.insert(name.clone(), of);
            given.insert(name);
        }
        for tensor in &graph.initializer {
            let name = onnx::read::<Tensor>(tensor.clone())?.name;
            known.insert(name, Of::Nothing);
        }
        let mut nodes = Vec::with_capacity(graph.node.len());
        for node in &graph.node {
            let node: Node = onnx::read(node.clone())?;
            if node.holds_graphs() {
                return Ok(None);
            }
            let mut of = Of::Nothing;
            for name in node.input() {
                match known.get(name) {
                    Some(known) => of = of.and(*known),
                    None => return Ok(None),
                }
            }
            let by_row = node.domain.is_empty() && BY_ROW.contains(&&*node.op_type);
            if of == Of::Items && !by_row {
                of = Of::Both;
            }
            for output in &node.output {
                known.insert(output.clone(), of);
            }
            nodes.push((node, of));
        }
        let mut names = BTreeSet::new();
        for (node, _) in nodes.iter().filter(|(_, of)| *of == Of::Both) {
            let items = node.input().filter(|name| known[*name] == Of::Items);
            names.extend(items.map(str::to_owned));
        }
        let nothing_gained = names.is_empty() || names.iter().any(|name| given.contains(name));
        if nothing_gained || known.get(SCORE) != Some(&Of::Both) {
            return Ok(None);
        }
        Ok(Some(Self {
            model,
            graph,
            nodes,
            names: names.into_iter().collect(),
        }))
    }

    /// The values on the cut.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// The graph of the items' half, whose outputs are the values on the cut.
    pub(crate) fn first(&self) -> Result<Bytes, Error> {
        let outputs = self.names.iter().map(|name| Value::floats(name, None));
        self.part(
            &self.names,
            |of| of == Of::Items,
            Vec::new(),
            outputs.collect(),
        )
    }

    /// The graph of what is left. It takes the values on the cut, of which each row has these sizes.
    pub(crate) fn second(&self, sizes: &[Vec<usize>]) -> Result<Bytes, Error> {
        let shape = |sizes: &Vec<usize>| {
            let rows = Extent::Free(ROWS.to_owned());
            let others = sizes.iter().map(|size| Extent::Size(*size as i64));
            let extents = std::iter::once(rows).chain(others);
            let dim = extents.map(|extent| Dimension {
                extent: Some(extent),
            });
            Shape { dim: dim.collect() }
        };
        let inputs = self.names.iter().zip(sizes);
        let inputs = inputs.map(|(name, sizes)| Value::floats(name, Some(shape(sizes))));
        let score = [SCORE.to_owned()];
        self.part(&score, |of| of != Of::Items, inputs.collect(), Vec::new())
    }

    /// The nodes that these values need, as far as they belong to the part; with inputs of its own besides those of the graph,
    /// and with outputs instead of the graph's, if there are any.
    fn part(
        &self,
        wanted: &[String],
        belongs: fn(Of) -> bool,
        own_inputs: Vec<Value>,
        own_outputs: Vec<Value>,
    ) -> Result<Bytes, Error> {
        let mut needed: HashSet<&str> = wanted.iter().map(String::as_str).collect();
        let mut keeps = vec![false; self.nodes.len()];
        // Backwards, so that whoever needs a value comes before who makes it.
        for (place, (node, of)) in self.nodes.iter().enumerate().rev() {
            let makes = node.output.iter().any(|name| needed.contains(&**name));
            if makes && (belongs(*of) || *of == Of::Nothing) {
                keeps[place] = true;
                needed.extend(node.input());
            }
        }
        let nodes = self.graph.node.iter().zip(keeps);
        let kept = nodes.filter(|(_, keeps)| *keeps);
        let mut graph = GraphDef {
            node: kept.map(|(node, _)| node.clone()).collect(),
            name: self.graph.name.clone(),
            ..GraphDef::default()
        };
        for tensor in &self.graph.initializer {
            if needed.contains(&*onnx::read::<Tensor>(tensor.clone())?.name) {
                graph.initializer.push(tensor.clone());
            }
        }
        for value in &self.graph.input {
            if needed.contains(&*onnx::read::<Value>(value.clone())?.name) {
                graph.input.push(value.clone());
            }
        }
        let encode = |value: Value| Bytes::from(value.encode_to_vec());
        graph.input.extend(own_inputs.into_iter().map(encode));
        graph.output = match own_outputs.is_empty() {
            true => self.graph.output.clone(),
            false => own_outputs.into_iter().map(encode).collect(),
        };
        let model = Model {
            graph: Some(graph),
            ..self.model.clone()
        };
        Ok(model.encode_to_vec().into())
    }
}
