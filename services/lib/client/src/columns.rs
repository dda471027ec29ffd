//! Feature columns, in shapes that scorers take.

use decant_proto::scorer::v1 as wire;
use wire::column::Values;

use crate::error::Violation;

/// Feature columns: each has a name, a type, and one value or one list for each row. Names and types are those of the
/// model's feature schema; that all columns have the same number of rows is checked before anything is sent.
///
/// ```
/// # use decant_client::Columns;
/// let columns = Columns::new()
///     .ints("user_id", [13, 13])
///     .floats("age", [47.0, 47.0])
///     .texts("gender", ["M", "M"])
///     .lists("genres", [vec!["Drama", "War"], vec![]])
///     .optionals("year", [Some(1995_i64), None]);
/// assert_eq!(columns.rows(), 2);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Columns(Vec<wire::Column>);

/// One row of features, such as those of a user and of the moment.
///
/// ```
/// # use decant_client::Row;
/// let user = Row::new()
///     .int("user_id", 13)
///     .float("age", 47.0)
///     .text("gender", "M")
///     .list("watched", ["50", "181"]);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row(Columns);

/// A type of values that a column can have: `i64`, `f32`, `String` and `&str`.
pub trait Value: Sized + private::Sealed {
    /// What stands where a row has no value.
    #[doc(hidden)]
    fn nothing() -> Self;

    /// The values as a message holds them.
    #[doc(hidden)]
    fn values(values: Vec<Self>) -> Values;
}

mod private {
    pub trait Sealed {}
    impl Sealed for i64 {}
    impl Sealed for f32 {}
    impl Sealed for String {}
    impl Sealed for &str {}
}

impl Columns {
    /// No columns yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Integers, one a row.
    pub fn ints(self, name: impl Into<String>, values: impl IntoIterator<Item = i64>) -> Self {
        self.column(name, values.into_iter().collect(), Vec::new(), Vec::new())
    }

    /// Floats, one a row; finite.
    pub fn floats(self, name: impl Into<String>, values: impl IntoIterator<Item = f32>) -> Self {
        self.column(name, values.into_iter().collect(), Vec::new(), Vec::new())
    }

    /// Texts, one a row.
    pub fn texts<T: Into<String>>(
        self,
        name: impl Into<String>,
        values: impl IntoIterator<Item = T>,
    ) -> Self {
        let values: Vec<String> = values.into_iter().map(Into::into).collect();
        self.column(name, values, Vec::new(), Vec::new())
    }

    /// Lists, one a row; a list may be empty.
    pub fn lists<V: Value>(
        self,
        name: impl Into<String>,
        rows: impl IntoIterator<Item = impl IntoIterator<Item = V>>,
    ) -> Self {
        let (mut values, mut offsets) = (Vec::new(), vec![0]);
        for row in rows {
            values.extend(row);
            // More values than an offset can name fit into no message, and are refused as such.
            offsets.push(u32::try_from(values.len()).unwrap_or(u32::MAX));
        }
        self.column(name, values, offsets, Vec::new())
    }

    /// Values, one a row, of which some may be missing.
    pub fn optionals<V: Value>(
        self,
        name: impl Into<String>,
        values: impl IntoIterator<Item = Option<V>>,
    ) -> Self {
        let (mut given, mut present) = (Vec::new(), Vec::new());
        for value in values {
            present.push(value.is_some());
            given.push(value.unwrap_or_else(V::nothing));
        }
        self.column(name, given, Vec::new(), present)
    }

    /// How many rows there are; the first column says so.
    pub fn rows(&self) -> usize {
        self.0.first().map_or(0, rows)
    }

    fn column<V: Value>(
        mut self,
        name: impl Into<String>,
        values: Vec<V>,
        offsets: Vec<u32>,
        present: Vec<bool>,
    ) -> Self {
        self.0.push(wire::Column {
            name: name.into(),
            values: Some(V::values(values)),
            offsets,
            present,
        });
        self
    }

    /// What a message holds.
    pub(crate) fn to_wire(&self) -> Vec<wire::Column> {
        self.0.clone()
    }

    /// What is wrong, whichever model is asked; `field` is where the columns stand in the request.
    pub(crate) fn violations(&self, field: &str) -> Vec<Violation> {
        let mut violations = Vec::new();
        let mut add = |field: String, reason: String| {
            violations.push(Violation { field, reason });
        };
        if self.rows() == 0 {
            add(
                field.to_owned(),
                "no row; at least 1 is expected".to_owned(),
            );
        }
        for (position, column) in self.0.iter().enumerate() {
            if column.name.is_empty() {
                let field = format!("{field}[{position}]");
                add(field, "a column needs a name".to_owned());
                continue;
            }
            let field = format!("{field}[{}]", column.name);
            let earlier = &self.0[..position];
            if earlier.iter().any(|other| other.name == column.name) {
                add(
                    field.clone(),
                    "there are two columns of this name".to_owned(),
                );
            }
            if rows(column) != self.rows() {
                let first = &self.0[0].name;
                let reason = format!("{} rows, but `{first}` has {}", rows(column), self.rows());
                add(field.clone(), reason);
            }
            if let Some(Values::FloatValues(floats)) = &column.values
                && let Some(row) = floats.values.iter().position(|value| !value.is_finite())
            {
                add(field, format!("value {row} is {}", floats.values[row]));
            }
        }
        violations
    }
}

impl Row {
    /// No features yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// An integer.
    pub fn int(self, name: impl Into<String>, value: i64) -> Self {
        Self(self.0.ints(name, [value]))
    }

    /// A float; finite.
    pub fn float(self, name: impl Into<String>, value: f32) -> Self {
        Self(self.0.floats(name, [value]))
    }

    /// A text.
    pub fn text(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        Self(self.0.texts(name, [value]))
    }

    /// A list.
    pub fn list<V: Value>(
        self,
        name: impl Into<String>,
        values: impl IntoIterator<Item = V>,
    ) -> Self {
        Self(self.0.lists(name, [values]))
    }

    /// A value that may be missing.
    pub fn optional<V: Value>(self, name: impl Into<String>, value: Option<V>) -> Self {
        Self(self.0.optionals(name, [value]))
    }

    /// The same as columns of one row.
    pub(crate) fn columns(&self) -> &Columns {
        &self.0
    }
}

fn rows(column: &wire::Column) -> usize {
    if let Some(lists) = column.offsets.len().checked_sub(1) {
        return lists;
    }
    match &column.values {
        Some(Values::Int64Values(ints)) => ints.values.len(),
        Some(Values::FloatValues(floats)) => floats.values.len(),
        Some(Values::StringValues(texts)) => texts.values.len(),
        None => 0,
    }
}

impl Value for i64 {
    fn nothing() -> Self {
        0
    }

    fn values(values: Vec<Self>) -> Values {
        Values::Int64Values(wire::Int64Values { values })
    }
}

impl Value for f32 {
    fn nothing() -> Self {
        0.0
    }

    fn values(values: Vec<Self>) -> Values {
        Values::FloatValues(wire::FloatValues { values })
    }
}

impl Value for String {
    fn nothing() -> Self {
        Self::new()
    }

    fn values(values: Vec<Self>) -> Values {
        Values::StringValues(values.into_iter().collect())
    }
}

impl Value for &str {
    fn nothing() -> Self {
        ""
    }

    fn values(values: Vec<Self>) -> Values {
        Values::StringValues(values.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(columns: &Columns) -> Vec<String> {
        let violations = columns.violations("columns").into_iter();
        violations
            .map(|violation| format!("{}: {}", violation.field, violation.reason))
            .collect()
    }

    #[test]
    fn columns_become_what_the_wire_holds() {
        let columns = Columns::new()
            .ints("id", [7, 8])
            .lists("genres", [vec!["a", "b"], vec![]])
            .optionals("year", [None, Some(1995_i64)]);
        assert_eq!(wrong(&columns), Vec::<String>::new());
        let sent = columns.to_wire();
        assert_eq!(sent[1].offsets, [0, 2, 2]);
        assert_eq!(
            sent[1].values,
            Some(Values::StringValues(["a", "b"].iter().collect()))
        );
        assert_eq!(sent[2].present, [false, true]);
        assert_eq!(
            sent[2].values,
            Some(Values::Int64Values(wire::Int64Values {
                values: vec![0, 1995]
            }))
        );
    }

    #[test]
    fn everything_that_is_wrong_is_named() {
        assert_eq!(
            wrong(&Columns::new()),
            ["columns: no row; at least 1 is expected"]
        );
        let columns = Columns::new()
            .ints("id", [7, 8])
            .floats("age", [f32::NAN])
            .texts("id", ["a", "b"])
            .texts("", ["a", "b"]);
        assert_eq!(
            wrong(&columns),
            [
                "columns[age]: 1 rows, but `id` has 2",
                "columns[age]: value 0 is NaN",
                "columns[id]: there are two columns of this name",
                "columns[3]: a column needs a name",
            ]
        );
    }

    #[test]
    fn a_row_is_one_row_whatever_it_holds() {
        let row = Row::new()
            .int("a", 1)
            .float("b", 1.0)
            .text("c", "x")
            .list("d", [1_i64, 2, 3])
            .list("e", Vec::<String>::new())
            .optional("f", None::<f32>);
        assert_eq!(row.columns().violations("query"), []);
        assert_eq!(row.columns().rows(), 1);
    }
}
