//! A teacher as a version: its students name it, and it answers the requests that they answer.

use std::fmt::Write as _;
use std::path::Path;

use decant_proto::registry::v1 as registry;
use decant_proto::scorer::v1 as scorer;
use decant_proto::trainer::v1 as trainer;
use decant_tests::Cluster;

/// One of the teachers reads what users have rated, which is nothing that a request holds.
const JOB: &str = r#"
model = "tiny"

[data]
interactions = { path = "ratings.csv" }
user = "user"
item = "item"
label = "rating >= 4"

[data.split]
validation = 0.2
test = 0.2

[[features]]
name = "user"
role = "user"
kind = "category"

[[features]]
name = "item"
role = "item"
kind = "category"

[[teachers]]
name = "wide"
kind = "mlp"
embedding = 4
hidden = [8]
epochs = 2

[[teachers]]
name = "past"
kind = "history"
embedding = 4
hidden = [8]
epochs = 2
weight = 3.0

[[students]]
name = "small"
embedding = 2
hidden = [2]
epochs = 1

[distill]
folds = 2
unlabelled = 0.1

[publish]
teacher = true
"#;

/// Twenty users, who have rated three quarters of twenty items.
fn write_ratings(folder: &Path) {
    let mut ratings = "user,item,rating\n".to_owned();
    for (user, item) in (0..20).flat_map(|user| (0..20).map(move |item| (user, item))) {
        if (user + item) % 4 != 0 {
            let rating = 1 + (user * item + user + 2 * item) % 5;
            writeln!(ratings, "u{user},i{item},{rating}").unwrap();
        }
    }
    std::fs::write(folder.join("ratings.csv"), ratings).unwrap();
}

async fn pushed(cluster: &Cluster, job: &str) -> Vec<trainer::PushedVersion> {
    let job = cluster.train(job).await;
    assert_eq!(job.state(), trainer::JobState::Succeeded, "{}", job.error);
    let versions = job.result.unwrap().versions;
    assert!(
        versions.iter().all(|version| version.approved),
        "{versions:?}"
    );
    versions
}

fn numbers(versions: &[trainer::PushedVersion]) -> Vec<(&str, u64)> {
    versions
        .iter()
        .map(|version| (version.student.as_str(), version.version))
        .collect()
}

async fn lineage(cluster: &Cluster, version: u64) -> registry::LineageNode {
    let request = registry::GetLineageRequest {
        model: "tiny".to_owned(),
        version,
    };
    let answer = cluster.registry().get_lineage(request).await.unwrap();
    answer.into_inner().nodes.swap_remove(0)
}

fn strings(name: &str, values: &[&str]) -> scorer::Column {
    let values = values.iter().collect();
    scorer::Column {
        name: name.to_owned(),
        values: Some(scorer::column::Values::StringValues(values)),
        ..scorer::Column::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_published_teacher_is_named_by_its_students_and_answers_what_they_answer() {
    let folder = tempfile::tempdir().unwrap();
    write_ratings(folder.path());
    let cluster = Cluster::start(folder.path()).await;
    let versions = pushed(&cluster, JOB).await;
    assert_eq!(numbers(&versions), [("ensemble", 1), ("small", 2)]);

    let teacher = lineage(&cluster, 1).await;
    assert!(teacher.teachers.is_empty(), "{teacher:?}");
    let student = lineage(&cluster, 2).await;
    let named: Vec<_> = student
        .teachers
        .iter()
        .map(|teacher| (&*teacher.name, &teacher.digest, teacher.weight))
        .collect();
    assert_eq!(named, [("ensemble", &versions[0].digest, 1.0)]);
    assert_eq!(teacher.digest, versions[0].digest);

    // Somebody it knows, and somebody it has never heard of.
    cluster.promote("tiny", 1).await;
    let request = scorer::ScoreRequest {
        model: Some(scorer::ModelRef {
            model: "tiny".to_owned(),
            slot: String::new(),
        }),
        columns: vec![
            strings("user", &["u3", "nobody"]),
            strings("item", &["i7", "i7"]),
        ],
    };
    let answer = cluster.scorer().score(request).await.unwrap().into_inner();
    assert_eq!(answer.served_by.unwrap().version, 1);
    assert_eq!(answer.scores.len(), 2);
    assert!(
        answer
            .scores
            .iter()
            .all(|score| (0.0..=1.0).contains(score)),
        "{:?}",
        answer.scores
    );

    // The student is gone: what comes next descends from nothing, not from the teacher.
    let retire = registry::RetireVersionRequest {
        model: "tiny".to_owned(),
        version: 2,
        ..registry::RetireVersionRequest::default()
    };
    cluster.registry().retire_version(retire).await.unwrap();
    let silent = JOB.replace("teacher = true", "teacher = false");
    assert_eq!(numbers(&pushed(&cluster, &silent).await), [("small", 3)]);
    let orphan = lineage(&cluster, 3).await;
    assert_eq!(orphan.parent, "");
    let named: Vec<_> = orphan
        .teachers
        .iter()
        .map(|teacher| (&*teacher.name, teacher.weight))
        .collect();
    assert_eq!(named, [("wide", 1.0), ("past", 3.0)]);
    cluster.stop().await;
}
