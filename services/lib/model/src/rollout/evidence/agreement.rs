//! How two versions' scores of the same rows agree.

/// Scores are kept so far from 0 and 1, where the divergence is infinite.
const MARGIN: f64 = 1e-7;

/// How many of the best are compared.
const BEST: usize = 10;

/// How a candidate's scores agree with a reference's, on one request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Agreement {
    /// The mean over the rows of the Kullback-Leibler divergence of the candidate's Bernoulli distribution from the
    /// reference's, in nats.
    pub kl: f64,
    /// The share of the reference's best that are among the candidate's best; none of a single row.
    pub top_k: Option<f64>,
    /// Spearman's rank correlation; none of a single row, or where one side scores all rows alike.
    pub spearman: Option<f64>,
}

impl Agreement {
    /// Compares scores row by row; none when there is no row, or not as many on both sides.
    pub fn of(candidate: &[f32], reference: &[f32]) -> Option<Self> {
        let rows = reference.len();
        if rows == 0 || candidate.len() != rows {
            return None;
        }
        let pairs = candidate.iter().zip(reference);
        let kl: f64 = pairs
            .map(|(candidate, reference)| divergence(*candidate, *reference))
            .sum();
        let orders = [candidate, reference].map(best_first);
        Some(Self {
            kl: kl / rows as f64,
            top_k: overlap(&orders[0], &orders[1]),
            spearman: correlation(&ranks(candidate, &orders[0]), &ranks(reference, &orders[1])),
        })
    }
}

fn divergence(candidate: f32, reference: f32) -> f64 {
    let [q, p] = [candidate, reference].map(|score| f64::from(score).clamp(MARGIN, 1.0 - MARGIN));
    p * (p / q).ln() + (1.0 - p) * ((1.0 - p) / (1.0 - q)).ln()
}

/// Rows in the order of a ranking: equal scores in the order of their rows.
fn best_first(scores: &[f32]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|left, right| scores[*right].total_cmp(&scores[*left]));
    order
}

/// Of all but one, when there are not more than the best: otherwise everything would be among them.
fn overlap(candidate: &[usize], reference: &[usize]) -> Option<f64> {
    let best = BEST.min(reference.len() - 1);
    let common = reference[..best]
        .iter()
        .filter(|row| candidate[..best].contains(row));
    (best > 0).then(|| common.count() as f64 / best as f64)
}

/// The rank of each row; rows with equal scores share the mean of theirs.
fn ranks(scores: &[f32], order: &[usize]) -> Vec<f64> {
    let mut ranks = vec![0.0; scores.len()];
    let mut above = 0;
    for equal in order.chunk_by(|left, right| scores[*left] == scores[*right]) {
        let mean = above as f64 + (equal.len() - 1) as f64 / 2.0;
        for row in equal {
            ranks[*row] = mean;
        }
        above += equal.len();
    }
    ranks
}

/// Pearson's correlation of ranks, of which both sides have the same mean.
fn correlation(candidate: &[f64], reference: &[f64]) -> Option<f64> {
    let mean = (reference.len() - 1) as f64 / 2.0;
    let (mut both, mut of_candidate, mut of_reference) = (0.0, 0.0, 0.0);
    for (candidate, reference) in candidate.iter().zip(reference) {
        let (candidate, reference) = (candidate - mean, reference - mean);
        both += candidate * reference;
        of_candidate += candidate * candidate;
        of_reference += reference * reference;
    }
    let scale = (of_candidate * of_reference).sqrt();
    (scale > 0.0).then(|| both / scale)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn near(found: Option<f64>, expected: f64) {
        let found = found.unwrap();
        assert!((found - expected).abs() < 1e-6, "{found}, not {expected}");
    }

    #[test]
    fn the_divergence_is_the_mean_of_the_rows() {
        // 0.5 ln 2 + 0.5 ln (2/3), and 0.25 ln (1/3) + 0.75 ln 3.
        let agreement = Agreement::of(&[0.25, 0.75], &[0.5, 0.25]).unwrap();
        near(Some(agreement.kl), (0.143_841_036 + 0.549_306_144) / 2.0);
        // It is not symmetric.
        let agreement = Agreement::of(&[0.5], &[0.25]).unwrap();
        near(Some(agreement.kl), 0.130_812_036);
        let certain = Agreement::of(&[1.0], &[0.0]).unwrap();
        assert!(certain.kl > 10.0 && certain.kl.is_finite(), "{certain:?}");
    }

    #[test]
    fn the_best_ten_are_compared_or_all_but_one() {
        let falling: Vec<f32> = (0..20).map(|row| 1.0 - row as f32 / 20.0).collect();
        // The candidate has rows 10, 11 and 12 instead of rows 0, 1 and 2.
        let mut moved = falling.clone();
        for row in 0..3 {
            moved.swap(row, row + 10);
        }
        near(Agreement::of(&moved, &falling).unwrap().top_k, 0.7);
        let few = Agreement::of(&[0.1, 0.2, 0.3], &[0.3, 0.2, 0.1]).unwrap();
        near(few.top_k, 0.5);
        // Equal scores are ranked in the order of the rows.
        let equal = Agreement::of(&[0.5, 0.5, 0.5], &[0.1, 0.2, 0.3]).unwrap();
        near(equal.top_k, 0.5);
        assert_eq!(Agreement::of(&[0.1], &[0.3]).unwrap().top_k, None);
    }

    #[test]
    fn equal_scores_share_their_ranks() {
        let same = Agreement::of(&[0.1, 0.2, 0.4], &[0.3, 0.5, 0.6]).unwrap();
        near(same.spearman, 1.0);
        let opposite = Agreement::of(&[0.4, 0.2, 0.1], &[0.3, 0.5, 0.6]).unwrap();
        near(opposite.spearman, -1.0);
        // Ranks 0, 1.5, 1.5, 3 and 0, 1, 2, 3: 4.5 / sqrt(4.5 * 5).
        let tied = Agreement::of(&[0.9, 0.5, 0.5, 0.1], &[0.9, 0.8, 0.7, 0.6]).unwrap();
        near(tied.spearman, 0.948_683_298);
        let constant = Agreement::of(&[0.5, 0.5], &[0.1, 0.2]).unwrap();
        assert_eq!(constant.spearman, None);
        assert_eq!(Agreement::of(&[0.1], &[0.3]).unwrap().spearman, None);
    }

    #[test]
    fn what_has_not_the_same_rows_is_not_compared() {
        assert_eq!(Agreement::of(&[], &[]), None);
        assert_eq!(Agreement::of(&[0.5], &[0.5, 0.5]), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn who_says_the_same_agrees_and_nobody_leaves_the_bounds(
            // Few distinct values, so that ties are common.
            pairs in prop::collection::vec((0_u8..=16, 0_u8..=16), 1..40),
        ) {
            let [one, other]: [Vec<f32>; 2] = [
                pairs.iter().map(|pair| f32::from(pair.0) / 16.0).collect(),
                pairs.iter().map(|pair| f32::from(pair.1) / 16.0).collect(),
            ];
            let same = Agreement::of(&one, &one).unwrap();
            prop_assert!(same.kl.abs() < 1e-9);
            prop_assert!(same.top_k.is_none_or(|top_k| top_k == 1.0));
            prop_assert!(same.spearman.is_none_or(|rank| (rank - 1.0).abs() < 1e-9));
            prop_assert_eq!(same.top_k.is_some(), one.len() > 1);

            let there = Agreement::of(&one, &other).unwrap();
            let back = Agreement::of(&other, &one).unwrap();
            prop_assert!(there.kl >= -1e-9);
            prop_assert!(there.top_k.is_none_or(|top_k| (0.0..=1.0).contains(&top_k)));
            // Both are the same from either side.
            prop_assert_eq!(there.top_k, back.top_k);
            let close = |(there, back): (f64, f64)| (there - back).abs() < 1e-9 && there.abs() < 1.0 + 1e-9;
            prop_assert!(there.spearman.zip(back.spearman).is_none_or(close));
            prop_assert_eq!(there.spearman.is_some(), back.spearman.is_some());
        }
    }
}
