//! What is done with sessions before the first request: whatever ONNX Runtime does once, and a first measure of what rows cost.

use std::time::{Duration, Instant};

use decant_features::{Encoded, Field, SideLayout};
use decant_inference::{Error, Picked, Session};

use super::Servable;
use super::version::Items;
use crate::scoring::{Cost, Costs, Way};

/// Rows of a batch that is measured.
const ROWS: usize = 64;

/// How often the cost is measured. The least counts: this thread yields to all others, and what it took with pauses would
/// have the first requests refused.
const MEASURES: usize = 5;

/// Scores rows of the sizes that requests will have.
pub(super) fn warm_up(
    session: &mut Session,
    query: &Encoded,
    items: Option<&Items>,
) -> Result<Costs, Error> {
    session.warm_up(1, 1)?;
    if let Some(items) = items {
        // The real catalog: it also shows that each of its items has a finite score.
        session.score(query, items.encoded(), &mut Vec::new())?;
    }
    let costs = Costs::alike(measure(ROWS, || session.warm_up(1, ROWS))?);
    costs.set(Way::Pairs, measure(ROWS, || session.warm_up(ROWS, ROWS))?);
    Ok(costs)
}

/// Finds what items of the catalog cost.
pub(super) fn measure_catalog(servable: &Servable, query: &Encoded) -> Result<(), Error> {
    let Some(items) = servable.items() else {
        return Ok(());
    };
    let rows = ROWS.min(items.catalog().len());
    let (mut room, mut scores) = (Encoded::default(), Vec::new());
    let cost = measure(rows, || {
        let picked = Picked::Range(0..rows);
        servable.compute_items(0, query.into(), items, picked, &mut room, &mut scores)
    })?;
    servable.costs().set(Way::Catalog, cost);
    Ok(())
}

/// What so many rows cost, once the first batch of them has been computed.
fn measure(rows: usize, mut compute: impl FnMut() -> Result<(), Error>) -> Result<Cost, Error> {
    compute()?;
    let mut least = Duration::MAX;
    for _ in 0..MEASURES {
        let began = Instant::now();
        compute()?;
        least = least.min(began.elapsed());
    }
    Ok(Cost::measured(rows, least))
}

/// One row that holds the last id of each field.
pub(super) fn last_ids(side: &SideLayout) -> Encoded {
    let field_ids = |field: &Field| {
        let last = field.first_id + field.ids.saturating_sub(1);
        std::iter::repeat_n(i32::try_from(last).unwrap_or(i32::MAX), field.slots)
    };
    Encoded {
        rows: 1,
        slots: side.slots,
        dense_width: side.dense.len(),
        ids: side.fields.iter().flat_map(field_ids).collect(),
        weights: vec![1.0; side.slots],
        dense: vec![0.0; side.dense.len()],
    }
}
