//! How sure a difference between two models is.

use serde::{Deserialize, Serialize};

use super::ranking::Ranking;
use crate::random::Random;

/// A mean and its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The value on the examples as they are.
    pub mean: f64,
    /// 2.5 % of resamples are below.
    pub low: f64,
    /// 2.5 % of resamples are above.
    pub high: f64,
}

/// How much higher the AUC of the second scores is than that of the first, as a mean over runs of `[first, second]`.
///
/// Whole users are drawn with replacement, because a user's rows are not independent; every run and both models see
/// the same draw, because what they share is no difference.
pub fn paired_gain(
    runs: &[[&[f32]; 2]],
    labels: &[f32],
    users: &[u32],
    resamples: usize,
    seed: u64,
) -> Interval {
    let rankings: Vec<[Ranking; 2]> = runs.iter().map(|scores| scores.map(Ranking::new)).collect();
    let gain = |weight: &dyn Fn(usize) -> f64| {
        let difference =
            |[first, second]: &[Ranking; 2]| second.auc(labels, weight) - first.auc(labels, weight);
        rankings.iter().map(difference).sum::<f64>() / rankings.len().max(1) as f64
    };
    let mean = gain(&|_| 1.0);

    let mut distinct = users.to_vec();
    distinct.sort_unstable();
    distinct.dedup();
    let highest = distinct.last().map_or(0, |user| *user as usize);
    let mut random = Random::new(seed, "bootstrap");
    let mut draw = || {
        let mut draws = vec![0.0; highest + 1];
        for _ in 0..distinct.len() {
            draws[distinct[random.below(distinct.len())] as usize] += 1.0;
        }
        gain(&|row| draws[users[row] as usize])
    };
    let mut gains: Vec<f64> = (0..resamples).map(|_| draw()).collect();
    gains.sort_by(f64::total_cmp);
    let quantile = |share: f64| {
        gains
            .get((share * resamples as f64) as usize)
            .copied()
            .unwrap_or(mean)
    };
    Interval {
        mean,
        low: quantile(0.025),
        high: quantile(0.975),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 50 users with 20 rows each; the second scores know more of the label.
    fn runs() -> (Vec<f32>, Vec<f32>, Vec<f32>, Vec<u32>) {
        let mut random = Random::new(3, "runs");
        let (mut first, mut second, mut labels, mut users) = (vec![], vec![], vec![], vec![]);
        for row in 0..1000 {
            let label = f32::from(u8::from(random.uniform() < 0.5));
            first.push(0.3 * label + random.uniform());
            second.push(0.9 * label + random.uniform());
            labels.push(label);
            users.push(row / 20);
        }
        (first, second, labels, users)
    }

    #[test]
    fn a_real_gain_excludes_zero_and_no_gain_is_exactly_none() {
        let (first, second, labels, users) = runs();
        let gain = paired_gain(&[[&first, &second]], &labels, &users, 200, 1);
        let expected = super::super::auc(&second, &labels) - super::super::auc(&first, &labels);
        assert!((gain.mean - expected).abs() < 1e-12);
        assert!(
            0.0 < gain.low && gain.low < gain.mean && gain.mean < gain.high,
            "{gain:?}"
        );
        let none = paired_gain(&[[&first, &first]], &labels, &users, 200, 1);
        assert_eq!((none.mean, none.low, none.high), (0.0, 0.0, 0.0));
    }

    #[test]
    fn the_seed_decides_the_draws() {
        let (first, second, labels, users) = runs();
        let gain = |seed| paired_gain(&[[&first, &second]], &labels, &users, 50, seed);
        assert_eq!(gain(1), gain(1));
        assert_ne!(gain(1), gain(2));
    }
}
