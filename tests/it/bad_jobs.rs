//! Jobs that cannot work: refused when they are submitted, where the file alone tells; failed with a pointed error, and
//! nothing pushed, where the data does.

use std::path::Path;

use decant_proto::registry::v1 as registry;
use decant_proto::trainer::v1 as trainer;
use decant_tests::{Cluster, Job, datasets};
use tonic::{Code, Status};
use tonic_types::StatusExt;

async fn refused(cluster: &Cluster, spec_toml: String) -> Status {
    let answer = cluster
        .trainer()
        .submit_job(trainer::SubmitJobRequest { spec_toml })
        .await;
    let status = answer.expect_err("the job cannot work");
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    status
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_file_that_cannot_work_is_refused_with_the_key_and_the_reason() {
    let cluster = Cluster::start(&datasets()).await;
    let example = Job::example();
    let with = |from: &str, to: &str| {
        assert!(example.contains(from), "the example has `{from}`");
        example.replacen(from, to, 1)
    };
    let cases = [
        (with("rating >= 4", "rating >="), "data.label"),
        (
            with("kind = \"category\"", "kind = \"categry\""),
            "features[0]",
        ),
        (with("test = 0.1", "test = 0.95"), "data.split"),
        (
            with("path = \"ml-100k/ml-100k.inter\"", "path = \"../secret\""),
            "data.interactions",
        ),
        (with("seed = ", "sede = "), "sede"),
        (
            Job::with_recipe("[[students]]\nname = \"small\"\n[distill]\nloss = \"kl\""),
            "distill",
        ),
        (
            Job::with_recipe("[[teachers]]\nname = \"large\"\nkind = \"mlp\""),
            "students",
        ),
        (
            Job::with_recipe("[[students]]\nname = \"small\"\nembedding = 0"),
            "students[0]",
        ),
    ];
    for (spec_toml, key) in cases {
        let status = refused(&cluster, spec_toml).await;
        let details = status.get_error_details();
        let violations = &details.bad_request().expect("details").field_violations;
        let named = violations
            .iter()
            .any(|violation| violation.field.contains(key) || violation.description.contains(key));
        assert!(named, "`{key}` is named in {violations:?}");
    }
    let syntax = refused(&cluster, "model = \n".to_owned()).await;
    assert!(syntax.message().contains("line 1"), "{}", syntax.message());

    let unknown = cluster
        .trainer()
        .get_job(trainer::GetJobRequest {
            id: "nonsense".to_owned(),
        })
        .await;
    assert_eq!(unknown.unwrap_err().code(), Code::NotFound);
    assert!(
        cluster
            .trainer()
            .list_jobs(trainer::ListJobsRequest {})
            .await
            .unwrap()
            .into_inner()
            .jobs
            .is_empty()
    );
    cluster.stop().await;
}

/// A tiny dataset of three users and three items.
fn write_dataset(folder: &Path, interactions: &str) {
    std::fs::write(folder.join("ratings.csv"), interactions).unwrap();
}

fn tiny_job(features: &str) -> String {
    format!(
        r#"
model = "tiny"
[data]
interactions = {{ path = "ratings.csv" }}
user = "user"
item = "item"
label = "rating >= 4"
{features}
[[students]]
name = "small"
embedding = 2
hidden = [2]
epochs = 1
"#
    )
}

const FEATURES: &str = r#"
[[features]]
name = "user"
role = "user"
kind = "category"
[[features]]
name = "item"
role = "item"
kind = "category"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn data_that_cannot_be_learnt_from_fails_the_job_with_the_place_and_pushes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(folder.path()).await;
    let good: String = (0..60)
        .map(|row| format!("u{},i{},{}\n", row % 6, row / 6, 1 + row % 5))
        .collect();
    let unknown_feature =
        format!("{FEATURES}[[features]]\nname = \"zip\"\nrole = \"user\"\nkind = \"category\"\n");
    let cases = [
        (
            format!("user,item,rating\n{good}u1,i1\n"),
            FEATURES,
            "ratings.csv:62",
        ),
        (
            format!("user,item,rating\n{good}u1,i77,many\n"),
            FEATURES,
            "rating",
        ),
        (format!("user,item,score\n{good}"), FEATURES, "rating"),
        (format!("user,item,rating\n{good}"), &unknown_feature, "zip"),
        ("user,item,rating\n".to_owned(), FEATURES, "ratings.csv"),
    ];
    for (interactions, features, named) in cases {
        write_dataset(folder.path(), &interactions);
        let job = cluster.train(&tiny_job(features)).await;
        assert_eq!(job.state(), trainer::JobState::Failed);
        assert!(
            job.error.contains(named),
            "`{named}` is named in: {}",
            job.error
        );
    }
    std::fs::remove_file(folder.path().join("ratings.csv")).unwrap();
    let job = cluster.train(&tiny_job(FEATURES)).await;
    assert!(job.error.contains("ratings.csv"), "{}", job.error);

    let models = cluster
        .registry()
        .list_models(registry::ListModelsRequest::default())
        .await
        .unwrap()
        .into_inner()
        .models;
    assert!(models.is_empty(), "{models:?}");
    cluster.stop().await;
}
