//! Versions that pass all that is looked at before they see traffic, and should not be released. Each has one fault, so that
//! a test can say which gate is to notice it.

use decant_inference::testing::Graph;

use crate::tiny::{AGE, Tiny, encoded_age, encoded_films, graph};

/// Products of matrices that make a version some ten times as slow as the others, the whole way through a scorer counted.
const IDLE_PRODUCTS: usize = 6;

/// Products that take seconds, each time.
const MANY_IDLE_PRODUCTS: usize = 4_000;

/// The oldest user for whom [`Tiny::failing`] has scores.
const OLDEST: f32 = 60.0;

/// The age of a user for whom it has none.
pub const OLD: f32 = 70.0;

const _: () = assert!(AGE < OLDEST && OLDEST < OLD);

/// Moves a score by a third and more, from wherever it was below a half.
const SHIFT: f32 = 3.0;

impl Tiny {
    /// One that scores as the plain one of this bias does, to the last bit, and takes many times as long.
    pub fn slow(bias: f32) -> Self {
        Self::of_graph(Graph {
            idle_products: IDLE_PRODUCTS,
            ..graph(bias)
        })
    }

    /// One that takes so long to open that a test can end the process meanwhile, as a graph does that takes all memory.
    pub fn ponderous(bias: f32) -> Self {
        Self::of_graph(Graph {
            idle_products: MANY_IDLE_PRODUCTS,
            ..graph(bias)
        })
    }

    /// One that scores as the plain one of this bias does, to the last bit, but has no score for users as old as [`OLD`]; golden
    /// vectors and warm-up know none of them.
    pub fn failing(bias: f32) -> Self {
        Self::of_graph(Graph {
            no_score_above: Some(encoded_age(OLDEST)),
            ..graph(bias)
        })
    }

    /// One that ranks as the plain one of this bias does, and believes in everything far more.
    pub fn shifted(bias: f32) -> Self {
        Self::new(bias + SHIFT)
    }

    /// One that ranks the other way round, and has the same mean.
    pub fn reversed(bias: f32) -> Self {
        let plain = graph(bias);
        let films = encoded_films().ids;
        let ids = films.iter().map(|id| usize::try_from(*id).unwrap());
        let known = ids.clone().map(Graph::table);
        let mean = known.sum::<f32>() / films.len() as f32;
        let mut weights: Vec<f32> = (0..plain.vocabulary).map(Graph::table).collect();
        for id in ids {
            weights[id] = 2.0 * mean - weights[id];
        }
        Self::of_graph(Graph {
            weights: Some(weights),
            ..plain
        })
    }

    fn of_graph(graph: Graph) -> Self {
        Self::of(&graph, 0.0, 0)
    }
}
