//! The best of some scores.

/// A row and its score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Ranked {
    pub(crate) row: usize,
    pub(crate) score: f32,
}

/// Leaves the best `count`, best first; equal scores in the order of their rows. Scores are finite.
pub(crate) fn best(ranked: &mut Vec<Ranked>, count: usize) {
    // The row breaks ties, so no two compare as equal, and an unstable selection has but one outcome.
    let best_first = |left: &Ranked, right: &Ranked| {
        right
            .score
            .total_cmp(&left.score)
            .then(left.row.cmp(&right.row))
    };
    if count < ranked.len() {
        if count > 0 {
            ranked.select_nth_unstable_by(count - 1, best_first);
        }
        ranked.truncate(count);
    }
    ranked.sort_unstable_by(best_first);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_best_are_the_head_of_a_stable_sort(
            // Few distinct values, so that ties are common.
            scores in prop::collection::vec((0_u8..8).prop_map(|step| f32::from(step) / 8.0), 0..60),
            count in 0_usize..70,
        ) {
            let mut ranked: Vec<Ranked> =
                scores.iter().enumerate().map(|(row, &score)| Ranked { row, score }).collect();
            let mut sorted = ranked.clone();
            sorted.sort_by(|left, right| right.score.total_cmp(&left.score));
            sorted.truncate(count);
            best(&mut ranked, count);
            prop_assert_eq!(ranked, sorted);
        }
    }
}
