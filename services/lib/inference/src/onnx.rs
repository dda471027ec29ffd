//! The parts of `onnx.proto` that are looked into or written anew. What is not looked into stays as the bytes that it was.

use bytes::Bytes;
use prost::Message;

use crate::Error;

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Model {
    #[prost(int64, tag = "1")]
    pub(crate) ir_version: i64,
    #[prost(message, optional, tag = "7")]
    pub(crate) graph: Option<GraphDef>,
    #[prost(bytes = "bytes", repeated, tag = "8")]
    pub(crate) opset_import: Vec<Bytes>,
    #[prost(bytes = "bytes", repeated, tag = "25")]
    pub(crate) functions: Vec<Bytes>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct GraphDef {
    /// Each a [`Node`], in an order in which they can be computed.
    #[prost(bytes = "bytes", repeated, tag = "1")]
    pub(crate) node: Vec<Bytes>,
    #[prost(string, tag = "2")]
    pub(crate) name: String,
    /// Each a [`Tensor`].
    #[prost(bytes = "bytes", repeated, tag = "5")]
    pub(crate) initializer: Vec<Bytes>,
    /// Each a [`Value`], as outputs are.
    #[prost(bytes = "bytes", repeated, tag = "11")]
    pub(crate) input: Vec<Bytes>,
    #[prost(bytes = "bytes", repeated, tag = "12")]
    pub(crate) output: Vec<Bytes>,
    #[prost(bytes = "bytes", repeated, tag = "15")]
    pub(crate) sparse_initializer: Vec<Bytes>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Node {
    #[prost(string, repeated, tag = "1")]
    pub(crate) input: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    pub(crate) output: Vec<String>,
    #[prost(string, tag = "4")]
    pub(crate) op_type: String,
    #[prost(message, repeated, tag = "5")]
    pub(crate) attribute: Vec<Attribute>,
    #[prost(string, tag = "7")]
    pub(crate) domain: String,
}

/// As far as networks of ranking have any, and as it holds graphs.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Attribute {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(float, tag = "2")]
    pub(crate) float: f32,
    #[prost(int64, tag = "3")]
    pub(crate) integer: i64,
    #[prost(bytes = "bytes", optional, tag = "6")]
    pub(crate) graph: Option<Bytes>,
    #[prost(int64, repeated, tag = "8")]
    pub(crate) integers: Vec<i64>,
    #[prost(bytes = "bytes", repeated, tag = "11")]
    pub(crate) graphs: Vec<Bytes>,
    /// Which of them it has.
    #[prost(int32, tag = "20")]
    pub(crate) kind: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Tensor {
    #[prost(int64, repeated, tag = "1")]
    pub(crate) dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    pub(crate) data_type: i32,
    #[prost(string, tag = "8")]
    pub(crate) name: String,
    #[prost(bytes = "bytes", tag = "9")]
    pub(crate) raw_data: Bytes,
}

/// An input or an output.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Value {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) kind: Option<Type>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Type {
    #[prost(message, optional, tag = "1")]
    pub(crate) tensor: Option<TensorType>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct TensorType {
    #[prost(int32, tag = "1")]
    pub(crate) element: i32,
    #[prost(message, optional, tag = "2")]
    pub(crate) shape: Option<Shape>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Shape {
    #[prost(message, repeated, tag = "1")]
    pub(crate) dim: Vec<Dimension>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Dimension {
    #[prost(oneof = "Extent", tags = "1, 2")]
    pub(crate) extent: Option<Extent>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum Extent {
    #[prost(int64, tag = "1")]
    Size(i64),
    #[prost(string, tag = "2")]
    Free(String),
}

/// The number of the type of 32-bit floats.
pub(crate) const FLOAT: i32 = 1;
pub(crate) const INT32: i32 = 6;
pub(crate) const INT64: i32 = 7;

impl Tensor {
    /// Its elements; nothing, when its bytes do not fill its shape.
    pub(crate) fn elements<T, const SIZE: usize>(
        &self,
        read: fn([u8; SIZE]) -> T,
    ) -> Option<Vec<T>> {
        let count = self.dims.iter().try_fold(1_usize, |count, size| {
            count.checked_mul(usize::try_from(*size).ok()?)
        });
        let (chunks, rest) = self.raw_data.as_chunks::<SIZE>();
        let fills = count == Some(chunks.len()) && rest.is_empty();
        fills.then(|| chunks.iter().map(|chunk| read(*chunk)).collect())
    }
}

impl Node {
    /// The values that it takes; one that it may do without has no name.
    pub(crate) fn input(&self) -> impl Iterator<Item = &str> {
        let names = self.input.iter().map(String::as_str);
        names.filter(|name| !name.is_empty())
    }

    /// Whether there are graphs within, which may take values that are not among its inputs.
    pub(crate) fn holds_graphs(&self) -> bool {
        let mut attributes = self.attribute.iter();
        attributes.any(|attribute| attribute.graph.is_some() || !attribute.graphs.is_empty())
    }

    pub(crate) fn integer(&self, name: &str) -> Option<i64> {
        self.attribute(name).map(|attribute| attribute.integer)
    }

    pub(crate) fn integers(&self, name: &str) -> Option<&[i64]> {
        self.attribute(name)
            .map(|attribute| &attribute.integers[..])
    }

    pub(crate) fn float(&self, name: &str) -> Option<f32> {
        self.attribute(name).map(|attribute| attribute.float)
    }

    fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.attribute
            .iter()
            .find(|attribute| attribute.name == name)
    }
}

/// Reads a message.
///
/// # Errors
/// When the bytes are none.
pub(crate) fn read<T: Message + Default>(bytes: Bytes) -> Result<T, Error> {
    T::decode(bytes).map_err(|error| Error::Open(format!("no ONNX model: {error}")))
}

impl Value {
    /// A tensor of floats; of any shape, if none is said.
    pub(crate) fn floats(name: &str, shape: Option<Shape>) -> Self {
        let tensor = TensorType {
            element: FLOAT,
            shape,
        };
        Self {
            name: name.to_owned(),
            kind: Some(Type {
                tensor: Some(tensor),
            }),
        }
    }
}
