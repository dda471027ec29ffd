//! A dataset's identity: the digest of what is in it.

use decant_model::{Digest, Hasher};

use crate::ingest::{Cells, Table, TableColumn};
use crate::spec::DataSpec;

/// Digests the cleaned tables, what they are joined by, the label and the split. Where the files lie and how they were
/// written is left out: the same rows of the same types, read from Parquet or from text, are the same dataset.
pub(super) fn digest(
    spec: &DataSpec,
    interactions: &Table,
    users: Option<&Table>,
    items: Option<&Table>,
) -> Digest {
    let mut writer = Writer(Hasher::default());
    writer.text("decant dataset 1");
    writer.text(&spec.user);
    writer.text(&spec.item);
    writer.text(&spec.label.to_string());
    writer.number(spec.split.seed);
    writer.number(spec.split.validation.to_bits());
    writer.number(spec.split.test.to_bits());
    writer.table(interactions);
    for (keyed, table) in [(&spec.users, users), (&spec.items, items)] {
        writer.number(u64::from(table.is_some()));
        if let (Some(keyed), Some(table)) = (keyed, table) {
            writer.text(&keyed.key);
            writer.table(table);
        }
    }
    writer.0.finish()
}

/// Every piece has a fixed length or stands after its length, so that no two contents give the same bytes.
struct Writer(Hasher);

impl Writer {
    fn number(&mut self, number: u64) {
        self.0.update(&number.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.0.update(text.as_bytes());
    }

    fn table(&mut self, table: &Table) {
        self.number(table.rows() as u64);
        self.number(table.columns.len() as u64);
        for column in &table.columns {
            self.text(&column.name);
            self.text(column.cells.type_name());
            self.number(u64::from(column.offsets.is_some()));
            let mut bytes = Vec::new();
            for row in 0..table.rows() {
                bytes.clear();
                write_value(&mut bytes, column, row);
                self.0.update(&bytes);
            }
        }
    }
}

/// Appends a row's value such that different values give different bytes; what stands in place of a missing value says
/// nothing.
pub(super) fn write_value(bytes: &mut Vec<u8>, column: &TableColumn, row: usize) {
    if !column.is_present(row) {
        bytes.push(0);
        return;
    }
    bytes.push(1);
    let positions = column.range(row);
    if column.offsets.is_some() {
        bytes.extend((positions.len() as u64).to_le_bytes());
    }
    for position in positions {
        match &column.cells {
            Cells::Int(values) => bytes.extend(values[position].to_le_bytes()),
            Cells::Float(values) => bytes.extend(values[position].to_bits().to_le_bytes()),
            Cells::Text(values) => {
                bytes.extend((values[position].len() as u64).to_le_bytes());
                bytes.extend(values[position].as_bytes());
            }
        }
    }
}
