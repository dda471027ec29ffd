//! Raw columns to the arrays that networks take.

use std::io::Write;
use std::ops::Range;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::column::{Column, Columns, Values};
use crate::layout::SideLayout;
use crate::schema::{Feature, Lookup, MISSING, Schema, Side, Transform, UNKNOWN};

/// How many standard deviations a number can be from its mean. Of n training rows none is farther away than √n of them, but
/// a request may bring any number, and one as large as a float can be would overflow within a network.
const FARTHEST: f64 = 1e6;

/// Encoded rows of one side, row-major.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Encoded {
    /// Number of rows.
    pub rows: usize,
    /// Id slots in each row.
    pub slots: usize,
    /// Dense columns in each row.
    pub dense_width: usize,
    /// Rows of the shared embedding table, `rows x slots`.
    pub ids: Vec<i32>,
    /// The weight of each slot's embedding, `rows x slots`; 0 for padding.
    pub weights: Vec<f32>,
    /// Dense values, `rows x dense_width`.
    pub dense: Vec<f32>,
}

/// Some of the encoded rows of one side, borrowed. The fields are those of [`Encoded`].
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(missing_docs, reason = "said once, at Encoded")]
pub struct Rows<'a> {
    pub rows: usize,
    pub slots: usize,
    pub dense_width: usize,
    pub ids: &'a [i32],
    pub weights: &'a [f32],
    pub dense: &'a [f32],
}

impl<'a> From<&'a Encoded> for Rows<'a> {
    fn from(encoded: &'a Encoded) -> Self {
        Rows {
            rows: encoded.rows,
            slots: encoded.slots,
            dense_width: encoded.dense_width,
            ids: &encoded.ids,
            weights: &encoded.weights,
            dense: &encoded.dense,
        }
    }
}

impl Encoded {
    /// No row yet, with room for rows of this side.
    pub fn empty(side: &SideLayout) -> Self {
        Encoded {
            slots: side.slots,
            dense_width: side.dense.len(),
            ..Encoded::default()
        }
    }

    /// Forgets the rows and keeps their memory, for the next ones of this side.
    pub fn reset(&mut self, side: &SideLayout) {
        self.rows = 0;
        self.slots = side.slots;
        self.dense_width = side.dense.len();
        self.ids.clear();
        self.weights.clear();
        self.dense.clear();
    }

    /// Rows next to each other.
    ///
    /// # Panics
    /// When the range ends beyond the last row.
    pub fn range(&self, rows: Range<usize>) -> Rows<'_> {
        let of = |width: usize| rows.start * width..rows.end * width;
        Rows {
            rows: rows.len(),
            slots: self.slots,
            dense_width: self.dense_width,
            ids: &self.ids[of(self.slots)],
            weights: &self.weights[of(self.slots)],
            dense: &self.dense[of(self.dense_width)],
        }
    }

    /// Appends rows of another of the same side, in the given order.
    ///
    /// # Panics
    /// When a row is not there.
    pub fn extend(&mut self, from: &Encoded, rows: impl IntoIterator<Item = usize>) {
        let rows = rows.into_iter();
        let more = rows.size_hint().0;
        self.ids.reserve(more * self.slots);
        self.weights.reserve(more * self.slots);
        self.dense.reserve(more * self.dense_width);
        for row in rows {
            let picked = from.range(row..row + 1);
            self.ids.extend_from_slice(picked.ids);
            self.weights.extend_from_slice(picked.weights);
            self.dense.extend_from_slice(picked.dense);
            self.rows += 1;
        }
    }

    /// The given rows, in the given order.
    pub fn select(&self, rows: &[usize]) -> Encoded {
        let mut selected = Encoded {
            slots: self.slots,
            dense_width: self.dense_width,
            ids: Vec::with_capacity(rows.len() * self.slots),
            weights: Vec::with_capacity(rows.len() * self.slots),
            dense: Vec::with_capacity(rows.len() * self.dense_width),
            rows: 0,
        };
        selected.extend(self, rows.iter().copied());
        selected
    }
}

/// What is wrong with one column of the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The column.
    pub column: String,
    /// What is wrong with it.
    pub reason: String,
}

/// The columns do not fit the schema; every problem is listed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}", .violations.iter().map(|v| format!("column `{}`: {}", v.column, v.reason)).collect::<Vec<_>>().join("; "))]
pub struct EncodeError {
    /// The problems, in the schema's order; never empty.
    pub violations: Vec<Violation>,
}

impl Schema {
    /// Encodes the columns that this side's features read; other columns are not looked at (see
    /// [`Schema::unread_columns`]).
    ///
    /// # Errors
    /// Missing columns and wrong types, all of them at once.
    pub fn encode(&self, side: Side, columns: &Columns) -> Result<Encoded, EncodeError> {
        self.check(side, columns)?;
        let mut encoded = Encoded::empty(self.layout().side(side));
        self.encode_into(side, columns, 0..columns.rows(), &mut encoded);
        Ok(encoded)
    }

    /// Whether the columns hold what this side's features read.
    ///
    /// # Errors
    /// As [`Schema::encode`].
    pub fn check(&self, side: Side, columns: &Columns) -> Result<(), EncodeError> {
        let violations: Vec<Violation> = self
            .side(side)
            .filter_map(|feature| violation(feature, columns))
            .collect();
        if violations.is_empty() {
            Ok(())
        } else {
            Err(EncodeError { violations })
        }
    }

    /// Appends some of the columns' rows to those that are there, which are of this side. Columns that
    /// [`Schema::check`] does not let pass are encoded as if their values were missing.
    ///
    /// # Panics
    /// When the range ends beyond the columns' last row.
    pub fn encode_into(
        &self,
        side: Side,
        columns: &Columns,
        rows: Range<usize>,
        out: &mut Encoded,
    ) {
        let layout = self.layout().side(side);
        let first_row = out.rows;
        out.rows += rows.len();
        out.ids.resize(out.rows * out.slots, 0);
        out.weights.resize(out.rows * out.slots, 0.0);
        out.dense.resize(out.rows * out.dense_width, 0.0);
        let (mut fields, mut dense_column) = (layout.fields.iter(), 0);
        for (feature, lookup) in self.features().iter().zip(&self.lookups) {
            if feature.role.side() != side {
                continue;
            }
            let transform = &feature.transform;
            let column = columns.get(&feature.column);
            if transform.slots() == 0 {
                if let Some(column) = column {
                    encode_numbers(
                        transform,
                        column,
                        rows.clone(),
                        out,
                        (first_row, dense_column),
                    );
                }
                dense_column += transform.dense_columns();
            } else if let (Some(field), Some(column)) = (fields.next(), column) {
                let place = Place {
                    first_row,
                    first_slot: field.first_slot,
                    first_id: field.first_id as i32,
                };
                encode_ids((transform, lookup), column, rows.clone(), out, place);
            }
        }
    }

    /// Names of columns that no feature reads: a request that sends one has probably misspelt it.
    pub fn unread_columns<'a>(&self, columns: &'a Columns) -> Vec<&'a str> {
        let read = |name: &str| self.features().iter().any(|feature| feature.column == name);
        columns
            .iter()
            .map(|column| column.name.as_str())
            .filter(|name| !read(name))
            .collect()
    }
}

fn violation(feature: &Feature, columns: &Columns) -> Option<Violation> {
    let refuse = |reason: String| {
        Some(Violation {
            column: feature.column.clone(),
            reason,
        })
    };
    let Some(column) = columns.get(&feature.column) else {
        return refuse(format!("missing; feature `{}` reads it", feature.name));
    };
    if let Transform::Vector { mean, .. } = &feature.transform {
        let of_another_length =
            |row: &usize| column.is_present(*row) && column.range(*row).len() != mean.len();
        if let Some(row) = (0..column.rows()).find(of_another_length) {
            let (found, expected) = (column.range(row).len(), mean.len());
            return refuse(format!(
                "row {row} holds {found} values, but lists of {expected} are expected"
            ));
        }
    } else if column.offsets.is_some() && !feature.transform.takes_lists() {
        return refuse("holds lists, but one value a row is expected".into());
    }
    let expected = match feature.transform {
        Transform::Standard { .. }
        | Transform::Log { .. }
        | Transform::Vector { .. }
        | Transform::Buckets { .. } => "int64 or float",
        _ => "string or int64",
    };
    let fits = match column.values {
        Values::Int(_) => true,
        Values::Float(_) => expected == "int64 or float",
        Values::Text(_) => expected == "string or int64",
    };
    if fits {
        None
    } else {
        refuse(format!(
            "has type {}, but {expected} is expected",
            column.values.type_name()
        ))
    }
}

/// Where a feature's first value goes.
#[derive(Clone, Copy)]
struct Place {
    first_row: usize,
    first_slot: usize,
    first_id: i32,
}

fn encode_ids(
    (transform, lookup): (&Transform, &Lookup),
    column: &Column,
    rows: Range<usize>,
    out: &mut Encoded,
    place: Place,
) {
    let slots = transform.slots();
    for (out_row, row) in (place.first_row..).zip(rows) {
        let at = out_row * out.slots + place.first_slot;
        let ids = &mut out.ids[at..at + slots];
        // Padding points at a row that exists and has weight 0.
        ids.fill(place.first_id + MISSING);
        let mut values = if column.is_present(row) {
            column.range(row)
        } else {
            0..0
        };
        match transform {
            Transform::Sequence { .. } => {
                values.start = values.start.max(values.end.saturating_sub(slots))
            }
            _ => values.end = values.end.min(values.start + slots),
        }
        let used = values.len().max(1);
        for (slot, position) in values.enumerate() {
            ids[slot] = place.first_id + local_id(transform, lookup, &column.values, position);
        }
        out.weights[at..at + used].fill(1.0 / used as f32);
    }
}

fn local_id(transform: &Transform, lookup: &Lookup, values: &Values, position: usize) -> i32 {
    match transform {
        Transform::Hash { buckets } => {
            let hash = match values {
                Values::Int(ints) => hash_integer(ints[position]),
                Values::Text(texts) => hash_text(texts[position].as_bytes()),
                Values::Float(_) => return MISSING,
            };
            1 + (hash % u64::from(*buckets)) as i32
        }
        Transform::Buckets { boundaries } => {
            let value = number(values, position);
            1 + boundaries.partition_point(|boundary| *boundary <= value) as i32
        }
        _ => {
            let known = match values {
                Values::Int(ints) => lookup.ints.get(&ints[position]).copied(),
                Values::Text(texts) => texts.get(position).and_then(|text| lookup.texts.get(text)),
                Values::Float(_) => None,
            };
            known.unwrap_or(UNKNOWN)
        }
    }
}

fn encode_numbers(
    transform: &Transform,
    column: &Column,
    rows: Range<usize>,
    out: &mut Encoded,
    (first_row, dense_column): (usize, usize),
) {
    let present = (first_row..).zip(rows);
    for (out_row, row) in present.filter(|(_, row)| column.is_present(*row)) {
        let at = out_row * out.dense_width + dense_column;
        let cells = &mut out.dense[at..at + transform.dense_columns()];
        let range = column.range(row);
        match transform {
            Transform::Standard { mean, deviation } => {
                let raw = number(&column.values, range.start);
                cells[0] = standard(raw, *mean, *deviation);
            }
            Transform::Log { mean, deviation } => {
                let raw = number(&column.values, range.start);
                cells[0] = standard(signed_log(raw), *mean, *deviation);
            }
            // The type is looked at once for the whole list, so that the loops within become vector code.
            Transform::Vector { mean, deviation } => match &column.values {
                Values::Int(ints) => {
                    let raw = ints[range].iter().map(|&int| int as f64);
                    standardise(cells, raw, mean, deviation);
                }
                Values::Float(floats) => {
                    let raw = floats[range].iter().map(|&float| f64::from(float));
                    standardise(cells, raw, mean, deviation);
                }
                Values::Text(_) => {}
            },
            _ => {}
        }
    }
}

fn standardise(cells: &mut [f32], raw: impl Iterator<Item = f64>, mean: &[f64], deviation: &[f64]) {
    for (((cell, raw), mean), deviation) in cells.iter_mut().zip(raw).zip(mean).zip(deviation) {
        *cell = standard(raw, *mean, *deviation);
    }
}

fn standard(raw: f64, mean: f64, deviation: f64) -> f32 {
    ((raw - mean) / deviation).clamp(-FARTHEST, FARTHEST) as f32
}

/// `sign(x) ln(1 + |x|)`: a logarithm that zero and negative values also have.
pub(crate) fn signed_log(value: f64) -> f64 {
    value.signum() * value.abs().ln_1p()
}

pub(crate) fn number(values: &Values, position: usize) -> f64 {
    match values {
        Values::Int(ints) => ints[position] as f64,
        Values::Float(floats) => f64::from(floats[position]),
        Values::Text(_) => 0.0,
    }
}

/// The hash of an integer's decimal digits, which is that of the same value sent as text.
fn hash_integer(value: i64) -> u64 {
    // The longest is i64::MIN, with 20 characters.
    let mut digits = [0; 20];
    let mut rest = &mut digits[..];
    let room = rest.len();
    let written = match write!(rest, "{value}") {
        Ok(()) => room - rest.len(),
        Err(_) => room,
    };
    hash_text(&digits[..written])
}

/// 64-bit FNV-1a, mixed once more, because its low bits alone are weak for short texts. Part of the bundle format:
/// it must never change.
fn hash_text(text: &[u8]) -> u64 {
    let fnv = text.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    });
    let mixed = (fnv ^ (fnv >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 29)
}
