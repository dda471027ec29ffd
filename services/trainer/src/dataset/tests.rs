use std::fmt::Write as _;

use decant_features::Values;
use proptest::prelude::*;

use super::*;

const USERS: &str = "user_id:token\tage:int64\nu1\t17\nu2\t30\nu3\t\n";
const ITEMS: &str = "item_id:token\ttitle:string\tgenres:token_seq\na\tAlien\tHorror Sci-Fi\nb\tBabe\tComedy\nz\tZulu\t\n";

/// Users u1 to u4 (u4 without a row) with items a to d (c and d without a row).
fn interactions() -> String {
    let mut text =
        "user_id:token\titem_id:token\trating:float\thour:int64\ttimestamp:float\n".to_owned();
    for (number, (user, item)) in (1..=4)
        .flat_map(|user| "abcd".chars().map(move |item| (user, item)))
        .enumerate()
    {
        let (rating, hour) = (1 + number % 5, number % 2);
        writeln!(text, "u{user}\t{item}\t{rating}\t{hour}\t{}", 1000 + number).unwrap();
    }
    text
}

const JOB: &str = r#"
model = "films"
[data]
interactions = { path = "f.inter" }
users = { path = "f.user", key = "user_id" }
items = { path = "f.item", key = "item_id" }
user = "user_id"
item = "item_id"
timestamp = "timestamp"
label = "rating >= 4"
[data.split]
validation = 0.2
test = 0.2
[[features]]
name = "user_id"
role = "user"
kind = "category"
[[features]]
name = "age"
role = "user"
kind = "buckets"
boundaries = [18, 25]
[[features]]
name = "hour"
role = "context"
kind = "category"
[[features]]
name = "item_id"
role = "item"
kind = "category"
[catalog]
columns = ["title"]

[[students]]
name = "small"
"#;

struct Files {
    interactions: String,
    users: String,
    items: String,
}

impl Default for Files {
    fn default() -> Self {
        Self {
            interactions: interactions(),
            users: USERS.to_owned(),
            items: ITEMS.to_owned(),
        }
    }
}

fn load_job(job: &str, files: &Files) -> Result<Dataset, String> {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("f.inter", &files.interactions),
        ("f.user", &files.users),
        ("f.item", &files.items),
    ] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    load(&Spec::parse(job).unwrap(), folder.path()).map_err(|error| error.to_string())
}

fn loaded() -> Dataset {
    load_job(JOB, &Files::default()).unwrap()
}

fn refused(from: &str, to: &str) -> String {
    assert!(JOB.contains(from), "{from}");
    load_job(&JOB.replace(from, to), &Files::default()).unwrap_err()
}

#[test]
fn tables_are_joined_split_and_encoded() {
    let dataset = loaded();
    let report = &dataset.report;
    assert_eq!((report.train, report.validation, report.test), (10, 3, 3));
    assert_eq!((report.distinct_users, report.distinct_items), (4, 5));
    assert_eq!(
        report.unmatched_users,
        Unmatched {
            keys: 1,
            interactions: 4
        }
    );
    assert_eq!(
        report.unmatched_items,
        Unmatched {
            keys: 2,
            interactions: 8
        }
    );
    assert_eq!(report.label_mean, 6.0 / 16.0);
    // Each user in each of two hours.
    assert_eq!((dataset.train.queries.rows, dataset.queries.rows()), (8, 8));
    assert_eq!(dataset.user_keys, ["u1", "u2", "u3", "u4"]);
    assert_eq!(*dataset.train.users, [0, 0, 1, 1, 2, 2, 3, 3]);
    // The items' table first, then items that only interactions name.
    let ids: Vec<&str> = (0..dataset.catalog.len())
        .map(|row| dataset.catalog.id(row))
        .collect();
    assert_eq!(ids, ["a", "b", "z", "c", "d"]);
    assert_eq!(dataset.catalog.display(1, "title").as_deref(), Some("Babe"));
    assert_eq!(dataset.catalog.display(3, "title").as_deref(), Some(""));
    assert_eq!(dataset.train.items.rows, 5);
}

#[test]
fn pairs_and_labels_are_those_of_the_interactions() {
    let dataset = loaded();
    for part in [&dataset.train, &dataset.validation, &dataset.test] {
        for (pair, label) in part.pairs.iter().zip(&part.labels) {
            let user = part.users[pair.query as usize] as usize;
            let item = "abcd".find(dataset.catalog.id(pair.item as usize)).unwrap();
            let number = user * 4 + item;
            assert_eq!(*label, if 1 + number % 5 >= 4 { 1.0 } else { 0.0 });
            let Values::Int(hours) = &dataset.queries.get("hour").unwrap().values else {
                panic!("hours are integers")
            };
            assert_eq!(hours[pair.query as usize], number as i64 % 2);
        }
    }
}

#[test]
fn vocabularies_know_the_training_part_alone() {
    let dataset = loaded();
    let seen: HashSet<&str> = dataset
        .train
        .pairs
        .iter()
        .map(|pair| dataset.catalog.id(pair.item as usize))
        .collect();
    let item = &dataset.schema.features()[3];
    assert_eq!(item.transform.ids(), seen.len() + 2);
    assert!(!seen.contains("z"));
    assert_eq!(
        dataset.report.items_unseen_in_training,
        5 - seen.len() as u64
    );
}

#[test]
fn the_digest_names_the_content_and_the_split() {
    let digest = loaded().digest;
    assert_eq!(loaded().digest, digest);
    let reformatted = Files {
        users: USERS.replace('\n', "\r\n"),
        ..Files::default()
    };
    assert_eq!(load_job(JOB, &reformatted).unwrap().digest, digest);
    let with_other_threads = format!("threads = 3\n{JOB}");
    assert_eq!(
        load_job(&with_other_threads, &Files::default())
            .unwrap()
            .digest,
        digest
    );
    for (from, to) in [
        ("rating >= 4", "rating >= 3"),
        ("test = 0.2", "test = 0.3"),
        ("[data.split]", "[data.split]\nseed = 1"),
    ] {
        assert_ne!(
            load_job(&JOB.replace(from, to), &Files::default())
                .unwrap()
                .digest,
            digest,
            "{to}"
        );
    }
    let older = Files {
        users: USERS.replace("30", "31"),
        ..Files::default()
    };
    assert_ne!(load_job(JOB, &older).unwrap().digest, digest);
}

#[test]
fn integer_keys_meet_text_keys() {
    let interactions = interactions()
        .replace("\nu", "\n")
        .replace("user_id:token", "user_id:int64");
    let users = USERS
        .replace("u1", "1")
        .replace("u2", "2")
        .replace("u3", "3");
    let dataset = load_job(
        JOB,
        &Files {
            interactions,
            users,
            ..Files::default()
        },
    )
    .unwrap();
    assert_eq!(dataset.report.unmatched_users.keys, 1);
}

#[test]
fn one_wide_file_can_be_all_three_tables() {
    let job = JOB
        .replace(
            "\"f.user\", key = \"user_id\"",
            "\"f.inter\", key = \"user_id\", duplicates = \"keep_first\"",
        )
        .replace(
            "\"f.item\", key = \"item_id\"",
            "\"f.inter\", key = \"item_id\", duplicates = \"keep_last\"",
        )
        .replace("name = \"age\"", "name = \"age\"\ncolumn = \"timestamp\"")
        .replace("\"title\"", "\"timestamp\"");
    let dataset = load_job(&job, &Files::default()).unwrap();
    assert_eq!(dataset.report.unmatched_users, Unmatched::default());
    assert_eq!(
        dataset.catalog.display(0, "timestamp").as_deref(),
        Some("1012")
    );
}

#[test]
fn a_column_of_both_tables_cannot_be_read_from_both() {
    let users = USERS.replace("age:int64", "hour:int64");
    let job = JOB.replace("name = \"age\"", "name = \"age\"\ncolumn = \"hour\"");
    let error = load_job(
        &job,
        &Files {
            users,
            ..Files::default()
        },
    )
    .unwrap_err();
    assert!(
        error.starts_with(
            "features[2].column: column `hour` is in the users' table and in the inter"
        ),
        "{error}"
    );
}

#[test]
fn interactions_without_a_row_can_be_dropped() {
    let job = JOB.replace(
        "[data.split]",
        "[data.clean]\nunmatched = \"drop\"\n[data.split]",
    );
    let report = load_job(&job, &Files::default()).unwrap().report;
    let removed: Vec<(&str, u64)> = report.interactions.removed[2..4]
        .iter()
        .map(|removed| (removed.rule.as_str(), removed.rows))
        .collect();
    assert_eq!(
        removed,
        [
            ("user without a row in f.user", 4),
            ("item without a row in f.item", 6)
        ]
    );
    assert_eq!((report.interactions.kept, report.distinct_items), (6, 3));
}

#[test]
fn unknown_columns_are_named_with_the_known_ones() {
    assert_eq!(
        refused("rating >= 4", "raitng >= 4"),
        "data.label = \"raitng >= 4\": unknown column `raitng`; f.inter has user_id, item_id, rating, hour, timestamp"
    );
    assert_eq!(
        refused("user = \"user_id\"", "user = \"user\""),
        "data.user: unknown column `user`; f.inter has user_id, item_id, rating, hour, timestamp"
    );
    assert!(
        refused("timestamp = \"timestamp\"", "timestamp = \"time\"")
            .starts_with("data.timestamp: unknown column")
    );
    assert_eq!(
        refused("\"f.user\", key = \"user_id\"", "\"f.user\", key = \"id\""),
        "data.users.key: unknown column `id`; f.user has user_id, age"
    );
    assert_eq!(
        refused("name = \"age\"", "name = \"agee\""),
        "features[1].column: unknown column `agee`; f.user has user_id, age; \
         f.inter has user_id, item_id, rating, hour, timestamp"
    );
    assert_eq!(
        refused("\"title\"", "\"titel\""),
        "catalog.columns[0]: unknown column `titel`; f.item has item_id, title, genres"
    );
    let without_items = refused("items = { path = \"f.item\", key = \"item_id\" }", "");
    assert!(without_items.starts_with(
        "catalog.columns[0]: column `title` of items is not known from f.inter alone"
    ));
}

#[test]
fn what_cannot_be_learnt_is_refused() {
    let constant = refused("rating >= 4", "rating >= 6");
    assert_eq!(
        constant,
        "data.label = \"rating >= 6\": every training example has the label 0"
    );
    let leak = refused("name = \"hour\"", "name = \"rating\"");
    assert_eq!(
        leak,
        "features[2].column: column `rating` makes the label `rating >= 4`, so it cannot be a feature too"
    );
    let text = refused(
        "name = \"age\"",
        "name = \"user_id2\"\ncolumn = \"user_id\"",
    );
    assert!(text.contains("user_id2"), "{text}");
    let absent = refused("f.inter", "g.inter");
    assert!(absent.starts_with("g.inter: No such file"), "{absent}");
    let few = Files {
        interactions: interactions()
            .lines()
            .take(3)
            .collect::<Vec<_>>()
            .join("\n"),
        ..Files::default()
    };
    assert!(
        load_job(JOB, &few)
            .unwrap_err()
            .starts_with("data.split: 2 interactions are too few")
    );
}

#[test]
fn keys_that_never_meet_are_an_error() {
    let files = Files {
        items: ITEMS.replace("\na", "\n0").replace("\nb", "\n1"),
        ..Files::default()
    };
    let error = load_job(JOB, &files).unwrap_err();
    assert_eq!(
        error,
        "data.items.key: not one `item_id` of the interactions has a row in f.item"
    );
    let files = Files {
        users: USERS.replace("\nu", "\nuser-"),
        ..Files::default()
    };
    let error = load_job(JOB, &files).unwrap_err();
    assert_eq!(
        error,
        "data.users.key: not one `user_id` of the interactions has a row in f.user"
    );
}

#[test]
fn a_key_with_two_rows_is_an_error_unless_one_is_chosen() {
    let files = Files {
        items: format!("{ITEMS}a\tAliens\tAction\n"),
        ..Files::default()
    };
    let error = load_job(JOB, &files).unwrap_err();
    assert!(
        error.starts_with(
            "f.item:5: item_id \"a\" has a row at f.item:2 already; data.items.duplicates"
        ),
        "{error}"
    );
    for (choice, title) in [("keep_first", "Alien"), ("keep_last", "Aliens")] {
        let job = JOB.replace(
            "key = \"item_id\"",
            &format!("key = \"item_id\", duplicates = \"{choice}\""),
        );
        let dataset = load_job(&job, &files).unwrap();
        let row = dataset.catalog.row("a").unwrap();
        assert_eq!(
            dataset.catalog.display(row, "title").as_deref(),
            Some(title)
        );
    }
}

#[test]
fn the_report_is_readable() {
    let text = loaded().report.to_string();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[0],
        "f.inter: 16 rows read, 16 kept; malformed: 0 removed; missing user, item or label: 0 removed; duplicates: 0 removed"
    );
    assert_eq!(
        lines[3],
        "1 users in 4 interactions have no row in their table"
    );
    assert_eq!(
        lines.last(),
        Some(&"10 train, 3 validation, 3 test; mean label 0.3750")
    );
}

#[test]
fn parquet_and_text_of_the_same_rows_are_the_same_dataset() {
    use arrow_array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("f.inter", interactions().as_str()),
        ("f.user", USERS),
        ("f.item", ITEMS),
    ] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let source = crate::ingest::TableSource {
        path: "f.inter".into(),
        ..Default::default()
    };
    let table = ingest::read(folder.path(), &source, Default::default()).unwrap();
    let arrays = table.columns.iter().map(|column| -> (&str, ArrayRef) {
        let array: ArrayRef = match column.cells.clone() {
            ingest::Cells::Int(values) => Arc::new(Int64Array::from(values)),
            ingest::Cells::Float(values) => Arc::new(Float64Array::from(values)),
            ingest::Cells::Text(values) => Arc::new(StringArray::from(values)),
        };
        (&column.name, array)
    });
    let batch = RecordBatch::try_from_iter(arrays).unwrap();
    let file = std::fs::File::create(folder.path().join("f.parquet")).unwrap();
    let mut writer = parquet::arrow::ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();

    let of = |job: &str| load(&Spec::parse(job).unwrap(), folder.path()).unwrap();
    let (text, parquet) = (of(JOB), of(&JOB.replace("f.inter", "f.parquet")));
    assert_eq!(text.digest, parquet.digest);
    assert_eq!(
        (text.train.pairs, text.train.labels),
        (parquet.train.pairs, parquet.train.labels)
    );
    assert_eq!(text.train.queries, parquet.train.queries);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Damage anywhere in any file makes an error or a dataset, never a panic, and every pair stays within its tables.
    #[test]
    fn damaged_files_are_refused_or_read(
        which in 0..3_usize, at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>(), drop in any::<bool>()
    ) {
        let texts = [interactions(), USERS.to_owned(), ITEMS.to_owned()];
        let folder = tempfile::tempdir().unwrap();
        for (number, (name, text)) in ["f.inter", "f.user", "f.item"].iter().zip(texts).enumerate() {
            let mut bytes = text.into_bytes();
            if number == which {
                let at = at.index(bytes.len());
                bytes[at] = byte;
                bytes.truncate(if cut { at } else { bytes.len() });
            }
            std::fs::write(folder.path().join(name), bytes).unwrap();
        }
        let job = if drop { JOB.replace("[data]", "[data]\nmalformed = \"drop\"") } else { JOB.to_owned() };
        match load(&Spec::parse(&job).unwrap(), folder.path()) {
            Ok(dataset) => {
                let all = [&dataset.train, &dataset.validation, &dataset.test];
                for pair in all.iter().flat_map(|part| &part.pairs) {
                    prop_assert!((pair.query as usize) < dataset.queries.rows());
                    prop_assert!((pair.item as usize) < dataset.catalog.len());
                }
            }
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }
}
