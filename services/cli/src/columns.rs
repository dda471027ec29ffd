//! Rows of features as users write them, and the columns that the scorer takes.

pub(crate) mod text;
pub(crate) mod json;

use decant_proto::scorer::v1::column::Values;
use decant_proto::scorer::v1::{Column, FloatValues, Int64Values};

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Scalar {
    Int(i64),
    Float(f32),
    Text(String),
}

impl Scalar {
    fn type_name(&self) -> &'static str {
        match self {
            Scalar::Int(_) => "an integer",
            Scalar::Float(_) => "a float",
            Scalar::Text(_) => "a string",
        }
    }
}

/// What a row holds in one column.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Cell {
    Missing,
    One(Scalar),
    List(Vec<Scalar>),
}

/// A row: its columns in the order in which they were written, no name twice.
pub(crate) type Row = Vec<(String, Cell)>;

/// The type of a column's values.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Type {
    Int,
    Float,
    Text,
}

/// Turns rows into columns, in the order of the first row. All rows must have the same columns, and a column's values
/// must agree in type, except that integers become floats beside floats.
pub(crate) fn from_rows(rows: &[Row]) -> Result<Vec<Column>, String> {
    let first = rows.first().ok_or("there is no row")?;
    for (number, row) in rows.iter().enumerate().skip(1) {
        let lacks = |row: &Row, name: &String| row.iter().all(|(other, _)| other != name);
        if let Some((name, _)) = first.iter().find(|(name, _)| lacks(row, name)) {
            return Err(format!(
                "row {} lacks column `{name}`, which row 1 has; write a missing value as `{name}=`",
                number + 1
            ));
        }
        if let Some((name, _)) = row.iter().find(|(name, _)| lacks(first, name)) {
            return Err(format!(
                "row {} has column `{name}`, which row 1 lacks",
                number + 1
            ));
        }
    }
    let cells_of = |name: &str| -> Vec<&Cell> {
        rows.iter()
            .flat_map(|row| {
                row.iter()
                    .filter(|(other, _)| other == name)
                    .map(|(_, cell)| cell)
            })
            .collect()
    };
    first
        .iter()
        .map(|(name, _)| column(name, &cells_of(name)))
        .collect()
}

fn column(name: &str, cells: &[&Cell]) -> Result<Column, String> {
    let is_ragged = shape(cells).map_err(|reason| format!("column `{name}`: {reason}"))?;
    // Without any value to go by: strings fit all features that take lists, integers all that take single values.
    let default = if is_ragged { Type::Text } else { Type::Int };
    let kind = common_type(cells)
        .map_err(|reason| format!("column `{name}`: {reason}"))?
        .unwrap_or(default);
    let mut flat: Vec<&Scalar> = Vec::new();
    let mut offsets = vec![0];
    // What stands in for a missing value is ignored by the scorer, but must have the column's type.
    let stand_in = match kind {
        Type::Int => Scalar::Int(0),
        Type::Float => Scalar::Float(0.0),
        Type::Text => Scalar::Text(String::new()),
    };
    for cell in cells {
        match cell {
            Cell::Missing if is_ragged => {}
            Cell::Missing => flat.push(&stand_in),
            Cell::One(scalar) => flat.push(scalar),
            Cell::List(scalars) => flat.extend(scalars),
        }
        offsets.push(
            u32::try_from(flat.len())
                .map_err(|_| format!("column `{name}` holds too many values"))?,
        );
    }
    let present: Vec<bool> = cells.iter().map(|cell| **cell != Cell::Missing).collect();
    Ok(Column {
        name: name.to_owned(),
        values: Some(values(kind, &flat)),
        offsets: if is_ragged { offsets } else { Vec::new() },
        present: if present.iter().all(|&present| present) {
            Vec::new()
        } else {
            present
        },
    })
}

/// Whether the column holds lists.
fn shape(cells: &[&Cell]) -> Result<bool, String> {
    let list = cells.iter().position(|cell| matches!(cell, Cell::List(_)));
    let one = cells.iter().position(|cell| matches!(cell, Cell::One(_)));
    match (list, one) {
        (Some(list), Some(one)) => Err(format!(
            "row {} holds a list, but row {} a single value",
            list + 1,
            one + 1
        )),
        (list, _) => Ok(list.is_some()),
    }
}

/// The type that all values have or can take; `None` when there are no values.
fn common_type(cells: &[&Cell]) -> Result<Option<Type>, String> {
    let mut first: Option<(usize, &Scalar)> = None;
    let mut common = None;
    for (number, cell) in cells.iter().enumerate() {
        let scalars = match cell {
            Cell::Missing => &[],
            Cell::One(scalar) => std::slice::from_ref(scalar),
            Cell::List(scalars) => scalars.as_slice(),
        };
        for scalar in scalars {
            let own = match scalar {
                Scalar::Int(_) => Type::Int,
                Scalar::Float(_) => Type::Float,
                Scalar::Text(_) => Type::Text,
            };
            let (first_number, first_scalar) = *first.get_or_insert((number, scalar));
            common = Some(match common {
                None => own,
                Some(same) if same == own => own,
                Some(Type::Int | Type::Float) if own != Type::Text => Type::Float,
                Some(_) => {
                    let (there, here) = (first_scalar.type_name(), scalar.type_name());
                    return Err(format!(
                        "row {} holds {there}, but row {} {here}",
                        first_number + 1,
                        number + 1
                    ));
                }
            });
        }
    }
    Ok(common)
}

/// The values on the wire; all scalars are of the type, or integers in a float column.
fn values(kind: Type, scalars: &[&Scalar]) -> Values {
    match kind {
        Type::Int => {
            let int = |scalar: &&Scalar| {
                if let Scalar::Int(value) = scalar {
                    Some(*value)
                } else {
                    None
                }
            };
            Values::Int64Values(Int64Values {
                values: scalars.iter().filter_map(int).collect(),
            })
        }
        Type::Float => {
            let float = |scalar: &&Scalar| match scalar {
                Scalar::Int(value) => Some(*value as f32),
                Scalar::Float(value) => Some(*value),
                Scalar::Text(_) => None,
            };
            Values::FloatValues(FloatValues {
                values: scalars.iter().filter_map(float).collect(),
            })
        }
        Type::Text => {
            let texts = scalars.iter().filter_map(|scalar| match *scalar {
                Scalar::Text(value) => Some(value),
                Scalar::Int(_) | Scalar::Float(_) => None,
            });
            Values::StringValues(texts.collect())
        }
    }
}

#[cfg(test)]
mod tests;
