//! What can keep tables from becoming a dataset.

use decant_features::{CatalogError, EncodeError, FitError};
use thiserror::Error;

use crate::ingest::{IngestError, Table};

use super::label::LabelError;

/// Why a dataset could not be made.
#[derive(Debug, Error)]
pub enum DatasetError {
    /// A table could not be read.
    #[error(transparent)]
    Ingest(#[from] IngestError),
    /// A key of the job names a column that is not there.
    #[error("{key}: unknown column `{column}`; {known}")]
    UnknownColumn {
        /// The job's key.
        key: String,
        /// The column it names.
        column: String,
        /// Which columns there are, and where.
        known: String,
    },
    /// A column cannot be used as the job asks.
    #[error("{key}: {reason}")]
    Column {
        /// The job's key.
        key: String,
        /// What is wrong with the column.
        reason: String,
    },
    /// The label expression does not fit the interactions' columns.
    #[error("data.label = \"{label}\": {reason}")]
    Label {
        /// The expression.
        label: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A row breaks a rule that allows no exception.
    #[error("{place}: {reason}")]
    Row {
        /// The file and the line.
        place: String,
        /// What is wrong there.
        reason: String,
    },
    /// Too little is left, or nothing to tell apart.
    #[error("{0}")]
    Unusable(String),
    /// The features do not fit the columns.
    #[error(transparent)]
    Fit(#[from] FitError),
    /// The fitted features do not fit the columns.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The items make no catalog.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

impl DatasetError {
    pub(super) fn unknown_column(key: impl Into<String>, column: &str, tables: &[&Table]) -> Self {
        let skipped = tables
            .iter()
            .flat_map(|table| &table.skipped)
            .find(|(name, _)| name == column);
        if let Some((_, data_type)) = skipped {
            let reason =
                format!("column `{column}` has Parquet type {data_type}, which is not read");
            return DatasetError::Column {
                key: key.into(),
                reason,
            };
        }
        DatasetError::UnknownColumn {
            key: key.into(),
            column: column.to_owned(),
            known: known_columns(tables),
        }
    }

    pub(super) fn label(label: &super::Label, error: LabelError, interactions: &Table) -> Self {
        let reason = match error {
            LabelError::UnknownColumn(column) => {
                format!(
                    "unknown column `{column}`; {}",
                    known_columns(&[interactions])
                )
            }
            LabelError::Type(reason) => reason,
        };
        DatasetError::Label {
            label: label.to_string(),
            reason,
        }
    }
}

fn known_columns(tables: &[&Table]) -> String {
    let known = |table: &&Table| {
        format!(
            "{} has {}",
            table.file,
            table.names().collect::<Vec<_>>().join(", ")
        )
    };
    tables.iter().map(known).collect::<Vec<_>>().join("; ")
}
