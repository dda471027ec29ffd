//! `[data]`: the tables, their keys, the label, and how they are cleaned and split.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::dataset::Label;
use crate::ingest::{Malformed, TableSource};

use super::error::Violation;
use super::section::section;

/// Where examples come from, and what of them is used.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DataSpec {
    /// One row for each interaction of a user with an item.
    pub interactions: TableSource,
    /// What is known of users.
    pub users: Option<KeyedTable>,
    /// What is known of items.
    pub items: Option<KeyedTable>,
    /// What happens to rows, of any table, that cannot be read.
    pub malformed: Malformed,
    /// The interactions' column that names the user.
    pub user: String,
    /// The interactions' column that names the item.
    pub item: String,
    /// The interactions' column that says when; later rows win where one must.
    pub timestamp: Option<String>,
    /// What makes an interaction a positive example.
    pub label: Label,
    /// Which interactions are left out.
    pub clean: CleanSpec,
    /// Which are held back from training.
    pub split: SplitSpec,
}

/// A table with one row for each key.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct KeyedTable {
    /// The column of keys, whose values the interactions hold too.
    pub key: String,
    /// What happens when a key has several rows.
    pub duplicates: Duplicates,
    /// The file.
    pub source: TableSource,
}

/// Which of several rows that mean the same is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Duplicates {
    /// The earliest.
    KeepFirst,
    /// The latest.
    KeepLast,
    /// None: it is an error.
    Error,
}

/// What happens to an interaction without a key or a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Missing {
    /// It is left out.
    Drop,
    /// It is an error.
    Error,
}

/// What happens to an interaction whose user or item has no row in its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unmatched {
    /// It is kept, and the features read from that table are missing.
    Keep,
    /// It is left out.
    Drop,
}

/// The values that a column may have, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Range {
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
}

/// Rules that interactions must pass; each counts what it takes away.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CleanSpec {
    /// Of several interactions of one user with one item.
    pub duplicates: Duplicates,
    /// Of interactions without user, item or label.
    pub missing: Missing,
    /// Of interactions whose user or item has no row in its table.
    pub unmatched: Unmatched,
    /// Of interactions with a number out of bounds, by column.
    pub ranges: BTreeMap<String, Range>,
}

/// Shares of the interactions, drawn at random, that are held back.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct SplitSpec {
    /// What the draw begins with.
    pub seed: u64,
    /// The share that decides when training ends.
    pub validation: f64,
    /// The share that nothing but the final evaluation sees.
    pub test: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawData {
    interactions: TableSource,
    users: Option<Table>,
    items: Option<Table>,
    #[serde(default)]
    malformed: Malformed,
    user: String,
    item: String,
    timestamp: Option<String>,
    label: String,
    #[serde(default)]
    clean: RawClean,
    #[serde(default)]
    split: RawSplit,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawClean {
    duplicates: Duplicates,
    missing: Missing,
    unmatched: Unmatched,
    ranges: BTreeMap<String, Vec<f64>>,
}

impl Default for RawClean {
    fn default() -> Self {
        Self {
            duplicates: Duplicates::KeepLast,
            missing: Missing::Drop,
            unmatched: Unmatched::Keep,
            ranges: BTreeMap::new(),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawSplit {
    /// The job's own when not given.
    seed: Option<u64>,
    validation: f64,
    test: f64,
}

impl Default for RawSplit {
    fn default() -> Self {
        Self {
            seed: None,
            validation: 0.1,
            test: 0.1,
        }
    }
}

/// `None` when there is a violation that leaves nothing to go on with.
pub(super) fn parse(
    table: Table,
    job_seed: u64,
    violations: &mut Vec<Violation>,
) -> Option<DataSpec> {
    let raw: RawData = section("data", table)
        .map_err(|violation| violations.push(violation))
        .ok()?;
    check_source("data.interactions", &raw.interactions, violations);
    let users = raw
        .users
        .and_then(|table| keyed_table("data.users", table, violations));
    let items = raw
        .items
        .and_then(|table| keyed_table("data.items", table, violations));
    let label = raw.label.parse::<Label>();
    if let Err(error) = &label {
        violations.push(Violation::new(
            "data.label",
            Value::String(raw.label),
            error,
        ));
    }
    if raw.user == raw.item {
        violations.push(Violation::new(
            "data.item",
            &raw.item,
            "is the column of users too",
        ));
    }
    let clean = CleanSpec {
        duplicates: raw.clean.duplicates,
        missing: raw.clean.missing,
        unmatched: raw.clean.unmatched,
        ranges: ranges(raw.clean.ranges, violations),
    };
    let split = SplitSpec {
        seed: raw.split.seed.unwrap_or(job_seed),
        validation: raw.split.validation,
        test: raw.split.test,
    };
    check_split(&split, violations);
    Some(DataSpec {
        interactions: raw.interactions,
        users,
        items,
        malformed: raw.malformed,
        user: raw.user,
        item: raw.item,
        timestamp: raw.timestamp,
        label: label.ok()?,
        clean,
        split,
    })
}

/// Serde cannot refuse unknown keys of a struct within a flattened one, so the table's own keys are taken out first.
fn keyed_table(
    prefix: &str,
    mut table: Table,
    violations: &mut Vec<Violation>,
) -> Option<KeyedTable> {
    #[derive(Deserialize)]
    struct RawKeyed {
        key: String,
        #[serde(default = "duplicates_are_errors")]
        duplicates: Duplicates,
    }
    let keyed_keys = ["key", "duplicates"];
    let keyed: Table = keyed_keys
        .iter()
        .filter_map(|&key| table.remove_entry(key))
        .collect();
    let keyed = section::<RawKeyed>(prefix, keyed);
    let source = section::<TableSource>(prefix, table);
    match (keyed, source) {
        (Ok(RawKeyed { key, duplicates }), Ok(source)) => {
            check_source(prefix, &source, violations);
            Some(KeyedTable {
                key,
                duplicates,
                source,
            })
        }
        (keyed, source) => {
            violations.extend(keyed.err());
            violations.extend(source.err());
            None
        }
    }
}

fn duplicates_are_errors() -> Duplicates {
    Duplicates::Error
}

fn check_source(prefix: &str, source: &TableSource, violations: &mut Vec<Violation>) {
    if let Err((key, value, reason)) = source.check() {
        violations.push(Violation::new(
            format!("{prefix}.{key}"),
            Value::String(value),
            reason,
        ));
    }
}

fn ranges(
    raw: BTreeMap<String, Vec<f64>>,
    violations: &mut Vec<Violation>,
) -> BTreeMap<String, Range> {
    let mut ranges = BTreeMap::new();
    for (column, bounds) in raw {
        match bounds[..] {
            [min, max] if min <= max => {
                ranges.insert(column, Range { min, max });
            }
            _ => violations.push(Violation::new(
                format!("data.clean.ranges.{column}"),
                format!("{bounds:?}"),
                "must be the least and the greatest value, in this order",
            )),
        }
    }
    ranges
}

fn check_split(split: &SplitSpec, violations: &mut Vec<Violation>) {
    let before = violations.len();
    for (name, share) in [("validation", split.validation), ("test", split.test)] {
        if !(share > 0.0 && share < 1.0) {
            let reason = "must lie between 0 and 1, both excluded: a model that is not measured is not admitted";
            violations.push(Violation::new(format!("data.split.{name}"), share, reason));
        }
    }
    let held_back = split.validation + split.test;
    if violations.len() == before && held_back >= 1.0 {
        let reason = format!(
            "validation and test together are {held_back}, which leaves nothing to train on"
        );
        violations.push(Violation::of_key("data.split", reason));
    }
}
