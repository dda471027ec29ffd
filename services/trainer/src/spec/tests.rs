use decant_features::{Kind, Role};
use proptest::prelude::*;

use super::*;
use crate::ingest::ColumnType;

const JOB: &str = r#"
model = "movielens"
seed = 7

[data]
interactions = { path = "ml-100k/ml-100k.inter", delimiter = "\t" }
users = { path = "ml-100k/ml-100k.user", key = "user_id", columns = { age = { type = "int64" } } }
items = { path = "ml-100k/ml-100k.item", key = "item_id", duplicates = "keep_first" }
user = "user_id"
item = "item_id"
timestamp = "timestamp"
label = "rating >= 4"

[data.clean]
ranges = { rating = [1, 5] }

[data.split]
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
name = "genres"
column = "class"
role = "item"
kind = "categories"
max_length = 6

[catalog]
columns = ["title"]

[[teachers]]
name = "large"
kind = "mlp"

[[students]]
name = "small"

[gates]
auc = { min = 0.78 }
"#;

fn refused(from: &str, to: &str) -> String {
    assert!(JOB.contains(from), "{from}");
    Spec::parse(&JOB.replace(from, to)).unwrap_err().to_string()
}

#[test]
fn a_whole_job() {
    let spec = Spec::parse(JOB).unwrap();
    assert_eq!(
        (spec.model.as_str(), spec.seed, spec.threads),
        ("movielens", 7, 0)
    );
    assert_eq!(
        spec.data.split,
        SplitSpec {
            seed: 7,
            validation: 0.1,
            test: 0.2
        }
    );
    assert_eq!(
        spec.data.clean.ranges["rating"],
        Range { min: 1.0, max: 5.0 }
    );
    assert_eq!(spec.data.clean.duplicates, Duplicates::KeepLast);
    let users = spec.data.users.unwrap();
    assert_eq!(
        (users.key.as_str(), users.duplicates),
        ("user_id", Duplicates::Error)
    );
    assert_eq!(users.source.columns["age"].kind, Some(ColumnType::Int));
    assert_eq!(spec.data.items.unwrap().duplicates, Duplicates::KeepFirst);
    assert_eq!(
        (spec.features[2].column(), spec.features[2].role),
        ("class", Role::Item)
    );
    assert_eq!(
        spec.features[1].kind,
        Kind::Buckets {
            boundaries: vec![18.0, 25.0]
        }
    );
    assert_eq!(spec.catalog, ["title"]);
    assert_eq!(spec.recipe.teachers.len(), 1);
    assert_eq!(
        spec.gates,
        [Gate {
            metric: "auc".into(),
            min: Some(0.78),
            max: None
        }]
    );
}

#[test]
fn text_that_is_no_toml_is_pointed_at() {
    let error = Spec::parse("model = \"m\"\nseed = = 1\n").unwrap_err();
    assert!(
        matches!(
            error,
            SpecError::Syntax {
                line: 2,
                column: 8,
                ..
            }
        ),
        "{error:?}"
    );
}

#[test]
fn unknown_missing_and_mistyped_keys_are_named() {
    assert!(
        refused("seed = 7", "sead = 7")
            .starts_with("sead: unknown key, expected one of `model`, `seed`")
    );
    assert_eq!(
        refused("user = \"user_id\"\n", ""),
        "data.user: is required"
    );
    assert!(
        refused("test = 0.2", "tset = 0.2").starts_with("data.split.tset: unknown key, expected")
    );
    assert!(
        refused("test = 0.2", "test = '0.2'")
            .starts_with("data.split.test = \"0.2\": invalid type: string")
    );
    let error = refused("key = \"user_id\"", "kee = \"user_id\"");
    assert!(
        error.contains("data.users.key: is required")
            && error.contains("data.users.kee: unknown key"),
        "{error}"
    );
    assert!(
        refused("\"keep_first\"", "\"any\"")
            .starts_with("data.items.duplicates = \"any\": unknown variant")
    );
    assert!(
        refused("max_length = 6", "max_lenght = 6")
            .starts_with("features[2].max_lenght: unknown key")
    );
    let standard = refused("kind = \"category\"", "kind = \"standard\"\nbuckets = 3");
    assert!(
        standard.starts_with("features[0].buckets: unknown key"),
        "{standard}"
    );
    assert!(
        refused("{ min = 0.78 }", "{ least = 0.78 }").starts_with("gates.auc.least: unknown key")
    );
}

#[test]
fn impossible_values_are_named_with_the_reason() {
    assert_eq!(
        refused("test = 0.2", "test = 1.5").lines().next(),
        Some(
            "data.split.test = 1.5: must lie between 0 and 1, both excluded: a model that is not measured is not admitted"
        )
    );
    let all = refused("test = 0.2", "test = 0.5\nvalidation = 0.5");
    assert!(
        all.starts_with("data.split: validation and test together are 1"),
        "{all}"
    );
    assert!(refused("model = \"movielens\"", "model = \"Movies\"").starts_with("model = Movies: "));
    assert_eq!(
        refused("seed = 7", "threads = 5000"),
        "threads = 5000: must be at most 1024"
    );
    assert!(refused("seed = 7", "seed = -7").starts_with("seed = -7: invalid value"));
    let outside = refused("ml-100k/ml-100k.inter", "../secret.csv");
    assert!(
        outside.starts_with("data.interactions.path = \"../secret.csv\": must be relative"),
        "{outside}"
    );
    assert!(
        refused("[1, 5]", "[5, 1]")
            .starts_with("data.clean.ranges.rating = [5.0, 1.0]: must be the least")
    );
    let label = refused("\"rating >= 4\"", "\"rating 4\"");
    assert!(
        label.starts_with("data.label = \"rating 4\": expected a comparison"),
        "{label}"
    );
    assert!(label.ends_with("\n         ^"), "{label}");
    assert!(
        refused("[18, 25]", "[25, 18]")
            .starts_with("features[1] (`age`): boundaries must be finite and ascending")
    );
    assert!(
        refused("name = \"age\"", "name = \"user_id\"")
            .starts_with("features[1] (`user_id`): defined twice")
    );
    assert!(
        refused("role = \"item\"", "role = \"user\"")
            .starts_with("features: the schema has no item feature")
    );
    assert!(refused("{ min = 0.78 }", "{}").starts_with("gates.auc: needs `min`, `max` or both"));
    assert!(
        refused("[\"title\"]", "[\"title\", \"title\"]")
            .starts_with("catalog.columns[1] = title: is given twice")
    );
}

#[test]
fn a_published_teacher_with_histories_needs_a_feature_that_names_users() {
    let history = JOB.replace("kind = \"mlp\"", "kind = \"history\"");
    let publishing = format!("{history}\n[publish]\nteacher = true\n");
    let spec = Spec::parse(&publishing).unwrap();
    assert!(spec.recipe.publish.teacher);
    assert_eq!(spec.user_feature(), Some("user_id"));

    let nameless = "name = \"user_id\"\ncolumn = \"zip\"";
    let without = |job: &str| job.replacen("name = \"user_id\"", nameless, 1);
    assert!(Spec::parse(&without(&history)).is_ok());
    let error = Spec::parse(&without(&publishing)).unwrap_err().to_string();
    assert!(
        error.starts_with("teachers[0].kind = history: reads what a user has rated"),
        "{error}"
    );
    assert!(
        error.contains("`publish.teacher = true`") && error.contains("`user_id`"),
        "{error}"
    );
    // Other teachers read nothing but the request.
    let mlp = publishing.replace("kind = \"history\"", "kind = \"mlp\"");
    assert!(Spec::parse(&without(&mlp)).is_ok());
}

#[test]
fn every_problem_is_reported_at_once() {
    let text = JOB
        .replace("test = 0.2", "test = 2.0")
        .replace("rating >= 4", "rating")
        .replace("movielens", "-");
    let SpecError::Invalid(violations) = Spec::parse(&text).unwrap_err() else {
        panic!("no syntax error")
    };
    let keys: Vec<&str> = violations
        .iter()
        .map(|violation| violation.key.as_str())
        .collect();
    assert_eq!(keys, ["model", "data.split.test"]);
}

proptest! {
    #[test]
    fn any_text_is_a_job_or_refused(text in any::<String>()) {
        if let Err(error) = Spec::parse(&text) {
            let _ = error.to_string();
        }
    }

    #[test]
    fn a_job_with_any_line_lost_or_doubled_is_refused_or_read(line in 0_usize..46, doubled in any::<bool>()) {
        let lines = JOB.lines().enumerate();
        let copies = |position: usize| if position == line { if doubled { 2 } else { 0 } } else { 1 };
        let text: Vec<&str> = lines.flat_map(|(position, text)| vec![text; copies(position)]).collect();
        if let Err(error) = Spec::parse(&text.join("\n")) {
            prop_assert!(!error.to_string().is_empty());
        }
    }
}
