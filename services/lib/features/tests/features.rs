//! What the encoder promises: the same row gives the same arrays in training and in serving, and odd input has defined
//! encodings or a clear error.

#![allow(clippy::unwrap_used, reason = "a test ends by panicking")]

use decant_features::{
    Catalog, CatalogError, Column, Columns, Encoded, Feature, FeatureSpec, Kind, Role, Schema,
    SchemaError, Side, Transform, Values, fit,
};
use proptest::collection::vec;
use proptest::prelude::*;

fn text(name: &str, values: &[&str]) -> Column {
    Column::new(name, Values::Text(values.iter().collect()))
}

fn columns(columns: Vec<Column>) -> Columns {
    Columns::new(columns).unwrap()
}

fn spec(name: &str, role: Role, kind: Kind) -> FeatureSpec {
    FeatureSpec {
        name: name.into(),
        column: None,
        role,
        kind,
    }
}

fn category() -> Kind {
    Kind::Category {
        min_count: 1,
        max_size: 1000,
    }
}

/// A schema with every kind of feature, fitted on a few rows.
fn schema() -> Schema {
    let query = columns(vec![
        text("user", &["ann", "bob", "ann"]),
        Column::new("age", Values::Int(vec![20, 30, 40])),
        Column::new("spent", Values::Float(vec![0.0, 10.0, 1000.0])),
        Column::new("hour", Values::Int(vec![1, 12, 23])),
        Column::ragged(
            "seen",
            Values::Text(["m1", "m2", "m3"].into()),
            vec![0, 2, 2, 3],
        ),
    ]);
    let item = columns(vec![
        Column::new("item", Values::Int(vec![7, 8, 7])),
        Column::ragged(
            "tags",
            Values::Text(["x", "y", "x"].into()),
            vec![0, 1, 2, 3],
        ),
        text("maker", &["p", "q", "p"]),
    ]);
    let specs = [
        spec("user", Role::User, category()),
        spec("age", Role::User, Kind::Standard),
        spec("spent", Role::User, Kind::Log),
        spec(
            "hour",
            Role::Context,
            Kind::Buckets {
                boundaries: vec![6.0, 18.0],
            },
        ),
        spec(
            "seen",
            Role::User,
            Kind::Sequence {
                min_count: 1,
                max_size: 100,
                max_length: 2,
            },
        ),
        spec("item", Role::Item, category()),
        spec(
            "tags",
            Role::Item,
            Kind::Categories {
                min_count: 1,
                max_size: 100,
                max_length: 2,
            },
        ),
        spec("maker", Role::Item, Kind::Hash { buckets: 5 }),
    ];
    fit(&specs, &query, &item).unwrap()
}

/// The query columns of one or several rows; `None` is a missing value.
fn query(rows: &[(Option<&str>, Option<i64>, &[&str])]) -> Columns {
    let present = |marks: Vec<bool>| Some(marks);
    let seen: Vec<String> = rows
        .iter()
        .flat_map(|row| row.2)
        .map(|item| (*item).to_owned())
        .collect();
    let mut end = 0;
    let offsets = std::iter::once(0).chain(rows.iter().map(|row| {
        end += row.2.len() as u32;
        end
    }));
    columns(vec![
        Column {
            present: present(rows.iter().map(|row| row.0.is_some()).collect()),
            ..text(
                "user",
                &rows
                    .iter()
                    .map(|row| row.0.unwrap_or_default())
                    .collect::<Vec<_>>(),
            )
        },
        Column {
            present: present(rows.iter().map(|row| row.1.is_some()).collect()),
            ..Column::new(
                "age",
                Values::Int(rows.iter().map(|row| row.1.unwrap_or_default()).collect()),
            )
        },
        Column::new("spent", Values::Float(vec![5.0; rows.len()])),
        Column::new("hour", Values::Int(vec![12; rows.len()])),
        Column::ragged("seen", Values::Text(seen.into()), offsets.collect()),
    ])
}

#[test]
fn unknown_missing_and_empty_values_have_encodings_of_their_own() {
    let schema = schema();
    let rows = query(&[
        (Some("ann"), Some(30), &["m1"]),
        (Some("zoe"), Some(30), &["m9"]),
        (None, None, &[]),
        (Some("bob"), Some(30), &["m1", "m2", "m3"]),
    ]);
    let encoded = schema.encode(Side::Query, &rows).unwrap();
    let fields = &schema.layout().query.fields;
    let field = |name: &str| fields.iter().find(|field| field.name == name).unwrap();
    let ids = |row: usize, name: &str| {
        let field = field(name);
        let at = row * encoded.slots + field.first_slot;
        encoded.ids[at..at + field.slots]
            .iter()
            .map(|id| id - field.first_id as i32)
            .collect::<Vec<_>>()
    };
    let weights = |row: usize, name: &str| {
        let at = row * encoded.slots + field(name).first_slot;
        encoded.weights[at..at + field(name).slots].to_vec()
    };
    assert_eq!(
        [ids(0, "user"), ids(1, "user"), ids(2, "user")],
        [[2], [1], [0]],
        "known, unknown, missing"
    );
    assert_eq!(ids(0, "hour"), [2], "between the boundaries");
    assert_eq!(
        (ids(0, "seen"), weights(0, "seen")),
        (vec![2, 0], vec![1.0, 0.0]),
        "padding has no weight"
    );
    assert_eq!(
        (ids(1, "seen"), weights(1, "seen")),
        (vec![1, 0], vec![1.0, 0.0]),
        "unknown item"
    );
    assert_eq!(
        (ids(2, "seen"), weights(2, "seen")),
        (vec![0, 0], vec![1.0, 0.0]),
        "an empty list is missing"
    );
    assert_eq!(
        (ids(3, "seen"), weights(3, "seen")),
        (vec![3, 4], vec![0.5, 0.5]),
        "the latest two of three"
    );
    assert_eq!(encoded.dense[0], 0.0, "30 is the mean age");
    assert_eq!(
        encoded.dense[2 * encoded.dense_width],
        0.0,
        "a missing number is the mean"
    );
}

#[test]
fn every_violation_is_listed_at_once() {
    let wrong = columns(vec![
        Column::new("user", Values::Float(vec![1.0])),
        text("age", &["thirty"]),
        Column::ragged("spent", Values::Float(vec![1.0]), vec![0, 1]),
        text("surprise", &["!"]),
    ]);
    let violations = schema().encode(Side::Query, &wrong).unwrap_err().violations;
    let named: Vec<&str> = violations
        .iter()
        .map(|violation| violation.column.as_str())
        .collect();
    assert_eq!(named, ["user", "age", "spent", "hour", "seen"]);
    assert!(violations[0].reason.contains("float") && violations[3].reason.contains("missing"));
    assert_eq!(schema().unread_columns(&wrong), ["surprise"]);
}

#[test]
fn columns_that_contradict_themselves_are_refused() {
    let ints = |count: i64| Values::Int((0..count).collect());
    let cases = [
        (Column::ragged("a", ints(3), vec![0, 2]), "end at 2"),
        (Column::ragged("a", ints(3), vec![1, 3]), "start at 0"),
        (
            Column::ragged("a", ints(3), vec![0, 2, 1, 3]),
            "below the one before",
        ),
        (Column::ragged("a", ints(0), vec![]), "rows + 1"),
        (
            Column {
                present: Some(vec![true]),
                ..Column::new("a", ints(2))
            },
            "1 presence marks for 2 rows",
        ),
        (
            Column::new("a", Values::Float(vec![0.0, f32::NAN])),
            "value 1 is NaN",
        ),
        (Column::new("a", Values::Float(vec![f32::INFINITY])), "inf"),
        (Column::new("", ints(1)), "name"),
    ];
    for (column, reason) in cases {
        let errors = Columns::new(vec![column.clone()]).unwrap_err().errors;
        assert!(
            errors[0].to_string().contains(reason),
            "{column:?}: {}",
            errors[0]
        );
    }
    let lengths =
        Columns::new(vec![Column::new("a", ints(1)), Column::new("b", ints(2))]).unwrap_err();
    assert!(
        lengths.errors[0]
            .to_string()
            .contains("2 rows, but column `a` has 1")
    );
    assert!(Columns::new(vec![Column::new("a", ints(1)), Column::new("a", ints(1))]).is_err());
}

#[test]
fn schemas_go_round_and_impossible_ones_are_refused() {
    let schema = schema();
    let json = schema.to_json();
    let read = Schema::from_json(&json).unwrap();
    assert_eq!(read, schema);
    assert_eq!(read.layout(), schema.layout());
    assert_eq!(read.to_json(), json);

    let newer = String::from_utf8(json)
        .unwrap()
        .replacen("\"format\": 1", "\"format\": 2", 1);
    assert_eq!(
        Schema::from_json(newer.as_bytes()).unwrap_err(),
        SchemaError::Format { found: 2, known: 1 }
    );
    let with = |transform: Transform| {
        let feature = |name: &str, role, transform| Feature {
            name: name.into(),
            column: name.into(),
            role,
            transform,
        };
        let user = feature("u", Role::User, Transform::Hash { buckets: 4 });
        Schema::new(vec![user, feature("i", Role::Item, transform)]).is_ok()
    };
    assert!(with(Transform::Hash { buckets: 4 }));
    assert!(!with(Transform::Hash { buckets: 0 }));
    assert!(!with(Transform::Standard {
        mean: 0.0,
        deviation: 0.0
    }));
    assert!(!with(Transform::Log {
        mean: f64::NAN,
        deviation: 1.0
    }));
    assert!(!with(Transform::Buckets {
        boundaries: vec![2.0, 1.0]
    }));
    assert!(!with(Transform::Vector {
        mean: vec![0.0, 1.0],
        deviation: vec![1.0, 0.0]
    }));
    assert!(!with(Transform::Vector {
        mean: vec![0.0, 1.0],
        deviation: vec![1.0]
    }));
    assert!(!with(Transform::Sequence {
        vocabulary: vec!["a".into()],
        max_length: 0
    }));
}

#[test]
fn what_was_learnt_is_read_back_to_the_last_bit() {
    for mean in [0.9421336273535525, 0.18668734792283515, 0.42459661261543147] {
        let feature = Feature {
            name: "length".into(),
            column: "length".into(),
            role: Role::Item,
            transform: Transform::Standard {
                mean,
                deviation: mean,
            },
        };
        let schema = Schema::new(vec![feature]).unwrap();
        assert_eq!(Schema::from_json(&schema.to_json()).unwrap(), schema);
    }
}

#[test]
fn a_number_is_never_farther_than_a_million_deviations() {
    let feature = Feature {
        name: "length".into(),
        column: "length".into(),
        role: Role::Item,
        transform: Transform::Standard {
            mean: 1.0,
            deviation: 0.5,
        },
    };
    let schema = Schema::new(vec![feature]).unwrap();
    let given = vec![f32::MAX, 2.0, f32::MIN];
    let table = columns(vec![Column::new("length", Values::Float(given))]);
    let encoded = schema.encode(Side::Item, &table).unwrap();
    assert_eq!(encoded.dense, [1e6, 2.0, -1e6]);
}

#[test]
fn more_ids_than_a_graph_can_take_are_refused() {
    let hashes = |count: usize| {
        let hash = |number: usize| Feature {
            name: format!("hash-{number}"),
            column: "item".into(),
            role: Role::Item,
            transform: Transform::Hash {
                buckets: (1 << 30) - 1,
            },
        };
        Schema::new((0..count).map(hash).collect())
    };
    let schema = hashes(1).unwrap();
    let table = columns(vec![text("item", &["a", "b"])]);
    let encoded = schema.encode(Side::Item, &table).unwrap();
    assert!(encoded.ids.iter().all(|id| (1..1 << 30).contains(id)));
    for count in [2, 3, 100] {
        let error = hashes(count).unwrap_err();
        assert!(
            matches!(&error, SchemaError::Feature { feature, .. } if feature == "hash-1"),
            "{error}"
        );
    }
}

#[test]
fn features_that_cannot_be_learnt_are_named() {
    let query = columns(vec![
        text("user", &["a", "b"]),
        Column::new("same", Values::Int(vec![3, 3])),
    ]);
    let item = columns(vec![text("item", &["x", "y"])]);
    let error = |spec: FeatureSpec| fit(&[spec], &query, &item).unwrap_err().to_string();
    let unknown = error(spec("usr", Role::User, category()));
    assert!(
        unknown.contains("`usr`") && unknown.contains("user, same"),
        "{unknown}"
    );
    assert!(error(spec("same", Role::User, Kind::Standard)).contains("same value"));
    assert!(error(spec("user", Role::User, Kind::Standard)).contains("strings"));
    assert!(
        error(spec(
            "user",
            Role::User,
            Kind::Category {
                min_count: 5,
                max_size: 9
            }
        ))
        .contains("5 times")
    );
}

#[test]
fn a_vector_is_scaled_place_by_place_and_must_have_its_length() {
    let lists = |values: &[f32], offsets: &[u32]| Column {
        present: None,
        ..Column::ragged("title", Values::Float(values.to_vec()), offsets.to_vec())
    };
    let title = |column: Column| columns(vec![text("item", &["x", "y"]), column]);
    let specs = [
        spec("user", Role::User, category()),
        spec("item", Role::Item, category()),
        spec("title", Role::Item, Kind::Vector),
    ];
    let user = columns(vec![text("user", &["a", "b"])]);
    let item = title(lists(&[0.0, 7.0, 4.0, 7.0], &[0, 2, 4]));
    let schema = fit(&specs, &user, &item).unwrap();
    assert_eq!(schema.layout().item.dense, ["title[0]", "title[1]"]);
    // The second place never varies, and so is only centred.
    let encoded = schema.encode(Side::Item, &item).unwrap();
    assert_eq!(encoded.dense, [-1.0, 0.0, 1.0, 0.0]);
    assert_eq!(Schema::from_json(&schema.to_json()).unwrap(), schema);

    let missing = Column {
        present: Some(vec![true, false]),
        ..lists(&[2.0, 8.0], &[0, 2, 2])
    };
    let encoded = schema.encode(Side::Item, &title(missing)).unwrap();
    assert_eq!(encoded.dense, [0.0, 1.0, 0.0, 0.0]);

    let short = schema.encode(Side::Item, &title(lists(&[1.0, 2.0, 3.0], &[0, 2, 3])));
    let reason = &short.unwrap_err().violations[0].reason;
    assert!(
        reason.contains("row 1 holds 1 values, but lists of 2"),
        "{reason}"
    );
    let ragged = fit(&specs, &user, &title(lists(&[1.0, 2.0, 3.0], &[0, 2, 3])));
    assert!(
        ragged
            .unwrap_err()
            .to_string()
            .contains("1 values in row 1")
    );
}

#[test]
fn feature_specs_read_as_toml_and_refuse_unknown_keys() {
    let parse = |text: &str| toml::from_str::<FeatureSpec>(text);
    let age = parse("name = \"age\"\nrole = \"user\"\nkind = \"buckets\"\nboundaries = [18, 25]")
        .unwrap();
    assert_eq!(
        age.kind,
        Kind::Buckets {
            boundaries: vec![18.0, 25.0]
        }
    );
    assert_eq!(
        parse("name = \"age\"\nrole = \"user\"\nkind = \"standard\"")
            .unwrap()
            .column(),
        "age"
    );
    for wrong in [
        "kind = \"bucket\"",
        "kind = \"hash\"\nbuckets = 4\nbukets = 5",
        "kind = \"hash\"",
    ] {
        assert!(
            parse(&format!("name = \"age\"\nrole = \"user\"\n{wrong}")).is_err(),
            "{wrong}"
        );
    }
}

#[test]
fn a_catalog_goes_round_through_arrow() {
    let table = columns(vec![
        text("title", &["Fargo", "Heat"]),
        Column::new("id", Values::Int(vec![11, 12])),
        Column {
            present: Some(vec![true, false]),
            ..Column::new("year", Values::Float(vec![1996.0, 0.0]))
        },
        Column::ragged(
            "genres",
            Values::Text(["Crime", "Drama"].into()),
            vec![0, 2, 2],
        ),
    ]);
    let catalog =
        Catalog::from_arrow(&Catalog::new("id", table).unwrap().to_arrow().unwrap()).unwrap();
    assert_eq!(
        (
            catalog.len(),
            catalog.id(1),
            catalog.row("12"),
            catalog.row("13")
        ),
        (2, "12", Some(1), None)
    );
    let shown = |row, column| catalog.display(row, column);
    assert_eq!(shown(0, "genres").unwrap(), "Crime, Drama");
    assert_eq!(
        (shown(0, "year").unwrap(), shown(1, "year").unwrap()),
        ("1996".into(), String::new())
    );
    assert_eq!(shown(0, "director"), None);

    let twice = columns(vec![text("id", &["a", "b", "a"])]);
    let error = Catalog::new("id", twice).unwrap_err();
    assert!(
        matches!(
            error,
            CatalogError::DuplicateId {
                first: 0,
                second: 2,
                ..
            }
        ),
        "{error}"
    );
    assert!(Catalog::from_arrow(b"not arrow").is_err());
}

#[test]
fn a_catalog_that_is_broken_anywhere_is_refused_or_read_and_never_a_panic() {
    let table = columns(vec![
        Column::new("id", Values::Int(vec![11, 12])),
        Column::ragged(
            "genres",
            Values::Text(["Crime", "Drama"].into()),
            vec![0, 2, 2],
        ),
    ]);
    let sound = Catalog::new("id", table).unwrap().to_arrow().unwrap();
    let mut contradictory = 0;
    for place in 0..sound.len() {
        let mut broken = sound.clone();
        // What was a small length becomes a huge or a negative one.
        broken[place] ^= 0x80;
        let read = Catalog::from_arrow(&broken);
        contradictory += usize::from(matches!(read, Err(CatalogError::Contradictory(_))));
        assert!(Catalog::from_arrow(&sound[..place]).is_err(), "{place}");
    }
    assert!(contradictory > 0, "the reader has no panic left to catch");
}

/// Any row that a request might hold, as an owned version of what `query` takes.
type Row = (Option<String>, Option<i64>, Vec<String>);

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let name = prop_oneof![Just("ann".to_owned()), Just("bob".to_owned()), ".{0,6}"];
    let item = prop_oneof![
        Just("m1".to_owned()),
        Just("m2".to_owned()),
        Just("m3".to_owned()),
        ".{0,4}"
    ];
    vec(
        (
            proptest::option::of(name),
            proptest::option::of(any::<i64>()),
            vec(item, 0..5),
        ),
        1..20,
    )
}

proptest! {
    /// Training encodes many rows at once with the schema it fitted; serving encodes one row at a time with the schema
    /// read back from the bundle.
    #[test]
    fn training_and_serving_encode_a_row_alike(rows in rows()) {
        let trained = schema();
        let served = Schema::from_json(&trained.to_json()).unwrap();
        let lists: Vec<Vec<&str>> = rows.iter().map(|row| row.2.iter().map(String::as_str).collect()).collect();
        let borrowed: Vec<_> =
            rows.iter().zip(&lists).map(|(row, list)| (row.0.as_deref(), row.1, list.as_slice())).collect();
        let together = trained.encode(Side::Query, &query(&borrowed)).unwrap();
        for (position, row) in borrowed.iter().enumerate() {
            let alone = served.encode(Side::Query, &query(std::slice::from_ref(row))).unwrap();
            prop_assert_eq!(&alone, &together.select(&[position]));
        }
    }

    /// The rows of several requests lie in one batch as they would lie alone, whatever the buffer held before.
    #[test]
    fn a_batch_holds_the_rows_of_its_requests(rows in rows(), again in 1_usize..4) {
        let schema = schema();
        let lists: Vec<Vec<&str>> = rows.iter().map(|row| row.2.iter().map(String::as_str).collect()).collect();
        let borrowed: Vec<_> =
            rows.iter().zip(&lists).map(|(row, list)| (row.0.as_deref(), row.1, list.as_slice())).collect();
        let together = schema.encode(Side::Query, &query(&borrowed)).unwrap();
        let mut batch = Encoded::empty(&schema.layout().query);
        for _ in 0..again {
            batch.reset(&schema.layout().query);
            // Some as parts of one request, the others as requests of their own.
            let all = query(&borrowed);
            let half = borrowed.len() / 2;
            schema.encode_into(Side::Query, &all, 0..half, &mut batch);
            for row in &borrowed[half..] {
                schema.encode_into(Side::Query, &query(std::slice::from_ref(row)), 0..1, &mut batch);
            }
        }
        prop_assert_eq!(batch, together);
    }

    /// Ids stay in the feature's own part of the table, and a row's weights of a field add up to one.
    #[test]
    fn ids_and_weights_stay_within_their_field(rows in rows()) {
        let schema = schema();
        let lists: Vec<Vec<&str>> = rows.iter().map(|row| row.2.iter().map(String::as_str).collect()).collect();
        let borrowed: Vec<_> =
            rows.iter().zip(&lists).map(|(row, list)| (row.0.as_deref(), row.1, list.as_slice())).collect();
        let encoded = schema.encode(Side::Query, &query(&borrowed)).unwrap();
        for row in 0..encoded.rows {
            for field in &schema.layout().query.fields {
                let at = row * encoded.slots + field.first_slot;
                let ids = field.first_id as i32..(field.first_id + field.ids) as i32;
                prop_assert!(encoded.ids[at..at + field.slots].iter().all(|id| ids.contains(id)));
                let total: f32 = encoded.weights[at..at + field.slots].iter().sum();
                prop_assert!((total - 1.0).abs() < 1e-6);
            }
        }
    }

    /// An integer and its decimal text are the same category, by vocabulary and by hash.
    #[test]
    fn integers_and_their_text_are_the_same_category(value in prop_oneof![Just(7_i64), Just(8), any::<i64>()]) {
        let schema = schema();
        let item = |id: Values, maker: Values| columns(vec![
            Column::new("item", id),
            Column::ragged("tags", Values::Text(Default::default()), vec![0, 0]),
            Column::new("maker", maker),
        ]);
        let ints = item(Values::Int(vec![value]), Values::Int(vec![value]));
        let texts = item(Values::Text([value.to_string()].into()), Values::Text([value.to_string()].into()));
        prop_assert_eq!(schema.encode(Side::Item, &ints).unwrap(), schema.encode(Side::Item, &texts).unwrap());
    }
}
