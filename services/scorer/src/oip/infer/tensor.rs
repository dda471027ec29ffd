//! A tensor's elements as values of a column.

use std::fmt;

use decant_features::{Values, not_finite};
use decant_model::Texts;
use decant_proto::inference::InferTensorContents;

use crate::oip::datatype::Datatype;

/// No value of the type.
pub(super) fn none(datatype: Datatype) -> Values {
    match datatype {
        Datatype::Int8
        | Datatype::Int16
        | Datatype::Int32
        | Datatype::Int64
        | Datatype::Uint8
        | Datatype::Uint16
        | Datatype::Uint32
        | Datatype::Uint64 => Values::Int(Vec::new()),
        Datatype::Fp16 | Datatype::Fp32 | Datatype::Fp64 => Values::Float(Vec::new()),
        Datatype::Bytes => Values::Text(Texts::default()),
    }
}

/// So many elements, little endian and end to end.
///
/// # Errors
/// When there are fewer or more, or one is no value of a column.
pub(super) fn raw(datatype: Datatype, bytes: &[u8], count: usize) -> Result<Values, String> {
    if let Some(width) = datatype.width()
        && count.checked_mul(width) != Some(bytes.len())
    {
        return Err(format!(
            "has {} bytes, but its shape has {count} values of {datatype}, {width} bytes each",
            bytes.len()
        ));
    }
    match datatype {
        Datatype::Int8 => Ok(ints(each(bytes, i8::from_le_bytes))),
        Datatype::Int16 => Ok(ints(each(bytes, i16::from_le_bytes))),
        Datatype::Int32 => Ok(ints(each(bytes, i32::from_le_bytes))),
        Datatype::Int64 => Ok(ints(each(bytes, i64::from_le_bytes))),
        Datatype::Uint8 => Ok(ints(each(bytes, u8::from_le_bytes))),
        Datatype::Uint16 => Ok(ints(each(bytes, u16::from_le_bytes))),
        Datatype::Uint32 => Ok(ints(each(bytes, u32::from_le_bytes))),
        Datatype::Uint64 => unsigned(each(bytes, u64::from_le_bytes)),
        Datatype::Fp16 => floats(each(bytes, u16::from_le_bytes).map(half), |value| value),
        Datatype::Fp32 => floats(each(bytes, f32::from_le_bytes), |value| value),
        Datatype::Fp64 => floats(each(bytes, f64::from_le_bytes), |value| value as f32),
        Datatype::Bytes => strings(bytes, count),
    }
}

/// So many elements, in the field for their type.
///
/// # Errors
/// As [`raw`], or when they are in another field.
pub(super) fn typed(
    datatype: Datatype,
    contents: InferTensorContents,
    count: usize,
) -> Result<Values, String> {
    let Some(own) = datatype.contents() else {
        return Err(format!("{datatype} is read from raw_input_contents only"));
    };
    let lengths = [
        ("bool_contents", contents.bool_contents.len()),
        ("int_contents", contents.int_contents.len()),
        ("int64_contents", contents.int64_contents.len()),
        ("uint_contents", contents.uint_contents.len()),
        ("uint64_contents", contents.uint64_contents.len()),
        ("fp32_contents", contents.fp32_contents.len()),
        ("fp64_contents", contents.fp64_contents.len()),
        ("bytes_contents", contents.bytes_contents.len()),
    ];
    for (field, length) in lengths {
        if field != own && length > 0 {
            return Err(format!("has {field}, but {datatype} is read from {own}"));
        }
        if field == own && length != count {
            return Err(format!("has {length} values, but its shape has {count}"));
        }
    }
    match datatype {
        Datatype::Int8 => narrowed::<i8, _>(datatype, contents.int_contents),
        Datatype::Int16 => narrowed::<i16, _>(datatype, contents.int_contents),
        Datatype::Int32 => Ok(ints(contents.int_contents.into_iter())),
        Datatype::Int64 => Ok(Values::Int(contents.int64_contents)),
        Datatype::Uint8 => narrowed::<u8, _>(datatype, contents.uint_contents),
        Datatype::Uint16 => narrowed::<u16, _>(datatype, contents.uint_contents),
        Datatype::Uint32 => Ok(ints(contents.uint_contents.into_iter())),
        Datatype::Uint64 => unsigned(contents.uint64_contents.into_iter()),
        Datatype::Fp16 | Datatype::Fp32 => {
            floats(contents.fp32_contents.iter().copied(), |value| value)
        }
        Datatype::Fp64 => floats(contents.fp64_contents.iter().copied(), |value| value as f32),
        Datatype::Bytes => {
            let mut texts = Texts::with_capacity(count);
            for (position, bytes) in contents.bytes_contents.iter().enumerate() {
                texts.push(text(position, bytes)?);
            }
            Ok(Values::Text(texts))
        }
    }
}

/// The bytes were found to be a multiple of the width.
fn each<const WIDTH: usize, T>(
    bytes: &[u8],
    read: impl Fn([u8; WIDTH]) -> T + Clone,
) -> impl Iterator<Item = T> + Clone {
    bytes
        .as_chunks()
        .0
        .iter()
        .map(move |element| read(*element))
}

fn ints<T: Into<i64>>(values: impl Iterator<Item = T>) -> Values {
    Values::Int(values.map(Into::into).collect())
}

fn unsigned(values: impl Iterator<Item = u64>) -> Result<Values, String> {
    let read = values.enumerate().map(|(position, value)| {
        i64::try_from(value)
            .map_err(|_| format!("value {position} is {value}, which is no 64-bit signed integer"))
    });
    read.collect::<Result<_, _>>().map(Values::Int)
}

/// Values that a wider field carries.
fn narrowed<T: TryFrom<W> + Into<i64>, W: Copy + fmt::Display>(
    datatype: Datatype,
    values: Vec<W>,
) -> Result<Values, String> {
    let read = values.into_iter().enumerate().map(|(position, value)| {
        let narrow = T::try_from(value).map(Into::into);
        narrow.map_err(|_| format!("value {position} is {value}, which is no {datatype}"))
    });
    read.collect::<Result<_, _>>().map(Values::Int)
}

fn floats<T: fmt::Debug>(
    mut values: impl Iterator<Item = T> + Clone,
    narrow: impl Fn(T) -> f32,
) -> Result<Values, String> {
    let floats: Vec<f32> = values.clone().map(narrow).collect();
    if let Some(position) = not_finite(&floats)
        && let Some(value) = values.nth(position)
    {
        return Err(format!(
            "value {position} is {value:?}; values must be finite as 32-bit floats"
        ));
    }
    Ok(Values::Float(floats))
}

/// A float of 16 bits: one for the sign, five for the exponent, ten for the fraction.
fn half(bits: u16) -> f32 {
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f32::from(bits & 0x3ff));
    let magnitude = match exponent {
        0 => fraction * 2_f32.powi(-24),
        0x1f if fraction == 0.0 => f32::INFINITY,
        0x1f => f32::NAN,
        _ => (1024.0 + fraction) * 2_f32.powi(exponent - 25),
    };
    if bits >> 15 == 0 {
        magnitude
    } else {
        -magnitude
    }
}

/// Strings, each after its length in four bytes.
fn strings(mut bytes: &[u8], count: usize) -> Result<Values, String> {
    // Not by the count alone, which may be any that a caller writes into a shape.
    let mut texts = Texts::with_capacity(count.min(bytes.len() / 4));
    for position in 0..count {
        let Some((length, after)) = bytes.split_first_chunk() else {
            return Err(format!(
                "ends after {position} values, but its shape has {count}"
            ));
        };
        let length = u32::from_le_bytes(*length);
        let Some((value, after)) = after.split_at_checked(length as usize) else {
            let left = after.len();
            return Err(format!(
                "value {position} has {length} bytes, of which {left} are there"
            ));
        };
        texts.push(text(position, value)?);
        bytes = after;
    }
    if bytes.is_empty() {
        Ok(Values::Text(texts))
    } else {
        let left = bytes.len();
        Err(format!(
            "goes on for {left} bytes after the {count} values that its shape has"
        ))
    }
}

fn text(position: usize, bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes).map_err(|_| format!("value {position} is not UTF-8"))
}
