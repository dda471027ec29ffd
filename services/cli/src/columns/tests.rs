use super::text::parse_row;
use super::*;

fn columns(rows: &[&str]) -> Result<Vec<Column>, String> {
    let rows: Vec<Row> = rows.iter().map(|row| parse_row(row).unwrap()).collect();
    from_rows(&rows)
}

fn ints(values: &[i64]) -> Option<Values> {
    Some(Values::Int64Values(Int64Values {
        values: values.to_vec(),
    }))
}

fn floats(values: &[f32]) -> Option<Values> {
    Some(Values::FloatValues(FloatValues {
        values: values.to_vec(),
    }))
}

fn strings(values: &[&str]) -> Option<Values> {
    Some(Values::StringValues(values.iter().collect()))
}

#[test]
fn one_row_gives_one_value_a_column() {
    let columns = columns(&["user_id=196,genres=[Drama,War],age=49.5,zip=\"05401\""]).unwrap();
    let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(names, ["user_id", "genres", "age", "zip"]);
    assert_eq!(columns[0].values, ints(&[196]));
    assert_eq!(
        (&columns[1].values, &columns[1].offsets),
        (&strings(&["Drama", "War"]), &vec![0, 2])
    );
    assert_eq!(columns[2].values, floats(&[49.5]));
    assert_eq!(columns[3].values, strings(&["05401"]));
    assert!(columns.iter().all(|column| column.present.is_empty()));
}

#[test]
fn rows_are_matched_by_name_and_integers_become_floats_beside_floats() {
    let columns = columns(&["a=1,b=x", "b=y,a=2.5"]).unwrap();
    assert_eq!(columns[0].values, floats(&[1.0, 2.5]));
    assert_eq!(columns[1].values, strings(&["x", "y"]));
}

#[test]
fn missing_values_keep_their_place() {
    let columns = columns(&["a=,b=[x]", "a=word,b=", "a=,b=[]"]).unwrap();
    assert_eq!(
        (&columns[0].values, &columns[0].present),
        (&strings(&["", "word", ""]), &vec![false, true, false])
    );
    assert_eq!(
        (&columns[1].values, &columns[1].offsets),
        (&strings(&["x"]), &vec![0, 1, 1, 1])
    );
    assert_eq!(columns[1].present, [true, false, true]);
}

#[test]
fn columns_without_any_value_have_a_type_that_fits() {
    let columns = columns(&["a=,b=[]"]).unwrap();
    assert_eq!(
        (&columns[0].values, &columns[0].present),
        (&ints(&[0]), &vec![false])
    );
    assert_eq!(
        (&columns[1].values, &columns[1].offsets),
        (&strings(&[]), &vec![0, 0])
    );
}

#[test]
fn rows_that_do_not_go_together_are_told_by_column() {
    let reason = |rows: &[&str]| columns(rows).unwrap_err();
    assert_eq!(
        reason(&["a=1", "a=x"]),
        "column `a`: row 1 holds an integer, but row 2 a string"
    );
    assert_eq!(
        reason(&["a=x", "a=", "a=1.5"]),
        "column `a`: row 1 holds a string, but row 3 a float"
    );
    assert_eq!(
        reason(&["a=1", "a=[x]"]),
        "column `a`: row 2 holds a list, but row 1 a single value"
    );
    assert_eq!(
        reason(&["a=1,b=2", "a=1"]),
        "row 2 lacks column `b`, which row 1 has; write a missing value as `b=`"
    );
    assert_eq!(
        reason(&["a=1", "a=1,b=2"]),
        "row 2 has column `b`, which row 1 lacks"
    );
    assert_eq!(reason(&[]), "there is no row");
}
