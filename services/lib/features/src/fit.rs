//! Learns a schema from training rows.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::column::{Column, Columns, Values};
use crate::encode::{number, signed_log};
use crate::schema::{Feature, Role, Schema, SchemaError, Side, Transform};

/// A feature as a job asks for it, before anything was learnt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FeatureSpec {
    /// The feature's name.
    pub name: String,
    /// The raw column it reads; the name when not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    /// Whose property it is.
    pub role: Role,
    /// How its values are to become ids or a number.
    #[serde(flatten)]
    pub kind: Kind,
}

impl FeatureSpec {
    /// The raw column it reads.
    pub fn column(&self) -> &str {
        self.column.as_deref().unwrap_or(&self.name)
    }
}

/// How values are to become ids or a number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Kind {
    /// One value out of a vocabulary.
    Category {
        /// Values seen fewer times in training become unknown.
        #[serde(default = "one")]
        min_count: usize,
        /// The most values kept, the most frequent first.
        #[serde(default = "unlimited")]
        max_size: usize,
    },
    /// One value by its hash.
    Hash {
        /// Number of buckets.
        buckets: u32,
    },
    /// Several values out of a vocabulary.
    Categories {
        /// Values seen fewer times in training become unknown.
        #[serde(default = "one")]
        min_count: usize,
        /// The most values kept, the most frequent first.
        #[serde(default = "unlimited")]
        max_size: usize,
        /// The most values of a row that count.
        max_length: usize,
    },
    /// A history out of a vocabulary, oldest first.
    Sequence {
        /// Values seen fewer times in training become unknown.
        #[serde(default = "one")]
        min_count: usize,
        /// The most values kept, the most frequent first.
        #[serde(default = "unlimited")]
        max_size: usize,
        /// The most values of a row that count.
        max_length: usize,
    },
    /// A number, centred and scaled.
    Standard,
    /// The logarithm of a number, centred and scaled.
    Log,
    /// Lists of numbers, all of one length, each place centred and scaled on its own.
    Vector,
    /// A number by the interval it lies in.
    Buckets {
        /// Ascending boundaries.
        boundaries: Vec<f64>,
    },
}

fn one() -> usize {
    1
}

fn unlimited() -> usize {
    i32::MAX as usize / 4
}

/// Why a schema could not be fitted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FitError {
    /// The column is not there.
    #[error(
        "feature `{feature}` reads column `{column}`, which is not among the {side} columns: {known}"
    )]
    UnknownColumn {
        /// The feature.
        feature: String,
        /// The column it asks for.
        column: String,
        /// Which columns were searched.
        side: &'static str,
        /// The columns there are.
        known: String,
    },
    /// The column's values cannot be learnt from.
    #[error("feature `{feature}`: {reason}")]
    Feature {
        /// The feature.
        feature: String,
        /// What is wrong.
        reason: String,
    },
    /// The fitted features contradict each other.
    #[error(transparent)]
    Schema(#[from] SchemaError),
}

/// Fits the features on training rows. A row of `query` or `item` counts once, so pass one row for each interaction
/// where frequencies are to be those of the interactions.
///
/// # Errors
/// Names the feature, and what is wrong with its column or its specification.
pub fn fit(specs: &[FeatureSpec], query: &Columns, item: &Columns) -> Result<Schema, FitError> {
    let features = specs.iter().map(|spec| {
        let (columns, side) = match spec.role.side() {
            Side::Query => (query, "user and context"),
            Side::Item => (item, "item"),
        };
        let column = columns
            .get(spec.column())
            .ok_or_else(|| FitError::UnknownColumn {
                feature: spec.name.clone(),
                column: spec.column().to_owned(),
                side,
                known: columns
                    .iter()
                    .map(|column| column.name.as_str())
                    .collect::<Vec<_>>()
                    .join(", "),
            })?;
        let transform = fit_column(&spec.kind, column).map_err(|reason| FitError::Feature {
            feature: spec.name.clone(),
            reason,
        })?;
        Ok(Feature {
            name: spec.name.clone(),
            column: spec.column().to_owned(),
            role: spec.role,
            transform,
        })
    });
    Ok(Schema::new(features.collect::<Result<_, FitError>>()?)?)
}

fn fit_column(kind: &Kind, column: &Column) -> Result<Transform, String> {
    let takes_list = matches!(
        kind,
        Kind::Categories { .. } | Kind::Sequence { .. } | Kind::Vector
    );
    if column.offsets.is_some() && !takes_list {
        return Err(format!(
            "column `{}` holds lists, which only categories, sequence and vector take",
            column.name
        ));
    }
    Ok(match kind {
        Kind::Category {
            min_count,
            max_size,
        } => Transform::Category {
            vocabulary: vocabulary(column, *min_count, *max_size)?,
        },
        Kind::Categories {
            min_count,
            max_size,
            max_length,
        } => Transform::Categories {
            vocabulary: vocabulary(column, *min_count, *max_size)?,
            max_length: *max_length,
        },
        Kind::Sequence {
            min_count,
            max_size,
            max_length,
        } => Transform::Sequence {
            vocabulary: vocabulary(column, *min_count, *max_size)?,
            max_length: *max_length,
        },
        Kind::Hash { buckets } => match column.values {
            Values::Float(_) => return Err(float_is_no_category(column)),
            _ => Transform::Hash { buckets: *buckets },
        },
        Kind::Standard => {
            let (mean, deviation) = moments(column, |value| value)?;
            Transform::Standard { mean, deviation }
        }
        Kind::Log => {
            let (mean, deviation) = moments(column, signed_log)?;
            Transform::Log { mean, deviation }
        }
        Kind::Vector => vector(column)?,
        Kind::Buckets { boundaries } => {
            numeric(column)?;
            Transform::Buckets {
                boundaries: boundaries.clone(),
            }
        }
    })
}

fn vocabulary(column: &Column, min_count: usize, max_size: usize) -> Result<Vec<String>, String> {
    let mut counts: HashMap<String, usize> = HashMap::new();
    for position in present_positions(column) {
        let text = match &column.values {
            Values::Int(values) => values[position].to_string(),
            Values::Text(values) => values[position].to_owned(),
            Values::Float(_) => return Err(float_is_no_category(column)),
        };
        *counts.entry(text).or_default() += 1;
    }
    let mut ranked: Vec<(String, usize)> = counts
        .into_iter()
        .filter(|(_, count)| *count >= min_count)
        .collect();
    ranked.sort_by(|(text_a, count_a), (text_b, count_b)| {
        count_b.cmp(count_a).then_with(|| text_a.cmp(text_b))
    });
    ranked.truncate(max_size);
    if ranked.is_empty() {
        return Err(format!(
            "column `{}` has no value that occurs {min_count} times",
            column.name
        ));
    }
    Ok(ranked.into_iter().map(|(text, _)| text).collect())
}

fn moments(column: &Column, scale: impl Fn(f64) -> f64) -> Result<(f64, f64), String> {
    numeric(column)?;
    let values: Vec<f64> = present_positions(column)
        .map(|position| scale(number(&column.values, position)))
        .collect();
    let (mean, deviation) = mean_and_deviation(&values);
    if values.is_empty() || deviation <= 0.0 {
        return Err(format!(
            "column `{}` has the same value in every row, so it cannot be scaled",
            column.name
        ));
    }
    Ok((mean, deviation))
}

fn mean_and_deviation(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let squares = values.iter().map(|value| (value - mean).powi(2));
    (mean, (squares.sum::<f64>() / count).sqrt())
}

/// Each place's moments. A place that never varies carries nothing, and is only centred.
fn vector(column: &Column) -> Result<Transform, String> {
    numeric(column)?;
    let present = || (0..column.rows()).filter(|&row| column.is_present(row));
    let width = present().next().map_or(0, |row| column.range(row).len());
    if width == 0 {
        return Err(format!("column `{}` has no values", column.name));
    }
    if let Some(row) = present().find(|&row| column.range(row).len() != width) {
        return Err(format!(
            "column `{}` holds {} values in row {row}, but {width} in the first one",
            column.name,
            column.range(row).len()
        ));
    }
    let place = |place: usize| {
        let values: Vec<f64> = present()
            .map(|row| number(&column.values, column.range(row).start + place))
            .collect();
        let (mean, deviation) = mean_and_deviation(&values);
        (mean, if deviation > 0.0 { deviation } else { 1.0 })
    };
    let (mean, deviation) = (0..width).map(place).unzip();
    Ok(Transform::Vector { mean, deviation })
}

fn numeric(column: &Column) -> Result<(), String> {
    match column.values {
        Values::Int(_) | Values::Float(_) => Ok(()),
        Values::Text(_) => Err(format!(
            "column `{}` holds strings, but a number is expected",
            column.name
        )),
    }
}

fn float_is_no_category(column: &Column) -> String {
    format!(
        "column `{}` holds floats, which make no category; use standard, log or buckets",
        column.name
    )
}

fn present_positions(column: &Column) -> impl Iterator<Item = usize> {
    (0..column.rows())
        .filter(|&row| column.is_present(row))
        .flat_map(|row| column.range(row))
}
