//! Raw columns to the arrays that networks take.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::column::{Column, Columns, Values};
use crate::schema::{Feature, Lookup, MISSING, Schema, Side, Transform, UNKNOWN};

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

impl Encoded {
    /// The given rows, in the given order.
    pub fn select(&self, rows: &[usize]) -> Encoded {
        fn gather<T: Copy>(values: &[T], width: usize, rows: &[usize]) -> Vec<T> {
            rows.iter()
                .flat_map(|&row| &values[row * width..(row + 1) * width])
                .copied()
                .collect()
        }
        Encoded {
            rows: rows.len(),
            slots: self.slots,
            dense_width: self.dense_width,
            ids: gather(&self.ids, self.slots, rows),
            weights: gather(&self.weights, self.slots, rows),
            dense: gather(&self.dense, self.dense_width, rows),
        }
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
        let violations: Vec<Violation> = self
            .side(side)
            .filter_map(|feature| violation(feature, columns))
            .collect();
        if !violations.is_empty() {
            return Err(EncodeError { violations });
        }
        let layout = match side {
            Side::Query => &self.layout().query,
            Side::Item => &self.layout().item,
        };
        let (rows, slots, dense_width) = (columns.rows(), layout.slots, layout.dense.len());
        let mut encoded = Encoded {
            rows,
            slots,
            dense_width,
            ids: vec![0; rows * slots],
            weights: vec![0.0; rows * slots],
            dense: vec![0.0; rows * dense_width],
        };
        let (mut fields, mut dense_column) = (layout.fields.iter(), 0);
        for (feature, lookup) in self.features().iter().zip(&self.lookups) {
            if feature.role.side() != side {
                continue;
            }
            // Checked above: each feature's column is there.
            let Some(column) = columns.get(&feature.column) else {
                continue;
            };
            if feature.transform.slots() == 0 {
                encode_number(&feature.transform, column, &mut encoded, dense_column);
                dense_column += 1;
            } else if let Some(field) = fields.next() {
                let base = field.first_id as i32;
                encode_ids(
                    &feature.transform,
                    lookup,
                    column,
                    &mut encoded,
                    field.first_slot,
                    base,
                );
            }
        }
        Ok(encoded)
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
    let takes_list = matches!(
        feature.transform,
        Transform::Categories { .. } | Transform::Sequence { .. }
    );
    if column.offsets.is_some() && !takes_list {
        return refuse("holds lists, but one value a row is expected".into());
    }
    let expected = match feature.transform {
        Transform::Standard { .. } | Transform::Log { .. } | Transform::Buckets { .. } => {
            "int64 or float"
        }
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

fn encode_ids(
    transform: &Transform,
    lookup: &Lookup,
    column: &Column,
    out: &mut Encoded,
    first_slot: usize,
    base: i32,
) {
    let slots = transform.slots();
    for row in 0..out.rows {
        let at = row * out.slots + first_slot;
        let ids = &mut out.ids[at..at + slots];
        // Padding points at a row that exists and has weight 0.
        ids.fill(base + MISSING);
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
            ids[slot] = base + local_id(transform, lookup, &column.values, position);
        }
        out.weights[at..at + used].fill(1.0 / used as f32);
    }
}

fn local_id(transform: &Transform, lookup: &Lookup, values: &Values, position: usize) -> i32 {
    match transform {
        Transform::Hash { buckets } => {
            let hash = match values {
                Values::Int(ints) => hash_text(ints[position].to_string().as_bytes()),
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
                Values::Int(ints) => lookup.ints.get(&ints[position]),
                Values::Text(texts) => lookup.texts.get(&texts[position]),
                Values::Float(_) => None,
            };
            known.copied().unwrap_or(UNKNOWN)
        }
    }
}

fn encode_number(transform: &Transform, column: &Column, out: &mut Encoded, dense_column: usize) {
    for row in 0..out.rows {
        if column.is_present(row) {
            let raw = number(&column.values, row);
            let value = match transform {
                Transform::Standard { mean, deviation } => (raw - mean) / deviation,
                Transform::Log { mean, deviation } => (signed_log(raw) - mean) / deviation,
                _ => 0.0,
            };
            out.dense[row * out.dense_width + dense_column] = value as f32;
        }
    }
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

/// 64-bit FNV-1a, mixed once more, because its low bits alone are weak for short texts. Part of the bundle format:
/// it must never change.
fn hash_text(text: &[u8]) -> u64 {
    let fnv = text.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    });
    let mixed = (fnv ^ (fnv >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ (mixed >> 29)
}
