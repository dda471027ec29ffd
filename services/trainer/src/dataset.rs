//! Tables to a frozen dataset.
//!
//! [`load`] reads the tables, cleans the interactions ([`CleaningReport`] counts what each rule took away), joins them
//! with what is known of users and items, splits them by seed, fits the features on the training part alone, and
//! encodes. The result is frozen: its [`digest`](Dataset::digest) is its identity, and a model's lineage names it.

mod label;
mod report;
mod error;
mod keyed;
mod clean;
mod split;
mod join;
mod digest;
mod examples;

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use decant_features::{Catalog, Columns, Schema, Side, fit};
use decant_model::Digest;

use crate::ingest::{self, Table};
use crate::spec::{KeyedTable, Spec};

pub use error::DatasetError;
pub use examples::{Examples, Pair};
pub use label::{BoundLabel, Comparison, Condition, Label, LabelError, LabelSyntaxError, Operand};
pub use report::{CleaningReport, Removed, TableReport, Unmatched};

use clean::Clean;
use join::Joined;
use keyed::Keyed;

/// A frozen dataset. Row `r` of the item table of every [`Examples`] is row `r` of the catalog.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// Its identity: the same cleaned rows, label and split have the same digest, wherever they were read from.
    pub digest: Digest,
    /// What was read, and what was left out.
    pub report: CleaningReport,
    /// The features, fitted on the training part.
    pub schema: Schema,
    /// All items: those of the items' table, then those that only interactions name.
    pub catalog: Catalog,
    /// The raw columns behind the encoded queries, row by row.
    pub queries: Columns,
    /// The users' keys, by the numbers that [`Examples::users`] holds.
    pub user_keys: Vec<String>,
    /// What networks learn from.
    pub train: Examples,
    /// What decides when they stop.
    pub validation: Examples,
    /// What only the final evaluation sees.
    pub test: Examples,
}

/// Makes the dataset that a job describes, from files below `datasets_root`.
///
/// # Errors
/// What cannot be read, does not fit the job, or leaves nothing to learn from; always with the file or the job's key.
pub fn load(spec: &Spec, datasets_root: &Path) -> Result<Dataset, DatasetError> {
    let data = &spec.data;
    let ingesting = tracing::info_span!("ingest").entered();
    let interactions = ingest::read(datasets_root, &data.interactions, data.malformed)?;
    check_size(&interactions)?;
    let read_keyed = |name: &str, keyed: Option<&KeyedTable>| -> Result<_, DatasetError> {
        Ok(keyed
            .map(|keyed| Keyed::read(datasets_root, name, keyed, data.malformed))
            .transpose()?
            .unzip())
    };
    let (users, user_report) = read_keyed("data.users", data.users.as_ref())?;
    let (items, item_report) = read_keyed("data.items", data.items.as_ref())?;
    drop(ingesting);

    let Clean {
        table,
        labels,
        report,
    } = clean::clean(interactions, data, users.as_ref(), items.as_ref())?;
    let parts = split::split(table.rows(), &data.split)?;
    let joined = join::join(spec, &table, users.as_ref(), items.as_ref())?;
    check_labels(spec, parts.train.iter().map(|&example| labels[example]))?;

    let schema = fit_on(spec, &joined, &parts.train)?;
    let catalog = Catalog::new(&data.item, joined.items.clone())?;
    let all = Examples {
        layout: Arc::new(schema.layout().clone()),
        queries: Arc::new(schema.encode(Side::Query, &joined.queries)?),
        users: Arc::new(joined.users),
        items: Arc::new(schema.encode(Side::Item, &joined.items)?),
        pairs: joined.pairs,
        labels,
    };
    let (train, validation, test) = (
        all.select(&parts.train),
        all.select(&parts.validation),
        all.select(&parts.test),
    );
    let seen: HashSet<u32> = train.pairs.iter().map(|pair| pair.item).collect();
    let report = CleaningReport {
        interactions: report,
        users: user_report,
        items: item_report,
        unmatched_users: joined.unmatched_users,
        unmatched_items: joined.unmatched_items,
        distinct_users: joined.user_keys.len() as u64,
        distinct_items: catalog.len() as u64,
        items_unseen_in_training: (catalog.len() - seen.len()) as u64,
        label_mean: all
            .labels
            .iter()
            .map(|&label| f64::from(label))
            .sum::<f64>()
            / all.len() as f64,
        train: train.len() as u64,
        validation: validation.len() as u64,
        test: test.len() as u64,
    };
    let tables = [&users, &items].map(|keyed| keyed.as_ref().map(|keyed| &keyed.table));
    let digest = digest::digest(data, &table, tables[0], tables[1]);
    tracing::info!(%digest, examples = all.len(), users = report.distinct_users, items = catalog.len(), "froze a dataset");
    Ok(Dataset {
        digest,
        report,
        schema,
        catalog,
        queries: joined.queries,
        user_keys: joined.user_keys,
        train,
        validation,
        test,
    })
}

/// Without rows nothing can be learnt, not even which type a column has; and rows are numbered with 32 bits.
fn check_size(interactions: &Table) -> Result<(), DatasetError> {
    let (rows, most) = (interactions.rows(), u32::MAX as usize);
    if rows == 0 {
        return Err(DatasetError::Unusable(format!(
            "{}: has no rows",
            interactions.file
        )));
    }
    if rows > most {
        return Err(DatasetError::Unusable(format!(
            "{}: {rows} rows are more than the {most} allowed",
            interactions.file
        )));
    }
    Ok(())
}

/// Labels that are all the same teach nothing, and most often come from a slip in the label expression.
fn check_labels(spec: &Spec, labels: impl Iterator<Item = f32>) -> Result<(), DatasetError> {
    let (least, greatest) = labels.fold((1.0_f32, 0.0_f32), |(least, greatest), label| {
        (least.min(label), greatest.max(label))
    });
    if least < greatest {
        return Ok(());
    }
    let label = spec.data.label.to_string();
    Err(DatasetError::Label {
        label,
        reason: format!("every training example has the label {least}"),
    })
}

/// Vocabularies and moments come from the training part, one row for each example, so that frequencies are those of the
/// interactions and nothing of the held-back parts leaks in.
fn fit_on(spec: &Spec, joined: &Joined, train: &[usize]) -> Result<Schema, DatasetError> {
    let query_rows: Vec<usize> = train
        .iter()
        .map(|&example| joined.pairs[example].query as usize)
        .collect();
    let item_rows: Vec<usize> = train
        .iter()
        .map(|&example| joined.pairs[example].item as usize)
        .collect();
    Ok(fit(
        &spec.features,
        &joined.queries.select(&query_rows),
        &joined.items.select(&item_rows),
    )?)
}

#[cfg(test)]
mod tests;
