//! A table in memory: named typed columns, and where each row came from.

use std::borrow::Cow;

use decant_features::{Column, Values};

/// Values of one type. Floats are kept at 64 bits: seconds since 1970 do not fit 32.
#[derive(Clone, Debug, PartialEq)]
pub enum Cells {
    /// Integers.
    Int(Vec<i64>),
    /// Finite floats.
    Float(Vec<f64>),
    /// Texts.
    Text(Vec<String>),
}

/// One named column. Where a value is missing, an arbitrary one stands.
#[derive(Clone, Debug, PartialEq)]
pub struct TableColumn {
    /// The column's name.
    pub name: String,
    /// The values, or, for a column of lists, the rows' lists end to end.
    pub cells: Cells,
    /// Columns of lists only: row `r` holds `offsets[r]..offsets[r + 1]`.
    pub offsets: Option<Vec<u32>>,
    /// Which rows have a value; `None` means all.
    pub present: Option<Vec<bool>>,
}

/// A table as it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// The file it came from, as the job names it.
    pub file: String,
    /// The columns; all have [`rows`](Table::rows) rows.
    pub columns: Vec<TableColumn>,
    /// The line of the file (for Parquet: the row) that each row came from, from 1.
    pub lines: Vec<u64>,
    /// Rows that were left out because they were malformed.
    pub malformed: u64,
    /// Columns of types that are not read: name and type.
    pub skipped: Vec<(String, String)>,
}

impl Table {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.lines.len()
    }

    /// The column of this name.
    pub fn get(&self, name: &str) -> Option<&TableColumn> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// The columns' names, for messages.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|column| column.name.as_str())
    }

    /// Where a row came from, for messages.
    pub fn place(&self, row: usize) -> String {
        format!("{}:{}", self.file, self.lines[row])
    }

    /// The given rows, in the given order.
    pub fn select(&self, rows: &[usize]) -> Table {
        Table {
            file: self.file.clone(),
            columns: self
                .columns
                .iter()
                .map(|column| column.select(rows))
                .collect(),
            lines: rows.iter().map(|&row| self.lines[row]).collect(),
            malformed: self.malformed,
            skipped: self.skipped.clone(),
        }
    }
}

impl Cells {
    /// The type's name as users know it.
    pub fn type_name(&self) -> &'static str {
        match self {
            Cells::Int(_) => "int64",
            Cells::Float(_) => "float",
            Cells::Text(_) => "string",
        }
    }

    fn gather(&self, positions: impl Iterator<Item = usize>) -> Cells {
        match self {
            Cells::Int(values) => Cells::Int(positions.map(|position| values[position]).collect()),
            Cells::Float(values) => {
                Cells::Float(positions.map(|position| values[position]).collect())
            }
            Cells::Text(values) => {
                Cells::Text(positions.map(|position| values[position].clone()).collect())
            }
        }
    }
}

impl TableColumn {
    /// Number of rows.
    pub fn rows(&self) -> usize {
        match (&self.offsets, &self.cells) {
            (Some(offsets), _) => offsets.len().saturating_sub(1),
            (None, Cells::Int(values)) => values.len(),
            (None, Cells::Float(values)) => values.len(),
            (None, Cells::Text(values)) => values.len(),
        }
    }

    /// Whether the row has a value.
    pub fn is_present(&self, row: usize) -> bool {
        self.present.as_ref().is_none_or(|present| present[row])
    }

    /// The row's value as a number; `None` when it is missing, a text or a list.
    pub fn number(&self, row: usize) -> Option<f64> {
        if self.offsets.is_some() || !self.is_present(row) {
            return None;
        }
        match &self.cells {
            Cells::Int(values) => Some(values[row] as f64),
            Cells::Float(values) => Some(values[row]),
            Cells::Text(_) => None,
        }
    }

    /// The row's value as a key. An integer and the text of it are the same key, because one file's `int64` is the
    /// next one's `token`. `None` when it is missing, a float or a list.
    pub fn key(&self, row: usize) -> Option<Cow<'_, str>> {
        if self.offsets.is_some() || !self.is_present(row) {
            return None;
        }
        match &self.cells {
            Cells::Int(values) => Some(Cow::Owned(values[row].to_string())),
            Cells::Text(values) => Some(Cow::Borrowed(&values[row])),
            Cells::Float(_) => None,
        }
    }

    /// The positions of a row's values.
    pub fn range(&self, row: usize) -> std::ops::Range<usize> {
        match &self.offsets {
            Some(offsets) => offsets[row] as usize..offsets[row + 1] as usize,
            None => row..row + 1,
        }
    }

    /// The given rows, in the given order.
    pub fn select(&self, rows: &[usize]) -> TableColumn {
        let pick: Vec<Option<usize>> = rows.iter().map(|&row| Some(row)).collect();
        self.gather(&pick)
    }

    /// The given rows, in the given order; `None` gives a row whose value is missing.
    pub fn gather(&self, rows: &[Option<usize>]) -> TableColumn {
        let row_or_missing = |row: &Option<usize>| row.filter(|&row| self.is_present(row));
        let present: Vec<bool> = rows
            .iter()
            .map(|row| row_or_missing(row).is_some())
            .collect();
        let present = (!present.iter().all(|&present| present)).then_some(present);
        if self.offsets.is_none() {
            return TableColumn {
                name: self.name.clone(),
                cells: self.gather_scalars(rows),
                offsets: None,
                present,
            };
        }
        let ranges: Vec<std::ops::Range<usize>> = rows
            .iter()
            .map(|row| row_or_missing(row).map_or(0..0, |row| self.range(row)))
            .collect();
        let mut ends = Vec::with_capacity(rows.len() + 1);
        let mut end = 0;
        ends.push(end);
        for range in &ranges {
            end += range.len() as u32;
            ends.push(end);
        }
        let cells = self.cells.gather(ranges.into_iter().flatten());
        TableColumn {
            name: self.name.clone(),
            cells,
            offsets: Some(ends),
            present,
        }
    }

    fn gather_scalars(&self, rows: &[Option<usize>]) -> Cells {
        fn pick<T: Clone + Default>(values: &[T], rows: &[Option<usize>]) -> Vec<T> {
            rows.iter()
                .map(|row| row.map_or_else(T::default, |row| values[row].clone()))
                .collect()
        }
        match &self.cells {
            Cells::Int(values) => Cells::Int(pick(values, rows)),
            Cells::Float(values) => Cells::Float(pick(values, rows)),
            Cells::Text(values) => Cells::Text(pick(values, rows)),
        }
    }

    /// The column as features read it.
    ///
    /// # Errors
    /// The position of a float that 32 bits cannot hold.
    pub fn to_feature_column(&self) -> Result<Column, usize> {
        let values = match &self.cells {
            Cells::Int(values) => Values::Int(values.clone()),
            Cells::Text(values) => Values::Text(values.iter().collect()),
            Cells::Float(values) => {
                let narrow: Vec<f32> = values.iter().map(|&value| value as f32).collect();
                if let Some(position) = narrow.iter().position(|value| !value.is_finite()) {
                    return Err(position);
                }
                Values::Float(narrow)
            }
        };
        Ok(Column {
            name: self.name.clone(),
            values,
            offsets: self.offsets.clone(),
            present: self.present.clone(),
        })
    }
}
