//! What can be wrong with a file.

use thiserror::Error;

/// Why a table could not be read.
#[derive(Debug, Error)]
pub enum IngestError {
    /// The file cannot be opened, or may not be.
    #[error("{path}: {reason}")]
    Path {
        /// The path as the job gives it.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An option of the table contradicts the file.
    #[error("{file}: {option}: {reason}")]
    Option {
        /// The file.
        file: String,
        /// The option's key.
        option: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The header cannot be used.
    #[error("{file}:1: {reason}")]
    Header {
        /// The file.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A row has too few or too many cells.
    #[error("{file}:{line}: {found} cells, but {expected} are expected")]
    CellCount {
        /// The file.
        file: String,
        /// Its line, from 1.
        line: u64,
        /// Cells in that line.
        found: usize,
        /// Columns of the table.
        expected: usize,
    },
    /// A value is not what its column says.
    #[error("{file}:{line}:{position} {column}: {value:?} {reason}")]
    Value {
        /// The file.
        file: String,
        /// Its line, from 1; for Parquet its row, from 1.
        line: u64,
        /// The column's position, from 1.
        position: usize,
        /// The column's name.
        column: String,
        /// The value, cut to a readable length.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Where a quoted cell ends, and so which rows follow it, cannot be told.
    #[error("{file}:{line}: a quote that opens in this row is never closed")]
    UnclosedQuote {
        /// The file.
        file: String,
        /// The line of the row, from 1.
        line: u64,
    },
    /// The file breaks off or is damaged.
    #[error("{file}: {reason}")]
    Read {
        /// The file.
        file: String,
        /// What the reader reports.
        reason: String,
    },
}

/// A value as it is shown in a message: long ones are cut.
pub(super) fn shown(value: &str) -> String {
    const LONGEST: usize = 60;
    match value.char_indices().nth(LONGEST) {
        Some((cut, _)) => format!("{}...", &value[..cut]),
        None => value.to_owned(),
    }
}
