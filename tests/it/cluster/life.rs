//! When all is well.

use std::collections::BTreeSet;
use std::process::Output;
use std::time::{Duration, SystemTime};

use decant_chassis::client::channel;
use decant_proto::admin::v1 as admin;
use decant_tests::{
    Deployment, Job, Operated, Process, Recorder, Shape, Standalone, Tiny, eventually,
};
use tonic::Streaming;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

/// How often each client asks.
const OFTEN: Duration = Duration::from_millis(5);

/// One suite for both ways to run Decant: what holds of a cluster holds of one process.
async fn a_version_goes_to_all_scorers_and_back(cluster: &impl Operated) {
    let scorers = cluster.scorer_addresses().len();
    let (first, second) = (Tiny::new(0.25), Tiny::new(-0.5));
    cluster.serve(&first).await;
    let clients = Recorder::start(cluster.scorer_addresses(), OFTEN);
    eventually("there is load", || async {
        (clients.count() > 100).then_some(()).ok_or(clients.count())
    })
    .await;

    // Pushed to one replica, put into service by the other.
    let version = cluster.push(0, &second).await.unwrap().version;
    let asked = SystemTime::now();
    cluster.set(1, version).await.unwrap();
    let swapped = cluster.converged(0, version, scorers).await.generation;
    // And back, which needs no load: the first version is resident.
    cluster.set(0, 1).await.unwrap();
    let back = cluster.converged(1, 1, scorers).await.generation;
    assert_eq!(
        back,
        swapped + 1,
        "a resident version is activated at once, in one generation"
    );

    let history = clients.stop().await;
    history.check_no_drop();
    history.check_against(&cluster.intended(1).await);
    history.check_exact([&first, &second]);
    assert!(history.converged(swapped, asked).unwrap() < Duration::from_secs(10));
    let served: BTreeSet<_> = history
        .0
        .iter()
        .map(|answer| answer.outcome.as_ref().unwrap().0.version)
        .collect();
    assert_eq!(served, [1, 2].into());

    let verified = cluster
        .admin(1)
        .verify_audit(admin::VerifyAuditRequest {})
        .await
        .unwrap()
        .into_inner();
    assert!(verified.broken.is_empty(), "{verified:?}");
    assert!(verified.entries >= 6, "{verified:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn process_a_version_goes_to_all_scorers_and_back_on_etcd() {
    let cluster = Deployment::start(Shape {
        etcd: 1,
        registries: 2,
        scorers: 3,
    })
    .await;
    a_version_goes_to_all_scorers_and_back(&cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn process_a_version_goes_to_all_scorers_and_back_on_the_embedded_store() {
    let data = tempfile::tempdir().unwrap();
    let standalone = Standalone::start(data.path());
    standalone.create_model().await;
    a_version_goes_to_all_scorers_and_back(&standalone).await;
    let (status, _) = standalone.end("TERM");
    assert!(status.success());
}

async fn watch_health(process: &Process, service: &str) -> Streaming<HealthCheckResponse> {
    let address = format!("http://{}", process.address());
    let request = HealthCheckRequest {
        service: service.to_owned(),
    };
    let mut client = HealthClient::new(channel("service", &address).unwrap());
    let mut answers = client.watch(request).await.unwrap().into_inner();
    let first = answers.message().await.unwrap().unwrap();
    assert_eq!(first.status(), ServingStatus::Serving);
    answers
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The whole way, as its users go it: a key, a model that only this key may sign, a job, a slot, recommendations, and
/// afterwards the question what was done.
#[tokio::test(flavor = "multi_thread")]
async fn process_a_job_is_trained_signed_pushed_and_served_by_a_cluster() {
    let cluster = Deployment::start(Shape {
        etcd: 1,
        registries: 2,
        scorers: 2,
    })
    .await;
    let (key, job) = (
        cluster.folder().join("trainer.key"),
        cluster.folder().join("job.toml"),
    );
    let generated = stdout(&cluster.decant(&["key", "generate", key.to_str().unwrap()]));
    let public = generated
        .split_whitespace()
        .find(|word| word.starts_with("ed25519:"))
        .unwrap_or_else(|| panic!("{generated}"));
    stdout(&cluster.decant(&["model", "create", "movielens", "--signer", public]));
    std::fs::write(&job, Job::quick()).unwrap();
    let trainer = cluster.start_trainer(&key);
    let trained = cluster.decant_with(
        &[("trainer", trainer.address())],
        &["train", "submit", job.to_str().unwrap(), "--watch"],
    );
    stdout(&trained);
    let set = cluster.decant(&["slot", "set", "movielens", "1", "--reason", "the first"]);
    let told = format!("{}{}", stdout(&set), String::from_utf8_lossy(&set.stderr));
    assert!(told.contains("2/2 scorers"), "{told}");
    for scorer in cluster.scorer_addresses() {
        let query = "user_id=\"13\",age=47,gender=M,occupation=educator";
        let recommend = [
            "-o",
            "json",
            "recommend",
            "movielens",
            "--query",
            query,
            "--top",
            "5",
        ];
        let answer = stdout(&cluster.decant_with(&[("scorer", scorer)], &recommend));
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer["items"].as_array().unwrap().len(), 5, "{answer}");
    }
    let lineage = stdout(&cluster.decant(&["version", "lineage", "movielens", "1"]));
    assert!(lineage.contains("mlp"), "{lineage}");
    let described = stdout(&cluster.decant(&["version", "describe", "movielens", "1"]));
    assert!(
        described.contains(&public[8..20]),
        "the signer: {described}"
    );
    let history = stdout(&cluster.decant(&["slot", "history", "movielens"]));
    assert!(history.contains("the first"), "{history}");
    stdout(&cluster.decant(&["audit", "verify"]));
    let audit = stdout(&cluster.decant(&["audit", "list"]));
    assert!(
        audit.contains("slot.") && audit.contains("movielens/main"),
        "{audit}"
    );
    let (status, _) = trainer.end("TERM");
    assert!(status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn process_every_service_ends_in_order_and_gives_its_lease_back() {
    let mut cluster = Deployment::start(Shape {
        etcd: 1,
        registries: 2,
        scorers: 2,
    })
    .await;
    let tiny = Tiny::new(0.1);
    cluster.serve(&tiny).await;
    let clients = Recorder::start(cluster.scorer_addresses()[1..].to_vec(), OFTEN);
    // Who watches health holds a connection, and must not hold up the end.
    let mut watched = Vec::new();
    for (process, service) in [
        (&cluster.scorers[0], ""),
        (&cluster.scorers[0], "decant.scorer.v1.ScorerService"),
        (&cluster.registries[0], ""),
    ] {
        watched.push(watch_health(process, service).await);
    }

    let (status, log) = cluster.scorers.remove(0).end("TERM");
    assert!(status.success(), "{log:#?}");
    // Gone at once, and not only when its lease would have expired.
    let scorers = cluster.status(0).await.unwrap().scorers;
    assert_eq!(scorers.len(), 1, "{scorers:?}");
    let (status, log) = cluster.registries.remove(0).end("TERM");
    assert!(status.success(), "{log:#?}");
    eventually("the other registry leads", || async {
        let cluster = cluster
            .admin(0)
            .get_cluster(admin::GetClusterRequest {})
            .await
            .unwrap()
            .into_inner();
        (cluster.epoch > 0 && !cluster.leader.is_empty())
            .then_some(())
            .ok_or(cluster)
    })
    .await;
    clients.stop().await.check_no_drop();
}
