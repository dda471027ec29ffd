//! Columns of a message, checked in themselves, against each other, and against the names that a model reads.

use std::collections::HashSet;

use decant_features::{Column, Columns, Contradictory, Schema, Side, Values};
use decant_model::Texts;
use decant_proto::scorer::v1 as wire;
use wire::column::Values as WireValues;

use crate::error::{CallError, Violation};

/// Columns of which each is looked at, beside twice as many as a model has features.
const SPARE_COLUMNS: usize = 1_000;

/// What is wrong with a request, so far.
pub(crate) struct Problems<'a> {
    schema: &'a Schema,
    found: Vec<Violation>,
    /// What the schema objects to; it has the last word.
    of_schema: Vec<Violation>,
}

impl<'a> Problems<'a> {
    /// With what is wrong beside the message.
    pub(crate) fn new(schema: &'a Schema, found: Vec<Violation>) -> Self {
        Self {
            schema,
            found,
            of_schema: Vec::new(),
        }
    }

    pub(crate) fn add(&mut self, field: impl Into<String>, reason: impl Into<String>) {
        self.found.push(Violation::new(field, reason));
    }

    /// Notes a number of rows that is none or too large.
    pub(crate) fn rows(&mut self, field: &str, rows: usize, max_rows: usize) {
        if rows == 0 {
            self.add(field, "no row; at least 1 is expected");
        } else {
            self.at_most(field, (rows, "rows"), max_rows);
        }
    }

    /// Notes a number of something that is too large.
    pub(super) fn at_most(&mut self, field: &str, (count, what): (usize, &str), most: usize) {
        if count > most {
            let reason = format!("{count} {what}, but at most {most} are allowed");
            self.add(field, reason);
        }
    }

    /// Notes so many columns, if they are so many that to list what is wrong with each would help nobody.
    pub(crate) fn are_absurd(&mut self, field: &str, columns: usize) -> bool {
        let read = self.schema.features().len();
        let absurd = columns > 2 * read + SPARE_COLUMNS;
        if absurd {
            self.add(
                field,
                format!("{columns} of them, but the model has {read} features"),
            );
        }
        absurd
    }

    /// The value, if nothing is wrong; otherwise everything that is.
    pub(crate) fn or<T>(mut self, value: Option<T>) -> Result<T, CallError> {
        self.found.append(&mut self.of_schema);
        match value {
            Some(value) if self.found.is_empty() => Ok(value),
            _ => Err(CallError::Invalid(self.found)),
        }
    }

    /// Compares the names and types of columns, of which only the first of a name counts, with what the features of these
    /// sides read: that is left to say when the columns themselves are wrong.
    pub(crate) fn compare(&mut self, field: &str, sides: &[Side], columns: &[Column]) {
        self.check(field, sides, &hollow(columns));
    }

    /// Compares columns with what the features of these sides read.
    pub(crate) fn check(&mut self, field: &str, sides: &[Side], columns: &Columns) {
        for side in sides {
            if let Err(error) = self.schema.check(*side, columns) {
                let violations = error.violations.into_iter();
                self.of_schema.extend(
                    violations
                        .map(|bad| Violation::new(format!("{field}[{}]", bad.column), bad.reason)),
                );
            }
        }
    }
}

/// Reads columns, of which each is to be read by a feature of one of the sides. What is returned agrees with itself, and how
/// many rows it has is left to look at; `None` always comes with a problem.
pub(super) fn read(
    field: &'static str,
    columns: Vec<wire::Column>,
    sides: &'static [Side],
    most_rows: usize,
    problems: &mut Problems<'_>,
) -> Option<Columns> {
    if problems.are_absurd(field, columns.len()) {
        return None;
    }
    let mut converted = Vec::with_capacity(columns.len());
    for (position, column) in columns.into_iter().enumerate() {
        if column.name.is_empty() {
            problems.add(format!("{field}[{position}]"), "a column needs a name");
            continue;
        }
        if !is_read(problems.schema, sides, &column.name) {
            problems.add(format!("{field}[{}]", column.name), unread(sides));
        }
        match convert(column) {
            Ok(column) => converted.push(column),
            Err(name) => problems.add(format!("{field}[{name}]"), "has no values of any type"),
        }
    }
    match Columns::new(converted) {
        Ok(columns) => {
            problems.check(field, sides, &columns);
            Some(columns)
        }
        Err(Contradictory { columns, errors }) => {
            for error in errors {
                problems.add(format!("{field}[{}]", error.column), error.reason);
            }
            let rows = columns.iter().map(Column::rows).max();
            problems.at_most(field, (rows.unwrap_or(0), "rows"), most_rows);
            problems.compare(field, sides, &columns);
            None
        }
    }
}

/// Whether columns that were read for one version are what another one takes.
///
/// # Errors
/// Everything that is wrong with them.
pub(crate) fn fit(
    field: &'static str,
    sides: &'static [Side],
    columns: &Columns,
    schema: &Schema,
) -> Result<(), CallError> {
    let mut problems = Problems::new(schema, Vec::new());
    for column in columns.iter() {
        if !is_read(schema, sides, &column.name) {
            problems.add(format!("{field}[{}]", column.name), unread(sides));
        }
    }
    problems.check(field, sides, columns);
    problems.or(Some(()))
}

fn is_read(schema: &Schema, sides: &[Side], name: &str) -> bool {
    sides
        .iter()
        .any(|side| schema.side(*side).any(|feature| feature.column == name))
}

fn unread(sides: &[Side]) -> &'static str {
    match sides {
        [Side::Query] => "no user or context feature of the model reads it",
        [Side::Item] => "no item feature of the model reads it",
        _ => "no feature of the model reads it",
    }
}

/// A column of the message as the encoder takes it; its name, if it has no values.
fn convert(column: wire::Column) -> Result<Column, String> {
    let values = match column.values {
        Some(WireValues::Int64Values(ints)) => Values::Int(ints.values),
        Some(WireValues::FloatValues(floats)) => Values::Float(floats.values),
        Some(WireValues::StringValues(texts)) => Values::Text(texts.values),
        None => return Err(column.name),
    };
    let offsets = (!column.offsets.is_empty()).then_some(column.offsets);
    let present = (!column.present.is_empty()).then_some(column.present);
    Ok(Column {
        name: column.name,
        values,
        offsets,
        present,
    })
}

/// The same names and types without any row: what is left to compare with the schema when the rows themselves are bad.
fn hollow(columns: &[Column]) -> Columns {
    let mut hollow: Vec<Column> = Vec::with_capacity(columns.len());
    let mut names = HashSet::with_capacity(columns.len());
    for column in columns {
        if !names.insert(&column.name) {
            continue;
        }
        let values = match column.values {
            Values::Int(_) => Values::Int(Vec::new()),
            Values::Float(_) => Values::Float(Vec::new()),
            Values::Text(_) => Values::Text(Texts::default()),
        };
        let offsets = column.offsets.as_ref().map(|_| vec![0]);
        hollow.push(Column {
            name: column.name.clone(),
            values,
            offsets,
            present: None,
        });
    }
    // Empty columns of distinct names cannot disagree.
    Columns::new(hollow).unwrap_or_default()
}

#[cfg(test)]
mod tests;
