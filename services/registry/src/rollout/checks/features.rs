//! Whether requests as callers send them today are enough for a version.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use decant_artifact::{BundleStore, ReadError};
use decant_features::{Schema, Side, Transform};
use decant_model::{BundlePath, file};

use super::{Found, Subject};
use crate::catalog::Version;
use crate::error::CallError;

/// Columns that are named at most; the rest is counted.
const MOST_NAMED: usize = 8;

/// What a feature takes from a row's column.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Id,
    Ids,
    Number,
    Numbers,
}

/// What is read of each column: by which side, and how.
type Columns = BTreeMap<String, BTreeSet<(bool, Kind)>>;

/// Compares what the two versions read. An error is the store's.
pub(super) async fn compatible(
    subject: &Subject<'_>,
    bundles: &BundleStore,
) -> Result<Found, CallError> {
    let (candidate, stable) = (subject.candidate, subject.stable);
    // As often as not the schema is the same file.
    let same = |version: &Version| {
        let entry = version.record.manifest.file(file::FEATURES);
        entry.map(|entry| entry.sha256)
    };
    if same(candidate).is_some() && same(candidate) == same(stable) {
        return Ok(Ok("it reads what the stable version reads".to_owned()));
    }
    let (wanted, known) = match (
        columns(candidate, bundles).await?,
        columns(stable, bundles).await?,
    ) {
        (Ok(wanted), Ok(known)) => (wanted, known),
        (Err(wrong), _) | (_, Err(wrong)) => return Ok(Err(wrong)),
    };
    Ok(missing(&wanted, &known))
}

async fn columns(
    version: &Version,
    bundles: &BundleStore,
) -> Result<Result<Columns, String>, CallError> {
    let path = file::FEATURES
        .parse::<BundlePath>()
        .map_err(|_| CallError::Broken("the name of a bundle's file is no path"))?;
    let read = async {
        let bundle = bundles.open(version.record.digest).await?;
        bundle.read_file(&path).await
    };
    let bytes = match read.await {
        Ok(bytes) => bytes,
        Err(error @ ReadError::Storage(_)) => return Err(error.into()),
        Err(error) => return Ok(Err(error.to_string())),
    };
    Ok(match Schema::from_json(&bytes) {
        Ok(schema) => Ok(read_by(&schema)),
        Err(error) => Err(format!("of {}: {error}", version.version)),
    })
}

fn read_by(schema: &Schema) -> Columns {
    let mut columns = Columns::new();
    for feature in schema.features() {
        let kind = match &feature.transform {
            Transform::Category { .. } | Transform::Hash { .. } => Kind::Id,
            Transform::Categories { .. } | Transform::Sequence { .. } => Kind::Ids,
            Transform::Standard { .. } | Transform::Log { .. } | Transform::Buckets { .. } => {
                Kind::Number
            }
            Transform::Vector { .. } => Kind::Numbers,
        };
        let is_items = feature.role.side() == Side::Item;
        let column = columns.entry(feature.column.clone()).or_default();
        column.insert((is_items, kind));
    }
    columns
}

fn missing(wanted: &Columns, known: &Columns) -> Found {
    let words = wanted
        .iter()
        .filter_map(|(name, kinds)| match known.get(name) {
            None => Some(format!("`{name}` is new")),
            Some(known) => {
                let (is_items, kind) = kinds.difference(known).next()?;
                let side = if *is_items { "items" } else { "requests" };
                Some(format!("`{name}` is read as {kind} of {side}"))
            }
        });
    let words: Vec<String> = words.collect();
    if words.is_empty() {
        return Ok(format!(
            "the stable version reads its {} columns too",
            wanted.len()
        ));
    }
    let more = words.len().saturating_sub(MOST_NAMED);
    let named = words[..words.len() - more].join(", ");
    let more = match more {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Err(format!(
        "callers do not send what it reads: {named}{more}; the stable version does not read that so"
    ))
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Id => "an id",
            Self::Ids => "ids",
            Self::Number => "a number",
            Self::Numbers => "numbers",
        })
    }
}

#[cfg(test)]
mod tests {
    use decant_features::{Feature, Role};

    use super::*;

    fn schema(columns: &[(&str, Role, Transform)]) -> Columns {
        let feature =
            |(at, (column, role, transform)): (usize, &(&str, Role, Transform))| Feature {
                name: format!("{column}-{at}"),
                column: (*column).to_owned(),
                role: *role,
                transform: transform.clone(),
            };
        let features = columns.iter().enumerate().map(feature).collect();
        read_by(&Schema::new(features).unwrap())
    }

    fn category() -> Transform {
        Transform::Category {
            vocabulary: vec!["a".into()],
        }
    }

    fn number() -> Transform {
        Transform::Standard {
            mean: 0.0,
            deviation: 1.0,
        }
    }

    #[test]
    fn a_column_may_be_left_out_but_not_be_new_or_read_in_another_way() {
        let hash = Transform::Hash { buckets: 9 };
        let stable = schema(&[
            ("age", Role::User, number()),
            ("city", Role::User, category()),
            ("film", Role::Item, category()),
        ]);
        let fewer = schema(&[
            ("city", Role::Context, hash),
            ("film", Role::Item, category()),
        ]);
        assert!(missing(&fewer, &stable).is_ok());
        let newer = schema(&[
            ("genre", Role::Item, category()),
            ("film", Role::Item, category()),
        ]);
        let words = missing(&newer, &stable).unwrap_err();
        assert!(
            words.contains("`genre` is new") && !words.contains("film"),
            "{words}"
        );
        let other = schema(&[
            ("age", Role::User, category()),
            ("film", Role::Item, category()),
        ]);
        let words = missing(&other, &stable).unwrap_err();
        assert!(
            words.contains("`age` is read as an id of requests"),
            "{words}"
        );
    }
}
