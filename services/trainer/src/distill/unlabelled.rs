//! Pairs of users and items that nobody has rated, for teachers to label.

use std::collections::HashSet;

use thiserror::Error;

use crate::dataset::{Examples, Pair};
use crate::random::Random;

/// Users and items are drawn by how often they occur, to this power: near to what is served, without drowning in the
/// few most frequent.
const FLATTEN: f64 = 0.75;

/// Draws allowed for each pair wanted, before the users are held to have rated nearly everything.
const MOST_DRAWS: usize = 50;

/// There are not enough pairs that nobody has rated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "distill.unlabelled asks for {wanted} pairs that nobody has rated, but only {found} were found; use less"
)]
pub struct UnlabelledError {
    /// How many are wanted.
    pub wanted: usize,
    /// How many were found.
    pub found: usize,
}

/// Draws `count` different pairs that are in none of `known`, from the users and items of the first. Their labels are
/// 0, and mean nothing.
///
/// # Errors
/// When nearly everything is rated.
pub fn unlabelled(
    known: &[&Examples],
    count: usize,
    seed: u64,
) -> Result<Examples, UnlabelledError> {
    let train = known[0];
    let user = |pair: &Pair| train.users[pair.query as usize];
    let mut taken: HashSet<(u32, u32)> = known
        .iter()
        .flat_map(|examples| &examples.pairs)
        .map(|pair| (user(pair), pair.item))
        .collect();
    let queries = Frequencies::new(
        train.queries.rows,
        train.pairs.iter().map(|pair| pair.query),
    );
    let items = Frequencies::new(train.items.rows, train.pairs.iter().map(|pair| pair.item));
    let mut random = Random::new(seed, "unlabelled");
    let mut pairs = Vec::with_capacity(count);
    for _ in 0..count.saturating_mul(MOST_DRAWS) {
        if pairs.len() == count {
            break;
        }
        let pair = Pair {
            query: queries.draw(&mut random),
            item: items.draw(&mut random),
        };
        if taken.insert((user(&pair), pair.item)) {
            pairs.push(pair);
        }
    }
    if pairs.len() < count {
        return Err(UnlabelledError {
            wanted: count,
            found: pairs.len(),
        });
    }
    let labels = vec![0.0; pairs.len()];
    Ok(train.with_pairs(pairs, labels))
}

/// How often rows occur, flattened and summed up from the first row on.
struct Frequencies(Vec<f64>);

impl Frequencies {
    fn new(rows: usize, occurrences: impl Iterator<Item = u32>) -> Self {
        let mut counts = vec![0.0_f64; rows];
        for row in occurrences {
            counts[row as usize] += 1.0;
        }
        let mut sum = 0.0;
        for count in &mut counts {
            sum += count.powf(FLATTEN);
            *count = sum;
        }
        Self(counts)
    }

    fn draw(&self, random: &mut Random) -> u32 {
        let sum = self.0.last().copied().unwrap_or(0.0);
        // Two draws make the 53 bits of a double.
        let uniform = (f64::from(random.bits()) + f64::from(random.bits()) / 4_294_967_296.0)
            / 4_294_967_296.0;
        self.0
            .partition_point(|below| *below <= uniform * sum)
            .min(self.0.len() - 1) as u32
    }
}
