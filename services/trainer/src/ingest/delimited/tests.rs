use proptest::prelude::*;

use super::super::source::ColumnSource;
use super::super::table::Cells;
use super::*;

fn read_as(source: TableSource, bytes: &[u8], malformed: Malformed) -> Result<Table, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    std::fs::write(&path, bytes).unwrap();
    read(&path, &source, malformed).map_err(|error| error.to_string())
}

fn csv(bytes: &str) -> Result<Table, String> {
    read_as(
        TableSource {
            path: "f.csv".into(),
            ..TableSource::default()
        },
        bytes.as_bytes(),
        Malformed::Error,
    )
}

fn texts(values: &[&str]) -> Cells {
    Cells::Text(values.iter().map(|&value| value.to_owned()).collect())
}

#[test]
fn typed_headers_as_recbole_writes_them() {
    let source = TableSource {
        path: "ml.item".into(),
        ..TableSource::default()
    };
    let text = "item_id:token\tprice:float\tgenres:token_seq\n1\t2.5\tDrama War\n02\t\t\n";
    let table = read_as(source, text.as_bytes(), Malformed::Error).unwrap();
    assert_eq!(table.columns[0].cells, texts(&["1", "02"]));
    assert_eq!(table.columns[1].cells, Cells::Float(vec![2.5, 0.0]));
    assert_eq!(table.columns[1].present, Some(vec![true, false]));
    assert_eq!(table.columns[2].cells, texts(&["Drama", "War"]));
    assert_eq!(table.columns[2].offsets, Some(vec![0, 2, 2]));
    assert_eq!(table.lines, [2, 3]);
}

#[test]
fn plain_headers_are_typed_by_their_values() {
    let table = csv("id,price,zip\n1,2,01234\n2,2.5,98101\n").unwrap();
    let types: Vec<_> = table
        .columns
        .iter()
        .map(|column| column.cells.type_name())
        .collect();
    assert_eq!(types, ["int64", "float", "string"]);
}

#[test]
fn quotes_byte_order_mark_and_windows_line_ends() {
    let table =
        csv("\u{feff}id,title\r\n1,\"Toy, \"\"Story\"\"\"\r\n2,\"two\r\nlines\"\r\n3,x\r\n")
            .unwrap();
    assert_eq!(table.columns[0].name, "id");
    assert_eq!(
        table.columns[1].cells,
        texts(&["Toy, \"Story\"", "two\r\nlines", "x"])
    );
    assert_eq!(table.lines, [2, 3, 5]);
}

#[test]
fn a_quote_in_tab_separated_text_is_a_letter() {
    let source = TableSource {
        path: "f.tsv".into(),
        ..TableSource::default()
    };
    let table = read_as(source, b"id\ttitle\n1\t\"Mouse\n", Malformed::Error).unwrap();
    assert_eq!(table.columns[1].cells, texts(&["\"Mouse"]));
}

#[test]
fn a_malformed_row_is_pointed_at() {
    assert_eq!(
        csv("id:token,rating:float\n1,4\n2\n").unwrap_err(),
        "f.csv:3: 1 cells, but 2 are expected"
    );
    assert_eq!(
        csv("id:token,rating:float\n1,4\n2,good\n").unwrap_err(),
        "f.csv:3:2 rating: \"good\" is no float"
    );
    assert_eq!(
        csv("id:token,rating:float\n1,NaN\n").unwrap_err(),
        "f.csv:2:2 rating: \"NaN\" is not finite"
    );
    assert_eq!(
        csv("id,text\n\n\n1,a\n2,b,c\n").unwrap_err(),
        "f.csv:5: 3 cells, but 2 are expected"
    );
    assert_eq!(
        csv("id:token,rating:float\r\n1,4\r\n2,x\r\n").unwrap_err(),
        "f.csv:3:2 rating: \"x\" is no float"
    );
    assert_eq!(
        csv("id,n:float\r\n\r\n\n1,\"x\"").unwrap_err(),
        "f.csv:4:2 n: \"x\" is no float"
    );
    assert_eq!(
        csv("").unwrap_err(),
        "f.csv:1: the file is empty, but a header is expected"
    );
}

#[test]
fn an_unclosed_quote_never_swallows_rows() {
    let error = csv("id,title\n1,\"never closed\n2,b\n3,c\n").unwrap_err();
    assert_eq!(
        error,
        "f.csv:2: a quote that opens in this row is never closed"
    );
    let closed = csv("id,title\r\n1,\"two\nlines\"\r\n").unwrap();
    assert_eq!(closed.columns[1].cells, texts(&["two\nlines"]));
}

#[test]
fn malformed_rows_are_dropped_and_counted() {
    let source = TableSource {
        path: "f.csv".into(),
        ..TableSource::default()
    };
    let bytes = b"id:token,n:int64,tags:token_seq\n1,1,a b\n2,x,c\n3\n4,4,\xff\n5,5,d\n";
    let table = read_as(source, bytes, Malformed::Drop).unwrap();
    assert_eq!((table.rows(), table.malformed), (2, 3));
    assert_eq!(table.columns[0].cells, texts(&["1", "5"]));
    assert_eq!(table.columns[2].cells, texts(&["a", "b", "d"]));
    assert_eq!(table.lines, [2, 6]);
}

#[test]
fn odd_bytes_need_their_encoding() {
    let bytes = b"id,title\n1,Mis\xe9rables\n";
    let source = TableSource {
        path: "f.csv".into(),
        ..TableSource::default()
    };
    let error = read_as(source.clone(), bytes, Malformed::Error).unwrap_err();
    assert!(
        error.starts_with("f.csv:2:2 title: \"Mis\u{fffd}rables\" is not UTF-8"),
        "{error}"
    );
    let latin = TableSource {
        encoding: Encoding::Latin1,
        ..source
    };
    let table = read_as(latin, bytes, Malformed::Error).unwrap();
    assert_eq!(table.columns[1].cells, texts(&["Misérables"]));
}

#[test]
fn a_file_without_header_takes_names_from_the_job() {
    let names = Some(vec!["user_id:token".into(), "rating".into()]);
    let rating = ColumnSource {
        null_values: vec!["-".into()],
        ..ColumnSource::default()
    };
    let columns = [("rating".to_owned(), rating)].into();
    let source = TableSource {
        path: "u.data".into(),
        names,
        columns,
        ..TableSource::default()
    };
    let table = read_as(source, b"1\t5\n2\t-\n", Malformed::Error).unwrap();
    assert_eq!(table.columns[0].cells, texts(&["1", "2"]));
    assert_eq!(table.columns[1].cells, Cells::Int(vec![5, 0]));
    assert_eq!(table.columns[1].present, Some(vec![true, false]));
    assert_eq!(table.lines, [1, 2]);
}

proptest! {
    /// No bytes whatever make the reader panic, and what it returns is rectangular.
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), drop in any::<bool>()) {
        let source = TableSource { path: "f.csv".into(), ..TableSource::default() };
        let malformed = if drop { Malformed::Drop } else { Malformed::Error };
        if let Ok(table) = read_as(source, &bytes, malformed) {
            for column in &table.columns {
                prop_assert_eq!(column.rows(), table.rows());
            }
        }
    }
}
