use std::sync::Arc;

use arrow_array::builder::{Int64Builder, ListBuilder, StringBuilder};
use arrow_array::{
    ArrayRef, BooleanArray, Float64Array, Int32Array, Int64Array, StringArray,
    TimestampMillisecondArray, UInt64Array,
};
use parquet::arrow::ArrowWriter;

use super::super::source::ColumnSource;
use super::*;

fn read_back(
    source: TableSource,
    columns: Vec<(&str, ArrayRef)>,
    malformed: Malformed,
) -> Result<Table, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file.parquet");
    let batch = RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().map(|(name, array)| (name, array, true)),
    );
    let batch = batch.unwrap();
    let mut writer =
        ArrowWriter::try_new(File::create(&path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    read(&path, &source, malformed).map_err(|error| error.to_string())
}

fn source() -> TableSource {
    TableSource {
        path: "f.parquet".into(),
        ..TableSource::default()
    }
}

#[test]
fn scalars_of_every_kind() {
    let columns: Vec<(&str, ArrayRef)> = vec![
        (
            "id",
            Arc::new(Int32Array::from(vec![Some(1), None, Some(3)])),
        ),
        (
            "price",
            Arc::new(Float64Array::from(vec![Some(1.5), Some(f64::NAN), None])),
        ),
        (
            "title",
            Arc::new(StringArray::from(vec![Some("a"), Some("é"), None])),
        ),
        (
            "liked",
            Arc::new(BooleanArray::from(vec![true, false, true])),
        ),
        (
            "time",
            Arc::new(TimestampMillisecondArray::from(vec![7, 8, 9])),
        ),
    ];
    let table = read_back(source(), columns, Malformed::Error).unwrap();
    assert_eq!(
        table.get("id").unwrap().present,
        Some(vec![true, false, true])
    );
    assert_eq!(table.get("price").unwrap().number(0), Some(1.5));
    assert_eq!(
        table.get("price").unwrap().present,
        Some(vec![true, false, false])
    );
    assert_eq!(table.get("title").unwrap().key(1).as_deref(), Some("é"));
    assert_eq!(table.get("liked").unwrap().cells, Cells::Int(vec![1, 0, 1]));
    assert_eq!(table.get("time").unwrap().cells, Cells::Int(vec![7, 8, 9]));
    assert_eq!((table.lines, table.skipped), (vec![1, 2, 3], vec![]));
}

#[test]
fn lists_keep_their_rows() {
    let mut genres = ListBuilder::new(StringBuilder::new());
    genres.append_value([Some("Drama"), None, Some("War")]);
    genres.append_null();
    genres.append_value([] as [Option<&str>; 0]);
    let mut seen = ListBuilder::new(Int64Builder::new());
    seen.append_value([Some(1)]);
    seen.append_value([Some(2), Some(3)]);
    seen.append_null();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("genres", Arc::new(genres.finish())),
        ("seen", Arc::new(seen.finish())),
    ];
    let table = read_back(source(), columns, Malformed::Error).unwrap();
    let genres = table.get("genres").unwrap();
    assert_eq!(
        genres.cells,
        Cells::Text(vec!["Drama".into(), "War".into()])
    );
    assert_eq!(
        (genres.offsets.clone(), genres.present.clone()),
        (Some(vec![0, 2, 2, 2]), Some(vec![true, false, true]))
    );
    assert_eq!(table.get("seen").unwrap().offsets, Some(vec![0, 1, 3, 3]));
}

#[test]
fn values_that_no_table_holds_are_errors_or_dropped() {
    let columns = || -> Vec<(&str, ArrayRef)> {
        vec![
            ("id", Arc::new(UInt64Array::from(vec![1, u64::MAX, 3]))),
            (
                "price",
                Arc::new(Float64Array::from(vec![1.0, 2.0, f64::INFINITY])),
            ),
        ]
    };
    let error = read_back(source(), columns(), Malformed::Error).unwrap_err();
    assert_eq!(
        error,
        "f.parquet:2:1 id: \"18446744073709551615\" is more than an int64 holds"
    );
    let table = read_back(source(), columns(), Malformed::Drop).unwrap();
    assert_eq!(
        (table.rows(), table.malformed, table.lines),
        (1, 2, vec![1])
    );
}

#[test]
fn columns_are_renamed_and_unknown_types_skipped() {
    let binary: ArrayRef = Arc::new(arrow_array::BinaryArray::from(vec![b"x".as_slice()]));
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![5]));
    let rename = ColumnSource {
        name: Some("user_id".into()),
        ..ColumnSource::default()
    };
    let renamed = TableSource {
        columns: [("id".to_owned(), rename)].into(),
        ..source()
    };
    let table = read_back(
        renamed,
        vec![("id", ids.clone()), ("blob", binary)],
        Malformed::Error,
    )
    .unwrap();
    assert_eq!(table.names().collect::<Vec<_>>(), ["user_id"]);
    assert_eq!(table.skipped, [("blob".to_owned(), "Binary".to_owned())]);

    let typo = TableSource {
        columns: [("idd".to_owned(), ColumnSource::default())].into(),
        ..source()
    };
    let error = read_back(typo, vec![("id", ids)], Malformed::Error).unwrap_err();
    assert_eq!(
        error,
        "f.parquet: columns.idd: no such column; the file has id"
    );
}

#[test]
fn a_damaged_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file.parquet");
    for bytes in [b"".as_slice(), b"PAR1", b"PAR1 nothing of the kind PAR1"] {
        std::fs::write(&path, bytes).unwrap();
        let error = read(&path, &source(), Malformed::Error)
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("f.parquet: "), "{error}");
    }
}
