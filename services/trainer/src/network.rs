//! Networks over embeddings: what they compute, how they are fitted, and their numbers.
//!
//! The embedding table is a plain array: a batch's vectors are pooled from it by hand and enter the graph as a leaf,
//! so that a step costs what the batch touches and not what the vocabulary holds. Everything behind that leaf is
//! burn's, on one core.

mod architecture;
mod history;
mod pooling;
mod forward;
mod optimizer;
mod average;
mod fit;

use std::sync::Arc;

use decant_features::Layout;

pub use architecture::Architecture;
pub(crate) use architecture::{Affine, Parts};
pub use fit::{Fit, FitError, FitOptions, Fitted};
pub use history::History;

use crate::dataset::Examples;
use crate::random::Random;
use pooling::Pooling;

/// A network and its weights.
#[derive(Clone, Debug)]
pub struct Network {
    architecture: Architecture,
    /// With the history's fields, where it reads one.
    layout: Arc<Layout>,
    history: Option<Arc<History>>,
    pooling: Arc<Pooling>,
    table: Table,
    dense: Vec<Parameter>,
}

/// Embedding rows, row-major. The last column is the first-order weight, where the architecture has one.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Table {
    pub(crate) width: usize,
    pub(crate) values: Vec<f32>,
}

/// A matrix of weights, row-major; a bias has one row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Parameter {
    pub(crate) shape: [usize; 2],
    pub(crate) values: Vec<f32>,
}

impl Network {
    /// A network with fresh weights, which depend on the seed only.
    pub fn new(
        architecture: Architecture,
        layout: &Arc<Layout>,
        history: Option<Arc<History>>,
        seed: u64,
    ) -> Self {
        let layout = history.as_ref().map_or_else(
            || layout.clone(),
            |history| Arc::new(history.extend(layout)),
        );
        let mut random = Random::new(seed, "weights");
        let width = architecture.table_width();
        let table = Table {
            width,
            values: architecture.initial_table(layout.vocabulary, &mut random),
        };
        let dense = architecture.initial_parameters(&layout, &mut random);
        let pooling = Arc::new(Pooling::new(&layout));
        Self {
            architecture,
            layout,
            history,
            pooling,
            table,
            dense,
        }
    }

    /// How many numbers were learnt.
    pub fn parameters(&self) -> usize {
        self.table.values.len()
            + self
                .dense
                .iter()
                .map(|parameter| parameter.values.len())
                .sum::<usize>()
    }

    /// The logit of each example.
    pub fn logits(&self, examples: &Examples) -> Vec<f32> {
        forward::logits(self, examples)
    }

    /// The score, a probability, of each example.
    pub fn scores(&self, examples: &Examples) -> Vec<f32> {
        self.logits(examples).into_iter().map(sigmoid).collect()
    }

    pub(crate) fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    pub(crate) fn history(&self) -> Option<&History> {
        self.history.as_deref()
    }

    pub(crate) fn table(&self) -> &Table {
        &self.table
    }

    pub(crate) fn dense(&self) -> &[Parameter] {
        &self.dense
    }
}

#[cfg(test)]
impl Network {
    /// Weights that are far from zero everywhere, biases included.
    pub(crate) fn with_wide_weights(
        architecture: Architecture,
        layout: &Arc<Layout>,
        history: Option<Arc<History>>,
        seed: u64,
    ) -> Self {
        let mut network = Self::new(architecture, layout, history, seed);
        let mut random = Random::new(seed, "wide");
        let dense = network
            .dense
            .iter_mut()
            .flat_map(|parameter| &mut parameter.values);
        for value in network.table.values.iter_mut().chain(dense) {
            *value += random.uniform() - 0.5;
        }
        network
    }
}

/// The logistic function.
pub(crate) fn sigmoid(logit: f32) -> f32 {
    1.0 / (1.0 + (-logit).exp())
}

#[cfg(test)]
mod tests;
