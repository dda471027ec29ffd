//! Large models, and the ensemble that they are together.

use std::sync::Arc;

use crate::dataset::Examples;
use crate::network::{Fit, FitError, Fitted, History, Network};
use crate::progress::Observer;
use crate::random;
use crate::recipe::{TeacherKind, TeacherSpec};

/// Fits one teacher to labels. A teacher that reads histories reads those of its own training examples only, so that
/// it knows nothing of examples held back from it.
///
/// # Errors
/// When it cannot be fitted.
pub fn fit(
    spec: &TeacherSpec,
    name: &str,
    train: &Examples,
    validation: &Examples,
    seed: u64,
    observer: &dyn Observer,
) -> Result<(Network, Fitted), FitError> {
    let seed = random::derive(seed, name);
    let history = (spec.kind == TeacherKind::History).then(|| Arc::new(History::new(train)));
    let mut network = Network::new(spec.architecture(), &train.layout, history, seed);
    let options = spec.fit_options();
    let fit = Fit {
        name,
        train,
        validation,
        options: &options,
        seed,
        observer,
    };
    let fitted = network.fit(fit, |position, logit| {
        crate::distill::cross_entropy(logit, train.labels[position])
    })?;
    Ok((network, fitted))
}

/// Teachers whose weighted mean logit is a teacher.
#[derive(Clone, Debug, Default)]
pub struct Ensemble {
    members: Vec<(f32, Network)>,
}

impl Ensemble {
    /// Weights are relative to each other.
    pub fn new(members: Vec<(f32, Network)>) -> Self {
        let sum: f32 = members.iter().map(|(weight, _)| weight).sum();
        Self {
            members: members
                .into_iter()
                .map(|(weight, network)| (weight / sum, network))
                .collect(),
        }
    }

    /// Each member and its share; shares add up to 1.
    pub fn members(&self) -> &[(f32, Network)] {
        &self.members
    }

    /// The numbers of all members.
    pub fn parameters(&self) -> usize {
        self.members
            .iter()
            .map(|(_, network)| network.parameters())
            .sum()
    }

    /// The mean logit of each example.
    pub fn logits(&self, examples: &Examples) -> Vec<f32> {
        let mut mean = vec![0.0; examples.len()];
        for (share, network) in &self.members {
            for (sum, logit) in mean.iter_mut().zip(network.logits(examples)) {
                *sum += share * logit;
            }
        }
        mean
    }
}
