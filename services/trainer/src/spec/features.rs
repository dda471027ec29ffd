//! `[[features]]`: checked as far as that goes without data.

use decant_features::{Feature, FeatureSpec, Kind, Schema, SchemaError, Side, Transform};
use toml::Value;

use super::error::Violation;
use super::section::section;

pub(super) fn parse(raw: Vec<Value>, violations: &mut Vec<Violation>) -> Vec<FeatureSpec> {
    let before = violations.len();
    let mut features: Vec<FeatureSpec> = Vec::with_capacity(raw.len());
    for (position, value) in raw.into_iter().enumerate() {
        let key = format!("features[{position}]");
        let Value::Table(table) = value else {
            violations.push(Violation::new(
                key,
                value,
                "must be a table: write [[features]]",
            ));
            continue;
        };
        let keys: Vec<String> = table.keys().cloned().collect();
        match section::<FeatureSpec>(&key, table) {
            Ok(feature) => {
                if let Some(unknown) = unknown_key(&feature.kind, &keys) {
                    let reason =
                        "unknown key for a feature of this kind, which takes no parameters";
                    violations.push(Violation::of_key(format!("{key}.{unknown}"), reason));
                }
                features.push(feature);
            }
            Err(violation) => violations.push(violation),
        }
    }
    if violations.len() == before {
        check_together(&features, violations);
    }
    features
}

/// Serde takes any key beside a variant without fields.
fn unknown_key<'a>(kind: &Kind, keys: &'a [String]) -> Option<&'a str> {
    let takes_none = matches!(kind, Kind::Standard | Kind::Log | Kind::Vector);
    let known = |key: &str| matches!(key, "name" | "column" | "role" | "kind");
    keys.iter()
        .map(String::as_str)
        .find(|key| takes_none && !known(key))
}

/// What would be wrong with the fitted schema whatever the data is: a schema that has learnt nothing must be sound.
fn check_together(features: &[FeatureSpec], violations: &mut Vec<Violation>) {
    let blank = features.iter().map(|spec| Feature {
        name: spec.name.clone(),
        column: spec.column().to_owned(),
        role: spec.role,
        transform: blank(&spec.kind),
    });
    match Schema::new(blank.collect()) {
        Ok(schema) if schema.side(Side::Query).next().is_none() => {
            let reason = "there is no user or context feature; a recommender needs at least one";
            violations.push(Violation::of_key("features", reason));
        }
        Ok(_) => {}
        Err(SchemaError::Feature { feature, reason }) => {
            let position = features
                .iter()
                .rposition(|spec| spec.name == feature)
                .unwrap_or_default();
            violations.push(Violation::of_key(
                format!("features[{position}] (`{feature}`)"),
                reason,
            ));
        }
        Err(error) => violations.push(Violation::of_key("features", error)),
    }
}

fn blank(kind: &Kind) -> Transform {
    let vocabulary = Vec::new();
    match kind {
        Kind::Category { .. } => Transform::Category { vocabulary },
        Kind::Hash { buckets } => Transform::Hash { buckets: *buckets },
        Kind::Categories { max_length, .. } => Transform::Categories {
            vocabulary,
            max_length: *max_length,
        },
        Kind::Sequence { max_length, .. } => Transform::Sequence {
            vocabulary,
            max_length: *max_length,
        },
        Kind::Standard => Transform::Standard {
            mean: 0.0,
            deviation: 1.0,
        },
        Kind::Log => Transform::Log {
            mean: 0.0,
            deviation: 1.0,
        },
        // How wide it is, the data will say.
        Kind::Vector => Transform::Vector {
            mean: vec![0.0],
            deviation: vec![1.0],
        },
        Kind::Buckets { boundaries } => Transform::Buckets {
            boundaries: boundaries.clone(),
        },
    }
}
