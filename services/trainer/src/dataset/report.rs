//! What cleaning took away, and what is left.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What became of the rows that were read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CleaningReport {
    /// The interactions.
    pub interactions: TableReport,
    /// The users' table, if there is one.
    pub users: Option<TableReport>,
    /// The items' table, if there is one.
    pub items: Option<TableReport>,
    /// Kept interactions by whether their user and item have a row.
    pub unmatched_users: Unmatched,
    /// The same of items.
    pub unmatched_items: Unmatched,
    /// Users with at least one kept interaction.
    pub distinct_users: u64,
    /// Items of the catalog: those of the items' table and those of kept interactions.
    pub distinct_items: u64,
    /// Items of the catalog that no training example has: what is known of them is their features alone.
    pub items_unseen_in_training: u64,
    /// Mean of the labels; for a condition the share of positive examples.
    pub label_mean: f64,
    /// Examples to train on.
    pub train: u64,
    /// Examples that decide when training ends.
    pub validation: u64,
    /// Examples for the final evaluation.
    pub test: u64,
}

/// What became of one table's rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableReport {
    /// The file.
    pub file: String,
    /// Rows in the file.
    pub read: u64,
    /// What each rule took away, in the order in which they were applied.
    pub removed: Vec<Removed>,
    /// Rows left.
    pub kept: u64,
}

/// What one rule took away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    /// The rule, in words.
    pub rule: String,
    /// Rows taken away.
    pub rows: u64,
}

/// Keys that a table has no row for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unmatched {
    /// Different keys.
    pub keys: u64,
    /// Kept interactions with such a key.
    pub interactions: u64,
}

impl TableReport {
    /// Records a rule.
    pub(super) fn remove(&mut self, rule: impl Into<String>, rows: usize) {
        self.removed.push(Removed {
            rule: rule.into(),
            rows: rows as u64,
        });
        self.kept = self.kept.saturating_sub(rows as u64);
    }
}

impl fmt::Display for CleaningReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for table in [
            Some(&self.interactions),
            self.users.as_ref(),
            self.items.as_ref(),
        ]
        .into_iter()
        .flatten()
        {
            writeln!(formatter, "{table}")?;
        }
        for (what, unmatched) in [
            ("users", self.unmatched_users),
            ("items", self.unmatched_items),
        ] {
            if unmatched.keys > 0 {
                let Unmatched { keys, interactions } = unmatched;
                writeln!(
                    formatter,
                    "{keys} {what} in {interactions} interactions have no row in their table"
                )?;
            }
        }
        writeln!(
            formatter,
            "{} users, {} items, {} of them unseen in training",
            self.distinct_users, self.distinct_items, self.items_unseen_in_training
        )?;
        let (train, validation, test) = (self.train, self.validation, self.test);
        write!(
            formatter,
            "{train} train, {validation} validation, {test} test; mean label {:.4}",
            self.label_mean
        )
    }
}

impl fmt::Display for TableReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{}: {} rows read, {} kept",
            self.file, self.read, self.kept
        )?;
        for Removed { rule, rows } in &self.removed {
            write!(formatter, "; {rule}: {rows} removed")?;
        }
        Ok(())
    }
}
