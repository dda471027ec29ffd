//! The main job, end to end: data in, teachers, students, versions, a slot, answers, a swap.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use decant_proto::registry::v1 as registry;
use decant_proto::scorer::v1 as scorer;
use decant_proto::trainer::v1 as trainer;
use decant_tests::{Cluster, Job, datasets, eventually};
use tonic::Code;

fn column(name: &str, values: scorer::column::Values) -> scorer::Column {
    scorer::Column {
        name: name.to_owned(),
        values: Some(values),
        ..scorer::Column::default()
    }
}

fn strings(name: &str, values: &[&str]) -> scorer::Column {
    let values = values.iter().collect();
    column(name, scorer::column::Values::StringValues(values))
}

fn ints(name: &str, values: &[i64]) -> scorer::Column {
    column(
        name,
        scorer::column::Values::Int64Values(scorer::Int64Values {
            values: values.to_vec(),
        }),
    )
}

fn model() -> Option<scorer::ModelRef> {
    Some(scorer::ModelRef {
        model: "movielens".to_owned(),
        slot: String::new(),
    })
}

fn query() -> Vec<scorer::Column> {
    vec![
        strings("user_id", &["13"]),
        ints("age", &[47]),
        strings("gender", &["M"]),
        strings("occupation", &["educator"]),
    ]
}

fn score_request() -> scorer::ScoreRequest {
    let genres = scorer::Column {
        offsets: vec![0, 2, 2],
        ..strings("genres", &["Drama", "War"])
    };
    let columns = vec![
        strings("user_id", &["13", "nobody"]),
        ints("age", &[47, 20]),
        strings("gender", &["M", "F"]),
        strings("occupation", &["educator", "student"]),
        strings("item_id", &["50", "unseen"]),
        ints("year", &[1977, 1995]),
        genres,
    ];
    scorer::ScoreRequest {
        model: model(),
        columns,
    }
}

fn recommend_request(top_k: u32) -> scorer::RecommendRequest {
    scorer::RecommendRequest {
        model: model(),
        query: query(),
        top_k,
        exclude_item_ids: vec!["50".to_owned()],
        return_columns: vec!["title".to_owned()],
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn training_to_answers_and_a_swap_under_load() {
    let cluster = Cluster::start(&datasets()).await;
    let job = cluster.train(&Job::quick()).await;
    assert_eq!(job.state(), trainer::JobState::Succeeded, "{}", job.error);
    let result = job.result.unwrap();
    check_quality(&result.quality);
    let pushed: Vec<(&str, u64)> = result
        .versions
        .iter()
        .map(|version| (version.student.as_str(), version.version))
        .collect();
    assert_eq!(pushed, [("d4", 1), ("d8", 2)]);

    // Known, but nothing serves yet.
    let early = cluster
        .scorer()
        .recommend(recommend_request(5))
        .await
        .unwrap_err();
    assert_eq!(early.code(), Code::NotFound, "{early:?}");

    let slot = cluster.promote("movielens", 1).await;
    check_answers(&cluster, &slot.active[0].digest, slot.generation).await;
    open_in_python(&cluster, 1).await;
    swap_under_load(&cluster).await;
    restart(cluster).await;
}

fn check_quality(quality: &[trainer::QualityRow]) {
    let roles: BTreeMap<&str, usize> = quality.iter().fold(BTreeMap::new(), |mut roles, row| {
        *roles.entry(row.role.as_str()).or_default() += 1;
        roles
    });
    let expected = BTreeMap::from([
        ("baseline", 1),
        ("teacher", 2),
        ("ensemble", 1),
        ("student, labels only", 2),
        ("student, distilled", 2),
    ]);
    assert_eq!(roles, expected);
    for row in quality {
        assert!(row.auc > 0.6 && row.auc < 0.9, "{row:?}");
        assert!(
            row.parameters > 0 && row.bytes > 0 && row.micros_1 > 0.0 && row.micros_500 > 0.0,
            "{row:?}"
        );
    }
}

async fn check_answers(cluster: &Cluster, digest: &str, generation: u64) {
    let mut client = cluster.scorer();
    let scored = client.score(score_request()).await.unwrap().into_inner();
    let served_by = scored.served_by.unwrap();
    assert_eq!(
        (
            served_by.version,
            served_by.digest.as_str(),
            served_by.generation
        ),
        (1, digest, generation)
    );
    assert_eq!(
        (served_by.model.as_str(), served_by.slot.as_str()),
        ("movielens", "main")
    );
    assert!(
        scored.scores.len() == 2
            && scored
                .scores
                .iter()
                .all(|score| (0.0..=1.0).contains(score))
    );

    let recommended = client
        .recommend(recommend_request(10))
        .await
        .unwrap()
        .into_inner()
        .items;
    assert_eq!(recommended.len(), 10);
    assert!(
        recommended
            .iter()
            .is_sorted_by(|left, right| left.score >= right.score)
    );
    assert!(
        recommended
            .iter()
            .all(|item| item.id != "50" && !item.attributes.unwrap()["title"].is_empty())
    );

    // Ranking the recommended items by id gives them back in the same order, with the same scores.
    let mut ids: Vec<&str> = recommended.iter().map(|item| item.id).collect();
    ids.reverse();
    let ids = ids.into_iter().collect();
    let candidates = Some(scorer::rank_request::Candidates::ItemIds(ids));
    let request = scorer::RankRequest {
        model: model(),
        query: query(),
        candidates,
        top_k: 0,
    };
    let ranked = client.rank(request).await.unwrap().into_inner().items;
    let pairs = |items: &scorer::ScoredItems| -> Vec<(String, f32)> {
        let pair = |item: scorer::ScoredItem<'_>| (item.id.to_owned(), item.score);
        items.iter().map(pair).collect()
    };
    assert_eq!(pairs(&ranked), pairs(&recommended));
}

/// The bundle's graph is standard ONNX: ONNX Runtime in Python opens it and reproduces the golden scores.
async fn open_in_python(cluster: &Cluster, version: u64) {
    let python = std::env::var("DECANT_PYTHON").expect("DECANT_PYTHON is not set; run `make test`");
    let folder = tempfile::tempdir().unwrap();
    let request = registry::FetchBundleRequest {
        model: "movielens".to_owned(),
        version,
    };
    let mut bundle = cluster
        .registry()
        .fetch_bundle(request)
        .await
        .unwrap()
        .into_inner();
    let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    while let Some(message) = bundle.message().await.unwrap() {
        if let Some(registry::fetch_bundle_response::Part::Chunk(chunk)) = message.part {
            files
                .entry(chunk.path)
                .or_default()
                .extend_from_slice(&chunk.data);
        }
    }
    for (path, bytes) in &files {
        std::fs::write(folder.path().join(path), bytes).unwrap();
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/python/replay_golden.py");
    let output = Command::new(python)
        .arg(script)
        .arg(folder.path())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Callers ask without a pause while the slot moves to version 2 and back; each answer must come from a version that
/// was active, no call may fail, and the scores after the way back must be the ones of before.
async fn swap_under_load(cluster: &Cluster) {
    let before = cluster
        .scorer()
        .score(score_request())
        .await
        .unwrap()
        .into_inner()
        .scores;
    let stop = Arc::new(AtomicBool::new(false));
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let (mut client, stop) = (cluster.scorer(), Arc::clone(&stop));
        callers.spawn(async move {
            let mut versions: BTreeMap<u64, u64> = BTreeMap::new();
            while !stop.load(Ordering::Relaxed) {
                let answer = client
                    .score(score_request())
                    .await
                    .expect("no call fails because of a swap");
                *versions
                    .entry(answer.into_inner().served_by.unwrap().version)
                    .or_default() += 1;
            }
            versions
        });
    }
    cluster.promote("movielens", 2).await;
    eventually("version 2 answers", || async {
        let version = cluster
            .scorer()
            .score(score_request())
            .await
            .unwrap()
            .into_inner()
            .served_by
            .unwrap()
            .version;
        if version == 2 { Ok(()) } else { Err(version) }
    })
    .await;
    cluster.promote("movielens", 1).await;
    stop.store(true, Ordering::Relaxed);
    let answered = callers.join_all().await.into_iter().flatten().fold(
        BTreeMap::new(),
        |mut all, (version, count)| {
            *all.entry(version).or_insert(0) += count;
            all
        },
    );
    assert_eq!(
        answered.keys().copied().collect::<Vec<_>>(),
        [1, 2],
        "{answered:?}"
    );
    let after = cluster
        .scorer()
        .score(score_request())
        .await
        .unwrap()
        .into_inner()
        .scores;
    assert_eq!(before, after, "the way back restores the exact bits");
}

/// A restart on the same folder serves the same version and remembers the job.
async fn restart(cluster: Cluster) {
    let before = cluster
        .scorer()
        .score(score_request())
        .await
        .unwrap()
        .into_inner();
    let cluster = cluster.restart(&datasets()).await;
    let after = eventually("the version serves again", || async {
        cluster.scorer().score(score_request()).await
    })
    .await;
    let after = after.into_inner();
    assert_eq!(before.scores, after.scores);
    let version = |answer: &scorer::ScoreResponse| {
        let served_by = answer.served_by.clone().unwrap();
        (served_by.version, served_by.digest, served_by.generation)
    };
    assert_eq!(version(&before), version(&after));
    let jobs = cluster
        .trainer()
        .list_jobs(trainer::ListJobsRequest {})
        .await
        .unwrap()
        .into_inner()
        .jobs;
    assert_eq!(
        jobs.iter().map(trainer::Job::state).collect::<Vec<_>>(),
        [trainer::JobState::Succeeded]
    );
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn training_stops_when_it_is_cancelled_and_pushes_nothing() {
    let cluster = Cluster::start(&datasets()).await;
    let request = trainer::SubmitJobRequest {
        spec_toml: Job::example(),
    };
    let id = cluster
        .trainer()
        .submit_job(request)
        .await
        .unwrap()
        .into_inner()
        .job
        .unwrap()
        .id;
    let mut news = cluster
        .trainer()
        .watch_job(trainer::WatchJobRequest { id: id.clone() })
        .await
        .unwrap()
        .into_inner();
    let mut ended = None;
    while let Some(message) = news.message().await.unwrap() {
        match message.news.unwrap() {
            trainer::watch_job_response::News::Progress(progress) if progress.epoch > 0 => {
                let request = trainer::CancelJobRequest { id: id.clone() };
                // The second epoch's news may come before the first cancellation is noticed.
                let _ = cluster.trainer().cancel_job(request).await;
            }
            trainer::watch_job_response::News::Progress(_) => {}
            trainer::watch_job_response::News::Job(job) => ended = Some(job),
        }
    }
    assert_eq!(ended.unwrap().state(), trainer::JobState::Cancelled);
    let request = registry::ListVersionsRequest {
        model: "movielens".to_owned(),
        ..registry::ListVersionsRequest::default()
    };
    let versions = cluster.registry().list_versions(request).await;
    assert!(
        versions.is_err_and(|status| status.code() == Code::NotFound),
        "the model was never created"
    );
    cluster.stop().await;
}
