//! The first line of delimited text, and what the job says about its columns.

use super::error::IngestError;
use super::source::{ColumnType, TableSource};

/// A column as it is to be read.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct HeaderColumn {
    /// Its name in the table.
    pub(super) name: String,
    /// Its type, if the job or the header gives one.
    pub(super) kind: Option<ColumnType>,
    /// What separates the values of a list.
    pub(super) separator: String,
    /// Texts that stand for a missing value.
    pub(super) null_values: Vec<String>,
}

/// Reads `name` and `name:type` cells, and applies what the job says about single columns.
pub(super) fn parse(
    cells: &[String],
    source: &TableSource,
) -> Result<Vec<HeaderColumn>, IngestError> {
    let header_error = |reason: String| IngestError::Header {
        file: source.path.clone(),
        reason,
    };
    let mut columns: Vec<HeaderColumn> = Vec::with_capacity(cells.len());
    let mut own_names = Vec::with_capacity(cells.len());
    for (position, cell) in (1..).zip(cells) {
        let (own_name, header_kind) = split_type(cell.trim());
        if own_name.is_empty() {
            return Err(header_error(format!("column {position} has no name")));
        }
        let given = source.columns.get(own_name).cloned().unwrap_or_default();
        let name = given.name.unwrap_or_else(|| own_name.to_owned());
        if columns.iter().any(|earlier| earlier.name == name) {
            return Err(header_error(format!(
                "column {position} is the second one named `{name}`"
            )));
        }
        let kind = given.kind.or(header_kind);
        if given.separator.is_some() && !kind.is_some_and(ColumnType::is_list) {
            let reason =
                "separates the values of lists, but the column's type is no list".to_owned();
            let option = format!("columns.{own_name}.separator");
            return Err(IngestError::Option {
                file: source.path.clone(),
                option,
                reason,
            });
        }
        let separator = given.separator.unwrap_or_else(|| " ".to_owned());
        columns.push(HeaderColumn {
            name,
            kind,
            separator,
            null_values: given.null_values,
        });
        own_names.push(own_name);
    }
    if let Some(unknown) = source
        .columns
        .keys()
        .find(|name| !own_names.contains(&name.as_str()))
    {
        return Err(IngestError::Option {
            file: source.path.clone(),
            option: format!("columns.{unknown}"),
            reason: format!("no such column; the file has {}", own_names.join(", ")),
        });
    }
    Ok(columns)
}

/// `name:type` to both; a colon before anything that is no type belongs to the name.
fn split_type(cell: &str) -> (&str, Option<ColumnType>) {
    match cell
        .rsplit_once(':')
        .map(|(name, kind)| (name, ColumnType::from_header(kind)))
    {
        Some((name, Some(kind))) => (name, Some(kind)),
        _ => (cell, None),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::source::ColumnSource;
    use super::*;

    fn header(
        cells: &[&str],
        columns: &[(&str, ColumnSource)],
    ) -> Result<Vec<HeaderColumn>, String> {
        let cells: Vec<String> = cells.iter().map(|&cell| cell.to_owned()).collect();
        let columns: BTreeMap<_, _> = columns
            .iter()
            .map(|(name, column)| ((*name).to_owned(), column.clone()))
            .collect();
        let source = TableSource {
            path: "f.csv".into(),
            columns,
            ..TableSource::default()
        };
        parse(&cells, &source).map_err(|error| error.to_string())
    }

    #[test]
    fn typed_and_plain_names_mix() {
        let columns = header(
            &[
                "user_id:token",
                "rating:float",
                "genre:token_seq",
                "time:utc",
                "plain",
            ],
            &[],
        )
        .unwrap();
        let read: Vec<_> = columns
            .iter()
            .map(|column| (column.name.as_str(), column.kind))
            .collect();
        assert_eq!(
            read,
            [
                ("user_id", Some(ColumnType::Text)),
                ("rating", Some(ColumnType::Float)),
                ("genre", Some(ColumnType::TextList)),
                ("time:utc", None),
                ("plain", None),
            ]
        );
    }

    #[test]
    fn the_job_renames_and_retypes() {
        let year = ColumnSource {
            name: Some("year".into()),
            kind: Some(ColumnType::Int),
            ..ColumnSource::default()
        };
        let columns = header(&["release_year:token"], &[("release_year", year)]).unwrap();
        assert_eq!(
            (columns[0].name.as_str(), columns[0].kind),
            ("year", Some(ColumnType::Int))
        );
    }

    #[test]
    fn names_must_be_there_and_differ() {
        assert_eq!(
            header(&["a", ""], &[]).unwrap_err(),
            "f.csv:1: column 2 has no name"
        );
        assert_eq!(
            header(&["a", "a:float"], &[]).unwrap_err(),
            "f.csv:1: column 2 is the second one named `a`"
        );
        let typo = header(&["year"], &[("yaer", ColumnSource::default())]).unwrap_err();
        assert_eq!(
            typo,
            "f.csv: columns.yaer: no such column; the file has year"
        );
        let separated = ColumnSource {
            separator: Some("|".into()),
            ..ColumnSource::default()
        };
        let error = header(&["genres"], &[("genres", separated)]).unwrap_err();
        assert!(
            error.contains("columns.genres.separator: separates the values of lists"),
            "{error}"
        );
    }
}
