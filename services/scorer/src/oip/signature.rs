//! What a model takes and gives.

use decant_features::{Feature, Schema, Transform};

use super::datatype::Datatype;

/// The name of the one output.
pub(super) const SCORE: &str = "score";

/// An input: a raw column that features read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Input<'a> {
    /// The column's name.
    pub(super) name: &'a str,
    /// The type that is asked for; whatever the features read as well is taken too.
    pub(super) datatype: Datatype,
    /// Whether a row holds a list.
    pub(super) lists: bool,
}

impl Input<'_> {
    /// The sizes of one row: none for one value, and one that requests choose for a list.
    pub(super) fn row_sizes(&self) -> Vec<i64> {
        if self.lists { vec![-1] } else { Vec::new() }
    }
}

/// What the model takes, each column once, in the order of its features.
pub(super) fn inputs(schema: &Schema) -> Vec<Input<'_>> {
    let features = schema.features();
    let mut inputs: Vec<Input<'_>> = Vec::with_capacity(features.len());
    for feature in features {
        let name = feature.column.as_str();
        if !inputs.iter().any(|known| known.name == name) {
            inputs.push(input(name, features));
        }
    }
    inputs
}

fn input<'a>(name: &'a str, features: &[Feature]) -> Input<'a> {
    let readers = || features.iter().filter(|feature| feature.column == name);
    let datatype = if readers().all(|reader| names_values(&reader.transform)) {
        Datatype::Bytes
    } else if readers().any(|reader| names_values(&reader.transform)) {
        // All that a name and a number have in common.
        Datatype::Int64
    } else {
        Datatype::Fp32
    };
    Input {
        name,
        datatype,
        lists: !readers().any(|reader| takes_one_value(&reader.transform)),
    }
}

/// Whether values are names, as strings or integers; if not, they are numbers.
fn names_values(transform: &Transform) -> bool {
    matches!(
        transform,
        Transform::Category { .. }
            | Transform::Hash { .. }
            | Transform::Categories { .. }
            | Transform::Sequence { .. }
    )
}

fn takes_one_value(transform: &Transform) -> bool {
    matches!(
        transform,
        Transform::Category { .. }
            | Transform::Hash { .. }
            | Transform::Standard { .. }
            | Transform::Log { .. }
            | Transform::Buckets { .. }
    )
}

#[cfg(test)]
mod tests {
    use decant_features::Role;

    use super::*;

    #[test]
    fn a_column_appears_once_with_what_all_of_its_readers_take() {
        let feature = |name: &str, column: &str, role: Role, transform: Transform| Feature {
            name: name.to_owned(),
            column: column.to_owned(),
            role,
            transform,
        };
        let standard = || Transform::Standard {
            mean: 0.0,
            deviation: 1.0,
        };
        let words = || vec!["a".to_owned()];
        let schema = Schema::new(vec![
            feature("user", "user", Role::User, Transform::Hash { buckets: 9 }),
            feature("age", "age", Role::User, standard()),
            feature(
                "age-hash",
                "age",
                Role::User,
                Transform::Hash { buckets: 9 },
            ),
            feature("hour", "hour", Role::Context, standard()),
            feature(
                "genres",
                "genres",
                Role::Item,
                Transform::Categories {
                    vocabulary: words(),
                    max_length: 2,
                },
            ),
            feature(
                "first-genre",
                "genre",
                Role::Item,
                Transform::Category {
                    vocabulary: words(),
                },
            ),
            feature(
                "all-genres",
                "genre",
                Role::Item,
                Transform::Sequence {
                    vocabulary: words(),
                    max_length: 2,
                },
            ),
        ]);
        let schema = schema.unwrap();
        let found = inputs(&schema);
        let found: Vec<_> = found
            .iter()
            .map(|input| (input.name, input.datatype, input.lists))
            .collect();
        let expected = [
            ("user", Datatype::Bytes, false),
            ("age", Datatype::Int64, false),
            ("hour", Datatype::Fp32, false),
            ("genres", Datatype::Bytes, true),
            ("genre", Datatype::Bytes, false),
        ];
        assert_eq!(found, expected);
    }
}
