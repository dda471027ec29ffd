//! Messages as work, or everything that is wrong with them.

use std::collections::HashSet;

use decant_features::{Columns, Side};
use decant_model::{ModelName, SlotName, Texts};
use decant_proto::scorer::v1 as wire;
use wire::rank_request::Candidates as WireCandidates;

use self::columns::Problems;
use crate::error::{CallError, Violation};
use crate::scoring::{Candidates, Work};
use crate::servable::{Place, Servable};

pub(crate) mod columns;

/// Unknown items that an error names; it counts the others.
const UNKNOWN_SHOWN: usize = 10;

/// A ranking to be done.
pub(super) struct Rank {
    pub(super) work: Work,
    pub(super) rows: usize,
    /// The candidates' ids; empty when they came by columns.
    pub(super) ids: Texts,
}

/// A recommendation to be made.
pub(super) struct Recommend {
    pub(super) work: Work,
    pub(super) rows: usize,
    pub(super) return_columns: Vec<String>,
}

/// Which place is asked.
pub(super) fn place(model: Option<wire::ModelRef>) -> Result<Place, CallError> {
    let Some(reference) = model else {
        return Err(CallError::Invalid(vec![Violation::new(
            "model",
            "missing; say which model is asked",
        )]));
    };
    match (
        ModelName::try_from(reference.model),
        SlotName::or_default(&reference.slot),
    ) {
        (Ok(model), Ok(slot)) => Ok(Place { model, slot }),
        (model, slot) => {
            let model = model
                .err()
                .map(|error| Violation::new("model.model", error.to_string()));
            let slot = slot
                .err()
                .map(|error| Violation::new("model.slot", error.to_string()));
            Err(CallError::Invalid(model.into_iter().chain(slot).collect()))
        }
    }
}

/// The columns of `Score`, which hold both sides' features.
pub(super) fn score(
    columns: Vec<wire::Column>,
    mut problems: Problems<'_>,
    max_rows: usize,
) -> Result<Columns, CallError> {
    let read = columns::read(
        "columns",
        columns,
        &[Side::Query, Side::Item],
        max_rows,
        &mut problems,
    );
    if let Some(columns) = &read {
        problems.rows("columns", columns.rows(), max_rows);
    }
    problems.or(read)
}

/// The candidates of `Rank`, and its one query row.
pub(super) fn rank(
    request: wire::RankRequest,
    servable: &Servable,
    mut problems: Problems<'_>,
    max_rows: usize,
) -> Result<Rank, CallError> {
    let query = query(request.query, &mut problems);
    let (candidates, ids) = match request.candidates {
        None => {
            problems.add(
                "candidates",
                "missing; name items by id, or describe them by columns",
            );
            (None, Texts::default())
        }
        Some(WireCandidates::ItemColumns(items)) => {
            let (field, columns) = ("item_columns", items.columns);
            let read = columns::read(field, columns, &[Side::Item], max_rows, &mut problems);
            if let Some(columns) = &read {
                problems.rows("item_columns", columns.rows(), max_rows);
            }
            (read.map(Candidates::Columns), Texts::default())
        }
        Some(WireCandidates::ItemIds(items)) => {
            problems.rows("item_ids", items.ids.len(), max_rows);
            (None, items.ids)
        }
    };
    let (query, candidates) = match candidates {
        Some(candidates) => problems.or(query.map(|query| (query, candidates)))?,
        None => {
            // The ids are looked up last: a request that is wrong in itself is told so, whatever the catalog holds.
            let query = problems.or(query)?;
            (query, Candidates::Catalog(catalog_rows(&ids, servable)?))
        }
    };
    let rows = match &candidates {
        Candidates::Catalog(rows) => rows.len(),
        Candidates::Columns(columns) => columns.rows(),
    };
    let work = Work::Rank {
        query,
        candidates,
        top_k: request.top_k as usize,
    };
    Ok(Rank { work, rows, ids })
}

/// The one query row of `Recommend`, and what it wants of the catalog.
pub(super) fn recommend(
    request: wire::RecommendRequest,
    servable: &Servable,
    mut problems: Problems<'_>,
    max_rows: usize,
) -> Result<Recommend, CallError> {
    let query = query(request.query, &mut problems);
    let top_k = request.top_k as usize;
    if top_k == 0 {
        problems.add("top_k", "must be at least 1");
    }
    let excluded_ids = request.exclude_item_ids;
    let excluded = excluded_ids.len();
    problems.at_most("exclude_item_ids", (excluded, "items"), max_rows);
    let items = servable.items();
    if let Some(items) = items {
        let answered = top_k.min(items.catalog().len());
        problems.at_most("top_k", (answered, "items"), max_rows);
        let mut asked = HashSet::new();
        for (position, column) in request.return_columns.iter().enumerate() {
            let field = || format!("return_columns[{position}]");
            if items.catalog().columns().get(column).is_none() {
                problems.add(field(), format!("the catalog has no column `{column}`"));
            } else if !asked.insert(column) {
                // Each would be written out for every item, however many a message has room for.
                problems.add(field(), "given twice");
            }
        }
    }
    let query = problems.or(query)?;
    let catalog = items.ok_or(CallError::NoCatalog)?.catalog();
    let excluded: HashSet<usize> = excluded_ids
        .iter()
        .filter_map(|id| catalog.row(id.as_str()))
        .collect();
    let work = Work::Recommend {
        query,
        excluded,
        top_k,
    };
    Ok(Recommend {
        work,
        rows: catalog.len(),
        return_columns: request.return_columns,
    })
}

fn query(columns: Vec<wire::Column>, problems: &mut Problems<'_>) -> Option<Columns> {
    let query = columns::read("query", columns, &[Side::Query], 1, problems)?;
    if query.rows() != 1 {
        problems.add(
            "query",
            format!("one row is expected, but there are {}", query.rows()),
        );
    }
    Some(query)
}

fn catalog_rows(ids: &Texts, servable: &Servable) -> Result<Vec<usize>, CallError> {
    let catalog = servable.items().ok_or(CallError::NoCatalog)?.catalog();
    let mut rows = Vec::with_capacity(ids.len());
    for id in ids.keys() {
        let Some(row) = catalog.row(id) else { break };
        rows.push(row);
    }
    if rows.len() == ids.len() {
        return Ok(rows);
    }
    let unknown = ids.iter().filter(|id| catalog.row(*id).is_none());
    let more = unknown.clone().count().saturating_sub(UNKNOWN_SHOWN);
    let shown = unknown.take(UNKNOWN_SHOWN).map(str::to_owned).collect();
    Err(CallError::UnknownItems { shown, more })
}
