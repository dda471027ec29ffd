//! Small models: every weight decay of the recipe is tried, and validation decides.

use crate::dataset::Examples;
use crate::distill::Lessons;
use crate::network::{Fit, FitError, FitOptions, Fitted, Network};
use crate::progress::Observer;
use crate::random;
use crate::recipe::StudentSpec;

/// Fits a student once. Students of one job and name begin with the same weights, whatever they learn from.
///
/// # Errors
/// When it cannot be fitted.
pub fn fit(
    spec: &StudentSpec,
    name: &str,
    options: &FitOptions,
    lessons: &Lessons,
    validation: &Examples,
    seed: u64,
    observer: &dyn Observer,
) -> Result<(Network, Fitted), FitError> {
    let seed = random::derive(seed, &spec.name);
    let mut network = Network::new(spec.architecture(), &validation.layout, None, seed);
    let fit = Fit {
        name,
        train: &lessons.examples,
        validation,
        options,
        seed,
        observer,
    };
    let fitted = network.fit(fit, |position, logit| lessons.objective(position, logit))?;
    Ok((network, fitted))
}

/// The fit with the best AUC on validation; of equals the first.
pub fn best(candidates: Vec<(Network, Fitted)>) -> Option<(Network, Fitted)> {
    candidates.into_iter().reduce(|best, next| {
        if next.1.validation_auc > best.1.validation_auc {
            next
        } else {
            best
        }
    })
}
