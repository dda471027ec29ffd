//! What a student's logit costs, against a label and against a teacher's logit.

use serde::{Deserialize, Serialize};

use crate::network::sigmoid;

/// How a student is held to its teacher.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Loss {
    /// Cross-entropy with the teacher's probability as the label.
    #[default]
    CrossEntropy,
    /// Kullback-Leibler divergence of softened probabilities, times the square of the temperature, so that the
    /// gradient keeps its size (Hinton et al. 2015).
    Kl,
    /// Half the squared difference of the two classes' probabilities.
    Mse,
}

impl Loss {
    /// The loss and its derivative by the student's logit. Only [`Loss::Kl`] looks at the temperature.
    pub fn of(self, student: f32, teacher: f32, temperature: f32) -> (f32, f32) {
        match self {
            Loss::CrossEntropy => cross_entropy(student, sigmoid(teacher)),
            Loss::Kl => {
                let (student, teacher) = (student / temperature, teacher / temperature);
                let target = sigmoid(teacher);
                let (cross_entropy, slope) = cross_entropy(student, target);
                let (entropy, _) = self::cross_entropy(teacher, target);
                (
                    (cross_entropy - entropy) * temperature * temperature,
                    slope * temperature,
                )
            }
            Loss::Mse => {
                let score = sigmoid(student);
                let difference = score - sigmoid(teacher);
                // Two classes, each off by the same: half of twice the square.
                (
                    difference * difference,
                    2.0 * difference * score * (1.0 - score),
                )
            }
        }
    }
}

/// Cross-entropy of a logit with a label in 0..=1, finite for every logit, and its derivative.
pub fn cross_entropy(logit: f32, label: f32) -> (f32, f32) {
    let loss = logit.max(0.0) - logit * label + (-logit.abs()).exp().ln_1p();
    (loss, sigmoid(logit) - label)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logit(probability: f32) -> f32 {
        (probability / (1.0 - probability)).ln()
    }

    #[test]
    fn a_worked_example() {
        let (student, teacher) = (logit(0.9), logit(0.8));
        let loss = |loss: Loss| loss.of(student, teacher, 1.0).0;
        assert!((loss(Loss::CrossEntropy) - 0.5448).abs() < 5e-5);
        assert!((loss(Loss::Mse) - 0.01).abs() < 1e-6);
        assert!((loss(Loss::Kl) - 0.0444).abs() < 5e-5);
    }

    #[test]
    fn derivatives_are_those_of_the_losses() {
        for loss in [Loss::CrossEntropy, Loss::Kl, Loss::Mse] {
            for (student, teacher, temperature) in
                [(0.3, -1.2, 1.0), (-2.0, 0.5, 2.0), (1.5, 1.5, 4.0)]
            {
                let at = |logit: f32| loss.of(logit, teacher, temperature).0;
                let expected = (at(student + 1e-2) - at(student - 1e-2)) / 2e-2;
                let (_, slope) = loss.of(student, teacher, temperature);
                assert!(
                    (slope - expected).abs() < 1e-3,
                    "{loss:?}: {slope} instead of {expected}"
                );
            }
        }
    }

    #[test]
    fn agreement_is_the_minimum_and_extreme_logits_stay_finite() {
        for loss in [Loss::CrossEntropy, Loss::Kl, Loss::Mse] {
            assert!(loss.of(0.7, 0.7, 2.0).1.abs() < 1e-6);
            for (student, teacher) in [(200.0, -200.0), (-200.0, 200.0), (200.0, 200.0)] {
                let (value, slope) = loss.of(student, teacher, 1.0);
                assert!(
                    value.is_finite() && slope.is_finite(),
                    "{loss:?} at {student}, {teacher}"
                );
            }
        }
    }
}
