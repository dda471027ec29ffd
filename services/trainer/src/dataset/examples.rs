//! What the networks learn from: two encoded tables, and pairs of their rows with labels.

use std::sync::Arc;

use decant_features::{Encoded, Layout};

/// Examples as pairs over shared tables: encoding happens once per distinct user and once per item, never once per row,
/// and a pair that nobody has rated yet is as easy to name as one that somebody has.
#[derive(Clone, Debug)]
pub struct Examples {
    /// The shape of both tables' rows.
    pub layout: Arc<Layout>,
    /// One row for each distinct combination of user and context features.
    pub queries: Arc<Encoded>,
    /// The user (0..users) behind each row of `queries`.
    pub users: Arc<Vec<u32>>,
    /// One row for each item of the catalog.
    pub items: Arc<Encoded>,
    /// The examples themselves.
    pub pairs: Vec<Pair>,
    /// One label in 0..=1 for each pair.
    pub labels: Vec<f32>,
}

/// One example: a row of the query table and a row of the item table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pair {
    /// Row of [`Examples::queries`].
    pub query: u32,
    /// Row of [`Examples::items`].
    pub item: u32,
}

impl Examples {
    /// The same tables with other pairs and labels.
    pub fn with_pairs(&self, pairs: Vec<Pair>, labels: Vec<f32>) -> Self {
        debug_assert_eq!(pairs.len(), labels.len());
        Self {
            pairs,
            labels,
            ..self.clone()
        }
    }

    /// The examples at the given positions.
    pub fn select(&self, positions: &[usize]) -> Self {
        let pairs = positions
            .iter()
            .map(|&position| self.pairs[position])
            .collect();
        let labels = positions
            .iter()
            .map(|&position| self.labels[position])
            .collect();
        self.with_pairs(pairs, labels)
    }

    /// Number of examples.
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Whether there is no example.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }
}
