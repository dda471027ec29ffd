//! Graphs of a few nodes, for tests of how graphs are read: `score` out of `query_dense` and `item_dense`.

use bytes::Bytes;
use prost::Message;

use crate::contract::SCORE;
use crate::onnx::{
    Attribute, Dimension, Extent, FLOAT, GraphDef, INT64, Model, Node, Shape, Tensor, Value,
};

/// The number of attributes that are one integer.
const INTEGER: i32 = 2;

/// A graph in the making.
#[derive(Default)]
pub(crate) struct Handmade {
    graph: GraphDef,
}

impl Handmade {
    /// With a dense input of each side, so wide.
    pub(crate) fn new(query: i64, item: i64) -> Self {
        let mut handmade = Self::default();
        let inputs = [("query_dense", "Q", query), ("item_dense", "N", item)];
        let inputs = inputs.map(|(name, rows, width)| value(name, rows, Some(width)));
        handmade.graph.input = inputs.to_vec();
        handmade.graph.name = "handmade".to_owned();
        handmade.graph.output = vec![value(SCORE, "N", None)];
        handmade
    }

    pub(crate) fn node(self, operator: &str, inputs: &[&str], output: &str) -> Self {
        self.node_with(operator, inputs, output, &[])
    }

    /// A node with integers as attributes.
    pub(crate) fn node_with(
        mut self,
        operator: &str,
        inputs: &[&str],
        output: &str,
        attributes: &[(&str, i64)],
    ) -> Self {
        let attributes = attributes.iter().map(|(name, integer)| Attribute {
            name: (*name).to_owned(),
            integer: *integer,
            kind: INTEGER,
            ..Attribute::default()
        });
        let node = Node {
            input: inputs.iter().map(|&name| name.to_owned()).collect(),
            output: vec![output.to_owned()],
            op_type: operator.to_owned(),
            attribute: attributes.collect(),
            ..Node::default()
        };
        self.graph.node.push(node.encode_to_vec().into());
        self
    }

    pub(crate) fn integers(self, name: &str, integers: &[i64]) -> Self {
        let raw = integers.iter().flat_map(|integer| integer.to_le_bytes());
        self.constant(name, &[integers.len()], INT64, raw.collect())
    }

    pub(crate) fn floats(self, name: &str, dims: &[usize], floats: &[f32]) -> Self {
        let raw = floats.iter().flat_map(|float| float.to_le_bytes());
        self.constant(name, dims, FLOAT, raw.collect())
    }

    fn constant(mut self, name: &str, dims: &[usize], data_type: i32, raw: Vec<u8>) -> Self {
        let tensor = Tensor {
            dims: dims.iter().map(|size| *size as i64).collect(),
            data_type,
            name: name.to_owned(),
            raw_data: raw.into(),
        };
        self.graph.initializer.push(tensor.encode_to_vec().into());
        self
    }

    pub(crate) fn onnx(self) -> Bytes {
        // Field 2 of OperatorSetIdProto is its version.
        let opset = Bytes::from_static(&[16, 17]);
        let model = Model {
            ir_version: 8,
            graph: Some(self.graph),
            opset_import: vec![opset],
            functions: Vec::new(),
        };
        model.encode_to_vec().into()
    }
}

fn value(name: &str, rows: &str, width: Option<i64>) -> Bytes {
    let rows = Extent::Free(rows.to_owned());
    let extents = [Some(rows), width.map(Extent::Size)].into_iter().flatten();
    let dim = extents.map(|extent| Dimension {
        extent: Some(extent),
    });
    let shape = Shape { dim: dim.collect() };
    Value::floats(name, Some(shape)).encode_to_vec().into()
}
