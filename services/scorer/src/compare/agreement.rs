//! How two versions' scores of the same rows agree.

use decant_model::rollout::evidence::Comparison;

/// How many of the best are compared.
const BEST: usize = 10;

/// Probabilities are kept this far from 0 and 1, where the divergence would be infinite.
const CLOSEST: f64 = 1e-7;

/// Adds one request: the scores that the reference gave its rows, and those that the candidate did.
pub(super) fn add(comparison: &mut Comparison, reference: &[f32], candidate: &[f32]) {
    if reference.len() != candidate.len() || reference.is_empty() {
        return;
    }
    comparison.kl.add(divergence(reference, candidate));
    if let Some(overlap) = overlap(reference, candidate) {
        comparison.top_k.add(overlap);
    }
    if let Some(correlation) = spearman(reference, candidate) {
        comparison.spearman.add(correlation);
    }
}

/// The mean over the rows of the Kullback-Leibler divergence of one Bernoulli distribution from another, in nats.
fn divergence(reference: &[f32], candidate: &[f32]) -> f64 {
    let clamped = |score: f32| f64::from(score).clamp(CLOSEST, 1.0 - CLOSEST);
    let rows = reference.iter().zip(candidate);
    let sum: f64 = rows
        .map(|(&p, &q)| {
            let (p, q) = (clamped(p), clamped(q));
            p * (p / q).ln() + (1.0 - p) * ((1.0 - p) / (1.0 - q)).ln()
        })
        .sum();
    // Rounding may leave a hair below nothing.
    (sum / reference.len() as f64).max(0.0)
}

/// The share of the reference's best rows that are among the candidate's best; of all but one row when there are few.
fn overlap(reference: &[f32], candidate: &[f32]) -> Option<f64> {
    let count = BEST.min(reference.len() - 1);
    if count == 0 {
        return None;
    }
    let best = |scores: &[f32]| {
        let mut rows: Vec<usize> = (0..scores.len()).collect();
        // The sort keeps the order of equal scores, as rankings do.
        rows.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
        rows.truncate(count);
        rows
    };
    let (reference, candidate) = (best(reference), best(candidate));
    let shared = reference
        .iter()
        .filter(|row| candidate.contains(row))
        .count();
    Some(shared as f64 / count as f64)
}

/// Spearman's rank correlation; none when one side has all rows equal.
fn spearman(reference: &[f32], candidate: &[f32]) -> Option<f64> {
    let (reference, candidate) = (ranks(reference), ranks(candidate));
    let mean = (reference.len() + 1) as f64 / 2.0;
    let product = |a: &[f64], b: &[f64]| -> f64 {
        a.iter().zip(b).map(|(a, b)| (a - mean) * (b - mean)).sum()
    };
    let spread = product(&reference, &reference) * product(&candidate, &candidate);
    (spread > 0.0).then(|| (product(&reference, &candidate) / spread.sqrt()).clamp(-1.0, 1.0))
}

/// Each row's rank from 1; equal scores share the mean of theirs.
fn ranks(scores: &[f32]) -> Vec<f64> {
    let mut rows: Vec<usize> = (0..scores.len()).collect();
    rows.sort_by(|&a, &b| scores[a].total_cmp(&scores[b]));
    let mut ranks = vec![0.0; scores.len()];
    let mut below = 0;
    for equal in rows.chunk_by(|&a, &b| scores[a] == scores[b]) {
        let rank = below as f64 + (equal.len() + 1) as f64 / 2.0;
        for &row in equal {
            ranks[row] = rank;
        }
        below += equal.len();
    }
    ranks
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn divergence_is_what_paper_and_pencil_say() {
        let expected = 0.5 * (0.5_f64 / 0.25).ln() + 0.5 * (0.5_f64 / 0.75).ln();
        assert!((divergence(&[0.5], &[0.25]) - expected).abs() < 1e-7);
        assert!((divergence(&[0.5, 0.5], &[0.25, 0.5]) - expected / 2.0).abs() < 1e-7);
        assert!(divergence(&[1.0], &[0.0]).is_finite());
    }

    #[test]
    fn the_best_are_ten_or_all_but_one() {
        assert_eq!(overlap(&[0.5], &[0.5]), None);
        assert_eq!(overlap(&[0.1, 0.2], &[0.1, 0.2]), Some(1.0));
        assert_eq!(overlap(&[0.1, 0.2], &[0.2, 0.1]), Some(0.0));
        let rising: Vec<f32> = (0..20).map(|row| row as f32 / 20.0).collect();
        let falling: Vec<f32> = rising.iter().rev().copied().collect();
        assert_eq!(overlap(&rising, &falling), Some(0.0));
        let mut other = rising.clone();
        other.swap(10, 9);
        assert_eq!(overlap(&rising, &other), Some(0.9));
    }

    #[test]
    fn equal_scores_share_a_rank() {
        assert_eq!(ranks(&[0.3, 0.1, 0.3, 0.2]), [3.5, 1.0, 3.5, 2.0]);
        assert_eq!(spearman(&[0.1, 0.2, 0.3], &[0.1, 0.1, 0.1]), None);
        // Ranks 1, 2, 3 and 1, 3, 2: half.
        assert_eq!(spearman(&[0.1, 0.2, 0.3], &[0.1, 0.3, 0.2]), Some(0.5));
    }

    proptest! {
        #[test]
        fn what_agrees_with_itself_agrees_wholly(
            scores in prop::collection::vec(0.0_f32..1.0, 2..100)
        ) {
            prop_assert_eq!(divergence(&scores, &scores), 0.0);
            prop_assert_eq!(overlap(&scores, &scores), Some(1.0));
            let correlation = spearman(&scores, &scores);
            prop_assert!(correlation.is_none_or(|one| (one - 1.0).abs() < 1e-12));
        }

        #[test]
        fn all_stay_within_their_bounds(
            rows in prop::collection::vec((0.0_f32..=1.0, 0.0_f32..=1.0), 1..100)
        ) {
            let (reference, candidate): (Vec<f32>, Vec<f32>) = rows.into_iter().unzip();
            prop_assert!((0.0..=17.0).contains(&divergence(&reference, &candidate)));
            let overlap = overlap(&reference, &candidate);
            prop_assert!(overlap.is_none_or(|share| (0.0..=1.0).contains(&share)));
            let correlation = spearman(&reference, &candidate);
            prop_assert!(correlation.is_none_or(|one| (-1.0..=1.0).contains(&one)));
        }
    }
}
