//! Training examples in parts, each of which some model has not seen.

use crate::dataset::Examples;
use crate::random::Random;

/// A random partition of the training examples.
#[derive(Clone, Debug)]
pub struct Folds {
    /// The fold of each example.
    fold: Vec<usize>,
    count: usize,
}

impl Folds {
    /// `count` folds of equal size, give or take one example.
    pub fn new(examples: usize, count: usize, seed: u64) -> Self {
        let mut order: Vec<usize> = (0..examples).collect();
        Random::new(seed, "folds").shuffle(&mut order);
        let mut fold = vec![0; examples];
        for (place, example) in order.into_iter().enumerate() {
            fold[example] = place % count.max(1);
        }
        Self { fold, count }
    }

    /// How many folds.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The positions of the examples that belong to a fold.
    pub fn inside(&self, fold: usize) -> Vec<usize> {
        (0..self.fold.len())
            .filter(|example| self.fold[*example] == fold)
            .collect()
    }

    /// The examples outside a fold, and those inside.
    pub fn split(&self, examples: &Examples, fold: usize) -> (Examples, Examples) {
        let outside: Vec<usize> = (0..self.fold.len())
            .filter(|example| self.fold[*example] != fold)
            .collect();
        (
            examples.select(&outside),
            examples.select(&self.inside(fold)),
        )
    }
}
