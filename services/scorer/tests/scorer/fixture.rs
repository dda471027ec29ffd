//! A small model of films, for unit and integration tests alike.

use std::collections::BTreeMap;

use decant_features::{Catalog, Column, Columns, Feature, Role, Schema, Side, Transform, Values};
use decant_inference::testing::{Graph, runtime};
use decant_inference::{Golden, Session, Widths};
use decant_model::{Digest, FileEntry, Lineage, Manifest};

/// Films in the catalog, ids 100 to 107.
pub(crate) const FILMS: usize = 8;

/// A user, an age, a film with up to two genres.
pub(crate) fn schema() -> Schema {
    let vocabulary = |values: &[&str]| {
        values
            .iter()
            .map(|value| (*value).to_owned())
            .collect::<Vec<_>>()
    };
    let feature = |name: &str, role: Role, transform: Transform| Feature {
        name: name.to_owned(),
        column: name.to_owned(),
        role,
        transform,
    };
    let films: Vec<String> = (0..FILMS).map(|film| (100 + film).to_string()).collect();
    let genres = Transform::Categories {
        vocabulary: vocabulary(&["drama", "comedy", "western"]),
        max_length: 2,
    };
    Schema::new(vec![
        feature(
            "user",
            Role::User,
            Transform::Category {
                vocabulary: vocabulary(&["1", "2", "3"]),
            },
        ),
        feature(
            "age",
            Role::User,
            Transform::Standard {
                mean: 30.0,
                deviation: 10.0,
            },
        ),
        feature(
            "film",
            Role::Item,
            Transform::Category { vocabulary: films },
        ),
        feature("genres", Role::Item, genres),
    ])
    .unwrap()
}

/// The films with their genres, and a title that no feature reads.
pub(crate) fn catalog() -> Catalog {
    let ids = (0..FILMS as i64).map(|film| 100 + film).collect();
    let titles = (0..FILMS).map(|film| format!("Film {film}")).collect();
    let genres = (0..FILMS)
        .map(|film| ["drama", "comedy", "western"][film % 3])
        .collect();
    let columns = Columns::new(vec![
        Column::new("film", Values::Int(ids)),
        Column::new("title", Values::Text(titles)),
        Column::ragged("genres", Values::Text(genres), (0..=FILMS as u32).collect()),
    ]);
    Catalog::new("film", columns.unwrap()).unwrap()
}

/// A graph that takes what the schema encodes; the bias tells versions apart.
pub(crate) fn graph(bias: f32) -> Graph {
    let schema = schema();
    let layout = schema.layout();
    let widths = Widths {
        query_slots: layout.query.slots,
        query_dense: layout.query.dense.len(),
        item_slots: layout.item.slots,
        item_dense: layout.item.dense.len(),
    };
    Graph {
        widths,
        vocabulary: layout.vocabulary,
        bias,
        ..Graph::default()
    }
}

/// One user of the given age.
pub(crate) fn query(user: i64, age: f32) -> Columns {
    Columns::new(vec![
        Column::new("user", Values::Int(vec![user])),
        Column::new("age", Values::Float(vec![age])),
    ])
    .unwrap()
}

/// A session on the graph, as each worker has one.
pub(crate) fn session(bias: f32) -> Session {
    Session::open(&runtime(), graph(bias).to_onnx()).unwrap()
}

/// The scores of the whole catalog for one user, computed without a scorer.
pub(crate) fn expected(bias: f32, user: i64, age: f32) -> Vec<f32> {
    golden(bias, user, age).expected
}

/// Golden vectors: one user and the whole catalog.
pub(crate) fn golden(bias: f32, user: i64, age: f32) -> Golden {
    let schema = schema();
    let query = schema.encode(Side::Query, &query(user, age)).unwrap();
    let item = schema.encode(Side::Item, catalog().columns()).unwrap();
    let mut expected = Vec::new();
    session(bias).score(&query, &item, &mut expected).unwrap();
    Golden {
        query,
        item,
        expected,
        tolerance: 1e-5,
    }
}

/// The files of a bundle.
pub(crate) type Files = BTreeMap<&'static str, Vec<u8>>;

/// The manifest of some files.
pub(crate) fn manifest(model: &str, files: &Files) -> Manifest {
    let entry = |content: &Vec<u8>| FileEntry {
        sha256: Digest::of(content),
        size: content.len() as u64,
    };
    Manifest {
        format: Manifest::FORMAT,
        model: model.parse().unwrap(),
        files: files
            .iter()
            .map(|(path, content)| (path.parse().unwrap(), entry(content)))
            .collect(),
        metrics: BTreeMap::new(),
        lineage: Lineage {
            role: Default::default(),
            student: "student".into(),
            teachers: Vec::new(),
            dataset: Digest::of(b"dataset"),
            job: "job".into(),
            spec: Digest::of(b"spec"),
            code_revision: "test".into(),
            parent: None,
        },
    }
}
