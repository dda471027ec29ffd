//! Metrics of scores as probabilities, and as decisions at a threshold.

use serde::{Deserialize, Serialize};

use super::{auc, group_auc};

/// Quality of scores on one set of examples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Area under the ROC curve.
    pub auc: f64,
    /// The same within users, weighted by their rows.
    pub group_auc: f64,
    /// Mean cross-entropy, in nats.
    pub log_loss: f64,
    /// Expected calibration error over ten bins.
    pub calibration_error: f64,
    /// Scores at or above it count as positive. Chosen on other examples.
    pub threshold: f32,
    /// Share of right decisions.
    pub accuracy: f64,
    /// Share of positives among the rows called positive.
    pub precision: f64,
    /// Share of the positives that are called positive.
    pub recall: f64,
    /// Harmonic mean of precision and recall.
    pub f1: f64,
}

impl Metrics {
    /// Of scores that are probabilities.
    pub fn new(scores: &[f32], labels: &[f32], users: &[u32], threshold: f32) -> Self {
        let count = |called: bool, positive: bool| {
            let rows = scores.iter().zip(labels);
            rows.filter(|(score, label)| {
                (**score >= threshold) == called && (**label > 0.5) == positive
            })
            .count() as f64
        };
        let (true_positive, false_positive) = (count(true, true), count(true, false));
        let (false_negative, true_negative) = (count(false, true), count(false, false));
        let ratio = |part: f64, whole: f64| if whole > 0.0 { part / whole } else { 0.0 };
        Self {
            auc: auc(scores, labels),
            group_auc: group_auc(scores, labels, users),
            log_loss: log_loss(scores, labels),
            calibration_error: calibration_error(scores, labels),
            threshold,
            accuracy: ratio(true_positive + true_negative, scores.len() as f64),
            precision: ratio(true_positive, true_positive + false_positive),
            recall: ratio(true_positive, true_positive + false_negative),
            f1: ratio(
                2.0 * true_positive,
                2.0 * true_positive + false_positive + false_negative,
            ),
        }
    }
}

/// The threshold with the most right decisions; of equals the lowest.
pub fn best_threshold(scores: &[f32], labels: &[f32]) -> f32 {
    let mut rows: Vec<(f32, f32)> = scores.iter().copied().zip(labels.iter().copied()).collect();
    rows.sort_by(|left, right| left.0.total_cmp(&right.0));
    // At the lowest threshold every row is called positive; each row passed then is called negative.
    let mut right = rows.iter().filter(|(_, label)| *label > 0.5).count() as i64;
    let (mut best, mut threshold) = (right, rows.first().map_or(0.5, |(score, _)| *score));
    for (place, &(score, label)) in rows.iter().enumerate() {
        if place > 0 && score > rows[place - 1].0 && right > best {
            (best, threshold) = (right, score);
        }
        right += if label > 0.5 { -1 } else { 1 };
    }
    threshold
}

/// Mean cross-entropy of probabilities, in nats. Certainty is taken as all but certain, so that one wrong row does not
/// make it infinite.
pub fn log_loss(scores: &[f32], labels: &[f32]) -> f64 {
    const CERTAIN: f64 = 1e-7;
    let loss = |(score, label): (&f32, &f32)| {
        let score = f64::from(*score).clamp(CERTAIN, 1.0 - CERTAIN);
        let label = f64::from(*label);
        -label * score.ln() - (1.0 - label) * (1.0 - score).ln()
    };
    scores.iter().zip(labels).map(loss).sum::<f64>() / scores.len().max(1) as f64
}

/// Expected calibration error: how far the mean score is from the share of positives, in ten equally wide bins, each
/// weighted by its rows.
pub fn calibration_error(scores: &[f32], labels: &[f32]) -> f64 {
    const BINS: usize = 10;
    let mut differences = [0.0; BINS];
    for (&score, &label) in scores.iter().zip(labels) {
        let bin = ((score * BINS as f32) as usize).min(BINS - 1);
        differences[bin] += f64::from(score) - f64::from(label);
    }
    differences
        .iter()
        .map(|difference: &f64| difference.abs())
        .sum::<f64>()
        / scores.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn accuracy(scores: &[f32], labels: &[f32], threshold: f32) -> f64 {
        Metrics::new(scores, labels, &vec![0; scores.len()], threshold).accuracy
    }

    proptest! {
        #[test]
        fn no_threshold_decides_better(rows in prop::collection::vec((0..12u8, any::<bool>()), 1..40)) {
            let scores: Vec<f32> = rows.iter().map(|(score, _)| f32::from(*score) / 12.0).collect();
            let labels: Vec<f32> = rows.iter().map(|(_, label)| f32::from(u8::from(*label))).collect();
            let best = accuracy(&scores, &labels, best_threshold(&scores, &labels));
            for &threshold in &scores {
                prop_assert!(best >= accuracy(&scores, &labels, threshold));
            }
        }
    }

    #[test]
    fn decisions_are_counted() {
        let metrics = Metrics::new(
            &[0.9, 0.8, 0.3, 0.2],
            &[1.0, 0.0, 1.0, 0.0],
            &[0, 0, 1, 1],
            0.5,
        );
        assert_eq!(
            (
                metrics.accuracy,
                metrics.precision,
                metrics.recall,
                metrics.f1
            ),
            (0.5, 0.5, 0.5, 0.5)
        );
        assert_eq!((metrics.auc, metrics.group_auc), (0.75, 1.0));
        let none = Metrics::new(&[0.1], &[1.0], &[0], 0.5);
        assert_eq!((none.precision, none.recall, none.f1), (0.0, 0.0, 0.0));
    }

    #[test]
    fn probabilities_are_judged() {
        assert!((log_loss(&[0.8, 0.2], &[1.0, 0.0]) - 0.223_143_55).abs() < 1e-6);
        assert!(log_loss(&[0.0], &[1.0]).is_finite());
        // Half of the rows at 0.6 are positive: off by 0.1. The rows at 0.2 and 1.0 are right.
        let (scores, labels) = ([0.6, 0.6, 1.0], [1.0, 0.0, 1.0]);
        assert!((calibration_error(&scores, &labels) - 0.2 / 3.0).abs() < 1e-6);
    }
}
