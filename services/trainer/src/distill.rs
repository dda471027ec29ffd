//! How teachers reach students: what is labelled, by whom, and what a difference costs.
//!
//! Teachers remember their own training examples, so their scores there are little more than the labels again. Two
//! things make them worth asking: labels out of fold ([`Folds`]), and pairs that nobody has rated ([`unlabelled`]).

mod loss;
mod folds;
mod unlabelled;

pub use folds::Folds;
pub use loss::{Loss, cross_entropy};
pub use unlabelled::{UnlabelledError, unlabelled};

use crate::dataset::Examples;
use crate::recipe::DistillSpec;

/// What a student learns from.
#[derive(Clone, Debug)]
pub struct Lessons {
    /// The labelled examples, then those that only teachers have labelled.
    pub examples: Examples,
    /// How many of the examples have a label.
    labelled: usize,
    /// The teachers' logits; empty where there are none.
    soft: Vec<f32>,
    distill: DistillSpec,
}

impl Lessons {
    /// Labels only.
    pub fn from_labels(train: &Examples) -> Self {
        let distill = DistillSpec {
            alpha: 1.0,
            ..DistillSpec::default()
        };
        Self {
            examples: train.clone(),
            labelled: train.len(),
            soft: Vec::new(),
            distill,
        }
    }

    /// Labels and teachers: `soft` are the teachers' logits of the training examples and of `unlabelled`.
    pub fn from_teachers(
        train: &Examples,
        soft: Vec<f32>,
        unlabelled: (&Examples, Vec<f32>),
        distill: &DistillSpec,
    ) -> Self {
        let (more, more_soft) = unlabelled;
        let concat = |first: &[f32], second: &[f32]| [first, second].concat();
        let pairs = [&train.pairs[..], &more.pairs[..]].concat();
        Self {
            examples: train.with_pairs(pairs, concat(&train.labels, &more.labels)),
            labelled: train.len(),
            soft: concat(&soft, &more_soft),
            distill: distill.clone(),
        }
    }

    /// The loss of the example at a position with this logit, and its derivative.
    pub fn objective(&self, position: usize, logit: f32) -> (f32, f32) {
        let alpha = if position < self.labelled {
            self.distill.alpha
        } else {
            0.0
        };
        let (mut loss, mut slope) = (0.0, 0.0);
        if alpha > 0.0 {
            let (value, derivative) = cross_entropy(logit, self.examples.labels[position]);
            loss += alpha * value;
            slope += alpha * derivative;
        }
        if alpha < 1.0 {
            let (value, derivative) =
                self.distill
                    .loss
                    .of(logit, self.soft[position], self.distill.temperature);
            loss += (1.0 - alpha) * value;
            slope += (1.0 - alpha) * derivative;
        }
        (loss, slope)
    }
}

#[cfg(test)]
mod tests;
