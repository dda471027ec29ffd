use proptest::prelude::*;

use super::*;

fn table() -> Table {
    let column = |name: &str, cells: Cells| TableColumn {
        name: name.into(),
        cells,
        offsets: None,
        present: None,
    };
    let mut time = column("time", Cells::Int(vec![10, 20, 30, 40]));
    time.present = Some(vec![true, true, false, true]);
    let list = TableColumn {
        offsets: Some(vec![0, 0, 0, 0, 0]),
        ..column("tags", Cells::Text(vec![]))
    };
    Table {
        file: "f".into(),
        columns: vec![
            column("rating", Cells::Int(vec![1, 4, 5, 3])),
            column("weight", Cells::Float(vec![0.0, 0.5, 1.0, 4.0])),
            column(
                "state",
                Cells::Text(["a", "b", "it's", "b"].map(str::to_owned).to_vec()),
            ),
            time,
            list,
        ],
        lines: vec![1, 2, 3, 4],
        malformed: 0,
        skipped: vec![],
    }
}

fn values(text: &str) -> Vec<Option<f64>> {
    let (table, label) = (table(), text.parse::<Label>().unwrap());
    let bound = label.bind(&table).unwrap();
    (0..table.rows()).map(|row| bound.value(row)).collect()
}

#[test]
fn conditions_hold_or_do_not() {
    let some = |values: [u8; 4]| values.map(|value| Some(f64::from(value))).to_vec();
    assert_eq!(values("rating >= 4"), some([0, 1, 1, 0]));
    assert_eq!(values("rating>=4"), some([0, 1, 1, 0]));
    assert_eq!(values("4 <= rating"), some([0, 1, 1, 0]));
    assert_eq!(
        values("rating > 3.5 and not state == 'b'"),
        some([0, 0, 1, 0])
    );
    assert_eq!(
        values("state == 'a' or rating == 5 and weight < 1"),
        some([1, 0, 0, 0])
    );
    assert_eq!(
        values("(state == 'a' or rating == 5) and weight < 2"),
        some([1, 0, 1, 0])
    );
    assert_eq!(
        values(r"state == 'it\'s' or state != `state`"),
        some([0, 0, 1, 0])
    );
    assert_eq!(values("weight < rating"), some([1, 1, 1, 0]));
    assert_eq!(
        values("weight"),
        [Some(0.0), Some(0.5), Some(1.0), Some(4.0)]
    );
}

#[test]
fn a_missing_value_makes_no_label() {
    assert_eq!(
        values("time > 10 or rating == 5"),
        [Some(0.0), Some(1.0), None, Some(1.0)]
    );
}

#[test]
fn syntax_errors_point_at_their_place() {
    let error = |text: &str| text.parse::<Label>().unwrap_err().to_string();
    assert_eq!(
        error("rating 4"),
        "expected a comparison (>=, >, <=, <, ==, !=) after rating at position 8\n  rating 4\n         ^"
    );
    assert_eq!(
        error("rating = 4").lines().next(),
        Some("`=` is no comparison; write `==` at position 8")
    );
    let cases = [
        ("", "expected a column, a number or a string at position 1"),
        (
            "rating >=",
            "expected a column, a number or a string at position 10",
        ),
        ("(rating >= 4", "expected `)` at position 13"),
        (
            "rating >= 4)",
            "this parenthesis was never opened at position 12",
        ),
        (
            "rating >= 4 time",
            "expected `and`, `or` or the end at position 13",
        ),
        (
            "1 < rating < 4",
            "comparisons do not chain; join them with `and` at position 12",
        ),
        ("3 > 2", "a comparison needs a column at position 1"),
        ("state == 'a", "this string is never closed at position 10"),
        ("rating >= 4x", "`4x` is no number at position 11"),
        (
            "a > 1 && b > 2",
            "`&` is no operator; write `and`, `or`, `not` at position 7",
        ),
        ("é > #", "'#' has no meaning here at position 5"),
        ("a == 1e999", "`1e999` is no number at position 6"),
    ];
    for (text, expected) in cases {
        assert_eq!(error(text).lines().next(), Some(expected), "{text}");
    }
    let deep = format!("{}rating > 1{}", "(".repeat(100_000 / 30), ")".repeat(10));
    assert!(error(&deep).starts_with("more than 64 levels at position 65"));
    assert!(error(&"not ".repeat(5000)).starts_with("20000 letters are more than"));
}

#[test]
fn binding_names_what_does_not_fit() {
    let error = |text: &str| {
        let (table, label) = (table(), text.parse::<Label>().unwrap());
        label.bind(&table).map(|_| ()).unwrap_err().to_string()
    };
    assert_eq!(error("raitng >= 4"), "there is no column `raitng`");
    assert_eq!(
        error("state >= 4"),
        "`state >= 4` compares state (string) with the number 4"
    );
    assert_eq!(
        error("rating == '4'"),
        "`rating == '4'` compares rating (int64) with the string '4'"
    );
    assert_eq!(
        error("tags == 'x'"),
        "column `tags` holds lists, which cannot be compared"
    );
    assert!(error("state").starts_with("column `state` holds strings, which are no labels"));
}

fn operand() -> impl Strategy<Value = Operand> {
    prop_oneof![
        any::<f64>()
            .prop_filter("finite", |number| number.is_finite())
            .prop_map(Operand::Number),
        any::<String>().prop_map(Operand::Text),
        column_name().prop_map(Operand::Column),
    ]
}

fn column_name() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z_][a-z0-9_.]{0,8}", "[^`]{1,8}"]
}

fn compare() -> impl Strategy<Value = Condition> {
    let comparison = prop::sample::select(vec![
        Comparison::Less,
        Comparison::LessOrEqual,
        Comparison::Equal,
        Comparison::NotEqual,
        Comparison::GreaterOrEqual,
        Comparison::Greater,
    ]);
    (column_name(), comparison, operand(), any::<bool>()).prop_map(
        |(column, comparison, other, turned)| {
            let column = Operand::Column(column);
            let (left, right) = if turned {
                (other, column)
            } else {
                (column, other)
            };
            Condition::Compare(left, comparison, right)
        },
    )
}

fn label() -> impl Strategy<Value = Label> {
    let condition = compare().prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            inner
                .clone()
                .prop_map(|inner| Condition::Not(Box::new(inner))),
            prop::collection::vec(inner.clone(), 2..4).prop_map(Condition::All),
            prop::collection::vec(inner, 2..4).prop_map(Condition::Any),
        ]
    });
    prop_oneof![4 => condition.prop_map(Label::Condition), 1 => column_name().prop_map(Label::Column)]
}

proptest! {
    #[test]
    fn any_text_parses_or_is_refused(text in any::<String>()) {
        if let Err(error) = text.parse::<Label>() {
            prop_assert!(error.position() <= text.chars().count() + 1);
            let _ = error.to_string();
        }
    }

    #[test]
    fn any_likely_text_parses_or_is_refused(text in "([a-c(]|and |or |not |[<>=!]=?|[-+.0-9e]{1,4}|'|\"|`|\\\\|\\)| ){0,20}") {
        if let Ok(label) = text.parse::<Label>() {
            prop_assert_eq!(label.to_string().parse::<Label>(), Ok(label));
        }
    }

    #[test]
    fn printing_and_parsing_go_round(label in label()) {
        let text = label.to_string();
        if text.chars().count() <= 4096 {
            prop_assert_eq!(text.parse::<Label>(), Ok(label), "{}", text);
        }
    }
}
