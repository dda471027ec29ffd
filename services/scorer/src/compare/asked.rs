//! What a request asked, in terms that each version of the slot understands: rows of one version's catalog are other rows of
//! another's, and columns that fit one schema may not fit another.

use std::collections::HashSet;

use decant_features::{Catalog, Columns, Side};

use crate::error::CallError;
use crate::scoring::{Candidates, Scored, Work};
use crate::servable::{Handle, Servable};
use crate::service::request::columns::fit;

/// Items of a catalog that are compared for a recommendation, at most, evenly spread over it. To score all of it is one
/// thing, to sort hundreds of thousands of scores for each sample another. Of other requests all rows are compared.
const CATALOG_ROWS: usize = 1_000;

/// A request.
pub(super) struct Asked<'a> {
    work: &'a Work,
    /// The catalog of the version that answered.
    catalog: Option<&'a Catalog>,
    /// The items that are compared, if they are known by id.
    ids: Vec<&'a str>,
}

/// A request as one version is asked it.
#[derive(Debug)]
pub(super) struct Rows {
    pub(super) work: Work,
    pub(super) count: usize,
}

impl<'a> Asked<'a> {
    /// The work that a version has done. Of a recommendation those items are compared that all versions know.
    pub(super) fn of(work: &'a Work, by: &'a Handle, handles: &[Handle]) -> Self {
        let catalog = catalog(by.servable());
        let ids = match (work, catalog) {
            (
                Work::Rank {
                    candidates: Candidates::Catalog(rows),
                    ..
                },
                Some(catalog),
            ) => rows.iter().map(|row| catalog.id(*row)).collect(),
            (Work::Recommend { excluded, .. }, Some(catalog)) => {
                let is_known = |id: &&str| {
                    let mut others = handles
                        .iter()
                        .filter_map(|other| self::catalog(other.servable()));
                    others.all(|other| other.row(*id).is_some())
                };
                spread(catalog.len())
                    .filter(|row| !excluded.contains(row))
                    .map(|row| catalog.id(row))
                    .filter(is_known)
                    .collect()
            }
            _ => Vec::new(),
        };
        Self { work, catalog, ids }
    }

    /// The rows that are compared, all of them scored; none when there is none.
    ///
    /// # Errors
    /// When the version would refuse the request.
    pub(super) fn rows(&self, servable: &Servable) -> Result<Option<Rows>, CallError> {
        let schema = servable.schema();
        let (query, candidates) = match self.work {
            Work::Score { columns } => {
                fit("columns", &[Side::Query, Side::Item], columns, schema)?;
                let (work, count) = (self.work.clone(), columns.rows());
                return Ok(Some(Rows { work, count }));
            }
            Work::Rank {
                query,
                candidates: Candidates::Columns(items),
                ..
            } => {
                fit("item_columns", &[Side::Item], items, schema)?;
                (query, Candidates::Columns(items.clone()))
            }
            Work::Rank { query, .. } | Work::Recommend { query, .. } => {
                (query, Candidates::Catalog(self.catalog_rows(servable)?))
            }
        };
        check_query(query, servable)?;
        let count = match &candidates {
            Candidates::Columns(items) => items.rows(),
            Candidates::Catalog(rows) => rows.len(),
        };
        let work = Work::Rank {
            query: query.clone(),
            candidates,
            top_k: 0,
        };
        Ok((count > 0).then_some(Rows { work, count }))
    }

    /// The whole request, if the rows that are compared are not all of it, and the version takes it.
    pub(super) fn whole(&self, servable: &Servable) -> Option<Rows> {
        let Work::Recommend {
            query,
            excluded,
            top_k,
        } = self.work
        else {
            return None;
        };
        let (catalog, own) = (self.catalog?, catalog(servable)?);
        if self.ids.len() == own.len() || check_query(query, servable).is_err() {
            return None;
        }
        let excluded: HashSet<usize> = excluded
            .iter()
            .filter_map(|row| own.row(catalog.id(*row)))
            .collect();
        let work = Work::Recommend {
            query: query.clone(),
            excluded,
            top_k: *top_k,
        };
        let count = own.len();
        (count > 0).then_some(Rows { work, count })
    }

    /// Scores in the order of the rows.
    pub(super) fn by_row(&self, scored: Scored) -> Option<Vec<f32>> {
        if let Work::Score { .. } = self.work {
            return scored.into_scores().ok();
        }
        let ranked = scored.into_ranked().ok()?;
        let mut scores = vec![0.0; ranked.len()];
        for ranked in ranked {
            *scores.get_mut(ranked.row() as usize)? = ranked.score();
        }
        Some(scores)
    }

    fn catalog_rows(&self, servable: &Servable) -> Result<Vec<usize>, CallError> {
        let catalog = catalog(servable).ok_or(CallError::NoCatalog)?;
        let rows: Vec<usize> = self.ids.iter().filter_map(|id| catalog.row(*id)).collect();
        if rows.len() == self.ids.len() {
            return Ok(rows);
        }
        Err(CallError::UnknownItems {
            shown: Vec::new(),
            more: self.ids.len() - rows.len(),
        })
    }
}

fn check_query(query: &Columns, servable: &Servable) -> Result<(), CallError> {
    fit("query", &[Side::Query], query, servable.schema())
}

fn catalog(servable: &Servable) -> Option<&Catalog> {
    servable.items().map(|items| items.catalog())
}

/// Rows that are evenly spread over so many.
fn spread(rows: usize) -> impl Iterator<Item = usize> {
    let count = rows.min(CATALOG_ROWS);
    (0..count).map(move |number| number * rows / count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_a_small_catalog_is_compared_and_of_a_large_one_rows_from_all_over_it() {
        assert_eq!(spread(0).count(), 0);
        assert!(spread(CATALOG_ROWS).eq(0..CATALOG_ROWS));
        let rows: Vec<usize> = spread(CATALOG_ROWS * 5 / 2).collect();
        assert_eq!(rows.len(), CATALOG_ROWS);
        assert_eq!(rows[..4], [0, 2, 5, 7]);
        assert_eq!(rows[CATALOG_ROWS - 1], 2_497);
    }
}
