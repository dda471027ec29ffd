//! Texts to typed values, and the type of a column that nobody named.

use super::header::HeaderColumn;
use super::source::ColumnType;
use super::table::{Cells, TableColumn};

/// A column as it grows.
pub(super) struct ColumnBuilder<'a> {
    header: &'a HeaderColumn,
    cells: Cells,
    offsets: Option<Vec<u32>>,
    present: Vec<bool>,
}

impl<'a> ColumnBuilder<'a> {
    pub(super) fn new(header: &'a HeaderColumn, kind: ColumnType) -> Self {
        let cells = match kind {
            ColumnType::Int | ColumnType::IntList => Cells::Int(Vec::new()),
            ColumnType::Float | ColumnType::FloatList => Cells::Float(Vec::new()),
            ColumnType::Text | ColumnType::TextList => Cells::Text(Vec::new()),
        };
        Self {
            header,
            cells,
            offsets: kind.is_list().then(|| vec![0]),
            present: Vec::new(),
        }
    }

    /// Appends a row, or says what is wrong with its text; then the column is as before, or longer by some values of a
    /// list, which [`truncate`](Self::truncate) takes back.
    pub(super) fn push(&mut self, text: &str) -> Result<(), &'static str> {
        let missing = is_missing(text, &self.header.null_values);
        let Some(offsets) = &mut self.offsets else {
            if missing {
                push_placeholder(&mut self.cells);
            } else {
                push_value(&mut self.cells, text)?;
            }
            self.present.push(!missing);
            return Ok(());
        };
        if !missing {
            for value in text
                .split(self.header.separator.as_str())
                .filter(|value| !value.is_empty())
            {
                push_value(&mut self.cells, value)?;
            }
        }
        offsets.push(
            u32::try_from(len(&self.cells))
                .map_err(|_| "makes more list values than a table can hold")?,
        );
        self.present.push(!missing);
        Ok(())
    }

    /// Cuts the column back to so many rows.
    pub(super) fn truncate(&mut self, rows: usize) {
        self.present.truncate(rows);
        let values = match &mut self.offsets {
            Some(offsets) => {
                offsets.truncate(rows + 1);
                offsets.last().map_or(0, |&end| end as usize)
            }
            None => rows,
        };
        match &mut self.cells {
            Cells::Int(ints) => ints.truncate(values),
            Cells::Float(floats) => floats.truncate(values),
            Cells::Text(texts) => texts.truncate(values),
        }
    }

    pub(super) fn finish(self) -> TableColumn {
        let all_present = self.present.iter().all(|&present| present);
        TableColumn {
            name: self.header.name.clone(),
            cells: self.cells,
            offsets: self.offsets,
            present: (!all_present).then_some(self.present),
        }
    }
}

fn is_missing(text: &str, null_values: &[String]) -> bool {
    text.is_empty() || null_values.iter().any(|null| null == text)
}

fn len(cells: &Cells) -> usize {
    match cells {
        Cells::Int(values) => values.len(),
        Cells::Float(values) => values.len(),
        Cells::Text(values) => values.len(),
    }
}

fn push_placeholder(cells: &mut Cells) {
    match cells {
        Cells::Int(values) => values.push(0),
        Cells::Float(values) => values.push(0.0),
        Cells::Text(values) => values.push(String::new()),
    }
}

fn push_value(cells: &mut Cells, text: &str) -> Result<(), &'static str> {
    match cells {
        Cells::Int(values) => values.push(text.trim().parse().map_err(|_| "is no int64")?),
        Cells::Float(values) => {
            let value: f64 = text.trim().parse().map_err(|_| "is no float")?;
            if !value.is_finite() {
                return Err("is not finite");
            }
            values.push(value);
        }
        Cells::Text(values) => values.push(text.to_owned()),
    }
    Ok(())
}

/// What a column's values look like so far: the narrowest type that holds them all without loss.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Guess {
    /// No value seen.
    #[default]
    Nothing,
    /// Integers.
    Int,
    /// Numbers.
    Float,
    /// Anything.
    Text,
}

impl Guess {
    /// Takes one more text into account.
    pub(super) fn see(&mut self, text: &str, null_values: &[String]) {
        if *self == Guess::Text || is_missing(text, null_values) {
            return;
        }
        let looks = looks_like(text.trim());
        *self = match (*self, looks) {
            (Guess::Nothing, first) => first,
            (_, Guess::Text) => Guess::Text,
            (Guess::Int, Guess::Int) => Guess::Int,
            _ => Guess::Float,
        };
    }

    /// The type to read the column as.
    pub(super) fn kind(self) -> ColumnType {
        match self {
            Guess::Int => ColumnType::Int,
            Guess::Float => ColumnType::Float,
            Guess::Text | Guess::Nothing => ColumnType::Text,
        }
    }
}

/// Texts such as `007` and `12345678901234567890` are ids, which a number would change.
fn looks_like(text: &str) -> Guess {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let padded = digits.len() > 1 && digits.starts_with('0') && !digits.starts_with("0.");
    let only_digits = digits.bytes().all(|byte| byte.is_ascii_digit());
    if padded || text.starts_with('+') {
        Guess::Text
    } else if only_digits {
        if text.parse::<i64>().is_ok() {
            Guess::Int
        } else {
            Guess::Text
        }
    } else if text.parse::<f64>().is_ok_and(f64::is_finite) {
        Guess::Float
    } else {
        Guess::Text
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn column(kind: ColumnType, separator: &str, nulls: &[&str]) -> HeaderColumn {
        HeaderColumn {
            name: "c".into(),
            kind: Some(kind),
            separator: separator.into(),
            null_values: nulls.iter().map(|&null| null.to_owned()).collect(),
        }
    }

    #[test]
    fn scalars_lists_and_missing_values() {
        let header = column(ColumnType::Int, " ", &["V"]);
        let mut years = ColumnBuilder::new(&header, ColumnType::Int);
        for text in ["1995", "", "V", " 7 "] {
            assert_eq!(years.push(text), Ok(()));
        }
        let years = years.finish();
        assert_eq!(years.cells, Cells::Int(vec![1995, 0, 0, 7]));
        assert_eq!(years.present, Some(vec![true, false, false, true]));

        let header = column(ColumnType::TextList, "|", &[]);
        let mut genres = ColumnBuilder::new(&header, ColumnType::TextList);
        for text in ["Drama|War", "", "|Comedy||"] {
            assert_eq!(genres.push(text), Ok(()));
        }
        let genres = genres.finish();
        assert_eq!(genres.offsets, Some(vec![0, 2, 2, 3]));
        assert_eq!(genres.present, Some(vec![true, false, true]));
    }

    #[test]
    fn a_bad_value_leaves_no_trace() {
        let header = column(ColumnType::FloatList, ",", &[]);
        let mut prices = ColumnBuilder::new(&header, ColumnType::FloatList);
        assert_eq!(prices.push("1,2"), Ok(()));
        assert_eq!(prices.push("3,x"), Err("is no float"));
        assert_eq!(prices.push("3,inf"), Err("is not finite"));
        prices.truncate(1);
        assert_eq!(prices.push("4"), Ok(()));
        let prices = prices.finish();
        assert_eq!(
            (prices.cells, prices.offsets),
            (Cells::Float(vec![1.0, 2.0, 4.0]), Some(vec![0, 2, 3]))
        );
    }

    #[test]
    fn types_are_guessed_without_loss() {
        let guess = |texts: &[&str]| {
            let mut guess = Guess::default();
            texts.iter().for_each(|text| guess.see(text, &[]));
            guess.kind()
        };
        assert_eq!(guess(&["1", "", "-20"]), ColumnType::Int);
        assert_eq!(guess(&["1", "2.5", "1e3"]), ColumnType::Float);
        assert_eq!(guess(&["0.5", "0"]), ColumnType::Float);
        assert_eq!(guess(&["1", "x"]), ColumnType::Text);
        assert_eq!(guess(&["007"]), ColumnType::Text);
        assert_eq!(guess(&["12345678901234567890"]), ColumnType::Text);
        assert_eq!(guess(&["1.5", "NaN"]), ColumnType::Text);
        assert_eq!(guess(&["", ""]), ColumnType::Text);
    }

    proptest! {
        /// Whatever the values are, the guessed type reads them all.
        #[test]
        fn the_guessed_type_always_reads(texts in prop::collection::vec("[-+.0-9eE a-c]{0,6}", 0..20)) {
            let mut guess = Guess::default();
            texts.iter().for_each(|text| guess.see(text, &[]));
            let header = column(guess.kind(), " ", &[]);
            let mut builder = ColumnBuilder::new(&header, guess.kind());
            for text in &texts {
                prop_assert_eq!(builder.push(text), Ok(()), "{:?} as {:?}", text, guess);
            }
        }
    }
}
