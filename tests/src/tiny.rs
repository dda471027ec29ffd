//! Bundles that need no training: a real graph of a few nodes with golden vectors, made in memory. The bias moves all
//! scores, so that versions can be told apart by what they answer.

use std::collections::BTreeMap;

use bytes::Bytes;
use decant_client::{Rank, Row};
use decant_features::{
    Catalog, Column, Columns, Encoded, Feature, Role, Schema, Side, Transform, Values,
};
use decant_inference::testing::{Graph, perceptron, runtime};
use decant_inference::{Golden, Session, Widths};
use decant_model::{BundlePath, Digest, FileEntry, Lineage, Manifest, ModelName, file};
use decant_proto::scorer::v1 as scorer;

/// A bundle, ready to be pushed.
#[derive(Clone)]
pub struct Tiny {
    /// `manifest.json`.
    pub manifest: Bytes,
    /// Its digest.
    pub digest: Digest,
    /// The files.
    pub files: BTreeMap<BundlePath, Bytes>,
    /// What it answers to [`Tiny::request`].
    pub scores: Vec<f32>,
}

/// The name of the models that tiny bundles are versions of.
pub const MODEL: &str = "films";

impl Tiny {
    /// The bundle of this bias.
    pub fn new(bias: f32) -> Self {
        Self::with(bias, 0.0, 0)
    }

    /// One whose golden vectors are not what its graph computes.
    pub fn with_wrong_golden(bias: f32) -> Self {
        Self::with(bias, 0.25, 0)
    }

    /// One whose golden vectors come from a machine that computes a little otherwise, by half of what they allow.
    pub fn with_golden_of_another_machine(bias: f32) -> Self {
        Self::with(bias, GOLDEN_TOLERANCE / 2.0, 0)
    }

    /// One with a further file of so many bytes, which no scorer needs.
    pub fn with_ballast(bias: f32, bytes: usize) -> Self {
        Self::with(bias, 0.0, bytes)
    }

    fn with(bias: f32, golden_is_off_by: f32, ballast: usize) -> Self {
        Self::of(&graph(bias), golden_is_off_by, ballast)
    }

    /// The bundle of a graph, which takes what [`graph`]'s takes.
    pub(crate) fn of(graph: &Graph, golden_is_off_by: f32, ballast: usize) -> Self {
        let (schema, catalog) = (schema(), catalog());
        let onnx = graph.to_onnx();
        let query = schema.encode(Side::Query, &query()).unwrap();
        let item = encoded_films();
        let scores = scores(&onnx, &query, &item);
        let golden = Golden {
            query,
            item,
            expected: scores
                .iter()
                .map(|score| score + golden_is_off_by)
                .collect(),
            tolerance: GOLDEN_TOLERANCE,
        };
        let mut files: Vec<(&str, Bytes)> = vec![
            (file::MODEL, onnx.into()),
            (file::FEATURES, schema.to_json().into()),
            (file::CATALOG, catalog.to_arrow().unwrap().into()),
            (file::GOLDEN, golden.to_json().unwrap().into()),
        ];
        if ballast > 0 {
            // Not compressible, and not the same in two bundles.
            let seed = graph.bias.to_bits();
            let noise = (0..ballast).map(|place| {
                let mixed = (place as u32 ^ seed).wrapping_mul(0x9E37_79B9);
                (mixed >> 24) as u8
            });
            files.push(("ballast.bin", noise.collect()));
        }
        Self::bundle(files, scores)
    }

    /// One whose graph is a perceptron over a vector of [`WIDE`] numbers, its column `features`; the seed tells versions
    /// apart. It has no catalog, and no query.
    pub fn wide(seed: u32) -> Self {
        let transform = Transform::Vector {
            mean: vec![0.0; WIDE],
            deviation: vec![1.0; WIDE],
        };
        let feature = Feature {
            name: "features".to_owned(),
            column: "features".to_owned(),
            role: Role::Item,
            transform,
        };
        let schema = Schema::new(vec![feature]).unwrap();
        let onnx = perceptron(&[WIDE, 128, 64, 1], seed);
        let item = Encoded {
            rows: 4,
            dense_width: WIDE,
            dense: (0..4 * WIDE).map(wide_value).collect(),
            ..Encoded::default()
        };
        let query = Encoded {
            rows: 1,
            ..Encoded::default()
        };
        let scores = scores(&onnx, &query, &item);
        let golden = Golden {
            query,
            item,
            expected: scores.clone(),
            tolerance: GOLDEN_TOLERANCE,
        };
        let files: Vec<(&str, Bytes)> = vec![
            (file::MODEL, onnx.into()),
            (file::FEATURES, schema.to_json().into()),
            (file::GOLDEN, golden.to_json().unwrap().into()),
        ];
        Self::bundle(files, scores)
    }

    /// Asks a wide one for the score of one row.
    pub fn wide_request() -> scorer::ScoreRequest {
        let values = (0..WIDE).map(wide_value).collect();
        let features = scorer::Column {
            offsets: vec![0, WIDE as u32],
            ..column(
                "features",
                scorer::column::Values::FloatValues(scorer::FloatValues { values }),
            )
        };
        scorer::ScoreRequest {
            model: Some(scorer::ModelRef {
                model: MODEL.to_owned(),
                slot: String::new(),
            }),
            columns: vec![features],
        }
    }

    fn bundle(files: Vec<(&str, Bytes)>, scores: Vec<f32>) -> Self {
        let files: BTreeMap<BundlePath, Bytes> = files
            .into_iter()
            .map(|(path, bytes)| (path.parse().unwrap(), bytes))
            .collect();
        let manifest = Manifest {
            format: Manifest::FORMAT,
            model: model(),
            files: files
                .iter()
                .map(|(path, bytes)| {
                    let entry = FileEntry {
                        sha256: Digest::of(bytes),
                        size: bytes.len() as u64,
                    };
                    (path.clone(), entry)
                })
                .collect(),
            metrics: BTreeMap::from([("auc".to_owned(), 0.8)]),
            lineage: Lineage {
                role: Default::default(),
                student: "tiny".to_owned(),
                teachers: Vec::new(),
                dataset: Digest::of(b"films"),
                job: "none".to_owned(),
                spec: Digest::of(b"tiny"),
                code_revision: "test".to_owned(),
                parent: None,
            },
        };
        let manifest = Bytes::from(manifest.to_json().unwrap());
        Self {
            digest: Digest::of(&manifest),
            manifest,
            files,
            scores,
        }
    }

    /// Asks for the scores of the whole catalog for one user.
    pub fn request() -> scorer::RankRequest {
        Self::request_at(AGE)
    }

    /// The same for a user of another age, about which golden vectors say nothing.
    pub fn request_at(age: f32) -> scorer::RankRequest {
        let ids = (0..FILMS).map(|film| (100 + film).to_string()).collect();
        scorer::RankRequest {
            model: Some(scorer::ModelRef {
                model: MODEL.to_owned(),
                slot: String::new(),
            }),
            query: vec![
                column(
                    "user",
                    scorer::column::Values::Int64Values(scorer::Int64Values { values: vec![1] }),
                ),
                column(
                    "age",
                    scorer::column::Values::FloatValues(scorer::FloatValues { values: vec![age] }),
                ),
            ],
            candidates: Some(scorer::rank_request::Candidates::ItemIds(ids)),
            top_k: FILMS as u32,
        }
    }

    /// What [`Tiny::request`] asks, for the client.
    pub fn rank() -> Rank {
        let user = Row::new().int("user", 1).float("age", AGE);
        Rank::items(user, (0..FILMS).map(|film| (100 + film).to_string()))
    }

    /// The scores of an answer to [`Tiny::request`], in the catalog's order.
    pub fn scores_of(answer: &scorer::RankResponse) -> Vec<f32> {
        let mut scores: Vec<_> = answer
            .items
            .iter()
            .map(|item| (item.position, item.score))
            .collect();
        scores.sort_by_key(|(position, _)| *position);
        scores.into_iter().map(|(_, score)| score).collect()
    }
}

/// What a graph makes of some rows.
fn scores(onnx: &[u8], query: &Encoded, item: &Encoded) -> Vec<f32> {
    let mut scores = Vec::new();
    Session::open(&runtime(), onnx.to_vec())
        .unwrap()
        .score(query, item, &mut scores)
        .unwrap();
    scores
}

/// The graph of the plain bundle of this bias.
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

/// The whole catalog, as graphs are asked.
pub(crate) fn encoded_films() -> Encoded {
    schema().encode(Side::Item, catalog().columns()).unwrap()
}

/// An age, as graphs are asked.
pub(crate) fn encoded_age(age: f32) -> f32 {
    (age - MEAN_AGE) / AGE_DEVIATION
}

/// The model's name, as a name.
pub fn model() -> ModelName {
    MODEL.parse().unwrap()
}

/// Numbers in a row of a wide bundle.
pub const WIDE: usize = 64;

/// A number of a wide row.
pub fn wide_value(place: usize) -> f32 {
    ((place * 37) % 101) as f32 / 50.5 - 1.0
}

const FILMS: usize = 8;
/// As the trainer has it.
const GOLDEN_TOLERANCE: f32 = 1e-5;
/// The age of the user of golden vectors and of [`Tiny::request`].
pub(crate) const AGE: f32 = 34.0;
const MEAN_AGE: f32 = 30.0;
const AGE_DEVIATION: f32 = 10.0;

fn column(name: &str, values: scorer::column::Values) -> scorer::Column {
    scorer::Column {
        name: name.to_owned(),
        values: Some(values),
        ..scorer::Column::default()
    }
}

fn schema() -> Schema {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let feature = |name: &str, role: Role, transform: Transform| Feature {
        name: name.to_owned(),
        column: name.to_owned(),
        role,
        transform,
    };
    let films = (0..FILMS).map(|film| (100 + film).to_string()).collect();
    Schema::new(vec![
        feature(
            "user",
            Role::User,
            Transform::Category {
                vocabulary: words(&["1", "2", "3"]),
            },
        ),
        feature(
            "age",
            Role::User,
            Transform::Standard {
                mean: MEAN_AGE.into(),
                deviation: AGE_DEVIATION.into(),
            },
        ),
        feature(
            "film",
            Role::Item,
            Transform::Category { vocabulary: films },
        ),
    ])
    .unwrap()
}

fn catalog() -> Catalog {
    let ids = (0..FILMS as i64).map(|film| 100 + film).collect();
    let columns = Columns::new(vec![Column::new("film", Values::Int(ids))]).unwrap();
    Catalog::new("film", columns).unwrap()
}

fn query() -> Columns {
    Columns::new(vec![
        Column::new("user", Values::Int(vec![1])),
        Column::new("age", Values::Float(vec![AGE])),
    ])
    .unwrap()
}
