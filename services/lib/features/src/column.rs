//! Raw features as named columns, the same for a training table and for a request.

use decant_model::Texts;
use foldhash::{HashSet, HashSetExt};
use thiserror::Error;

/// The values of a column, all of one type. Where a row's value is missing, what stands here is ignored.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    /// 64-bit signed integers.
    Int(Vec<i64>),
    /// 32-bit floats; finite.
    Float(Vec<f32>),
    /// UTF-8 strings.
    Text(Texts),
}

impl Values {
    /// Number of values, which for a ragged column is not the number of rows.
    pub fn len(&self) -> usize {
        match self {
            Values::Int(values) => values.len(),
            Values::Float(values) => values.len(),
            Values::Text(values) => values.len(),
        }
    }

    /// Whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The type's name as users know it.
    pub fn type_name(&self) -> &'static str {
        match self {
            Values::Int(_) => "int64",
            Values::Float(_) => "float",
            Values::Text(_) => "string",
        }
    }

    fn gather(&self, positions: impl Iterator<Item = usize>) -> Values {
        match self {
            Values::Int(values) => {
                Values::Int(positions.map(|position| values[position]).collect())
            }
            Values::Float(values) => {
                Values::Float(positions.map(|position| values[position]).collect())
            }
            Values::Text(values) => {
                Values::Text(positions.map(|position| &values[position]).collect())
            }
        }
    }
}

/// One named column. Build it as a literal; [`Columns::new`] checks it.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// The column's name, as the feature schema spells it.
    pub name: String,
    /// One value a row, or, for a ragged column, the rows' lists end to end.
    pub values: Values,
    /// Ragged columns only: `rows + 1` ascending offsets into `values`; row `r` holds `offsets[r]..offsets[r + 1]`.
    pub offsets: Option<Vec<u32>>,
    /// Which rows have a value; `None` means all.
    pub present: Option<Vec<bool>>,
}

impl Column {
    /// A column with one value in every row.
    pub fn new(name: impl Into<String>, values: Values) -> Self {
        Self {
            name: name.into(),
            values,
            offsets: None,
            present: None,
        }
    }

    /// A column with a list in every row.
    pub fn ragged(name: impl Into<String>, values: Values, offsets: Vec<u32>) -> Self {
        Self {
            name: name.into(),
            values,
            offsets: Some(offsets),
            present: None,
        }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        match &self.offsets {
            Some(offsets) => offsets.len().saturating_sub(1),
            None => self.values.len(),
        }
    }

    /// Whether the row has a value (for a ragged column: a list, perhaps an empty one).
    pub fn is_present(&self, row: usize) -> bool {
        self.present.as_ref().is_none_or(|present| present[row])
    }

    /// The positions of a row's values.
    pub fn range(&self, row: usize) -> std::ops::Range<usize> {
        match &self.offsets {
            Some(offsets) => offsets[row] as usize..offsets[row + 1] as usize,
            None => row..row + 1,
        }
    }

    /// The given rows, in the given order.
    pub fn select(&self, rows: &[usize]) -> Column {
        let values = self
            .values
            .gather(rows.iter().flat_map(|&row| self.range(row)));
        let offsets = self.offsets.as_ref().map(|_| {
            let mut end = 0;
            std::iter::once(0)
                .chain(rows.iter().map(|&row| {
                    end += self.range(row).len() as u32;
                    end
                }))
                .collect()
        });
        let present = self
            .present
            .as_ref()
            .map(|present| rows.iter().map(|&row| present[row]).collect());
        Column {
            name: self.name.clone(),
            values,
            offsets,
            present,
        }
    }

    fn check(&self) -> Result<(), ColumnError> {
        let fail = |reason: String| {
            Err(ColumnError {
                column: self.name.clone(),
                reason,
            })
        };
        if self.name.is_empty() {
            return fail("a column needs a name".into());
        }
        if let Some(offsets) = &self.offsets {
            match (offsets.first(), offsets.last()) {
                (Some(0), Some(&last)) if last as usize == self.values.len() => {}
                (Some(0), Some(&last)) => {
                    return fail(format!(
                        "the offsets end at {last}, but there are {} values",
                        self.values.len()
                    ));
                }
                (Some(first), _) => {
                    return fail(format!("the offsets must start at 0, not at {first}"));
                }
                (None, _) => {
                    return fail("a ragged column needs rows + 1 offsets, but has none".into());
                }
            }
            if let Some(at) = offsets.windows(2).position(|pair| pair[0] > pair[1]) {
                return fail(format!(
                    "offset {} ({}) is below the one before it ({})",
                    at + 1,
                    offsets[at + 1],
                    offsets[at]
                ));
            }
        }
        if let Some(present) = &self.present
            && present.len() != self.rows()
        {
            return fail(format!(
                "{} presence marks for {} rows",
                present.len(),
                self.rows()
            ));
        }
        if let Values::Float(values) = &self.values
            && let Some(position) = not_finite(values)
        {
            return fail(format!(
                "value {position} is {}; values must be finite",
                values[position]
            ));
        }
        Ok(())
    }
}

/// The first that is infinite or no number.
pub fn not_finite(values: &[f32]) -> Option<usize> {
    // Without an early end, several are looked at in one step, and nearly always all of them must be.
    let is_any = values
        .iter()
        .fold(false, |any, value| any | !value.is_finite());
    let position = || values.iter().position(|value| !value.is_finite());
    is_any.then(position).flatten()
}

/// Named columns with the same number of rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Columns {
    columns: Vec<Column>,
    rows: usize,
}

/// A column that contradicts itself or the others.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("column `{column}`: {reason}")]
pub struct ColumnError {
    /// The column's name.
    pub column: String,
    /// What is wrong with it.
    pub reason: String,
}

/// Columns that contradict themselves or each other.
#[derive(Clone, Debug, PartialEq, Error)]
#[error("{}", .errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
pub struct Contradictory {
    /// As they were given.
    pub columns: Vec<Column>,
    /// Every problem found, one for each offending column; never empty.
    pub errors: Vec<ColumnError>,
}

impl Columns {
    /// Checks each column and that all have the same number of rows.
    ///
    /// # Errors
    /// Every problem found, with the columns as they were.
    pub fn new(columns: Vec<Column>) -> Result<Self, Contradictory> {
        let rows = columns.first().map_or(0, Column::rows);
        let mut errors: Vec<ColumnError> = columns
            .iter()
            .filter_map(|column| column.check().err())
            .collect();
        let mut names = HashSet::with_capacity(columns.len());
        for column in &columns {
            let refuse = |reason: String| ColumnError {
                column: column.name.clone(),
                reason,
            };
            if column.rows() != rows {
                errors.push(refuse(format!(
                    "{} rows, but column `{}` has {rows}",
                    column.rows(),
                    columns[0].name
                )));
            }
            if !names.insert(&column.name) {
                errors.push(refuse("given twice".into()));
            }
        }
        if errors.is_empty() {
            Ok(Self { columns, rows })
        } else {
            Err(Contradictory { columns, errors })
        }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The column of this name.
    pub fn get(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// All columns, in their order.
    pub fn iter(&self) -> impl Iterator<Item = &Column> {
        self.columns.iter()
    }

    /// The given rows of every column, in the given order.
    pub fn select(&self, rows: &[usize]) -> Columns {
        Columns {
            columns: self
                .columns
                .iter()
                .map(|column| column.select(rows))
                .collect(),
            rows: rows.len(),
        }
    }
}
