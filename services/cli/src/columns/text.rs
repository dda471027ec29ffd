//! Rows as people type them: `user_id=196,genres=[Drama,War],age=49,title="Kolya, 1996",zip=`.
//!
//! ```text
//! row     = column *( "," column )
//! column  = name "=" [ value ]                  nothing after "=" is a missing value
//! value   = list / quoted / bare
//! list    = "[" [ element *( "," element ) ] "]"   element = quoted / bare; always strings
//! quoted  = DQUOTE *( any / "\" any ) DQUOTE    always a string
//! bare    = without , = [ ] and DQUOTE          an integer, else a float, else a string
//! ```
//!
//! Spaces around names, values and elements do not count.

use std::fmt;

use super::{Cell, Row, Scalar};

/// A row that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RowError {
    /// Where: counts characters from 1; one past the last character when something is lacking at the end.
    pub(crate) position: usize,
    /// Why.
    pub(crate) reason: String,
}

impl fmt::Display for RowError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "at character {}: {}", self.position, self.reason)
    }
}

/// Reads one row.
pub(crate) fn parse_row(text: &str) -> Result<Row, RowError> {
    let mut reader = Reader {
        characters: text.chars().collect(),
        at: 0,
    };
    let mut row = Row::new();
    loop {
        reader.skip_spaces();
        let start = reader.at;
        let name = reader.take_bare();
        if name.is_empty() {
            return Err(reader.error_at(start, "a column name is expected"));
        }
        if row.iter().any(|(other, _)| *other == name) {
            return Err(reader.error_at(start, format!("column `{name}` stands here twice")));
        }
        if !reader.take('=') {
            return Err(reader.error(format!("`=` is expected after `{name}`")));
        }
        let cell = reader.take_cell()?;
        row.push((name, cell));
        reader.skip_spaces();
        match reader.peek() {
            None => return Ok(row),
            Some(',') => reader.at += 1,
            Some('=') => {
                return Err(reader.error(
                    "a comma is expected before the next column, or quotes around a value with `=`",
                ));
            }
            Some(other) => {
                return Err(reader.error(format!(
                    "a comma is expected, not `{other}`; quote values that contain it"
                )));
            }
        }
    }
}

struct Reader {
    characters: Vec<char>,
    at: usize,
}

impl Reader {
    fn peek(&self) -> Option<char> {
        self.characters.get(self.at).copied()
    }

    fn take(&mut self, expected: char) -> bool {
        let found = self.peek() == Some(expected);
        self.at += usize::from(found);
        found
    }

    fn skip_spaces(&mut self) {
        while self.peek().is_some_and(char::is_whitespace) {
            self.at += 1;
        }
    }

    /// Text up to the next character that means something, without the spaces around it.
    fn take_bare(&mut self) -> String {
        let start = self.at;
        while self
            .peek()
            .is_some_and(|c| !matches!(c, ',' | '=' | '[' | ']' | '"'))
        {
            self.at += 1;
        }
        self.characters[start..self.at]
            .iter()
            .collect::<String>()
            .trim()
            .to_owned()
    }

    fn take_cell(&mut self) -> Result<Cell, RowError> {
        self.skip_spaces();
        match self.peek() {
            None | Some(',') => Ok(Cell::Missing),
            Some('"') => Ok(Cell::One(Scalar::Text(self.take_quoted()?))),
            Some('[') => Ok(Cell::List(self.take_list()?)),
            Some(_) => {
                let start = self.at;
                let bare = self.take_bare();
                let scalar = scalar(bare).map_err(|reason| self.error_at(start, reason))?;
                Ok(Cell::One(scalar))
            }
        }
    }

    fn take_list(&mut self) -> Result<Vec<Scalar>, RowError> {
        let open = self.at;
        self.at += 1;
        let mut elements = Vec::new();
        self.skip_spaces();
        if self.take(']') {
            return Ok(elements);
        }
        loop {
            self.skip_spaces();
            let start = self.at;
            let element = if self.peek() == Some('"') {
                self.take_quoted()?
            } else {
                let bare = self.take_bare();
                if bare.is_empty() && self.peek().is_some() {
                    return Err(self.error_at(
                        start,
                        "a list element is expected; write an empty one as \"\"",
                    ));
                }
                bare
            };
            elements.push(Scalar::Text(element));
            self.skip_spaces();
            match self.peek() {
                Some(',') => self.at += 1,
                Some(']') => {
                    self.at += 1;
                    return Ok(elements);
                }
                Some(other) => {
                    return Err(
                        self.error(format!("`,` or `]` is expected in a list, not `{other}`"))
                    );
                }
                None => return Err(self.error_at(open, "this `[` is never closed")),
            }
        }
    }

    fn take_quoted(&mut self) -> Result<String, RowError> {
        let open = self.at;
        self.at += 1;
        let mut text = String::new();
        while let Some(character) = self.peek() {
            self.at += 1;
            match character {
                '"' => return Ok(text),
                '\\' => match self.peek() {
                    Some(escaped) => {
                        text.push(escaped);
                        self.at += 1;
                    }
                    None => break,
                },
                other => text.push(other),
            }
        }
        Err(self.error_at(open, "this quote is never closed"))
    }

    fn error(&self, reason: impl Into<String>) -> RowError {
        self.error_at(self.at, reason)
    }

    fn error_at(&self, index: usize, reason: impl Into<String>) -> RowError {
        RowError {
            position: index + 1,
            reason: reason.into(),
        }
    }
}

/// What an unquoted value is. Only digits, signs, points and exponents make a number: `nan` and `inf` are words.
fn scalar(text: String) -> Result<Scalar, String> {
    let is_numeric = text
        .chars()
        .all(|c| c.is_ascii_digit() || matches!(c, '+' | '-' | '.' | 'e' | 'E'));
    if !is_numeric || !text.contains(|c: char| c.is_ascii_digit()) {
        return Ok(Scalar::Text(text));
    }
    if let Ok(integer) = text.parse() {
        return Ok(Scalar::Int(integer));
    }
    let digits = text.strip_prefix(['+', '-']).unwrap_or(&text);
    if digits.chars().all(|c| c.is_ascii_digit()) {
        return Err(format!(
            "`{text}` does not fit 64 bits; quote it if it is a name"
        ));
    }
    match text.parse::<f32>() {
        Ok(float) if float.is_finite() => Ok(Scalar::Float(float)),
        Ok(_) => Err(format!("`{text}` is too large for a float")),
        Err(_) => Ok(Scalar::Text(text)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cell(value: &str) -> Cell {
        parse_row(&format!("a={value}")).unwrap().remove(0).1
    }

    fn one(text: &str) -> Cell {
        Cell::One(Scalar::Text(text.to_owned()))
    }

    fn list(elements: &[&str]) -> Cell {
        Cell::List(
            elements
                .iter()
                .map(|&text| Scalar::Text(text.to_owned()))
                .collect(),
        )
    }

    #[test]
    fn values_have_the_type_that_they_look_like() {
        assert_eq!(cell("196"), Cell::One(Scalar::Int(196)));
        assert_eq!(cell(" -7 "), Cell::One(Scalar::Int(-7)));
        assert_eq!(cell("4.5"), Cell::One(Scalar::Float(4.5)));
        assert_eq!(cell("1e3"), Cell::One(Scalar::Float(1000.0)));
        assert_eq!(cell("\"196\""), one("196"));
        assert_eq!(cell("M"), one("M"));
        assert_eq!(cell("Toy Story (1995)"), one("Toy Story (1995)"));
        for word in ["nan", "inf", "e", "-", "1-2", "2026-05-01", "1.2.3", "0x10"] {
            assert_eq!(cell(word), one(word));
        }
    }

    #[test]
    fn nothing_is_missing_and_empty_quotes_are_not() {
        assert_eq!(cell(""), Cell::Missing);
        assert_eq!(cell("\"\""), one(""));
        assert_eq!(parse_row("a=,b=1").unwrap()[0].1, Cell::Missing);
    }

    #[test]
    fn lists_hold_strings() {
        assert_eq!(cell("[Drama, War]"), list(&["Drama", "War"]));
        assert_eq!(cell("[1,2]"), list(&["1", "2"]));
        assert_eq!(cell("[ ]"), list(&[]));
        assert_eq!(
            cell(r#"["Sci-Fi, old","]",""]"#),
            list(&["Sci-Fi, old", "]", ""])
        );
    }

    #[test]
    fn quotes_hold_everything() {
        assert_eq!(
            cell(r#""Kolya, a=b [1996] \"x\" \\""#),
            one(r#"Kolya, a=b [1996] "x" \"#)
        );
    }

    #[test]
    fn mistakes_are_located() {
        let message = |text: &str| parse_row(text).unwrap_err().to_string();
        assert_eq!(message(""), "at character 1: a column name is expected");
        assert_eq!(message("a=1,"), "at character 5: a column name is expected");
        assert_eq!(message("a"), "at character 2: `=` is expected after `a`");
        assert_eq!(
            message("a=1, a=2"),
            "at character 6: column `a` stands here twice"
        );
        assert_eq!(
            message("a=1 b=2"),
            "at character 6: a comma is expected before the next column, or quotes around a value with `=`"
        );
        assert_eq!(message("a=[x"), "at character 3: this `[` is never closed");
        assert_eq!(message("a=[x,"), "at character 3: this `[` is never closed");
        assert_eq!(
            message("a=[x,,y]"),
            "at character 6: a list element is expected; write an empty one as \"\""
        );
        assert_eq!(
            message("é=\"x"),
            "at character 3: this quote is never closed"
        );
        assert_eq!(
            message("a=\"x\"y"),
            "at character 6: a comma is expected, not `y`; quote values that contain it"
        );
        assert_eq!(
            message("a=99999999999999999999"),
            "at character 3: `99999999999999999999` does not fit 64 bits; quote it if it is a name"
        );
        assert_eq!(
            message("a=1e99"),
            "at character 3: `1e99` is too large for a float"
        );
    }

    /// A row and one of the ways to write it.
    fn written_row() -> impl Strategy<Value = (Row, String)> {
        let quote = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
        let written_cell = prop_oneof![
            Just((Cell::Missing, String::new())),
            any::<i64>().prop_map(|value| (Cell::One(Scalar::Int(value)), value.to_string())),
            (-1e6..1e6f32)
                .prop_map(|value| (Cell::One(Scalar::Float(value)), format!("{value:?}"))),
            ".*".prop_map(move |text| (Cell::One(Scalar::Text(text.clone())), quote(&text))),
            prop::collection::vec(".*", 0..4).prop_map(move |texts| {
                let written: Vec<String> = texts.iter().map(|text| quote(text)).collect();
                (
                    Cell::List(texts.into_iter().map(Scalar::Text).collect()),
                    format!("[{}]", written.join(" , ")),
                )
            }),
        ];
        prop::collection::btree_map("[a-z][a-z0-9_]{0,8}", written_cell, 1..6).prop_map(|columns| {
            let written: Vec<String> = columns
                .iter()
                .map(|(name, (_, text))| format!("{name}={text}"))
                .collect();
            (
                columns
                    .into_iter()
                    .map(|(name, (cell, _))| (name, cell))
                    .collect(),
                written.join(","),
            )
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read((row, text) in written_row()) {
            prop_assert_eq!(parse_row(&text), Ok(row));
        }

        #[test]
        fn no_text_panics_and_errors_lie_within_it(text in "[a-c=,\\[\\]\"\\\\ 0-9.e-]{0,24}|.*") {
            if let Err(error) = parse_row(&text) {
                prop_assert!((1..=text.chars().count() + 1).contains(&error.position), "{}", error);
            }
        }
    }
}
