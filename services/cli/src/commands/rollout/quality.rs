//! How good versions were when they were trained, as their manifests say.

use std::collections::BTreeMap;

use decant_model::Manifest;
use decant_proto::rollout::v1::Rollout;

use crate::arguments::version::VersionArgument;
use crate::context::Context;
use crate::output::units;

/// The metric that people compare versions by.
const MAIN: &str = "auc";
/// What the names of metrics begin with that compare a version with its teacher.
const TEACHER: &str = "teacher";

/// What is known of versions, by their numbers. It decorates, so what cannot be learnt is left out.
#[derive(Default)]
pub(super) struct Qualities(BTreeMap<u64, String>);

impl Qualities {
    /// Asks for the versions of a rollout, each once.
    pub(super) async fn learn(&mut self, context: &Context, rollout: &Rollout) {
        for version in [&rollout.candidate, &rollout.stable, &rollout.teacher]
            .into_iter()
            .flatten()
        {
            let number = version.version;
            if number == 0 || self.0.contains_key(&number) {
                continue;
            }
            let asked = VersionArgument::Number(number);
            let answer = context.registry.get_version(&rollout.model, asked).await;
            let words = answer
                .ok()
                .and_then(|version| Manifest::from_json(&version.manifest).ok())
                .map(|manifest| words(&manifest.metrics));
            self.0.insert(number, words.unwrap_or_default());
        }
    }

    /// What is known of a version; empty when nothing is.
    pub(super) fn of(&self, version: u64) -> &str {
        self.0.get(&version).map_or("", String::as_str)
    }
}

/// The main metric, and how far the version agrees with its teacher.
fn words(metrics: &BTreeMap<String, f64>) -> String {
    let shown = metrics
        .iter()
        .filter(|(name, _)| *name == MAIN || name.starts_with(TEACHER));
    let shown: Vec<String> = shown
        .map(|(name, &value)| format!("{name} {}", units::metric(value)))
        .collect();
    shown.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_main_metric_and_the_agreement_with_the_teacher_are_shown() {
        let metrics = [("auc", 0.80381), ("logloss", 0.53), ("teacher_kl", 0.0121)];
        let metrics = metrics.map(|(name, value)| (name.to_owned(), value));
        assert_eq!(words(&metrics.into()), "auc 0.8038, teacher_kl 0.0121");
        assert_eq!(words(&BTreeMap::new()), "");
    }
}
