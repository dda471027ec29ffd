//! Parquet to a table.

use std::fs::File;
use std::path::Path;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, RecordBatch};
use arrow_schema::{DataType, Field, TimeUnit};
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};

use super::error::IngestError;
use super::source::{Malformed, TableSource};
use super::table::{Cells, Table, TableColumn};

/// Reads the columns whose types are known; [`Table::skipped`] lists the others, so that only a job that asks for one
/// of them fails.
pub(super) fn read(
    path: &Path,
    source: &TableSource,
    malformed: Malformed,
) -> Result<Table, IngestError> {
    let damaged = |reason: String| IngestError::Read {
        file: source.path.clone(),
        reason,
    };
    let file = File::open(path).map_err(|error| IngestError::Path {
        path: source.path.clone(),
        reason: error.to_string(),
    })?;
    // The writer's Arrow types, dictionaries for one, are hints for memory; Parquet's own types are the data's.
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let builder = ParquetRecordBatchReaderBuilder::try_new_with_options(file, options)
        .map_err(|error| damaged(error.to_string()))?;
    let schema = builder.schema().clone();
    let mut columns: Vec<Growing> = Vec::new();
    let mut skipped = Vec::new();
    for (position, field) in schema.fields().iter().enumerate() {
        let name = source
            .columns
            .get(field.name())
            .and_then(|given| given.name.as_ref())
            .unwrap_or(field.name());
        if columns.iter().any(|earlier| earlier.column.name == *name) {
            return Err(damaged(format!("two columns are named `{name}`")));
        }
        match Growing::new(name, position, field) {
            Some(column) => columns.push(column),
            None => skipped.push((name.clone(), field.data_type().to_string())),
        }
    }
    check_given_columns(
        source,
        schema.fields().iter().map(|field| field.name().as_str()),
    )?;

    let reader = builder
        .build()
        .map_err(|error| damaged(error.to_string()))?;
    let mut bad_rows = Vec::new();
    let mut rows = 0;
    for batch in reader {
        let batch = batch.map_err(|error| damaged(error.to_string()))?;
        for column in &mut columns {
            let bad = column.append(&batch).map_err(damaged)?;
            for BadValue { row, value, reason } in bad {
                let line = (rows + row + 1) as u64;
                if malformed == Malformed::Error {
                    return Err(IngestError::Value {
                        file: source.path.clone(),
                        line,
                        position: column.position + 1,
                        column: column.column.name.clone(),
                        value,
                        reason: reason.to_owned(),
                    });
                }
                bad_rows.push(rows + row);
            }
        }
        rows += batch.num_rows();
    }
    let table = Table {
        file: source.path.clone(),
        columns: columns.into_iter().map(Growing::finish).collect(),
        lines: (1..=rows as u64).collect(),
        malformed: 0,
        skipped,
    };
    Ok(without(table, bad_rows))
}

fn without(table: Table, mut bad_rows: Vec<usize>) -> Table {
    if bad_rows.is_empty() {
        return table;
    }
    bad_rows.sort_unstable();
    bad_rows.dedup();
    let good: Vec<usize> = (0..table.rows())
        .filter(|row| bad_rows.binary_search(row).is_err())
        .collect();
    Table {
        malformed: bad_rows.len() as u64,
        ..table.select(&good)
    }
}

fn check_given_columns<'a>(
    source: &TableSource,
    names: impl Iterator<Item = &'a str> + Clone,
) -> Result<(), IngestError> {
    match source
        .columns
        .keys()
        .find(|given| !names.clone().any(|name| name == given.as_str()))
    {
        Some(unknown) => Err(IngestError::Option {
            file: source.path.clone(),
            option: format!("columns.{unknown}"),
            reason: format!(
                "no such column; the file has {}",
                names.collect::<Vec<_>>().join(", ")
            ),
        }),
        None => Ok(()),
    }
}

/// A column as batches are appended to it.
struct Growing {
    column: TableColumn,
    present: Vec<bool>,
    position: usize,
}

impl Growing {
    /// `None` when the type is not read.
    fn new(name: &str, position: usize, field: &Field) -> Option<Self> {
        let (cells, is_list) = match field.data_type() {
            DataType::List(item) => (no_cells(item.data_type())?, true),
            scalar => (no_cells(scalar)?, false),
        };
        let column = TableColumn {
            name: name.to_owned(),
            cells,
            offsets: is_list.then(|| vec![0]),
            present: None,
        };
        Some(Self {
            column,
            present: Vec::new(),
            position,
        })
    }

    /// Appends the batch's values, and returns those that a table cannot hold, each with the batch's row.
    fn append(&mut self, batch: &RecordBatch) -> Result<Vec<BadValue>, String> {
        let array = batch.column(self.position);
        let unexpected = || format!("column `{}` holds {}", self.column.name, array.data_type());
        let Some(offsets) = &mut self.column.offsets else {
            let flat = Flat::new(array).ok_or_else(unexpected)?;
            extend(&mut self.column.cells, &flat.cells, 0..array.len());
            self.present.extend(flat.valid);
            return Ok(flat.bad);
        };
        let list = array.as_list_opt::<i32>().ok_or_else(unexpected)?;
        let flat = Flat::new(list.values()).ok_or_else(unexpected)?;
        let mut bad = Vec::new();
        let mut end = offsets.last().copied().unwrap_or(0);
        for (row, bounds) in list.value_offsets().windows(2).enumerate() {
            let positions = if list.is_valid(row) {
                bounds[0] as usize..bounds[1] as usize
            } else {
                0..0
            };
            let listed = flat
                .bad
                .iter()
                .filter(|value| positions.contains(&value.row));
            bad.extend(listed.map(|value| BadValue {
                row,
                ..value.clone()
            }));
            // Absent values within a list say nothing, and a table has no place for them.
            for position in positions.filter(|&position| flat.valid[position]) {
                extend(&mut self.column.cells, &flat.cells, position..position + 1);
                end = end
                    .checked_add(1)
                    .ok_or("more list values than a table can hold")?;
            }
            offsets.push(end);
            self.present.push(list.is_valid(row));
        }
        Ok(bad)
    }

    fn finish(self) -> TableColumn {
        let all_present = self.present.iter().all(|&present| present);
        TableColumn {
            present: (!all_present).then_some(self.present),
            ..self.column
        }
    }
}

fn extend(cells: &mut Cells, more: &Cells, positions: std::ops::Range<usize>) {
    match (cells, more) {
        (Cells::Int(values), Cells::Int(more)) => values.extend_from_slice(&more[positions]),
        (Cells::Float(values), Cells::Float(more)) => values.extend_from_slice(&more[positions]),
        (Cells::Text(values), Cells::Text(more)) => values.extend_from_slice(&more[positions]),
        // A file has one schema, from which both were made.
        _ => {}
    }
}

/// A value that a table cannot hold.
#[derive(Clone)]
struct BadValue {
    row: usize,
    value: String,
    reason: &'static str,
}

/// An Arrow array of scalars as cells.
struct Flat {
    cells: Cells,
    valid: Vec<bool>,
    bad: Vec<BadValue>,
}

impl Flat {
    fn new(array: &dyn Array) -> Option<Self> {
        let mut valid: Vec<bool> = (0..array.len()).map(|row| array.is_valid(row)).collect();
        let mut bad = Vec::new();
        let cells = match array.data_type() {
            DataType::Utf8 => Cells::Text(
                array
                    .as_string_opt::<i32>()?
                    .iter()
                    .map(|text| text.unwrap_or("").to_owned())
                    .collect(),
            ),
            DataType::Boolean => Cells::Int(
                array
                    .as_boolean_opt()?
                    .iter()
                    .map(|flag| i64::from(flag == Some(true)))
                    .collect(),
            ),
            DataType::UInt64 => {
                let wide = array.as_primitive_opt::<UInt64Type>()?.values();
                let too_large = |(row, value): (usize, &u64)| {
                    let (value, reason) = (value.to_string(), "is more than an int64 holds");
                    (valid[row] && value.parse::<i64>().is_err()).then_some(BadValue {
                        row,
                        value,
                        reason,
                    })
                };
                bad.extend(wide.iter().enumerate().filter_map(too_large));
                Cells::Int(wide.iter().map(|&value| value as i64).collect())
            }
            DataType::Float32 => Cells::Float(primitives::<Float32Type, f64>(array)?),
            DataType::Float64 => Cells::Float(primitives::<Float64Type, f64>(array)?),
            _ => Cells::Int(integers(array)?),
        };
        if let Cells::Float(floats) = &cells {
            for (row, &value) in floats.iter().enumerate() {
                // Data frames write a missing number as NaN.
                valid[row] &= !value.is_nan();
                if valid[row] && value.is_infinite() {
                    bad.push(BadValue {
                        row,
                        value: value.to_string(),
                        reason: "is not finite",
                    });
                }
            }
        }
        Some(Self { cells, valid, bad })
    }
}

/// Integers, and what is stored as one: dates as days and times as ticks since 1970, in the file's own unit.
fn integers(array: &dyn Array) -> Option<Vec<i64>> {
    match array.data_type() {
        DataType::Int8 => primitives::<Int8Type, i64>(array),
        DataType::Int16 => primitives::<Int16Type, i64>(array),
        DataType::Int32 => primitives::<Int32Type, i64>(array),
        DataType::Int64 => primitives::<Int64Type, i64>(array),
        DataType::UInt8 => primitives::<UInt8Type, i64>(array),
        DataType::UInt16 => primitives::<UInt16Type, i64>(array),
        DataType::UInt32 => primitives::<UInt32Type, i64>(array),
        DataType::Date32 => primitives::<Date32Type, i64>(array),
        DataType::Timestamp(TimeUnit::Second, _) => primitives::<TimestampSecondType, i64>(array),
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            primitives::<TimestampMillisecondType, i64>(array)
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            primitives::<TimestampMicrosecondType, i64>(array)
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            primitives::<TimestampNanosecondType, i64>(array)
        }
        _ => None,
    }
}

fn primitives<T: ArrowPrimitiveType, V: From<T::Native>>(array: &dyn Array) -> Option<Vec<V>> {
    Some(
        array
            .as_primitive_opt::<T>()?
            .values()
            .iter()
            .map(|&value| V::from(value))
            .collect(),
    )
}

/// An empty column for values of a type; `None` when the type is not read.
fn no_cells(data_type: &DataType) -> Option<Cells> {
    Some(Flat::new(&arrow_array::new_empty_array(data_type))?.cells)
}

#[cfg(test)]
mod tests;
