//! Delimited text to a table.

use std::borrow::Cow;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;

use csv::{ByteRecord, Reader, ReaderBuilder};

use super::cells::{ColumnBuilder, Guess};
use super::error::{IngestError, shown};
use super::header::{self, HeaderColumn};
use super::source::{ColumnType, Encoding, Malformed, TableSource};
use super::table::Table;

/// Reads the file once, or twice when some column's type must be guessed from all its values first.
pub(super) fn read(path: &Path, source: &TableSource, malformed: Malformed) -> Result<Table, IngestError> {
    let header = read_header(path, source)?;
    let kinds = match header.iter().map(|column| column.kind).collect::<Option<Vec<ColumnType>>>() {
        Some(kinds) => kinds,
        None => guess_kinds(path, source, &header)?,
    };
    let mut builders: Vec<ColumnBuilder<'_>> =
        header.iter().zip(kinds).map(|(column, kind)| ColumnBuilder::new(column, kind)).collect();
    let mut rows = Rows::open(path, source)?;
    let (mut lines, mut dropped) = (Vec::new(), 0);
    while rows.advance()? {
        match push_row(&rows, source, &header, &mut builders) {
            Ok(()) => lines.push(rows.line),
            Err(error) if malformed == Malformed::Error => return Err(error),
            Err(_) => {
                builders.iter_mut().for_each(|builder| builder.truncate(lines.len()));
                dropped += 1;
            }
        }
    }
    Ok(Table {
        file: source.path.clone(),
        columns: builders.into_iter().map(ColumnBuilder::finish).collect(),
        lines,
        malformed: dropped,
        skipped: Vec::new(),
    })
}

fn push_row(
    rows: &Rows<'_>,
    source: &TableSource,
    header: &[HeaderColumn],
    builders: &mut [ColumnBuilder<'_>],
) -> Result<(), IngestError> {
    if rows.record.len() != header.len() {
        return Err(IngestError::CellCount {
            file: source.path.clone(),
            line: rows.line,
            found: rows.record.len(),
            expected: header.len(),
        });
    }
    for (position, (cell, builder)) in rows.record.iter().zip(builders).enumerate() {
        let pushed = match decode(cell, source.encoding) {
            Some(text) => builder.push(&text),
            None => Err("is not UTF-8; should the file be read with encoding = \"latin1\"?"),
        };
        pushed.map_err(|reason| IngestError::Value {
            file: source.path.clone(),
            line: rows.line,
            position: position + 1,
            column: header[position].name.clone(),
            value: shown(&String::from_utf8_lossy(cell)),
            reason: reason.to_owned(),
        })?;
    }
    Ok(())
}

fn read_header(path: &Path, source: &TableSource) -> Result<Vec<HeaderColumn>, IngestError> {
    if let Some(names) = &source.names {
        return header::parse(names, source);
    }
    let header_error = |reason: String| IngestError::Header { file: source.path.clone(), reason };
    let mut reader = open(path, source)?;
    let mut record = ByteRecord::new();
    if !reader.read_byte_record(&mut record).map_err(|error| read_error(source, &error))? {
        return Err(header_error("the file is empty, but a header is expected".into()));
    }
    let decoded = record.iter().zip(1..).map(|(cell, position)| match decode(cell, source.encoding) {
        Some(text) => Ok(text.into_owned()),
        None => Err(header_error(format!("the name of column {position} is not UTF-8"))),
    });
    header::parse(&decoded.collect::<Result<Vec<String>, IngestError>>()?, source)
}

fn guess_kinds(path: &Path, source: &TableSource, header: &[HeaderColumn]) -> Result<Vec<ColumnType>, IngestError> {
    let mut guesses = vec![Guess::default(); header.len()];
    let mut rows = Rows::open(path, source)?;
    while rows.advance()? {
        if rows.record.len() != header.len() {
            continue;
        }
        for ((cell, column), guess) in rows.record.iter().zip(header).zip(&mut guesses) {
            if column.kind.is_none()
                && let Some(text) = decode(cell, source.encoding)
            {
                guess.see(&text, &column.null_values);
            }
        }
    }
    Ok(header.iter().zip(guesses).map(|(column, guess)| column.kind.unwrap_or(guess.kind())).collect())
}

/// The rows below the header, one at a time, each with its line.
struct Rows<'a> {
    path: &'a Path,
    source: &'a TableSource,
    reader: Reader<File>,
    record: ByteRecord,
    line: u64,
}

impl<'a> Rows<'a> {
    fn open(path: &'a Path, source: &'a TableSource) -> Result<Self, IngestError> {
        let mut rows = Self { path, source, reader: open(path, source)?, record: ByteRecord::new(), line: 0 };
        if source.names.is_none() {
            rows.advance()?;
        }
        Ok(rows)
    }

    fn advance(&mut self) -> Result<bool, IngestError> {
        let holds_line_end = |cell: &[u8]| cell.iter().any(|byte| matches!(byte, b'\n' | b'\r'));
        let runs_over_lines = self.record.iter().next_back().is_some_and(holds_line_end);
        let more = self.reader.read_byte_record(&mut self.record).map_err(|error| read_error(self.source, &error))?;
        if !more && runs_over_lines && !self.ends_with_quote()? {
            return Err(IngestError::UnclosedQuote { file: self.source.path.clone(), line: self.line });
        }
        self.line = self.record.position().map_or(0, csv::Position::line);
        Ok(more)
    }

    /// Whether the file ends with a quote, and perhaps a line end: the parser takes the end of the file for the end of
    /// an open quote, and every row in between for a part of the cell.
    fn ends_with_quote(&self) -> Result<bool, IngestError> {
        const TAIL: u64 = 3;
        let read_tail = || {
            let mut file = File::open(self.path)?;
            let start = file.metadata()?.len().saturating_sub(TAIL);
            file.seek(SeekFrom::Start(start))?;
            let mut tail = Vec::new();
            file.take(TAIL).read_to_end(&mut tail)?;
            Ok(tail)
        };
        let tail = read_tail().map_err(|error: std::io::Error| IngestError::Read {
            file: self.source.path.clone(),
            reason: error.to_string(),
        })?;
        let last = tail.iter().rev().find(|byte| !matches!(byte, b'\n' | b'\r'));
        Ok(last.copied() == self.source.quote_byte().ok().flatten())
    }
}

fn open(path: &Path, source: &TableSource) -> Result<Reader<File>, IngestError> {
    let option = |key: &str, reason: String| IngestError::Option {
        file: source.path.clone(),
        option: key.to_owned(),
        reason,
    };
    let delimiter = source.delimiter_byte().map_err(|reason| option("delimiter", reason))?;
    let quote = source.quote_byte().map_err(|reason| option("quote", reason))?;
    let file = File::open(path)
        .map_err(|error| IngestError::Path { path: source.path.clone(), reason: error.to_string() })?;
    Ok(ReaderBuilder::new()
        // The header is read here, and rows of other lengths are reported here: in the job's words.
        .has_headers(false)
        .flexible(true)
        .delimiter(delimiter)
        .quoting(quote.is_some())
        .quote(quote.unwrap_or(b'"'))
        .buffer_capacity(1 << 17)
        .from_reader(file))
}

fn read_error(source: &TableSource, error: &csv::Error) -> IngestError {
    IngestError::Read { file: source.path.clone(), reason: error.to_string() }
}

/// The cell's text; `None` when it is not of the encoding.
fn decode(cell: &[u8], encoding: Encoding) -> Option<Cow<'_, str>> {
    match encoding {
        Encoding::Utf8 => std::str::from_utf8(cell).ok().map(Cow::Borrowed),
        // The first 256 code points of Unicode are Latin-1.
        Encoding::Latin1 => Some(cell.iter().map(|&byte| char::from(byte)).collect()),
    }
}

#[cfg(test)]
mod tests;
