use proptest::prelude::*;

use super::*;
use crate::fixture;

const BOTH: &[Side] = &[Side::Query, Side::Item];

fn ints(values: Vec<i64>) -> Option<WireValues> {
    Some(WireValues::Int64Values(wire::Int64Values { values }))
}

fn floats(values: Vec<f32>) -> Option<WireValues> {
    Some(WireValues::FloatValues(wire::FloatValues { values }))
}

fn texts(values: Vec<String>) -> Option<WireValues> {
    Some(WireValues::StringValues(values.into_iter().collect()))
}

fn column(name: &str, values: Option<WireValues>) -> wire::Column {
    wire::Column {
        name: name.into(),
        values,
        offsets: Vec::new(),
        present: Vec::new(),
    }
}

/// Everything that is wrong with columns, as `field: reason`.
fn wrong(columns: Vec<wire::Column>) -> Vec<String> {
    let schema = fixture::schema();
    let mut problems = Problems::new(&schema, Vec::new());
    let read = read("columns", columns, BOTH, usize::MAX, &mut problems);
    match problems.or(read) {
        Err(CallError::Invalid(violations)) => violations
            .into_iter()
            .map(|violation| format!("{}: {}", violation.field, violation.reason))
            .collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_violation_is_listed_the_schemas_included() {
    let mut ragged = column("genres", texts(vec!["drama".into()]));
    ragged.offsets = vec![0, 2];
    let wrong = wrong(vec![
        column("age", floats(vec![f32::NAN])),
        column("user", floats(vec![1.0])),
        column("usr", ints(vec![1])),
        column("", ints(vec![1])),
        column("nothing", None),
        ragged,
    ]);
    let expected = [
        "columns[usr]: no feature of the model reads it",
        "columns[3]: a column needs a name",
        "columns[nothing]: no feature of the model reads it",
        "columns[nothing]: has no values of any type",
        "columns[age]: value 0 is NaN; values must be finite",
        "columns[genres]: the offsets end at 2, but there are 1 values",
        "columns[user]: has type float, but string or int64 is expected",
        "columns[film]: missing; feature `film` reads it",
    ];
    assert_eq!(wrong, expected);
}

fn any_column() -> impl Strategy<Value = wire::Column> {
    let name = prop::sample::select(vec!["user", "age", "film", "genres", "title", ""]);
    let values = prop_oneof![
        Just(None),
        prop::collection::vec(any::<i64>(), 0..6).prop_map(ints),
        prop::collection::vec(any::<f32>(), 0..6).prop_map(floats),
        prop::collection::vec(".{0,3}", 0..6).prop_map(texts),
    ];
    let offsets = prop_oneof![
        Just(Vec::new()),
        prop::collection::vec(0_u32..8, 0..6),
        prop::collection::vec(any::<u32>(), 0..6),
    ];
    let present = prop_oneof![Just(Vec::new()), prop::collection::vec(any::<bool>(), 0..6)];
    (name, values, offsets, present).prop_map(|(name, values, offsets, present)| wire::Column {
        name: name.into(),
        values,
        offsets,
        present,
    })
}

proptest! {
    #[test]
    fn no_columns_make_the_reader_or_the_encoder_panic(columns in prop::collection::vec(any_column(), 0..6)) {
        let schema = fixture::schema();
        let mut problems = Problems::new(&schema, Vec::new());
        let read = read("columns", columns, BOTH, usize::MAX, &mut problems);
        if let Ok(columns) = problems.or(read) {
            for side in BOTH {
                if let Ok(encoded) = schema.encode(*side, &columns) {
                    prop_assert_eq!(encoded.rows, columns.rows());
                    prop_assert_eq!(encoded.ids.len(), encoded.rows * encoded.slots);
                }
            }
        }
    }
}
