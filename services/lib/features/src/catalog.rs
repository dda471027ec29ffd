//! The item table that travels with a version, so that requests can name candidates by id.

use std::any::Any;
use std::io::Cursor;
use std::panic::catch_unwind;
use std::sync::Arc;

use arrow_array::builder::{Float32Builder, Int64Builder, ListBuilder, StringBuilder};
use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Int64Type};
use arrow_array::{Array, ArrayRef, Float32Array, Int64Array, RecordBatch, StringArray};
use arrow_ipc::reader::FileReader;
use arrow_ipc::writer::FileWriter;
use arrow_schema::{ArrowError, DataType, SchemaRef};
use decant_model::{Text, Texts};
use thiserror::Error;

use crate::column::{Column, Columns, Contradictory, Values};
use crate::schema::TextIndex;

/// Items by id, with their raw features and whatever else is worth showing. `catalog.arrow` in the bundle: one
/// record batch in the Arrow IPC file format whose first column is the id.
#[derive(Clone, Debug)]
pub struct Catalog {
    ids: Texts,
    rows: TextIndex<usize>,
    columns: Columns,
}

/// Why a catalog could not be made, read or written.
#[derive(Debug, Error)]
pub enum CatalogError {
    /// The id column is missing, ragged, or of a type that is no id.
    #[error("catalog: column `{0}` must be there and hold one string or int64 in every row")]
    NoId(String),
    /// Two rows have the same id.
    #[error("catalog: id `{id}` stands in rows {first} and {second}")]
    DuplicateId {
        /// The id.
        id: String,
        /// Its first row.
        first: usize,
        /// Its second row.
        second: usize,
    },
    /// Rows are numbers of 32 bits.
    #[error("catalog: {0} items, but at most 4294967295 are allowed")]
    TooLarge(usize),
    /// The file's columns contradict each other.
    #[error("catalog: {0}")]
    Columns(String),
    /// A column has a type that catalogs do not hold.
    #[error(
        "catalog: column `{column}` has Arrow type {found}; int64, float32, utf8 and lists of them are read"
    )]
    Type {
        /// The column.
        column: String,
        /// The type found.
        found: DataType,
    },
    /// Not an Arrow file.
    #[error("catalog.arrow cannot be read or written: {0}")]
    Arrow(#[from] ArrowError),
    /// An Arrow file that contradicts itself.
    #[error("catalog.arrow contradicts itself: {0}")]
    Contradictory(String),
}

impl Catalog {
    /// Indexes a table by its id column.
    ///
    /// # Errors
    /// When the id column is missing, has a missing value, or an id stands twice; or when there are too many items.
    pub fn new(id_column: &str, columns: Columns) -> Result<Self, CatalogError> {
        let no_id = || CatalogError::NoId(id_column.to_owned());
        let column = columns
            .get(id_column)
            .filter(|column| column.offsets.is_none())
            .ok_or_else(no_id)?;
        if u32::try_from(column.rows()).is_err() {
            return Err(CatalogError::TooLarge(column.rows()));
        }
        if (0..column.rows()).any(|row| !column.is_present(row)) {
            return Err(no_id());
        }
        let ids: Texts = match &column.values {
            Values::Int(values) => values.iter().map(i64::to_string).collect(),
            Values::Text(values) => values.clone(),
            Values::Float(_) => return Err(no_id()),
        };
        let mut rows = TextIndex::with_capacity(&ids);
        for (row, id) in ids.keys().enumerate() {
            if let Some(first) = rows.insert(id, row) {
                return Err(CatalogError::DuplicateId {
                    id: id.as_str().to_owned(),
                    first,
                    second: row,
                });
            }
        }
        let (id, others): (Vec<Column>, Vec<Column>) = columns
            .iter()
            .cloned()
            .partition(|column| column.name == id_column);
        let columns = Columns::new(id.into_iter().chain(others).collect()).map_err(joined)?;
        Ok(Self { ids, rows, columns })
    }

    /// Number of items.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is no item.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The id in a row.
    pub fn id(&self, row: usize) -> &str {
        &self.ids[row]
    }

    /// The row of an id.
    pub fn row<'a>(&self, id: impl Into<Text<'a>>) -> Option<usize> {
        self.rows.get(id.into())
    }

    /// The table itself, ids first.
    pub fn columns(&self) -> &Columns {
        &self.columns
    }

    /// A value as text, for display; lists are joined by commas, a missing value is empty. `None` when there is no
    /// such column.
    pub fn display(&self, row: usize, column: &str) -> Option<String> {
        let column = self.columns.get(column)?;
        if !column.is_present(row) {
            return Some(String::new());
        }
        let text = |position: usize| match &column.values {
            Values::Int(values) => values[position].to_string(),
            Values::Float(values) => values[position].to_string(),
            Values::Text(values) => values[position].to_owned(),
        };
        Some(column.range(row).map(text).collect::<Vec<_>>().join(", "))
    }

    /// Writes `catalog.arrow`.
    ///
    /// # Errors
    /// Only what the Arrow writer reports.
    pub fn to_arrow(&self) -> Result<Vec<u8>, CatalogError> {
        let arrays = self
            .columns
            .iter()
            .map(|column| (column.name.clone(), array(column), true));
        let batch = RecordBatch::try_from_iter_with_nullable(arrays)?;
        let mut writer = FileWriter::try_new(Vec::new(), &batch.schema())?;
        writer.write(&batch)?;
        Ok(writer.into_inner()?)
    }

    /// Reads `catalog.arrow`.
    ///
    /// # Errors
    /// When the bytes are no Arrow file, hold other types, or make no catalog.
    pub fn from_arrow(bytes: &[u8]) -> Result<Self, CatalogError> {
        // Arrow's reader takes the file's word for where its parts lie, and panics where that is not so.
        let (schema, batches) = catch_unwind(|| read(bytes)).map_err(panicked)??;
        let [batch] = batches.as_slice() else {
            return Err(CatalogError::Columns(format!(
                "{} record batches, but exactly one is expected",
                batches.len()
            )));
        };
        let columns = schema
            .fields()
            .iter()
            .zip(batch.columns())
            .map(|(field, array)| column(field.name(), array));
        let columns = Columns::new(columns.collect::<Result<_, _>>()?).map_err(joined)?;
        let id_column = schema
            .fields()
            .first()
            .map_or_else(String::new, |field| field.name().clone());
        Catalog::new(&id_column, columns)
    }
}

fn read(bytes: &[u8]) -> Result<(SchemaRef, Vec<RecordBatch>), ArrowError> {
    let reader = FileReader::try_new(Cursor::new(bytes), None)?;
    let schema = reader.schema();
    let batches: Vec<RecordBatch> = reader.collect::<Result<_, _>>()?;
    Ok((schema, batches))
}

fn panicked(panic: Box<dyn Any + Send>) -> CatalogError {
    let words = panic.downcast::<String>().map(|words| *words);
    CatalogError::Contradictory(words.unwrap_or_else(|_| "Arrow's reader panicked".to_owned()))
}

fn joined(contradictory: Contradictory) -> CatalogError {
    CatalogError::Columns(contradictory.to_string())
}

fn array(column: &Column) -> ArrayRef {
    fn scalar<T>(column: &Column, values: impl Iterator<Item = T>) -> Vec<Option<T>> {
        values
            .enumerate()
            .map(|(row, value)| column.is_present(row).then_some(value))
            .collect()
    }
    macro_rules! list {
        ($builder:expr, $value:expr) => {{
            let mut list = ListBuilder::new($builder);
            for row in 0..column.rows() {
                for position in column.range(row) {
                    list.values().append_value($value(position));
                }
                list.append(column.is_present(row));
            }
            Arc::new(list.finish()) as ArrayRef
        }};
    }
    match (&column.values, &column.offsets) {
        (Values::Int(values), None) => {
            Arc::new(Int64Array::from(scalar(column, values.iter().copied())))
        }
        (Values::Float(values), None) => {
            Arc::new(Float32Array::from(scalar(column, values.iter().copied())))
        }
        (Values::Text(values), None) => Arc::new(StringArray::from(scalar(column, values.iter()))),
        (Values::Int(values), Some(_)) => list!(Int64Builder::new(), |at: usize| values[at]),
        (Values::Float(values), Some(_)) => list!(Float32Builder::new(), |at: usize| values[at]),
        (Values::Text(values), Some(_)) => list!(StringBuilder::new(), |at: usize| &values[at]),
    }
}

fn column(name: &str, array: &ArrayRef) -> Result<Column, CatalogError> {
    let presence = |array: &dyn Array| {
        (array.null_count() > 0).then(|| (0..array.len()).map(|row| array.is_valid(row)).collect())
    };
    if let Some(list) = array.as_list_opt::<i32>() {
        let inner = values(name, list.values())?;
        let offsets = list
            .value_offsets()
            .iter()
            .map(|offset| *offset as u32)
            .collect();
        return Ok(Column {
            name: name.into(),
            values: inner,
            offsets: Some(offsets),
            present: presence(list),
        });
    }
    Ok(Column {
        name: name.into(),
        values: values(name, array)?,
        offsets: None,
        present: presence(array),
    })
}

fn values(name: &str, array: &ArrayRef) -> Result<Values, CatalogError> {
    if let Some(ints) = array.as_primitive_opt::<Int64Type>() {
        return Ok(Values::Int(ints.values().to_vec()));
    }
    if let Some(floats) = array.as_primitive_opt::<Float32Type>() {
        return Ok(Values::Float(floats.values().to_vec()));
    }
    if let Some(texts) = array.as_string_opt::<i32>() {
        let texts = texts.iter().map(Option::unwrap_or_default);
        return Ok(Values::Text(texts.collect()));
    }
    Err(CatalogError::Type {
        column: name.into(),
        found: array.data_type().clone(),
    })
}
