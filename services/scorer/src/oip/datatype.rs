//! The types of a tensor's elements that are read.

use std::fmt;

use decant_proto::inference::DataType;

/// A type, of those that feature columns can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Datatype {
    Int8,
    Int16,
    Int32,
    Int64,
    Uint8,
    Uint16,
    Uint32,
    Uint64,
    Fp16,
    Fp32,
    Fp64,
    Bytes,
}

use Datatype::{Bytes, Fp16, Fp32, Fp64, Int8, Int16, Int32, Int64, Uint8, Uint16, Uint32, Uint64};

impl Datatype {
    pub(super) const ALL: [Datatype; 12] = [
        Int8, Int16, Int32, Int64, Uint8, Uint16, Uint32, Uint64, Fp16, Fp32, Fp64, Bytes,
    ];

    /// The type of this name, such as `INT64`.
    ///
    /// # Errors
    /// Names those that there are.
    pub(super) fn named(name: &str) -> Result<Self, String> {
        let found = Self::ALL
            .into_iter()
            .find(|datatype| datatype.name() == name);
        found.ok_or_else(|| {
            let names = Self::ALL.map(Datatype::name).join(", ");
            format!("datatype `{name}` is not read; {names} are")
        })
    }

    /// Its name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Int8 => "INT8",
            Int16 => "INT16",
            Int32 => "INT32",
            Int64 => "INT64",
            Uint8 => "UINT8",
            Uint16 => "UINT16",
            Uint32 => "UINT32",
            Uint64 => "UINT64",
            Fp16 => "FP16",
            Fp32 => "FP32",
            Fp64 => "FP64",
            Bytes => "BYTES",
        }
    }

    /// What a model's configuration calls it.
    pub(super) fn in_config(self) -> DataType {
        match self {
            Int8 => DataType::TypeInt8,
            Int16 => DataType::TypeInt16,
            Int32 => DataType::TypeInt32,
            Int64 => DataType::TypeInt64,
            Uint8 => DataType::TypeUint8,
            Uint16 => DataType::TypeUint16,
            Uint32 => DataType::TypeUint32,
            Uint64 => DataType::TypeUint64,
            Fp16 => DataType::TypeFp16,
            Fp32 => DataType::TypeFp32,
            Fp64 => DataType::TypeFp64,
            Bytes => DataType::TypeString,
        }
    }

    /// Bytes of one element; none when each has its own length.
    pub(super) fn width(self) -> Option<usize> {
        match self {
            Int8 | Uint8 => Some(1),
            Int16 | Uint16 | Fp16 => Some(2),
            Int32 | Uint32 | Fp32 => Some(4),
            Int64 | Uint64 | Fp64 => Some(8),
            Bytes => None,
        }
    }

    /// The field of a tensor's contents that carries it; none when only raw contents do.
    pub(super) fn contents(self) -> Option<&'static str> {
        match self {
            Int8 | Int16 | Int32 => Some("int_contents"),
            Int64 => Some("int64_contents"),
            Uint8 | Uint16 | Uint32 => Some("uint_contents"),
            Uint64 => Some("uint64_contents"),
            Fp16 => None,
            Fp32 => Some("fp32_contents"),
            Fp64 => Some("fp64_contents"),
            Bytes => Some("bytes_contents"),
        }
    }
}

impl fmt::Display for Datatype {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}
