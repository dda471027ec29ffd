//! Delimited text to a table.

use std::borrow::Cow;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;

use csv::{ByteRecord, Reader, ReaderBuilder, Terminator};

use super::cells::{ColumnBuilder, Guess};
use super::error::{IngestError, shown};
use super::header::{self, HeaderColumn};
use super::source::{ColumnType, Encoding, Malformed, TableSource};
use super::table::Table;

/// Reads the file once, or twice when some column's type must be guessed from all its values first.
pub(super) fn read(
    path: &Path,
    source: &TableSource,
    malformed: Malformed,
) -> Result<Table, IngestError> {
    let header = read_header(path, source)?;
    let kinds = match header
        .iter()
        .map(|column| column.kind)
        .collect::<Option<Vec<ColumnType>>>()
    {
        Some(kinds) => kinds,
        None => guess_kinds(path, source, &header)?,
    };
    let mut builders: Vec<ColumnBuilder<'_>> = header
        .iter()
        .zip(kinds)
        .map(|(column, kind)| ColumnBuilder::new(column, kind))
        .collect();
    let mut rows = Rows::open(path, source)?;
    let (mut lines, mut dropped) = (Vec::new(), 0);
    while rows.advance()? {
        match push_row(&rows, source, &header, &mut builders) {
            Ok(()) => lines.push(rows.line),
            Err(error) if malformed == Malformed::Error => return Err(error),
            Err(_) => {
                builders
                    .iter_mut()
                    .for_each(|builder| builder.truncate(lines.len()));
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
    let header_error = |reason: String| IngestError::Header {
        file: source.path.clone(),
        reason,
    };
    let mut reader = open(path, source)?;
    let mut record = ByteRecord::new();
    if !read_record(&mut reader, &mut record, source)? {
        return Err(header_error(
            "the file is empty, but a header is expected".into(),
        ));
    }
    let decoded =
        record
            .iter()
            .zip(1..)
            .map(|(cell, position)| match decode(cell, source.encoding) {
                Some(text) => Ok(text.into_owned()),
                None => Err(header_error(format!(
                    "the name of column {position} is not UTF-8"
                ))),
            });
    header::parse(
        &decoded.collect::<Result<Vec<String>, IngestError>>()?,
        source,
    )
}

fn guess_kinds(
    path: &Path,
    source: &TableSource,
    header: &[HeaderColumn],
) -> Result<Vec<ColumnType>, IngestError> {
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
    Ok(header
        .iter()
        .zip(guesses)
        .map(|(column, guess)| column.kind.unwrap_or(guess.kind()))
        .collect())
}

/// The rows below the header, one at a time, each with its line.
struct Rows<'a> {
    source: &'a TableSource,
    reader: Reader<File>,
    end: FileEnd,
    record: ByteRecord,
    line: u64,
}

impl<'a> Rows<'a> {
    fn open(path: &Path, source: &'a TableSource) -> Result<Self, IngestError> {
        let end = FileEnd::read(path).map_err(|error| IngestError::Read {
            file: source.path.clone(),
            reason: error.to_string(),
        })?;
        let mut rows = Self {
            source,
            reader: open(path, source)?,
            end,
            record: ByteRecord::new(),
            line: 0,
        };
        if source.names.is_none() {
            rows.advance()?;
        }
        Ok(rows)
    }

    fn advance(&mut self) -> Result<bool, IngestError> {
        if !read_record(&mut self.reader, &mut self.record, self.source)? {
            return Ok(false);
        }
        let after = self.reader.position();
        let is_last = after.byte() == self.end.length;
        // The parser takes the end of the file for the end of an open quote, and every row in between for a part of the
        // cell.
        let last_cell_spans_lines = self
            .record
            .iter()
            .next_back()
            .is_some_and(|cell| cell.contains(&b'\n'));
        let last_letter_is_quote = self.end.last_letter == self.source.quote_byte().ok().flatten();
        let unclosed = is_last && last_cell_spans_lines && !last_letter_is_quote;
        // Counted back from the record's end: before its beginning there may be blank lines, which the parser skips.
        let terminated = !is_last || (self.end.has_line_end && !unclosed);
        let within = self
            .record
            .as_slice()
            .iter()
            .filter(|&&byte| byte == b'\n')
            .count();
        self.line = after
            .line()
            .saturating_sub(within as u64 + u64::from(terminated));
        if unclosed {
            return Err(IngestError::UnclosedQuote {
                file: self.source.path.clone(),
                line: self.line,
            });
        }
        Ok(true)
    }
}

/// What the last bytes of a file tell.
struct FileEnd {
    length: u64,
    has_line_end: bool,
    /// The last byte before the line end.
    last_letter: Option<u8>,
}

impl FileEnd {
    fn read(path: &Path) -> std::io::Result<Self> {
        const LONGEST_LINE_END_AND_LETTER: u64 = 3;
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(
            length.saturating_sub(LONGEST_LINE_END_AND_LETTER),
        ))?;
        let mut tail = Vec::new();
        file.take(LONGEST_LINE_END_AND_LETTER)
            .read_to_end(&mut tail)?;
        let last_letter = tail
            .iter()
            .rev()
            .find(|byte| !matches!(byte, b'\n' | b'\r'))
            .copied();
        Ok(Self {
            length,
            has_line_end: tail.ends_with(b"\n"),
            last_letter,
        })
    }
}

/// Reads the next record that is not a blank line, without the carriage return of a Windows line end.
fn read_record(
    reader: &mut Reader<File>,
    record: &mut ByteRecord,
    source: &TableSource,
) -> Result<bool, IngestError> {
    let read_error = |error: csv::Error| IngestError::Read {
        file: source.path.clone(),
        reason: error.to_string(),
    };
    loop {
        if !reader.read_byte_record(record).map_err(read_error)? {
            return Ok(false);
        }
        let last = record.len().saturating_sub(1);
        let Some(cut) = record.get(last).and_then(|cell| cell.strip_suffix(b"\r")) else {
            return Ok(true);
        };
        if last == 0 && cut.is_empty() {
            continue;
        }
        let cut = cut.to_vec();
        record.truncate(last);
        record.push_field(&cut);
        return Ok(true);
    }
}

fn open(path: &Path, source: &TableSource) -> Result<Reader<File>, IngestError> {
    let option = |key: &str, reason: String| IngestError::Option {
        file: source.path.clone(),
        option: key.to_owned(),
        reason,
    };
    let delimiter = source
        .delimiter_byte()
        .map_err(|reason| option("delimiter", reason))?;
    let quote = source
        .quote_byte()
        .map_err(|reason| option("quote", reason))?;
    let file = File::open(path).map_err(|error| IngestError::Path {
        path: source.path.clone(),
        reason: error.to_string(),
    })?;
    Ok(ReaderBuilder::new()
        // The header is read here, and rows of other lengths are reported here: in the job's words.
        .has_headers(false)
        .flexible(true)
        .delimiter(delimiter)
        // Ending records at carriage returns would leave the line feed, and its line, to the next record.
        .terminator(Terminator::Any(b'\n'))
        .quoting(quote.is_some())
        .quote(quote.unwrap_or(b'"'))
        .buffer_capacity(1 << 17)
        .from_reader(file))
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
