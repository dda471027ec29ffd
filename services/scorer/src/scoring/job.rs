//! One request's work, run by a worker.

use std::collections::HashSet;
use std::time::Instant;

use decant_features::{Columns, EncodeError, Encoded, Side};
use tokio::sync::oneshot;

use super::top::{Ranked, best};
use crate::error::{CallError, Violation};
use crate::servable::{Handle, Servable};

/// A request on its way to a worker.
pub(crate) struct Job {
    /// The version that answers it, pinned until it has.
    pub(crate) handle: Handle,
    /// What is to be done.
    pub(crate) work: Work,
    /// Rows to score: what the job weighs in the queue.
    pub(crate) rows: usize,
    /// When the caller stops waiting.
    pub(crate) deadline: Option<Instant>,
    /// Where the answer goes; closed once the caller has gone.
    pub(crate) answer: oneshot::Sender<Result<Answer, CallError>>,
}

/// What is to be done. Columns have been checked on their own, not yet against the schema.
pub(crate) enum Work {
    /// Score each row, whose columns hold both sides' features.
    Score { columns: Columns },
    /// Rank candidates for one query row.
    Rank {
        query: Columns,
        candidates: Candidates,
        top_k: usize,
    },
    /// Rank the catalog for one query row.
    Recommend {
        query: Columns,
        excluded: HashSet<usize>,
        top_k: usize,
    },
}

/// What is ranked.
pub(crate) enum Candidates {
    /// Rows of the catalog.
    Catalog(Vec<usize>),
    /// Items that the request describes.
    Columns(Columns),
}

/// What a worker found.
#[derive(Debug, PartialEq)]
pub(crate) enum Answer {
    /// A score for each row.
    Scores(Vec<f32>),
    /// The best rows, best first.
    Ranked(Vec<Ranked>),
}

impl Job {
    /// Does the work and sends the answer, unless nobody waits for it any more.
    pub(crate) fn run(self, worker: usize, scores: &mut Vec<f32>) {
        if self.answer.is_closed() {
            return;
        }
        let outcome = match self.deadline {
            Some(deadline) if Instant::now() >= deadline => Err(CallError::Expired),
            _ => answer(self.handle.servable(), &self.work, worker, scores),
        };
        if outcome.is_ok() {
            self.handle.servable().count_answer();
        }
        // The caller may have gone meanwhile, and then nobody misses the answer.
        let _ = self.answer.send(outcome);
    }
}

fn answer(
    servable: &Servable,
    work: &Work,
    worker: usize,
    scores: &mut Vec<f32>,
) -> Result<Answer, CallError> {
    match work {
        Work::Score { columns } => {
            let (query, item) = (
                encode(servable, Side::Query, columns),
                encode(servable, Side::Item, columns),
            );
            let (query, item) = both("columns", query, "columns", item)?;
            servable.score(worker, &query, &item, scores)?;
            Ok(Answer::Scores(std::mem::take(scores)))
        }
        Work::Rank {
            query,
            candidates,
            top_k,
        } => {
            let query = encode(servable, Side::Query, query);
            let (query, item) = match candidates {
                Candidates::Catalog(rows) => {
                    let catalog = servable.items().ok_or(CallError::NoCatalog)?;
                    (
                        query.map_err(|error| invalid("query", error))?,
                        catalog.encoded().select(rows),
                    )
                }
                Candidates::Columns(columns) => both(
                    "query",
                    query,
                    "item_columns",
                    encode(servable, Side::Item, columns),
                )?,
            };
            servable.score(worker, &query, &item, scores)?;
            let count = if *top_k == 0 { item.rows } else { *top_k };
            Ok(Answer::Ranked(best(scores, count, |_| true)))
        }
        Work::Recommend {
            query,
            excluded,
            top_k,
        } => {
            let catalog = servable.items().ok_or(CallError::NoCatalog)?;
            let query =
                encode(servable, Side::Query, query).map_err(|error| invalid("query", error))?;
            servable.score(worker, &query, catalog.encoded(), scores)?;
            Ok(Answer::Ranked(best(scores, *top_k, |row| {
                !excluded.contains(&row)
            })))
        }
    }
}

fn encode(servable: &Servable, side: Side, columns: &Columns) -> Result<Encoded, EncodeError> {
    servable.schema().encode(side, columns)
}

/// Both sides, or the problems of both.
fn both(
    query_field: &str,
    query: Result<Encoded, EncodeError>,
    item_field: &str,
    item: Result<Encoded, EncodeError>,
) -> Result<(Encoded, Encoded), CallError> {
    match (query, item) {
        (Ok(query), Ok(item)) => Ok((query, item)),
        (query, item) => {
            let problems = [(query_field, query.err()), (item_field, item.err())];
            let violations = problems
                .into_iter()
                .filter_map(|(field, error)| Some(violations(field, error?)));
            Err(CallError::Invalid(violations.flatten().collect()))
        }
    }
}

fn invalid(field: &str, error: EncodeError) -> CallError {
    CallError::Invalid(violations(field, error))
}

/// An encoder's complaints as violations of a request's field.
pub(crate) fn violations(field: &str, error: EncodeError) -> Vec<Violation> {
    error
        .violations
        .into_iter()
        .map(|bad| Violation::new(format!("{field}[{}]", bad.column), bad.reason))
        .collect()
}
