//! The best of some scores.

/// A row and its score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Ranked {
    pub(crate) row: usize,
    pub(crate) score: f32,
}

/// The best `count` of the rows to keep, best first; equal scores in the order of their rows. Scores are finite:
/// a session gives no others.
pub(crate) fn best(scores: &[f32], count: usize, keep: impl Fn(usize) -> bool) -> Vec<Ranked> {
    let rows = scores.iter().enumerate().filter(|(row, _)| keep(*row));
    let mut ranked: Vec<Ranked> = rows
        .map(|(row, score)| Ranked { row, score: *score })
        .collect();
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
    ranked
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
            every in 1_usize..4,
        ) {
            let keep = |row: usize| row.is_multiple_of(every);
            let mut sorted: Vec<Ranked> =
                scores.iter().enumerate().filter(|(row, _)| keep(*row)).map(|(row, &score)| Ranked { row, score }).collect();
            sorted.sort_by(|left, right| right.score.total_cmp(&left.score));
            sorted.truncate(count);
            prop_assert_eq!(best(&scores, count, keep), sorted);
        }
    }
}
