//! What can go wrong between a graph and its scores.

use std::path::PathBuf;

use thiserror::Error;

/// Why there is no runtime, no session, or no score.
#[derive(Debug, Error)]
pub enum Error {
    /// ONNX Runtime's shared library is missing, is something else, or is too old.
    #[error("ONNX Runtime's library {}: {reason}", path.display())]
    Library {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// ONNX Runtime refuses the model's bytes.
    #[error("the model does not open: {0}")]
    Open(String),
    /// The graph opens, but is not one that Decant can feed.
    #[error("the model breaks the contract between trainer and scorer: {0}")]
    Contract(String),
    /// Encoded rows that do not fit the graph, or each other.
    #[error("`{input}`: {reason}")]
    Rows {
        /// The graph's input.
        input: &'static str,
        /// What does not fit.
        reason: String,
    },
    /// ONNX Runtime failed while it computed.
    #[error("the model does not run: {0}")]
    Run(String),
    /// A score that is no number.
    #[error("the model's score of row {row} is {value}")]
    NotFinite {
        /// The row.
        row: usize,
        /// Infinite or NaN.
        value: f32,
    },
    /// `golden.json` cannot be right.
    #[error("golden.json: {0}")]
    GoldenFile(String),
    /// The graph computes other scores here than where it was trained.
    #[error(
        "golden row {row}: {expected} expected, {got} computed; {differing} of {rows} rows differ by more than {tolerance}"
    )]
    Golden {
        /// The row that differs most.
        row: usize,
        /// Its expected score.
        expected: f32,
        /// Its score here.
        got: f32,
        /// Rows that differ by more than the tolerance.
        differing: usize,
        /// All rows.
        rows: usize,
        /// The largest difference allowed.
        tolerance: f32,
    },
}
