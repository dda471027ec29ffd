//! Inputs as feature columns, or everything that is wrong with them.

use bytes::Bytes;
use decant_features::{Column, Columns, Schema, Side, Values};
use decant_model::Texts;
use decant_proto::inference as wire;
use wire::model_infer_request::InferInputTensor;

use super::{check_parameters, tensor};
use crate::oip::datatype::Datatype;
use crate::oip::signature::{self, Input};
use crate::service::request::columns::Problems;

const FIELD: &str = "inputs";
/// An input may be read by either side's features.
const SIDES: &[Side] = &[Side::Query, Side::Item];

/// The sizes of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    rows: usize,
    /// Values of a row, if there is a size for them.
    width: Option<usize>,
    /// Values in all.
    count: usize,
}

/// Where an input's elements are.
enum Elements {
    Raw(Bytes),
    Typed(wire::InferTensorContents),
    /// Nobody knows, as buffers and inputs do not pair up.
    Unknown,
}

/// Reads the inputs, whose elements are in the buffers if there are any. What is returned has the right names and agrees
/// with itself; `None` always comes with a problem.
pub(super) fn read(
    inputs: Vec<InferInputTensor>,
    buffers: Vec<Bytes>,
    schema: &Schema,
    max_rows: usize,
    problems: &mut Problems<'_>,
) -> Option<Columns> {
    if problems.are_absurd(FIELD, inputs.len()) {
        return None;
    }
    let is_raw = !buffers.is_empty();
    let pairs_up = buffers.len() == inputs.len();
    if is_raw && !pairs_up {
        let reason = format!("{} buffers for {} inputs", buffers.len(), inputs.len());
        problems.add("raw_input_contents", reason);
    }
    check_rows(&inputs, max_rows, problems);

    let known = signature::inputs(schema);
    let mut buffers = buffers.into_iter();
    let mut names: Vec<&str> = Vec::with_capacity(known.len());
    let (mut whole, mut outlines) = (Vec::new(), Vec::new());
    let mut all_whole = true;
    for (position, mut input) in inputs.into_iter().enumerate() {
        let buffer = buffers.next();
        let name = std::mem::take(&mut input.name);
        if name.is_empty() {
            problems.add(format!("{FIELD}[{position}]"), "an input needs a name");
            continue;
        }
        let field = || format!("{FIELD}[{name}]");
        let Some(expected) = known.iter().find(|known| known.name == name) else {
            problems.add(field(), "no feature of the model reads it");
            continue;
        };
        if names.contains(&expected.name) {
            problems.add(field(), "given twice");
            continue;
        }
        names.push(expected.name);
        check_parameters(field, &input.parameters, problems);
        let contents = input.contents.take();
        if is_raw && contents.is_some() {
            let reason = "has contents, although raw_input_contents are given; either is expected";
            problems.add(field(), reason);
        }
        let elements = match buffer {
            Some(buffer) if pairs_up => Elements::Raw(buffer),
            None if !is_raw => Elements::Typed(contents.unwrap_or_default()),
            _ => Elements::Unknown,
        };
        let complain = |reason: String| problems.add(field(), reason);
        let (outline, column) = column(&input, elements, expected, max_rows, complain);
        outlines.push(outline);
        all_whole &= column.is_some();
        whole.extend(column);
    }
    match Columns::new(whole) {
        Ok(columns) if all_whole => {
            problems.check(FIELD, SIDES, &columns);
            Some(columns)
        }
        other => {
            for error in other.err().map(|wrong| wrong.errors).unwrap_or_default() {
                problems.add(format!("{FIELD}[{}]", error.column), error.reason);
            }
            problems.compare(FIELD, SIDES, &outlines);
            None
        }
    }
}

/// Notes a number of rows that is none or too large.
fn check_rows(inputs: &[InferInputTensor], max_rows: usize, problems: &mut Problems<'_>) {
    let shapes = inputs
        .iter()
        .filter_map(|input| Shape::read(&input.shape).ok());
    let rows = shapes.map(|shape| shape.rows).max();
    // Without any readable shape, there is something else to complain of.
    if let Some(rows) = rows.or(inputs.is_empty().then_some(0)) {
        problems.rows(FIELD, rows, max_rows);
    }
}

/// The column that an input is: its name and type in any case, and all of it unless something is wrong with it.
fn column(
    input: &InferInputTensor,
    elements: Elements,
    expected: &Input<'_>,
    max_rows: usize,
    mut complain: impl FnMut(String),
) -> (Column, Option<Column>) {
    let datatype = Datatype::named(&input.datatype).map_err(&mut complain).ok();
    let shape = Shape::read(&input.shape).map_err(&mut complain).ok();
    let lists = expected.lists || shape.is_some_and(|shape| !matches!(shape.width, None | Some(1)));
    let outline = Column {
        name: expected.name.to_owned(),
        values: tensor::none(datatype.unwrap_or(expected.datatype)),
        offsets: lists.then(|| vec![0]),
        present: None,
    };
    let (Some(datatype), Some(shape)) = (datatype, shape) else {
        return (outline, None);
    };
    // Too many rows are noted elsewhere, and not taken in: of empty lists any number fits a small request.
    if shape.rows > max_rows {
        return (outline, None);
    }
    let values = match elements {
        Elements::Raw(buffer) => tensor::raw(datatype, &buffer, shape.count),
        Elements::Typed(contents) => tensor::typed(datatype, contents, shape.count),
        Elements::Unknown => return (outline, None),
    };
    let column = values.and_then(|values| arrange(expected.name, values, shape, lists));
    (outline, column.map_err(complain).ok())
}

/// Values in rows. Empty strings at the end of a list are padding: tensors have no shorter rows.
fn arrange(name: &str, values: Values, shape: Shape, lists: bool) -> Result<Column, String> {
    if !lists {
        return Ok(Column::new(name, values));
    }
    let too_many = |_| format!("{} values are too many for lists", shape.count);
    u32::try_from(shape.count).map_err(too_many)?;
    let width = shape.width.unwrap_or(1);
    let (values, offsets) = match values {
        Values::Text(texts) => {
            let (texts, offsets) = without_padding(&texts, shape.rows, width);
            (Values::Text(texts), offsets)
        }
        numbers => {
            let offsets = (0..=shape.rows).map(|row| (row * width) as u32);
            (numbers, offsets.collect())
        }
    };
    Ok(Column::ragged(name, values, offsets))
}

fn without_padding(texts: &Texts, rows: usize, width: usize) -> (Texts, Vec<u32>) {
    let (mut kept, mut offsets) = (Texts::with_capacity(texts.len()), vec![0]);
    for row in 0..rows {
        let cells = row * width..(row + 1) * width;
        let is_empty = |cell: &usize| texts[*cell].is_empty();
        let padding = cells.clone().rev().take_while(is_empty).count();
        let texts = cells
            .take(width - padding)
            .filter_map(|cell| texts.get(cell));
        texts.for_each(|text| kept.push(text));
        offsets.push(kept.len() as u32);
    }
    (kept, offsets)
}

impl Shape {
    fn read(sizes: &[i64]) -> Result<Self, String> {
        let (rows, width) = match *sizes {
            [rows] => (rows, None),
            [rows, width] => (rows, Some(width)),
            _ => {
                return Err(format!(
                    "shape {sizes:?} has {} sizes; [rows] or [rows, values of a row] is expected",
                    sizes.len()
                ));
            }
        };
        let size = |size: i64| {
            usize::try_from(size).map_err(|_| format!("shape {sizes:?} has a negative size"))
        };
        let (rows, width) = (size(rows)?, width.map(size).transpose()?);
        let count = rows.checked_mul(width.unwrap_or(1));
        let count = count.ok_or_else(|| format!("shape {sizes:?} is too large"))?;
        Ok(Self { rows, width, count })
    }
}

#[cfg(test)]
mod tests;
