//! Rows as JSON: one object, an array of objects, or objects one after the other (JSON Lines). Here the types are the
//! writer's: a number in quotes is a string. `null` is a missing value, an array a list.

use serde_json::{Deserializer, Map, Value};

use super::{Cell, Row, Scalar};

/// Reads all rows of a text.
pub(crate) fn parse_rows(text: &str) -> Result<Vec<Row>, String> {
    let mut rows = Vec::new();
    for value in Deserializer::from_str(text).into_iter::<Value>() {
        match value.map_err(|error| format!("this is no JSON: {error}"))? {
            Value::Array(elements) => {
                for element in elements {
                    let number = rows.len() + 1;
                    rows.push(row(number, element)?);
                }
            }
            other => rows.push(row(rows.len() + 1, other)?),
        }
    }
    Ok(rows)
}

fn row(number: usize, value: Value) -> Result<Row, String> {
    let Value::Object(columns) = value else {
        return Err(format!(
            "row {number} is {}, but must be an object such as {{\"user_id\": 196}}",
            kind(&value)
        ));
    };
    cells(columns).map_err(|(name, reason)| format!("row {number}, column `{name}`: {reason}"))
}

fn cells(columns: Map<String, Value>) -> Result<Row, (String, String)> {
    let mut row = Row::new();
    for (name, value) in columns {
        match cell(value) {
            Ok(cell) => row.push((name, cell)),
            Err(reason) => return Err((name, reason)),
        }
    }
    Ok(row)
}

fn cell(value: Value) -> Result<Cell, String> {
    match value {
        Value::Null => Ok(Cell::Missing),
        Value::Array(elements) => Ok(Cell::List(
            elements.into_iter().map(scalar).collect::<Result<_, _>>()?,
        )),
        other => Ok(Cell::One(scalar(other)?)),
    }
}

fn scalar(value: Value) -> Result<Scalar, String> {
    match value {
        Value::String(text) => Ok(Scalar::Text(text)),
        Value::Number(number) => match (number.as_i64(), number.as_f64().map(|float| float as f32))
        {
            (Some(integer), _) => Ok(Scalar::Int(integer)),
            (None, _) if number.is_u64() => {
                Err(format!("{number} does not fit 64 bits with a sign"))
            }
            (None, Some(float)) if float.is_finite() => Ok(Scalar::Float(float)),
            _ => Err(format!("{number} is too large for a float")),
        },
        other => Err(format!(
            "{} is no feature value; numbers, strings, and arrays of them are",
            kind(&other)
        )),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn objects_arrays_and_lines_are_read() {
        let expected: Vec<Row> = [1, 2]
            .map(|id| vec![("id".to_owned(), Cell::One(Scalar::Int(id)))])
            .into();
        assert_eq!(parse_rows(r#"[{"id": 1}, {"id": 2}]"#).unwrap(), expected);
        assert_eq!(parse_rows("{\"id\": 1}\n{\"id\": 2}\n").unwrap(), expected);
        assert_eq!(parse_rows(r#"{"id": 1}"#).unwrap(), expected[..1]);
        assert_eq!(parse_rows(" \n").unwrap(), Vec::<Row>::new());
    }

    #[test]
    fn types_are_the_writers() {
        let rows = parse_rows(
            r#"{"a": 1, "b": 1.5, "c": "1", "d": null, "e": ["x"], "f": [1, 2.5], "g": []}"#,
        )
        .unwrap();
        let cells: Vec<Cell> = rows[0].iter().map(|(_, cell)| cell.clone()).collect();
        assert_eq!(
            cells,
            [
                Cell::One(Scalar::Int(1)),
                Cell::One(Scalar::Float(1.5)),
                Cell::One(Scalar::Text("1".into())),
                Cell::Missing,
                Cell::List(vec![Scalar::Text("x".into())]),
                Cell::List(vec![Scalar::Int(1), Scalar::Float(2.5)]),
                Cell::List(vec![]),
            ]
        );
    }

    #[test]
    fn mistakes_are_named() {
        let reason = |text: &str| parse_rows(text).unwrap_err();
        assert!(
            reason("{").starts_with("this is no JSON: EOF"),
            "{}",
            reason("{")
        );
        assert_eq!(
            reason("[{}, 7]"),
            "row 2 is a number, but must be an object such as {\"user_id\": 196}"
        );
        assert_eq!(
            reason(r#"{"a": true}"#),
            "row 1, column `a`: a boolean is no feature value; numbers, strings, and arrays of them are"
        );
        assert_eq!(
            reason(r#"{"a": 1e60}"#),
            "row 1, column `a`: 1e+60 is too large for a float"
        );
        assert_eq!(
            reason(r#"{"a": 18446744073709551615}"#),
            "row 1, column `a`: 18446744073709551615 does not fit 64 bits with a sign"
        );
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[\\[\\]{}\":,a0-9. ]{0,24}|.*") {
            let _ = parse_rows(&text);
        }
    }
}
