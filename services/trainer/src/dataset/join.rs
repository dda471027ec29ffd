//! The two tables that features read: one row for each distinct query, one for each item.

use std::collections::HashMap;

use decant_features::{Column, Columns, FeatureSpec, Role, Side};

use crate::ingest::{Cells, Table, TableColumn};
use crate::spec::{DataSpec, Spec};

use super::digest::write_value;
use super::error::DatasetError;
use super::examples::Pair;
use super::keyed::{Entities, Keyed, key_column};
use super::report::Unmatched;

/// The joined tables, and each interaction as a pair of their rows.
pub(super) struct Joined {
    /// One row for each distinct combination of a user and context values.
    pub(super) queries: Columns,
    /// The user behind each row of `queries`.
    pub(super) users: Vec<u32>,
    /// One row for each item; the first column is the id.
    pub(super) items: Columns,
    /// One for each interaction.
    pub(super) pairs: Vec<Pair>,
    /// The users' keys, by number.
    pub(super) user_keys: Vec<String>,
    /// Users of interactions that the users' table has no row for.
    pub(super) unmatched_users: Unmatched,
    /// The same of items.
    pub(super) unmatched_items: Unmatched,
}

/// Joins cleaned interactions with what is known of their users and items. A user or item without a row there has its
/// columns missing, which the encoder has an id for.
pub(super) fn join(
    spec: &Spec,
    interactions: &Table,
    users: Option<&Keyed>,
    items: Option<&Keyed>,
) -> Result<Joined, DatasetError> {
    let data = &spec.data;
    let user_column = key_column(interactions, "data.user", &data.user)?;
    let item_column = key_column(interactions, "data.item", &data.item)?;
    let mut user_entities = Entities::default();
    let user_of = user_entities.number_rows(user_column);
    let mut item_entities = Entities::default();
    // The items' table comes first, so that items nobody has touched are in the catalog too.
    for key in items.map(Keyed::keys).unwrap_or_default() {
        item_entities.number(key);
    }
    let item_of = item_entities.number_rows(item_column);

    let sources = query_sources(spec, interactions, users)?;
    let queries = Queries::new(&sources, interactions, &user_of);
    let user_rows = matching_rows(users, &user_entities.keys);
    check_some_match(
        "data.users",
        users,
        &data.user,
        user_rows.iter().flatten().count(),
    )?;
    let query_columns = sources.iter().map(|source| match source {
        Source::Interaction(column) => column.gather(
            &queries
                .first_rows
                .iter()
                .map(|&row| Some(row))
                .collect::<Vec<_>>(),
        ),
        Source::User(column) => column.gather(
            &queries
                .users
                .iter()
                .map(|&user| user_rows[user as usize])
                .collect::<Vec<_>>(),
        ),
    });
    let query_columns = feature_columns(query_columns)?;

    let item_rows = matching_rows(items, &item_entities.keys);
    let matched_items = item_of
        .iter()
        .filter(|&&item| item_rows[item as usize].is_some())
        .count();
    check_some_match("data.items", items, &data.item, matched_items)?;
    let mut item_columns = vec![id_column(&data.item, item_column, &item_entities.keys)];
    for column in item_sources(spec, interactions, items)? {
        item_columns.push(column.gather(&item_rows));
    }
    let item_columns = feature_columns(item_columns.into_iter())?;

    let pairs = queries
        .of_row
        .iter()
        .zip(&item_of)
        .map(|(&query, &item)| Pair { query, item })
        .collect();
    Ok(Joined {
        queries: query_columns,
        users: queries.users,
        items: item_columns,
        pairs,
        unmatched_users: count_unmatched(users.is_some(), &user_rows, &user_of),
        unmatched_items: count_unmatched(items.is_some(), &item_rows, &item_of),
        user_keys: user_entities.keys,
    })
}

/// Where a query column's values come from.
enum Source<'a> {
    Interaction(&'a TableColumn),
    User(&'a TableColumn),
}

/// The columns that user and context features read, each once. A user feature is looked for in the users' table first,
/// then in the interactions; a context feature in the interactions alone.
fn query_sources<'a>(
    spec: &Spec,
    interactions: &'a Table,
    users: Option<&'a Keyed>,
) -> Result<Vec<Source<'a>>, DatasetError> {
    let mut sources: Vec<Source<'a>> = Vec::new();
    for (position, feature) in side(spec, Side::Query) {
        let (key, name) = (format!("features[{position}].column"), feature.column());
        let user_table = users
            .map(|keyed| &keyed.table)
            .filter(|_| feature.role == Role::User);
        let of_user = user_table
            .and_then(|table| table.get(name))
            .filter(|_| name != spec.data.user);
        let source = match (of_user, interactions.get(name)) {
            (Some(column), _) => Source::User(column),
            (None, Some(column)) => {
                check_no_leak(&spec.data, &key, name)?;
                Source::Interaction(column)
            }
            (None, None) => {
                let searched: Vec<&Table> = user_table.into_iter().chain([interactions]).collect();
                return Err(DatasetError::unknown_column(key, name, &searched));
            }
        };
        let of_user = matches!(source, Source::User(_));
        match sources.iter().find(|earlier| earlier.column().name == name) {
            Some(earlier) if matches!(earlier, Source::User(_)) != of_user => {
                let hint = "rename one of the two with `columns`";
                let reason = format!(
                    "column `{name}` is in the users' table and in the interactions, and both are read; {hint}"
                );
                return Err(DatasetError::Column { key, reason });
            }
            Some(_) => {}
            None => sources.push(source),
        }
    }
    Ok(sources)
}

impl<'a> Source<'a> {
    fn column(&self) -> &'a TableColumn {
        match self {
            Source::Interaction(column) | Source::User(column) => column,
        }
    }
}

/// A network that is told the label learns nothing else.
fn check_no_leak(data: &DataSpec, key: &str, column: &str) -> Result<(), DatasetError> {
    if !data.label.columns().contains(&column) {
        return Ok(());
    }
    let reason = format!(
        "column `{column}` makes the label `{}`, so it cannot be a feature too",
        data.label
    );
    Err(DatasetError::Column {
        key: key.to_owned(),
        reason,
    })
}

/// The columns of the items' table that features and the catalog ask for, each once, without the id.
fn item_sources<'a>(
    spec: &Spec,
    interactions: &Table,
    items: Option<&'a Keyed>,
) -> Result<Vec<&'a TableColumn>, DatasetError> {
    let of_features = side(spec, Side::Item)
        .map(|(position, feature)| (format!("features[{position}].column"), feature.column()));
    let of_catalog = spec
        .catalog
        .iter()
        .enumerate()
        .map(|(position, name)| (format!("catalog.columns[{position}]"), name.as_str()));
    let mut columns: Vec<&TableColumn> = Vec::new();
    for (key, name) in of_features.chain(of_catalog) {
        if name == spec.data.item || columns.iter().any(|column| column.name == name) {
            continue;
        }
        let Some(items) = items else {
            let hint = format!(
                "name the file that holds it: data.items = {{ path = .., key = \"{}\" }}",
                spec.data.item
            );
            let file = &interactions.file;
            let reason = format!("column `{name}` of items is not known from {file} alone; {hint}");
            return Err(DatasetError::Column { key, reason });
        };
        let column = items.table.get(name);
        columns
            .push(column.ok_or_else(|| DatasetError::unknown_column(key, name, &[&items.table]))?);
    }
    Ok(columns)
}

fn side(spec: &Spec, side: Side) -> impl Iterator<Item = (usize, &FeatureSpec)> {
    spec.features
        .iter()
        .enumerate()
        .filter(move |(_, feature)| feature.role.side() == side)
}

/// The distinct queries of the interactions, in the order in which they came.
struct Queries {
    /// Of each interaction.
    of_row: Vec<u32>,
    /// The first interaction of each query.
    first_rows: Vec<usize>,
    /// The user of each query.
    users: Vec<u32>,
}

impl Queries {
    fn new(sources: &[Source<'_>], interactions: &Table, user_of: &[u32]) -> Self {
        let varying: Vec<&TableColumn> = sources
            .iter()
            .filter_map(|source| match source {
                Source::Interaction(column) => Some(*column),
                // The user's number stands for all that the user's row says.
                Source::User(_) => None,
            })
            .collect();
        let mut queries = Self {
            of_row: Vec::with_capacity(interactions.rows()),
            first_rows: vec![],
            users: vec![],
        };
        let mut numbers: HashMap<Vec<u8>, u32> = HashMap::new();
        let mut identity = Vec::new();
        for (row, &user) in user_of.iter().enumerate() {
            identity.clear();
            identity.extend(user.to_le_bytes());
            varying
                .iter()
                .for_each(|column| write_value(&mut identity, column, row));
            let number = match numbers.get(&identity) {
                Some(&number) => number,
                None => {
                    let number = queries.users.len() as u32;
                    numbers.insert(identity.clone(), number);
                    queries.first_rows.push(row);
                    queries.users.push(user);
                    number
                }
            };
            queries.of_row.push(number);
        }
        queries
    }
}

/// The row of each key in its table.
fn matching_rows(keyed: Option<&Keyed>, keys: &[String]) -> Vec<Option<usize>> {
    keys.iter()
        .map(|key| keyed.and_then(|keyed| keyed.row(key)))
        .collect()
}

/// Keys of which not one is known are most often of two different kinds.
fn check_some_match(
    key: &str,
    keyed: Option<&Keyed>,
    column: &str,
    matches: usize,
) -> Result<(), DatasetError> {
    match keyed {
        Some(keyed) if matches == 0 => {
            let reason = format!(
                "not one `{column}` of the interactions has a row in {}",
                keyed.table.file
            );
            Err(DatasetError::Column {
                key: format!("{key}.key"),
                reason,
            })
        }
        _ => Ok(()),
    }
}

fn count_unmatched(
    has_table: bool,
    rows: &[Option<usize>],
    entity_of_interaction: &[u32],
) -> Unmatched {
    if !has_table {
        return Unmatched::default();
    }
    let unmatched = |entity: &&u32| rows[**entity as usize].is_none();
    Unmatched {
        keys: rows.iter().filter(|row| row.is_none()).count() as u64,
        interactions: entity_of_interaction.iter().filter(unmatched).count() as u64,
    }
}

/// The ids as a column: integers where the interactions hold integers and every id of the items' table is one too.
fn id_column(name: &str, of_interactions: &TableColumn, keys: &[String]) -> TableColumn {
    let integer = |key: &String| {
        key.parse::<i64>()
            .ok()
            .filter(|number| number.to_string() == *key)
    };
    let integers: Option<Vec<i64>> = match of_interactions.cells {
        Cells::Int(_) => keys.iter().map(integer).collect(),
        _ => None,
    };
    let cells = integers.map_or_else(|| Cells::Text(keys.to_vec()), Cells::Int);
    TableColumn {
        name: name.to_owned(),
        cells,
        offsets: None,
        present: None,
    }
}

fn feature_columns(columns: impl Iterator<Item = TableColumn>) -> Result<Columns, DatasetError> {
    let unusable = |column: &str, reason: String| {
        DatasetError::Unusable(format!("column `{column}`: {reason}"))
    };
    let narrow = |column: TableColumn| -> Result<Column, DatasetError> {
        column
            .to_feature_column()
            .map_err(|value| unusable(&column.name, format!("{value} does not fit 32 bits")))
    };
    let columns = columns.map(narrow).collect::<Result<Vec<_>, _>>()?;
    Columns::new(columns).map_err(|contradictory| DatasetError::Unusable(contradictory.to_string()))
}
