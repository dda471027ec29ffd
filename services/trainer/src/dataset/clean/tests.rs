use proptest::prelude::*;

use super::*;
use crate::spec::Spec;

const JOB: &str = r#"
model = "films"
[data]
interactions = { path = "f.inter" }
user = "user"
item = "item"
timestamp = "time"
label = "rating >= 4"
[data.clean]
ranges = { rating = [1, 5] }
[[features]]
name = "user"
role = "user"
kind = "category"
[[features]]
name = "item"
role = "item"
kind = "category"

[[students]]
name = "small"
"#;

type Row = (
    Option<&'static str>,
    Option<&'static str>,
    Option<f64>,
    Option<i64>,
);

fn table(rows: &[Row]) -> Table {
    let column = |name: &str, cells: Cells, present: Vec<bool>| TableColumn {
        name: name.into(),
        cells,
        offsets: None,
        present: Some(present),
    };
    let texts = |values: Vec<Option<&str>>| {
        Cells::Text(
            values
                .iter()
                .map(|text| text.unwrap_or("").to_owned())
                .collect(),
        )
    };
    Table {
        file: "f.inter".into(),
        columns: vec![
            column(
                "user",
                texts(rows.iter().map(|row| row.0).collect()),
                rows.iter().map(|row| row.0.is_some()).collect(),
            ),
            column(
                "item",
                texts(rows.iter().map(|row| row.1).collect()),
                rows.iter().map(|row| row.1.is_some()).collect(),
            ),
            column(
                "rating",
                Cells::Float(rows.iter().map(|row| row.2.unwrap_or(0.0)).collect()),
                rows.iter().map(|row| row.2.is_some()).collect(),
            ),
            column(
                "time",
                Cells::Int(rows.iter().map(|row| row.3.unwrap_or(0)).collect()),
                rows.iter().map(|row| row.3.is_some()).collect(),
            ),
        ],
        lines: (2..).take(rows.len()).collect(),
        malformed: 0,
        skipped: vec![],
    }
}

fn cleaned(job: &str, rows: &[Row]) -> Result<Clean, String> {
    clean(table(rows), &Spec::parse(job).unwrap().data, None, None)
        .map_err(|error| error.to_string())
}

const ROWS: [Row; 8] = [
    (Some("u"), Some("a"), Some(5.0), Some(20)),
    (Some("u"), Some("a"), Some(2.0), Some(10)),
    (None, Some("a"), Some(5.0), Some(1)),
    (Some("u"), None, Some(5.0), Some(1)),
    (Some("u"), Some("b"), None, Some(1)),
    (Some("u"), Some("b"), Some(9.0), Some(90)),
    (Some("u"), Some("b"), Some(1.0), None),
    (Some("v"), Some("a"), Some(4.0), Some(5)),
];

#[test]
fn each_rule_counts_what_it_removes() {
    let Clean {
        table,
        labels,
        report,
    } = cleaned(JOB, &ROWS).unwrap();
    let removed: Vec<(&str, u64)> = report
        .removed
        .iter()
        .map(|removed| (removed.rule.as_str(), removed.rows))
        .collect();
    assert_eq!(
        removed,
        [
            ("malformed", 0),
            ("missing user, item or label", 3),
            ("rating outside 1..=5", 1),
            ("duplicates", 1)
        ]
    );
    assert_eq!((report.read, report.kept), (8, 3));
    assert_eq!(table.lines, [2, 8, 9]);
    assert_eq!(labels, [1.0, 0.0, 1.0]);
}

#[test]
fn the_first_or_last_is_so_in_time() {
    let kept = |rule: &str| {
        let job = JOB.replace(
            "[data.clean]",
            &format!("[data.clean]\nduplicates = \"{rule}\""),
        );
        cleaned(&job, &ROWS).map(|clean| clean.table.lines)
    };
    assert_eq!(kept("keep_last"), Ok(vec![2, 8, 9]));
    assert_eq!(kept("keep_first"), Ok(vec![3, 8, 9]));
    let error = kept("error").unwrap_err();
    assert_eq!(
        error,
        "f.inter:3: the user and item of f.inter:2 again, and data.clean.duplicates is \"error\""
    );
    let untimed = JOB.replace("timestamp = \"time\"", "");
    assert_eq!(cleaned(&untimed, &ROWS).unwrap().table.lines, [3, 8, 9]);
}

#[test]
fn a_missing_value_can_be_an_error() {
    let job = JOB.replace("[data.clean]", "[data.clean]\nmissing = \"error\"");
    let error = cleaned(&job, &ROWS).unwrap_err();
    assert_eq!(
        error,
        "f.inter:4: user missing, and data.clean.missing is \"error\""
    );
}

#[test]
fn labels_and_ranges_need_numbers_that_fit() {
    let bare = JOB.replace("rating >= 4", "rating");
    let error = cleaned(&bare, &ROWS).unwrap_err();
    assert!(
        error.starts_with("f.inter:2: label `rating` is 5, but must lie in 0..=1"),
        "{error}"
    );
    let text = JOB.replace("rating = [1, 5]", "user = [1, 5]");
    let error = cleaned(&text, &ROWS).unwrap_err();
    assert!(
        error.starts_with("data.clean.ranges.user: column `user` holds strings"),
        "{error}"
    );
    let absent = JOB.replace("rating = [1, 5]", "ratings = [1, 5]");
    let error = cleaned(&absent, &ROWS).unwrap_err();
    assert!(
        error.starts_with(
            "data.clean.ranges.ratings: unknown column `ratings`; f.inter has user, item"
        ),
        "{error}"
    );
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    let key = || prop::option::weighted(0.9, prop::sample::select(vec!["a", "b", "c"]));
    let row = (
        key(),
        key(),
        prop::option::weighted(0.9, -1.0..7.0_f64),
        prop::option::weighted(0.9, 0..5_i64),
    );
    prop::collection::vec(row, 0..30)
}

proptest! {
    /// Whatever the rows are: the counts add up, and what is kept passes every rule.
    #[test]
    fn what_is_kept_is_clean(rows in rows()) {
        let Clean { table, labels, report } = cleaned(JOB, &rows).unwrap();
        let removed: u64 = report.removed.iter().map(|removed| removed.rows).sum();
        prop_assert_eq!(report.read, report.kept + removed);
        prop_assert_eq!((report.kept as usize, labels.len()), (table.rows(), table.rows()));
        let mut pairs = std::collections::HashSet::new();
        for &line in &table.lines {
            let (user, item, rating, _) = rows[line as usize - 2];
            prop_assert!(user.is_some() && item.is_some());
            prop_assert!(rating.is_some_and(|rating| (1.0..=5.0).contains(&rating)));
            prop_assert!(pairs.insert((user, item)));
        }
    }
}
