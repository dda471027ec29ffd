//! The label expression: what in an interaction makes it an example to learn from.
//!
//! Either conditions over columns, such as `rating >= 4 and not returned == 'yes'`, whose label is 1 where they hold
//! and 0 elsewhere; or one numeric column whose values, 0 to 1, are the labels.

mod parse;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use parse::LabelSyntaxError;

use crate::ingest::{Cells, Table, TableColumn};

/// A label expression, parsed. Its `Display` is its canonical text, which parses to the same expression.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Label {
    /// The column's own values.
    Column(String),
    /// 1 where the condition holds, else 0.
    Condition(Condition),
}

/// Something that holds in a row, or does not.
#[derive(Clone, Debug, PartialEq)]
pub enum Condition {
    /// A comparison of two operands, at least one of them a column.
    Compare(Operand, Comparison, Operand),
    /// Holds where the other does not.
    Not(Box<Condition>),
    /// Holds where all of them, two or more, hold.
    All(Vec<Condition>),
    /// Holds where any of them, two or more, holds.
    Any(Vec<Condition>),
}

/// One side of a comparison.
#[derive(Clone, Debug, PartialEq)]
pub enum Operand {
    /// A column's value in the row.
    Column(String),
    /// A finite number.
    Number(f64),
    /// A text.
    Text(String),
}

/// How two operands are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `>=`
    GreaterOrEqual,
    /// `>`
    Greater,
}

/// The expression does not fit the table.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LabelError {
    /// It names a column that is not there.
    #[error("there is no column `{0}`")]
    UnknownColumn(String),
    /// It compares or uses a column that its type does not allow.
    #[error("{0}")]
    Type(String),
}

impl Label {
    /// The columns that it reads, each once, in the order of the expression.
    pub fn columns(&self) -> Vec<&str> {
        let mut columns = Vec::new();
        match self {
            Label::Column(column) => columns.push(column.as_str()),
            Label::Condition(condition) => condition.collect_columns(&mut columns),
        }
        columns
    }

    /// The expression over a table's columns.
    ///
    /// # Errors
    /// A column that is not there, or whose type does not fit.
    pub fn bind<'a>(&'a self, table: &'a Table) -> Result<BoundLabel<'a>, LabelError> {
        let columns = self
            .columns()
            .into_iter()
            .map(|name| column(table, name))
            .collect::<Result<Vec<_>, _>>()?;
        let rule = match self {
            Label::Column(name) => {
                let column = column(table, name)?;
                if matches!(column.cells, Cells::Text(_)) {
                    let hint = format!("compare it, as in `{} == '1'`", quoted_name(name));
                    return Err(LabelError::Type(format!(
                        "column `{name}` holds strings, which are no labels; {hint}"
                    )));
                }
                BoundRule::Column(column)
            }
            Label::Condition(condition) => BoundRule::Condition(condition.bind(table)?),
        };
        Ok(BoundLabel { columns, rule })
    }
}

/// A label expression over one table.
pub struct BoundLabel<'a> {
    columns: Vec<&'a TableColumn>,
    rule: BoundRule<'a>,
}

enum BoundRule<'a> {
    Column(&'a TableColumn),
    Condition(BoundCondition<'a>),
}

enum BoundCondition<'a> {
    Compare(BoundOperand<'a>, Comparison, BoundOperand<'a>),
    Not(Box<BoundCondition<'a>>),
    All(Vec<BoundCondition<'a>>),
    Any(Vec<BoundCondition<'a>>),
}

#[derive(Clone, Copy)]
enum BoundOperand<'a> {
    Column(&'a TableColumn),
    Number(f64),
    Text(&'a str),
}

/// A value in a row; integers apart, because 64-bit ids do not fit floats.
#[derive(PartialEq, PartialOrd)]
enum Value<'a> {
    Int(i64),
    Float(f64),
    Text(&'a str),
}

impl BoundLabel<'_> {
    /// The row's label; `None` when a column that the expression reads has no value in that row. The label of a bare
    /// column is its value, whatever it is: whether it lies in 0..=1 is for the caller to check.
    pub fn value(&self, row: usize) -> Option<f64> {
        if !self.columns.iter().all(|column| column.is_present(row)) {
            return None;
        }
        match &self.rule {
            BoundRule::Column(column) => column.number(row),
            BoundRule::Condition(condition) => Some(if condition.holds(row) { 1.0 } else { 0.0 }),
        }
    }
}

impl Condition {
    fn collect_columns<'a>(&'a self, columns: &mut Vec<&'a str>) {
        match self {
            Condition::Compare(left, _, right) => {
                for operand in [left, right] {
                    if let Operand::Column(name) = operand
                        && !columns.contains(&name.as_str())
                    {
                        columns.push(name);
                    }
                }
            }
            Condition::Not(inner) => inner.collect_columns(columns),
            Condition::All(parts) | Condition::Any(parts) => {
                parts.iter().for_each(|part| part.collect_columns(columns));
            }
        }
    }

    fn bind<'a>(&'a self, table: &'a Table) -> Result<BoundCondition<'a>, LabelError> {
        let bind_all = |parts: &'a [Condition]| {
            parts
                .iter()
                .map(|part| part.bind(table))
                .collect::<Result<_, _>>()
        };
        Ok(match self {
            Condition::Compare(left, comparison, right) => {
                let (bound_left, bound_right) = (left.bind(table)?, right.bind(table)?);
                if bound_left.is_text() != bound_right.is_text() {
                    let (described_left, described_right) =
                        (left.describe(bound_left), right.describe(bound_right));
                    return Err(LabelError::Type(format!(
                        "`{self}` compares {described_left} with {described_right}"
                    )));
                }
                BoundCondition::Compare(bound_left, *comparison, bound_right)
            }
            Condition::Not(inner) => BoundCondition::Not(Box::new(inner.bind(table)?)),
            Condition::All(parts) => BoundCondition::All(bind_all(parts)?),
            Condition::Any(parts) => BoundCondition::Any(bind_all(parts)?),
        })
    }
}

impl Operand {
    fn bind<'a>(&'a self, table: &'a Table) -> Result<BoundOperand<'a>, LabelError> {
        Ok(match self {
            Operand::Column(name) => BoundOperand::Column(column(table, name)?),
            Operand::Number(number) => BoundOperand::Number(*number),
            Operand::Text(text) => BoundOperand::Text(text),
        })
    }

    fn describe(&self, bound: BoundOperand<'_>) -> String {
        match bound {
            BoundOperand::Column(column) => format!("{self} ({})", column.cells.type_name()),
            BoundOperand::Number(_) => format!("the number {self}"),
            BoundOperand::Text(_) => format!("the string {self}"),
        }
    }
}

impl BoundCondition<'_> {
    fn holds(&self, row: usize) -> bool {
        match self {
            BoundCondition::Compare(left, comparison, right) => {
                comparison.holds(left.value(row), right.value(row))
            }
            BoundCondition::Not(inner) => !inner.holds(row),
            BoundCondition::All(parts) => parts.iter().all(|part| part.holds(row)),
            BoundCondition::Any(parts) => parts.iter().any(|part| part.holds(row)),
        }
    }
}

impl<'a> BoundOperand<'a> {
    fn is_text(self) -> bool {
        match self {
            BoundOperand::Column(column) => matches!(column.cells, Cells::Text(_)),
            BoundOperand::Number(_) => false,
            BoundOperand::Text(_) => true,
        }
    }

    fn value(self, row: usize) -> Value<'a> {
        match self {
            BoundOperand::Column(column) => match &column.cells {
                Cells::Int(values) => Value::Int(values[row]),
                Cells::Float(values) => Value::Float(values[row]),
                Cells::Text(values) => Value::Text(&values[row]),
            },
            BoundOperand::Number(number) => Value::Float(number),
            BoundOperand::Text(text) => Value::Text(text),
        }
    }
}

impl Comparison {
    fn holds(self, left: Value<'_>, right: Value<'_>) -> bool {
        let (left, right) = match (left, right) {
            (Value::Int(left), Value::Float(right)) => {
                (Value::Float(left as f64), Value::Float(right))
            }
            (Value::Float(left), Value::Int(right)) => {
                (Value::Float(left), Value::Float(right as f64))
            }
            same => same,
        };
        match self {
            Comparison::Less => left < right,
            Comparison::LessOrEqual => left <= right,
            Comparison::Equal => left == right,
            Comparison::NotEqual => left != right,
            Comparison::GreaterOrEqual => left >= right,
            Comparison::Greater => left > right,
        }
    }

    /// The operator as it is written.
    pub fn symbol(self) -> &'static str {
        match self {
            Comparison::Less => "<",
            Comparison::LessOrEqual => "<=",
            Comparison::Equal => "==",
            Comparison::NotEqual => "!=",
            Comparison::GreaterOrEqual => ">=",
            Comparison::Greater => ">",
        }
    }
}

fn column<'a>(table: &'a Table, name: &str) -> Result<&'a TableColumn, LabelError> {
    let column = table
        .get(name)
        .ok_or_else(|| LabelError::UnknownColumn(name.to_owned()))?;
    if column.offsets.is_some() {
        return Err(LabelError::Type(format!(
            "column `{name}` holds lists, which cannot be compared"
        )));
    }
    Ok(column)
}

fn quoted_name(name: &str) -> String {
    if parse::is_plain_name(name) {
        name.to_owned()
    } else {
        format!("`{name}`")
    }
}

impl fmt::Display for Label {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Label::Column(name) => formatter.write_str(&quoted_name(name)),
            Label::Condition(condition) => condition.fmt(formatter),
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (parts, word) = match self {
            Condition::Compare(left, comparison, right) => {
                return write!(formatter, "{left} {} {right}", comparison.symbol());
            }
            Condition::Not(inner) => match **inner {
                Condition::All(_) | Condition::Any(_) => return write!(formatter, "not ({inner})"),
                _ => return write!(formatter, "not {inner}"),
            },
            Condition::All(parts) => (parts, " and "),
            Condition::Any(parts) => (parts, " or "),
        };
        for (position, part) in parts.iter().enumerate() {
            if position > 0 {
                formatter.write_str(word)?;
            }
            match part {
                Condition::All(_) | Condition::Any(_) => write!(formatter, "({part})")?,
                _ => part.fmt(formatter)?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for Operand {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Operand::Column(name) => formatter.write_str(&quoted_name(name)),
            Operand::Number(number) => write!(formatter, "{number}"),
            Operand::Text(text) => {
                write!(
                    formatter,
                    "'{}'",
                    text.replace('\\', "\\\\").replace('\'', "\\'")
                )
            }
        }
    }
}

impl FromStr for Label {
    type Err = LabelSyntaxError;

    fn from_str(text: &str) -> Result<Self, LabelSyntaxError> {
        parse::parse(text)
    }
}

impl TryFrom<String> for Label {
    type Error = LabelSyntaxError;

    fn try_from(text: String) -> Result<Self, LabelSyntaxError> {
        parse::parse(&text)
    }
}

impl From<Label> for String {
    fn from(label: Label) -> String {
        label.to_string()
    }
}

#[cfg(test)]
mod tests;
