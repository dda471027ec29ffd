//! A graph under construction.

use prost::Message;

use super::proto::{
    Attribute, Dimension, Extent, GraphDef, Model, Node, OperatorSet, Shape, Tensor, TensorType,
    Type, ValueInfo,
};

/// The newest operator set that runtimes of the last three years know.
const OPSET: i64 = 17;
const IR_VERSION: i64 = 8;

/// Nodes in the order in which they compute. Values are known by their names.
pub(super) struct Graph {
    graph: GraphDef,
    scope: String,
}

/// An element type of an input.
#[derive(Clone, Copy)]
pub(super) enum Element {
    Float,
    Int32,
}

impl Graph {
    pub(super) fn new(name: &str) -> Self {
        Self {
            graph: GraphDef {
                name: name.to_owned(),
                ..GraphDef::default()
            },
            scope: String::new(),
        }
    }

    /// Names from now on begin with this.
    pub(super) fn enter(&mut self, scope: &str) {
        self.scope = scope.to_owned();
    }

    /// An input with a free number of rows.
    pub(super) fn input(&mut self, name: &str, element: Element, rows: &str, width: usize) {
        let shape = vec![Extent::Free(rows.to_owned()), Extent::Size(width as i64)];
        self.graph.input.push(value(name, element, shape));
    }

    /// Adds a node with one output, and returns the output's name.
    pub(super) fn node(&mut self, operator: &str, inputs: &[&str]) -> String {
        self.push(operator, inputs, Vec::new())
    }

    /// A node with an integer attribute.
    pub(super) fn node_with(
        &mut self,
        operator: &str,
        inputs: &[&str],
        attribute: &str,
        i: i64,
    ) -> String {
        let attribute = Attribute {
            name: attribute.to_owned(),
            i,
            kind: Attribute::INT,
            ..Attribute::default()
        };
        self.push(operator, inputs, vec![attribute])
    }

    /// A node that reduces over axes given as an attribute, and keeps them as 1.
    pub(super) fn reduce(&mut self, operator: &str, input: &str, axes: &[i64]) -> String {
        let axes = Attribute {
            name: "axes".to_owned(),
            ints: axes.to_vec(),
            kind: Attribute::INTS,
            i: 0,
        };
        self.push(operator, &[input], vec![axes])
    }

    /// The node that computes the graph's output: one float for each item row.
    pub(super) fn output(&mut self, name: &str, operator: &str, inputs: &[&str]) {
        self.push(operator, inputs, Vec::new());
        if let Some(last) = self.graph.node.last_mut() {
            last.output = vec![name.to_owned()];
        }
        self.graph.output.push(value(
            name,
            Element::Float,
            vec![Extent::Free("N".to_owned())],
        ));
    }

    /// A constant array of floats.
    pub(super) fn floats(&mut self, name: &str, shape: &[usize], values: &[f32]) -> String {
        let raw_data = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        self.constant(name, shape, Tensor::FLOAT, raw_data)
    }

    /// A constant number.
    pub(super) fn scalar(&mut self, name: &str, value: f32) -> String {
        self.floats(name, &[], &[value])
    }

    /// A constant list of integers.
    pub(super) fn integers(&mut self, name: &str, values: &[i64]) -> String {
        let raw_data = values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect();
        self.constant(name, &[values.len()], Tensor::INT64, raw_data)
    }

    /// A constant id, to compute with ids.
    pub(super) fn id(&mut self, name: &str, id: i32) -> String {
        self.constant(name, &[], Tensor::INT32, id.to_le_bytes().to_vec())
    }

    pub(super) fn encode(self) -> Vec<u8> {
        let model = Model {
            ir_version: IR_VERSION,
            producer_name: "decant".to_owned(),
            producer_version: env!("CARGO_PKG_VERSION").to_owned(),
            graph: Some(self.graph),
            opset_import: vec![OperatorSet {
                domain: String::new(),
                version: OPSET,
            }],
        };
        model.encode_to_vec()
    }

    fn push(&mut self, operator: &str, inputs: &[&str], attribute: Vec<Attribute>) -> String {
        let name = format!("{}/{operator}{}", self.scope, self.graph.node.len());
        self.graph.node.push(Node {
            input: inputs.iter().map(|&input| input.to_owned()).collect(),
            output: vec![name.clone()],
            name: name.clone(),
            op_type: operator.to_owned(),
            attribute,
        });
        name
    }

    fn constant(
        &mut self,
        name: &str,
        shape: &[usize],
        data_type: i32,
        raw_data: Vec<u8>,
    ) -> String {
        let name = format!("{}/{name}{}", self.scope, self.graph.initializer.len());
        let dims = shape.iter().map(|&size| size as i64).collect();
        self.graph.initializer.push(Tensor {
            dims,
            data_type,
            name: name.clone(),
            raw_data,
        });
        name
    }
}

fn value(name: &str, element: Element, shape: Vec<Extent>) -> ValueInfo {
    let element = match element {
        Element::Float => Tensor::FLOAT,
        Element::Int32 => Tensor::INT32,
    };
    let dim = shape
        .into_iter()
        .map(|extent| Dimension {
            extent: Some(extent),
        })
        .collect();
    let tensor = TensorType {
        element,
        shape: Some(Shape { dim }),
    };
    ValueInfo {
        name: name.to_owned(),
        kind: Some(Type {
            tensor: Some(tensor),
        }),
    }
}
