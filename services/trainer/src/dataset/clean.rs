//! Which interactions are left out, and why.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::ingest::{Cells, Table, TableColumn};
use crate::spec::{DataSpec, Duplicates, Missing, Range, Unmatched};

use super::error::DatasetError;
use super::keyed::{Entities, Keyed, key_column, table_report};
use super::report::TableReport;

/// Interactions that passed every rule, each with its label.
#[derive(Debug)]
pub(super) struct Clean {
    pub(super) table: Table,
    pub(super) labels: Vec<f32>,
    pub(super) report: TableReport,
}

/// Applies the rules in this order: missing keys or label, numbers out of range, users and items without a row, several
/// interactions of one user with one item. The last comes last, so that a bad row never displaces a good one.
pub(super) fn clean(
    table: Table,
    spec: &DataSpec,
    users: Option<&Keyed>,
    items: Option<&Keyed>,
) -> Result<Clean, DatasetError> {
    let user_keys = key_column(&table, "data.user", &spec.user)?;
    let item_keys = key_column(&table, "data.item", &spec.item)?;
    let label = spec
        .label
        .bind(&table)
        .map_err(|error| DatasetError::label(&spec.label, error, &table))?;
    let mut report = table_report(&table);
    let mut kept: Vec<usize> = (0..table.rows()).collect();

    let complete = |row: usize| {
        user_keys.is_present(row) && item_keys.is_present(row) && label.value(row).is_some()
    };
    if spec.clean.missing == Missing::Error
        && let Some(&row) = kept.iter().find(|&&row| !complete(row))
    {
        let mut needed = vec![spec.user.as_str(), spec.item.as_str()];
        needed.extend(spec.label.columns());
        let absent = |name: &&&str| {
            table
                .get(name)
                .is_some_and(|column| !column.is_present(row))
        };
        let absent: Vec<&str> = needed.iter().filter(absent).copied().collect();
        let reason = format!(
            "{} missing, and data.clean.missing is \"error\"",
            absent.join(", ")
        );
        return Err(DatasetError::Row {
            place: table.place(row),
            reason,
        });
    }
    retain(
        &mut kept,
        &mut report,
        "missing user, item or label",
        complete,
    );

    for (name, range) in &spec.clean.ranges {
        let column = range_column(&table, name)?;
        let Range { min, max } = *range;
        let within = |row: usize| {
            column
                .number(row)
                .is_none_or(|value| (min..=max).contains(&value))
        };
        retain(
            &mut kept,
            &mut report,
            format!("{name} outside {min}..={max}"),
            within,
        );
    }

    if spec.clean.unmatched == Unmatched::Drop {
        for (what, keys, keyed) in [("user", user_keys, users), ("item", item_keys, items)] {
            let Some(keyed) = keyed else { continue };
            let known = |row: usize| keys.key(row).is_some_and(|key| keyed.row(&key).is_some());
            retain(
                &mut kept,
                &mut report,
                format!("{what} without a row in {}", keyed.table.file),
                known,
            );
        }
    }

    let best = best_of_duplicates(&table, spec, &kept)?;
    retain(&mut kept, &mut report, "duplicates", |row| best[row]);

    let labels = kept
        .iter()
        .map(|&row| checked_label(&table, spec, row, label.value(row)));
    let labels = labels.collect::<Result<Vec<f32>, DatasetError>>()?;
    Ok(Clean {
        table: table.select(&kept),
        labels,
        report,
    })
}

fn retain(
    kept: &mut Vec<usize>,
    report: &mut TableReport,
    rule: impl Into<String>,
    passes: impl Fn(usize) -> bool,
) {
    let before = kept.len();
    kept.retain(|&row| passes(row));
    report.remove(rule, before - kept.len());
}

fn range_column<'a>(table: &'a Table, name: &str) -> Result<&'a TableColumn, DatasetError> {
    let key = || format!("data.clean.ranges.{name}");
    let column = table
        .get(name)
        .ok_or_else(|| DatasetError::unknown_column(key(), name, &[table]))?;
    number_column(column, key()).map(|()| column)
}

fn number_column(column: &TableColumn, key: String) -> Result<(), DatasetError> {
    if column.offsets.is_none() && !matches!(column.cells, Cells::Text(_)) {
        return Ok(());
    }
    let what = if column.offsets.is_some() {
        "lists"
    } else {
        "strings"
    };
    let hint = "a number is expected; the table's `columns` can give it a type";
    Err(DatasetError::Column {
        key,
        reason: format!("column `{}` holds {what}, but {hint}", column.name),
    })
}

/// For each row of the table, whether it is the one that stays of those with its user and item. Without a timestamp the
/// file's order is the order in time.
fn best_of_duplicates(
    table: &Table,
    spec: &DataSpec,
    kept: &[usize],
) -> Result<Vec<bool>, DatasetError> {
    let time = match &spec.timestamp {
        Some(name) => {
            let key = "data.timestamp".to_owned();
            let column = table
                .get(name)
                .ok_or_else(|| DatasetError::unknown_column(&key, name, &[table]))?;
            number_column(column, key)?;
            Some(column)
        }
        None => None,
    };
    // A row without a time is older than all others.
    let time_of = |row: usize| {
        time.and_then(|column| column.number(row))
            .unwrap_or(f64::NEG_INFINITY)
    };
    let user_keys = key_column(table, "data.user", &spec.user)?;
    let item_keys = key_column(table, "data.item", &spec.item)?;
    let (mut users, mut items) = (Entities::default(), Entities::default());
    let (users, items) = (users.number_rows(user_keys), items.number_rows(item_keys));

    let mut chosen: HashMap<(u32, u32), usize> = HashMap::with_capacity(kept.len());
    for &row in kept {
        let mut entry = match chosen.entry((users[row], items[row])) {
            Entry::Vacant(entry) => {
                entry.insert(row);
                continue;
            }
            Entry::Occupied(entry) => entry,
        };
        let earlier = *entry.get();
        let later_in_time = time_of(row).total_cmp(&time_of(earlier));
        match spec.clean.duplicates {
            Duplicates::KeepFirst if later_in_time.is_lt() => *entry.get_mut() = row,
            Duplicates::KeepLast if later_in_time.is_ge() => *entry.get_mut() = row,
            Duplicates::KeepFirst | Duplicates::KeepLast => {}
            Duplicates::Error => {
                let first = table.place(earlier);
                let reason = format!(
                    "the user and item of {first} again, and data.clean.duplicates is \"error\""
                );
                return Err(DatasetError::Row {
                    place: table.place(row),
                    reason,
                });
            }
        }
    }
    let mut best = vec![false; table.rows()];
    chosen.into_values().for_each(|row| best[row] = true);
    Ok(best)
}

fn checked_label(
    table: &Table,
    spec: &DataSpec,
    row: usize,
    label: Option<f64>,
) -> Result<f32, DatasetError> {
    match label {
        Some(value) if (0.0..=1.0).contains(&value) => Ok(value as f32),
        value => {
            let value = value.map_or_else(|| "missing".to_owned(), |value| value.to_string());
            let hint = format!(
                "write a condition, such as `{} >= 4`, or set data.clean.ranges",
                spec.label
            );
            let reason = format!(
                "label `{}` is {value}, but must lie in 0..=1; {hint}",
                spec.label
            );
            Err(DatasetError::Row {
                place: table.place(row),
                reason,
            })
        }
    }
}

#[cfg(test)]
mod tests;
