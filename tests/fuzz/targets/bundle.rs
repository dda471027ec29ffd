//! Whatever a bundle's files hold, reading them ends in an error or in something that is written and read back as it is.

use std::path::{Component, Path};

use decant_features::{Catalog, Column, Columns, Feature, Schema, Side, Transform, Values};
use decant_fuzz::{Format, Target};
use decant_inference::{Golden, testing};
use decant_model::Manifest;

#[test]
fn manifest() {
    Target::new("manifest", Format::Text).run(30_000, |bytes| {
        let Ok(manifest) = Manifest::from_json(bytes) else {
            return false;
        };
        for path in manifest.files.keys() {
            let mut parts = Path::new(path.as_str()).components();
            assert!(
                parts.all(|part| matches!(part, Component::Normal(_))),
                "{path} leaves the bundle"
            );
        }
        let written = manifest.to_json().unwrap();
        let again = Manifest::from_json(&written).unwrap();
        assert_eq!(again, manifest);
        assert_eq!(again.to_json().unwrap(), written);
        true
    });
}

#[test]
fn features() {
    Target::new("features", Format::Text).run(30_000, |bytes| {
        let Ok(schema) = Schema::from_json(bytes) else {
            return false;
        };
        let written = schema.to_json();
        let again = Schema::from_json(&written).unwrap();
        assert_eq!(again, schema);
        assert_eq!(again.to_json(), written);
        encode(&schema, Side::Query);
        encode(&schema, Side::Item);
        true
    });
}

/// Encodes two rows. Every id must be in the table, as the schema says how long that is.
fn encode(schema: &Schema, side: Side) {
    let mut columns: Vec<Column> = Vec::new();
    for feature in schema.side(side) {
        if !columns.iter().any(|column| column.name == feature.column) {
            columns.push(column(feature));
        }
    }
    // Two features may read one column and expect different things of it.
    let Ok(encoded) = schema.encode(side, &Columns::new(columns).unwrap()) else {
        return;
    };
    let table = 0..schema.layout().vocabulary;
    for id in &encoded.ids {
        let is_inside = usize::try_from(*id).is_ok_and(|id| table.contains(&id));
        assert!(is_inside, "id {id} is not in {table:?}");
    }
    assert_eq!(encoded.ids.len(), encoded.rows * encoded.slots);
    assert_eq!(encoded.dense.len(), encoded.rows * encoded.dense_width);
}

/// Two rows of what a feature reads.
fn column(feature: &Feature) -> Column {
    let name = feature.column.as_str();
    let texts = |words: &[&str]| Values::Text(words.iter().collect());
    match &feature.transform {
        Transform::Category { .. } | Transform::Hash { .. } => {
            Column::new(name, texts(&["100", "nobody"]))
        }
        Transform::Categories { .. } | Transform::Sequence { .. } => {
            Column::ragged(name, texts(&["100", "nobody", ""]), vec![0, 0, 3])
        }
        Transform::Standard { .. } | Transform::Log { .. } | Transform::Buckets { .. } => {
            Column::new(name, Values::Float(vec![-1.5, f32::MAX]))
        }
        Transform::Vector { mean, .. } => {
            let width = mean.len() as u32;
            let values = Values::Float(vec![0.5; 2 * mean.len()]);
            Column::ragged(name, values, vec![0, width, 2 * width])
        }
    }
}

#[test]
fn golden() {
    let mut session = testing::open(&testing::Graph::default()).unwrap();
    Target::new("golden", Format::Text).run(20_000, |bytes| {
        let Ok(golden) = Golden::from_json(bytes) else {
            return false;
        };
        let written = golden.to_json().unwrap();
        assert_eq!(Golden::from_json(&written).unwrap(), golden);
        // What does not fit the graph is an error, and so are other scores.
        let _ = golden.replay(&mut session);
        true
    });
}

#[test]
fn catalog() {
    Target::new("catalog", Format::Bytes).run(5_000, |bytes| {
        let Ok(catalog) = Catalog::from_arrow(bytes) else {
            return false;
        };
        let written = catalog.to_arrow().unwrap();
        let again = Catalog::from_arrow(&written).unwrap();
        // What a file holds in place of missing values is not written, so that only the second time is like the first.
        assert_eq!(again.to_arrow().unwrap(), written);
        assert_eq!(shown(&again), shown(&catalog));
        true
    });
}

/// Every item with every column, as text.
fn shown(catalog: &Catalog) -> Vec<String> {
    let items = (0..catalog.len()).map(|row| {
        assert_eq!(catalog.row(catalog.id(row)), Some(row));
        let columns = catalog.columns().iter();
        let cells = columns.map(|column| format!("{:?}", catalog.display(row, &column.name)));
        cells.collect::<Vec<_>>().join("; ")
    });
    items.collect()
}
