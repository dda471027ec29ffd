//! The job file: what is to be learnt, from what, and how well.
//!
//! [`Spec::parse`] reads the TOML as raw tables that refuse unknown keys, then validates them; a [`Spec`] in hand is
//! sound as far as that can be told without its data. Every problem found is reported, each by its dotted key.

mod data;
mod error;
mod features;
pub(crate) mod section;

use std::collections::BTreeMap;

use decant_features::{FeatureSpec, Kind, Role};
use decant_model::{Gate, ModelName};
use serde::Deserialize;
use toml::{Table, Value};

use crate::recipe::{Recipe, TeacherKind};

pub use data::{CleanSpec, DataSpec, Duplicates, KeyedTable, Missing, Range, SplitSpec, Unmatched};
pub use error::{SpecError, Violation};

use section::section;

/// A job, validated.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    /// The model that the job makes a version of.
    pub model: ModelName,
    /// What all randomness of training begins with.
    pub seed: u64,
    /// Threads to train with; 0 means one for each core.
    pub threads: usize,
    /// Where the examples come from.
    pub data: DataSpec,
    /// What the networks see of them.
    pub features: Vec<FeatureSpec>,
    /// Columns of the item table that the catalog keeps for display, beside the id and the features' columns.
    pub catalog: Vec<String>,
    /// Teachers, students, how the ones learn from the others, and what is pushed.
    pub recipe: Recipe,
    /// What the student must reach.
    pub gates: Vec<Gate>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSpec {
    model: String,
    #[serde(default = "default_seed")]
    seed: u64,
    #[serde(default)]
    threads: usize,
    data: Table,
    features: Vec<Value>,
    #[serde(default)]
    catalog: RawCatalog,
    teachers: Option<Value>,
    students: Option<Value>,
    distill: Option<Value>,
    publish: Option<Value>,
    #[serde(default)]
    gates: BTreeMap<String, RawGate>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCatalog {
    columns: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawGate {
    min: Option<f64>,
    max: Option<f64>,
}

const MOST_THREADS: usize = 1024;

fn default_seed() -> u64 {
    42
}

impl Spec {
    /// Reads a job file.
    ///
    /// # Errors
    /// Text that is no TOML, or every key whose value is missing, unknown or impossible.
    pub fn parse(text: &str) -> Result<Self, SpecError> {
        let table: Table = text
            .parse()
            .map_err(|error: toml::de::Error| SpecError::syntax(text, &error))?;
        let raw: RawSpec =
            section("", table).map_err(|violation| SpecError::Invalid(vec![violation]))?;

        let mut violations = Vec::new();
        let model = raw.model.parse::<ModelName>();
        if let Err(error) = &model {
            violations.push(Violation::new("model", &raw.model, error));
        }
        if raw.threads > MOST_THREADS {
            violations.push(Violation::new(
                "threads",
                raw.threads,
                format!("must be at most {MOST_THREADS}"),
            ));
        }
        let data = data::parse(raw.data, raw.seed, &mut violations);
        let features = features::parse(raw.features, &mut violations);
        check_catalog(&raw.catalog.columns, &mut violations);
        let gates = gates(raw.gates, &mut violations);
        let recipe = [
            ("teachers", raw.teachers),
            ("students", raw.students),
            ("distill", raw.distill),
            ("publish", raw.publish),
        ];
        let recipe = recipe
            .into_iter()
            .filter_map(|(key, value)| Some((key.to_owned(), value?)))
            .collect();
        let recipe = match Recipe::parse(recipe) {
            Ok(recipe) => Some(recipe),
            Err(SpecError::Invalid(more)) => {
                violations.extend(more);
                None
            }
            Err(syntax) => return Err(syntax),
        };
        let spec = match (model, data, recipe) {
            (Ok(model), Some(data), Some(recipe)) if violations.is_empty() => Self {
                model,
                seed: raw.seed,
                threads: raw.threads,
                data,
                features,
                catalog: raw.catalog.columns,
                recipe,
                gates,
            },
            _ => return Err(SpecError::Invalid(violations)),
        };
        match spec.histories_without_users() {
            Some(violation) => Err(SpecError::Invalid(vec![violation])),
            None => Ok(spec),
        }
    }

    /// The feature that names users, if there is one: one value of the column that `data.user` is.
    pub fn user_feature(&self) -> Option<&str> {
        let feature = self.features.iter().find(|feature| {
            feature.role == Role::User
                && feature.column() == self.data.user
                && matches!(feature.kind, Kind::Category { .. } | Kind::Hash { .. })
        });
        feature.map(|feature| feature.name.as_str())
    }

    /// Requests carry no histories. A published teacher that reads them must know from a request whose history it is.
    fn histories_without_users(&self) -> Option<Violation> {
        if !self.recipe.publish.teacher || self.user_feature().is_some() {
            return None;
        }
        let teachers = &self.recipe.teachers;
        let position = teachers
            .iter()
            .position(|teacher| teacher.kind == TeacherKind::History)?;
        let reason = format!(
            "reads what a user has rated, which requests do not carry: with `publish.teacher = true` a feature of role `user` and kind `category` must read the column `{}`, which names the user",
            self.data.user
        );
        Some(Violation::new(
            format!("teachers[{position}].kind"),
            "history",
            reason,
        ))
    }
}

fn check_catalog(columns: &[String], violations: &mut Vec<Violation>) {
    for (position, column) in columns.iter().enumerate() {
        if columns[..position].contains(column) {
            violations.push(Violation::new(
                format!("catalog.columns[{position}]"),
                column,
                "is given twice",
            ));
        }
    }
}

fn gates(raw: BTreeMap<String, RawGate>, violations: &mut Vec<Violation>) -> Vec<Gate> {
    for (metric, gate) in &raw {
        let key = format!("gates.{metric}");
        let bounds = [gate.min, gate.max];
        if bounds.iter().flatten().any(|bound| !bound.is_finite()) {
            violations.push(Violation::of_key(key, "min and max must be finite"));
        } else if let [Some(min), Some(max)] = bounds
            && min > max
        {
            violations.push(Violation::of_key(
                key,
                format!("min {min} is above max {max}"),
            ));
        } else if bounds == [None, None] {
            violations.push(Violation::of_key(key, "needs `min`, `max` or both"));
        }
    }
    raw.into_iter()
        .map(|(metric, RawGate { min, max })| Gate { metric, min, max })
        .collect()
}

#[cfg(test)]
mod tests;
