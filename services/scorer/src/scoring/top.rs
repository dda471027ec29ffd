//! The best of some scores.

use std::fmt;

/// A row and its score, in one number that is the less the better: the best come first in its order, and equal scores in
/// the order of their rows. Numbers are sorted several times as fast as pairs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ranked(u64);

/// The sign of a float.
const SIGN: u32 = 1 << 31;

impl Ranked {
    /// Scores are finite.
    pub(crate) fn new(row: u32, score: f32) -> Self {
        let bits = score.to_bits();
        // The bits of floats are in their order but for the sign, and those of negative ones are in the opposite one.
        let ascending = if bits & SIGN == 0 { bits ^ SIGN } else { !bits };
        Self(u64::from(!ascending) << 32 | u64::from(row))
    }

    pub(crate) fn row(self) -> u32 {
        self.0 as u32
    }

    pub(crate) fn score(self) -> f32 {
        let ascending = !((self.0 >> 32) as u32);
        let bits = if ascending & SIGN == 0 {
            !ascending
        } else {
            ascending ^ SIGN
        };
        f32::from_bits(bits)
    }
}

impl fmt::Debug for Ranked {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "row {}: {}", self.row(), self.score())
    }
}

/// Leaves the best `count`, best first.
pub(crate) fn best(ranked: &mut Vec<Ranked>, count: usize) {
    if count < ranked.len() {
        if count > 0 {
            ranked.select_nth_unstable(count - 1);
        }
        ranked.truncate(count);
    }
    ranked.sort_unstable();
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_best_are_the_head_of_a_stable_sort(
            // Few distinct values, so that ties are common.
            scores in prop::collection::vec((-4_i8..8).prop_map(|step| f32::from(step) / 8.0), 0..60),
            count in 0_usize..70,
        ) {
            let rows = || (0_u32..).zip(scores.iter().copied());
            let mut ranked: Vec<Ranked> = rows().map(|(row, score)| Ranked::new(row, score)).collect();
            best(&mut ranked, count);
            let mut sorted: Vec<(u32, f32)> = rows().collect();
            sorted.sort_by(|left, right| right.1.total_cmp(&left.1));
            sorted.truncate(count);
            let ranked: Vec<(u32, f32)> = ranked.iter().map(|one| (one.row(), one.score())).collect();
            prop_assert_eq!(ranked, sorted);
        }

        #[test]
        fn a_row_and_its_score_are_kept_and_ordered(
            row: u32,
            one in prop::num::f32::NORMAL | prop::num::f32::SUBNORMAL | prop::num::f32::ZERO,
            other in prop::num::f32::NORMAL | prop::num::f32::SUBNORMAL | prop::num::f32::ZERO,
        ) {
            let (left, right) = (Ranked::new(row, one), Ranked::new(row, other));
            prop_assert_eq!((left.row(), left.score().to_bits()), (row, one.to_bits()));
            prop_assert_eq!(left.cmp(&right), other.total_cmp(&one));
        }
    }
}
