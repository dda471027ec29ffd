//! Metrics of the order of scores.

use std::collections::BTreeMap;

/// Scores in order, with what is needed to take weights of rows into account.
pub(super) struct Ranking {
    /// Rows from the lowest score to the highest.
    order: Vec<u32>,
    /// For each place in `order`, whether its score equals that of the place before.
    tied: Vec<bool>,
}

impl Ranking {
    pub(super) fn new(scores: &[f32]) -> Self {
        let mut order: Vec<u32> = (0..scores.len() as u32).collect();
        order.sort_by(|&left, &right| scores[left as usize].total_cmp(&scores[right as usize]));
        let score = |place: usize| scores[order[place] as usize];
        let tied = (0..order.len())
            .map(|place| place > 0 && score(place) == score(place - 1))
            .collect();
        Self { order, tied }
    }

    /// The probability that a positive row is above a negative one, ties counting half; one half where one of the
    /// two is missing.
    pub(super) fn auc(&self, labels: &[f32], weight: impl Fn(usize) -> f64) -> f64 {
        let (mut negatives, mut positives, mut above) = (0.0, 0.0, 0.0);
        // Of the rows that share the current score.
        let (mut tied_negatives, mut tied_positives) = (0.0, 0.0);
        for (&row, &tied) in self.order.iter().zip(&self.tied) {
            if !tied {
                above += tied_positives * (negatives + tied_negatives / 2.0);
                negatives += tied_negatives;
                positives += tied_positives;
                (tied_negatives, tied_positives) = (0.0, 0.0);
            }
            let row = row as usize;
            if labels[row] > 0.5 {
                tied_positives += weight(row)
            } else {
                tied_negatives += weight(row)
            }
        }
        above += tied_positives * (negatives + tied_negatives / 2.0);
        let pairs = (negatives + tied_negatives) * (positives + tied_positives);
        if pairs > 0.0 { above / pairs } else { 0.5 }
    }
}

/// Area under the ROC curve; ties count half. One half where all labels are equal.
pub fn auc(scores: &[f32], labels: &[f32]) -> f64 {
    Ranking::new(scores).auc(labels, |_| 1.0)
}

/// The mean of the users' own AUCs, each weighted by the user's rows; users whose labels are all equal do not count.
pub fn group_auc(scores: &[f32], labels: &[f32], users: &[u32]) -> f64 {
    let mut groups: BTreeMap<u32, (Vec<f32>, Vec<f32>)> = BTreeMap::new();
    for ((&score, &label), &user) in scores.iter().zip(labels).zip(users) {
        let (scores, labels) = groups.entry(user).or_default();
        scores.push(score);
        labels.push(label);
    }
    let (mut sum, mut rows) = (0.0, 0.0);
    for (scores, labels) in groups.values() {
        let positives = labels.iter().filter(|label| **label > 0.5).count();
        if positives > 0 && positives < labels.len() {
            sum += auc(scores, labels) * labels.len() as f64;
            rows += labels.len() as f64;
        }
    }
    if rows > 0.0 { sum / rows } else { 0.5 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn brute_force(scores: &[f32], labels: &[f32]) -> f64 {
        let rows =
            |positive: bool| (0..scores.len()).filter(move |row| (labels[*row] > 0.5) == positive);
        let (mut above, mut pairs) = (0.0, 0.0);
        for positive in rows(true) {
            for negative in rows(false) {
                pairs += 1.0;
                above += match scores[positive].total_cmp(&scores[negative]) {
                    std::cmp::Ordering::Greater => 1.0,
                    std::cmp::Ordering::Equal => 0.5,
                    std::cmp::Ordering::Less => 0.0,
                };
            }
        }
        if pairs > 0.0 { above / pairs } else { 0.5 }
    }

    proptest! {
        #[test]
        fn auc_counts_pairs(rows in prop::collection::vec((0..12u8, any::<bool>()), 0..60)) {
            let scores: Vec<f32> = rows.iter().map(|(score, _)| f32::from(*score) / 7.0).collect();
            let labels: Vec<f32> = rows.iter().map(|(_, label)| f32::from(u8::from(*label))).collect();
            prop_assert!((auc(&scores, &labels) - brute_force(&scores, &labels)).abs() < 1e-12);
        }

        #[test]
        fn a_weight_is_a_number_of_copies(rows in prop::collection::vec((0..9u8, any::<bool>(), 0..4u8), 0..40)) {
            let scores: Vec<f32> = rows.iter().map(|(score, ..)| f32::from(*score)).collect();
            let labels: Vec<f32> = rows.iter().map(|(_, label, _)| f32::from(u8::from(*label))).collect();
            let copy = |values: &[f32]| -> Vec<f32> {
                values.iter().zip(&rows).flat_map(|(value, row)| vec![*value; usize::from(row.2)]).collect()
            };
            let weighted = Ranking::new(&scores).auc(&labels, |row| f64::from(rows[row].2));
            prop_assert!((weighted - brute_force(&copy(&scores), &copy(&labels))).abs() < 1e-12);
        }
    }

    #[test]
    fn group_auc_is_within_users() {
        // Each user's own order is right, though the second user's scores are all above the first's.
        let (scores, labels) = ([0.1, 0.2, 0.8, 0.9, 0.5], [0.0, 1.0, 0.0, 1.0, 1.0]);
        assert_eq!(group_auc(&scores, &labels, &[0, 0, 1, 1, 2]), 1.0);
        assert!(auc(&scores, &labels) < 1.0);
        assert_eq!(group_auc(&[0.5], &[1.0], &[0]), 0.5);
    }
}
