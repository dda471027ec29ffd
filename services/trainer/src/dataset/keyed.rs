//! Keys to rows: tables with one row for each key, and the distinct users and items of the interactions.

use std::collections::HashMap;

use crate::ingest::{self, Cells, Malformed, Table, TableColumn};
use crate::spec::{Duplicates, KeyedTable};

use super::error::DatasetError;
use super::report::TableReport;

/// A table with one row for each key.
pub(super) struct Keyed {
    pub(super) table: Table,
    rows: HashMap<String, usize>,
}

impl Keyed {
    /// Reads a table and leaves it with one row for each key. `name` is its key in the job, such as `data.users`.
    pub(super) fn read(
        root: &std::path::Path,
        name: &str,
        spec: &KeyedTable,
        malformed: Malformed,
    ) -> Result<(Self, TableReport), DatasetError> {
        let table = ingest::read(root, &spec.source, malformed)?;
        let keys = key_column(&table, &format!("{name}.key"), &spec.key)?;
        let mut report = table_report(&table);
        let mut rows: HashMap<String, usize> = HashMap::with_capacity(table.rows());
        let (mut missing, mut duplicates) = (0, 0);
        for row in 0..table.rows() {
            let Some(key) = keys.key(row) else {
                missing += 1;
                continue;
            };
            let Some(earlier) = rows.get_mut(key.as_ref()) else {
                rows.insert(key.into_owned(), row);
                continue;
            };
            duplicates += 1;
            match spec.duplicates {
                Duplicates::KeepFirst => {}
                Duplicates::KeepLast => *earlier = row,
                Duplicates::Error => {
                    let (column, first) = (&spec.key, table.place(*earlier));
                    let hint = format!(
                        "{name}.duplicates = \"keep_first\" or \"keep_last\" would allow it"
                    );
                    let reason = format!("{column} {key:?} has a row at {first} already; {hint}");
                    return Err(DatasetError::Row {
                        place: table.place(row),
                        reason,
                    });
                }
            }
        }
        report.remove("missing key", missing);
        report.remove("duplicates", duplicates);
        let mut kept: Vec<usize> = rows.values().copied().collect();
        kept.sort_unstable();
        // In the order of the file, whatever the order of the map.
        let position = |row: &usize| kept.binary_search(row).unwrap_or_default();
        let rows = rows
            .iter()
            .map(|(key, row)| (key.clone(), position(row)))
            .collect();
        Ok((
            Self {
                table: table.select(&kept),
                rows,
            },
            report,
        ))
    }

    /// The row of a key.
    pub(super) fn row(&self, key: &str) -> Option<usize> {
        self.rows.get(key).copied()
    }

    /// All keys, in the order of their rows.
    pub(super) fn keys(&self) -> Vec<&str> {
        let mut keys: Vec<(usize, &str)> = self
            .rows
            .iter()
            .map(|(key, &row)| (row, key.as_str()))
            .collect();
        keys.sort_unstable();
        keys.into_iter().map(|(_, key)| key).collect()
    }
}

/// A report of a table that was just read.
pub(super) fn table_report(table: &Table) -> TableReport {
    let kept = table.rows() as u64;
    let mut report = TableReport {
        file: table.file.clone(),
        read: kept + table.malformed,
        removed: Vec::new(),
        kept: kept + table.malformed,
    };
    report.remove("malformed", table.malformed as usize);
    report
}

/// A column whose values can be keys.
pub(super) fn key_column<'a>(
    table: &'a Table,
    key: &str,
    name: &str,
) -> Result<&'a TableColumn, DatasetError> {
    let column = table
        .get(name)
        .ok_or_else(|| DatasetError::unknown_column(key, name, &[table]))?;
    let kind = match (&column.offsets, &column.cells) {
        (Some(_), _) => "lists",
        (None, Cells::Float(_)) => "floats",
        (None, Cells::Int(_) | Cells::Text(_)) => return Ok(column),
    };
    let reason = format!(
        "column `{name}` of {} holds {kind}; a key is an int64 or a string",
        table.file
    );
    Err(DatasetError::Column {
        key: key.to_owned(),
        reason,
    })
}

/// Distinct keys, numbered in the order in which they came.
#[derive(Default)]
pub(super) struct Entities {
    pub(super) keys: Vec<String>,
    numbers: HashMap<String, u32>,
}

impl Entities {
    /// The key's number; a new one for a new key.
    pub(super) fn number(&mut self, key: &str) -> u32 {
        if let Some(&number) = self.numbers.get(key) {
            return number;
        }
        // Tables have fewer than 2^32 rows, which `load` checks, so there are fewer keys than that.
        let number = self.keys.len() as u32;
        self.keys.push(key.to_owned());
        self.numbers.insert(key.to_owned(), number);
        number
    }

    /// The number of each row's key. Rows without a key are given 0: clean them away first.
    pub(super) fn number_rows(&mut self, column: &TableColumn) -> Vec<u32> {
        (0..column.rows())
            .map(|row| column.key(row).map_or(0, |key| self.number(&key)))
            .collect()
    }
}
