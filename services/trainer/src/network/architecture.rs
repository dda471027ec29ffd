//! What a network computes: a sum of parts, each of which a recipe can ask for.

use decant_features::Layout;

use super::Parameter;
use crate::random::Random;

/// The parts of a network. Its logit is the sum of what they give.
///
/// Logistic regression is the first-order part alone; factorisation machines add interactions; DeepFM adds hidden
/// layers to both; DCN-v2 is cross layers beside hidden ones; a plain MLP is hidden layers alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Architecture {
    /// Width of a field's vector; 0 for none.
    pub embedding: usize,
    /// A weight for each id and each dense column, and a bias.
    pub first_order: bool,
    /// The inner products of all pairs of fields.
    pub interactions: bool,
    /// Cross layers, each of which multiplies the input in once more.
    pub cross: usize,
    /// Widths of the hidden layers; empty for none.
    pub hidden: Vec<usize>,
}

impl Architecture {
    /// Logistic regression.
    pub fn linear() -> Self {
        Self {
            embedding: 0,
            first_order: true,
            interactions: false,
            cross: 0,
            hidden: Vec::new(),
        }
    }

    /// Hidden layers over the fields' vectors.
    pub fn mlp(embedding: usize, hidden: &[usize]) -> Self {
        Self {
            embedding,
            first_order: false,
            interactions: false,
            cross: 0,
            hidden: hidden.to_vec(),
        }
    }

    /// A factorisation machine and hidden layers over the same vectors.
    pub fn deepfm(embedding: usize, hidden: &[usize]) -> Self {
        Self {
            first_order: true,
            interactions: true,
            ..Self::mlp(embedding, hidden)
        }
    }

    /// Cross layers and hidden layers side by side.
    pub fn dcn(embedding: usize, cross: usize, hidden: &[usize]) -> Self {
        Self {
            cross,
            ..Self::mlp(embedding, hidden)
        }
    }

    pub(crate) fn table_width(&self) -> usize {
        self.embedding + usize::from(self.first_order)
    }

    /// Columns that hidden and cross layers read: each side's fields, then its dense columns. None without vectors.
    pub(crate) fn input_width(&self, layout: &Layout) -> usize {
        if self.embedding == 0 {
            return 0;
        }
        [&layout.query, &layout.item]
            .iter()
            .map(|side| side.fields.len() * self.embedding + side.dense.len())
            .sum()
    }

    /// The dense parameters in the order in which [`Architecture::parts`] takes them, and which of them start random.
    fn shapes(&self, layout: &Layout) -> Vec<([usize; 2], Start)> {
        let input = self.input_width(layout);
        let mut shapes = Vec::new();
        if self.first_order {
            let dense = layout.query.dense.len() + layout.item.dense.len();
            shapes.extend([([dense, 1], Start::Zero), ([1, 1], Start::Zero)]);
        }
        for _ in 0..self.cross {
            shapes.extend([([input, input], Start::Glorot), ([1, input], Start::Zero)]);
        }
        if self.cross > 0 {
            shapes.push(([input, 1], Start::Glorot));
        }
        let mut width = input;
        for &hidden in &self.hidden {
            shapes.extend([([width, hidden], Start::Glorot), ([1, hidden], Start::Zero)]);
            width = hidden;
        }
        if !self.hidden.is_empty() {
            shapes.extend([([width, 1], Start::Glorot), ([1, 1], Start::Zero)]);
        }
        shapes
    }

    pub(super) fn initial_table(&self, rows: usize, random: &mut Random) -> Vec<f32> {
        // Small enough for the first epoch to look linear, wide enough to break the symmetry between columns.
        const SPREAD: f32 = 0.05;
        let width = self.table_width();
        let mut draw = |column: usize| {
            if column < self.embedding {
                SPREAD * (2.0 * random.uniform() - 1.0)
            } else {
                0.0
            }
        };
        (0..rows * width)
            .map(|position| draw(position % width))
            .collect()
    }

    pub(super) fn initial_parameters(
        &self,
        layout: &Layout,
        random: &mut Random,
    ) -> Vec<Parameter> {
        let mut initial = |(shape, start): ([usize; 2], Start)| {
            let bound = match start {
                Start::Zero => 0.0,
                Start::Glorot => (6.0 / (shape[0] + shape[1]) as f32).sqrt(),
            };
            let values = (0..shape[0] * shape[1])
                .map(|_| bound * (2.0 * random.uniform() - 1.0))
                .collect();
            Parameter { shape, values }
        };
        self.shapes(layout).into_iter().map(&mut initial).collect()
    }

    /// Names each part's parameters.
    pub(crate) fn parts<'p, P>(&self, parameters: &'p [P]) -> Parts<'p, P> {
        let mut rest = parameters.iter();
        let mut pair = || {
            Some(Affine {
                weight: rest.next()?,
                bias: rest.next()?,
            })
        };
        let first_order = if self.first_order { pair() } else { None };
        let cross = (0..self.cross).map_while(|_| pair()).collect();
        let cross_head = if self.cross > 0 { rest.next() } else { None };
        let mut pair = || {
            Some(Affine {
                weight: rest.next()?,
                bias: rest.next()?,
            })
        };
        let layers = if self.hidden.is_empty() {
            0
        } else {
            self.hidden.len() + 1
        };
        let hidden = (0..layers).map_while(|_| pair()).collect();
        Parts {
            first_order,
            cross,
            cross_head,
            hidden,
        }
    }
}

/// How a parameter begins.
#[derive(Clone, Copy)]
enum Start {
    Zero,
    /// Glorot's uniform distribution.
    Glorot,
}

/// A network's dense parameters by what they are for; absent parts are empty.
pub(crate) struct Parts<'p, P> {
    /// Weights of the dense columns, and the bias.
    pub(crate) first_order: Option<Affine<'p, P>>,
    /// The cross layers.
    pub(crate) cross: Vec<Affine<'p, P>>,
    /// From the last cross layer to the logit.
    pub(crate) cross_head: Option<&'p P>,
    /// The hidden layers, and the one that gives the logit.
    pub(crate) hidden: Vec<Affine<'p, P>>,
}

/// `x weight + bias`.
pub(crate) struct Affine<'p, P> {
    pub(crate) weight: &'p P,
    pub(crate) bias: &'p P,
}
