//! Files of a dataset to typed tables.
//!
//! A [`TableSource`] says where a table lies and how it is written; [`read`] makes a [`Table`] of it. Two formats are
//! read: delimited text ([`delimited`], whose headers may carry types as RecBole writes them) and Parquet
//! ([`parquet`]). What a table holds, and how a value is named in messages, is [`table`]'s.

mod source;
mod table;
mod error;
mod header;
mod cells;
mod delimited;
mod parquet;

use std::path::Path;

pub use error::IngestError;
pub use source::{
    ColumnSource, ColumnType, Encoding, Format, Malformed, TableSource, check_relative,
};
pub use table::{Cells, Table, TableColumn};

/// Reads one table from below `root`.
///
/// # Errors
/// A path that leaves `root` or cannot be read, options that contradict the file, and, under [`Malformed::Error`], the
/// first value that is not what its column says.
pub fn read(root: &Path, source: &TableSource, malformed: Malformed) -> Result<Table, IngestError> {
    let path = source::resolve(root, &source.path)?;
    match source.format() {
        Format::Delimited => delimited::read(&path, source, malformed),
        Format::Parquet => parquet::read(&path, source, malformed),
    }
}
