//! What can be asked.

use decant_proto::scorer::v1 as wire;
use wire::rank_request::Candidates as WireCandidates;

use crate::columns::{Columns, Row};
use crate::error::Violation;

/// Asks for the best of some candidates.
#[derive(Clone, Debug, PartialEq)]
pub struct Rank {
    query: Row,
    candidates: Candidates,
    top: u32,
}

#[derive(Clone, Debug, PartialEq)]
enum Candidates {
    Ids(Vec<String>),
    Columns(Columns),
}

/// Asks for the best items of the version's catalog.
#[derive(Clone, Debug, PartialEq)]
pub struct Recommend {
    query: Row,
    top: u32,
    excluded: Vec<String>,
    returned: Vec<String>,
}

impl Rank {
    /// Candidates by id, from the version's catalog; `query` holds the user's and the context's features.
    pub fn items<T: Into<String>>(query: Row, ids: impl IntoIterator<Item = T>) -> Self {
        Self {
            query,
            candidates: Candidates::Ids(ids.into_iter().map(Into::into).collect()),
            top: 0,
        }
    }

    /// Candidates by their features, one row each; the answer names them by position.
    pub fn columns(query: Row, items: Columns) -> Self {
        Self {
            query,
            candidates: Candidates::Columns(items),
            top: 0,
        }
    }

    /// How many items the answer holds at most; all candidates, unless this is said.
    pub fn top(mut self, items: u32) -> Self {
        self.top = items;
        self
    }

    pub(crate) fn candidates(&self) -> usize {
        match &self.candidates {
            Candidates::Ids(ids) => ids.len(),
            Candidates::Columns(columns) => columns.rows(),
        }
    }

    pub(crate) fn violations(&self) -> Vec<Violation> {
        let mut violations = self.query.columns().violations("query");
        match &self.candidates {
            Candidates::Columns(columns) => violations.extend(columns.violations("item_columns")),
            Candidates::Ids(ids) if ids.is_empty() => violations.push(Violation {
                field: "item_ids".to_owned(),
                reason: "no item; at least 1 is expected".to_owned(),
            }),
            Candidates::Ids(_) => {}
        }
        violations
    }

    pub(crate) fn to_wire(&self, model: wire::ModelRef) -> wire::RankRequest {
        let candidates = match &self.candidates {
            Candidates::Ids(ids) => WireCandidates::ItemIds(ids.iter().collect()),
            Candidates::Columns(columns) => WireCandidates::ItemColumns(wire::Columns {
                columns: columns.to_wire(),
            }),
        };
        wire::RankRequest {
            model: Some(model),
            query: self.query.columns().to_wire(),
            candidates: Some(candidates),
            top_k: self.top,
        }
    }
}

impl Recommend {
    /// The best `top` items, at least one, for the user and the context whose features `query` holds.
    pub fn new(query: Row, top: u32) -> Self {
        Self {
            query,
            top,
            excluded: Vec::new(),
            returned: Vec::new(),
        }
    }

    /// Items to leave out, by id; ids that the catalog does not know are ignored.
    pub fn exclude<T: Into<String>>(mut self, ids: impl IntoIterator<Item = T>) -> Self {
        self.excluded.extend(ids.into_iter().map(Into::into));
        self
    }

    /// Columns of the catalog that the answer is to have of each item.
    pub fn with_columns<T: Into<String>>(mut self, columns: impl IntoIterator<Item = T>) -> Self {
        self.returned.extend(columns.into_iter().map(Into::into));
        self
    }

    pub(crate) fn violations(&self) -> Vec<Violation> {
        let mut violations = self.query.columns().violations("query");
        if self.top == 0 {
            violations.push(Violation {
                field: "top_k".to_owned(),
                reason: "must be at least 1".to_owned(),
            });
        }
        violations
    }

    pub(crate) fn to_wire(&self, model: wire::ModelRef) -> wire::RecommendRequest {
        wire::RecommendRequest {
            model: Some(model),
            query: self.query.columns().to_wire(),
            top_k: self.top,
            exclude_item_ids: self.excluded.clone(),
            return_columns: self.returned.clone(),
        }
    }
}
