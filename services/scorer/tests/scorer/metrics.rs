//! What a scorer measures of itself.

use decant_model::{Arm, BASIS_POINTS, file};
use decant_proto::scorer::v1 as wire;
use tonic::{Code, Request};

use crate::harness::{Scorer, World, eventually, files, films, ints, quick, score, wrong_golden};
use crate::releases::release;

const NEW: f32 = 1.5;

/// The figures of one series; none when it is not told of.
fn value(metrics: &str, series: &str) -> Option<f64> {
    let mut lines = metrics.lines();
    let value = lines.find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
    value.parse().ok()
}

/// How many requests of a version came to this.
fn requests(metrics: &str, arm: &str, code: &str, version: u64) -> Option<f64> {
    let series = format!(
        r#"decant_scorer_requests_total{{arm="{arm}",code="{code}",model="films",slot="main",version="{version}"}}"#
    );
    value(metrics, &series)
}

/// How many were turned away for this.
fn rejected(metrics: &str, reason: &str) -> Option<f64> {
    let series = format!(r#"decant_scorer_rejected_total{{reason="{reason}"}}"#);
    value(metrics, &series)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_version_does_is_told_by_its_part_and_by_what_became_of_requests() {
    let (scorer, _) = Scorer::serving().await;
    let of_version = r#"{arm="stable",model="films",slot="main",version="1"}"#;
    let rows_series = format!("decant_scorer_rows_total{of_version}");
    let before = scorer.metrics();
    let answered = requests(&before, "stable", "OK", 1).unwrap();
    let rows = value(&before, &rows_series).unwrap();

    let mut client = scorer.client.clone();
    client.score(score(1, &[100, 101, 102])).await.unwrap();
    let lacking = wire::ScoreRequest {
        model: films(),
        columns: vec![ints("user", &[1])],
    };
    let refused = client.score(lacking).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);

    let after = scorer.metrics();
    assert_eq!(requests(&after, "stable", "OK", 1), Some(answered + 1.0));
    assert_eq!(requests(&after, "stable", "INVALID_ARGUMENT", 1), Some(1.0));
    assert_eq!(requests(&after, "stable", "INTERNAL", 1), None);
    assert_eq!(value(&after, &rows_series), Some(rows + 3.0));
    for histogram in ["queue_duration_seconds", "compute_duration_seconds"] {
        let series = format!("decant_scorer_{histogram}_count{of_version}");
        assert_eq!(value(&after, &series), Some(answered + 1.0), "{series}");
    }
    // A sample of the scores, the first one of all.
    let scores = format!("decant_scorer_score_count{of_version}");
    assert!(value(&after, &scores).is_some_and(|count| count >= 1.0));
    let batches = r#"decant_scorer_batch_rows_count{model="films",version="1"}"#;
    assert!(value(&after, batches).is_some_and(|count| count >= 1.0));
    scorer
        .measures(&[
            r#"decant_scorer_servable_info{arm="stable",model="films",slot="main",state="available",version="1"} 1"#,
            r#"decant_scorer_generation_wanted{model="films",slot="main"} 1"#,
            r#"decant_scorer_generation_observed{model="films",slot="main"} 1"#,
            r#"decant_scorer_loads_total{model="films",outcome="ready"} 1"#,
            r#"decant_scorer_load_duration_seconds_count{model="films",phase="replay"} 1"#,
            "decant_scorer_in_flight 0",
            "decant_scorer_queue_rows 0",
            "decant_scorer_watch_divergences_total 0",
        ])
        .await;
    let budget = value(&after, "decant_scorer_memory_budget_bytes").unwrap();
    let promised = value(&after, "decant_scorer_memory_promised_bytes").unwrap();
    assert!(promised > 0.0 && promised <= budget);
    assert!(value(&after, "decant_scorer_load").is_some());
    assert!(value(&after, "decant_scorer_store_age_seconds").is_some());
    scorer.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_that_has_left_is_not_told_of_any_more() {
    let (scorer, _) = Scorer::serving().await;
    scorer.pour(2, &files(NEW)).await;
    // What was there before stays, so that the way back is short, and with it what it has counted.
    assert!(requests(&scorer.metrics(), "stable", "OK", 1).is_some());
    scorer.pour(3, &files(2.0 * NEW)).await;
    eventually("the first version has left", || async {
        let metrics = scorer.metrics();
        let told = [
            "decant_scorer_requests_total",
            "decant_scorer_rows_total",
            "decant_scorer_servable_info",
        ];
        let mut lines = metrics.lines();
        !lines.any(|line| {
            line.contains(r#"version="1""#) && told.iter().any(|name| line.starts_with(name))
        })
    })
    .await;
    assert!(requests(&scorer.metrics(), "stable", "OK", 3).is_some());
    scorer.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_turned_away_is_counted_by_why_and_what_callers_say_is_no_label() {
    let (scorer, _) = Scorer::serving().await;
    let mut client = scorer.client.clone();
    let mut named = Request::new(score(1, &[100]));
    for (key, value) in [
        ("decant-routing-key", "mallory"),
        ("user-agent-x", "mallory"),
    ] {
        named.metadata_mut().insert(key, value.parse().unwrap());
    }
    client.score(named).await.unwrap();
    let unknown = wire::ScoreRequest {
        model: Some(wire::ModelRef {
            model: "mallorys-model".into(),
            slot: "mallorys-slot".into(),
        }),
        columns: Vec::new(),
    };
    client.score(unknown).await.unwrap_err();
    let metrics = scorer.metrics();
    assert!(!metrics.contains("mallory"), "{metrics}");
    for reason in [
        "queue_full",
        "deadline",
        "client_limit",
        "draining",
        "not_ready",
        "early",
    ] {
        assert!(rejected(&metrics, reason).is_some(), "{reason}");
    }
    // Whoever waited for the first version was.
    let before = rejected(&metrics, "not_ready").unwrap();

    scorer.empty(2).await;
    eventually("nothing answers", || async {
        let answer = scorer.client.clone().score(score(1, &[100])).await;
        answer.is_err()
    })
    .await;
    let metrics = scorer.metrics();
    assert_eq!(rejected(&metrics, "not_ready"), Some(before + 1.0));
    scorer.drain().await;
    client.score(score(1, &[100])).await.unwrap_err();
    assert_eq!(rejected(&scorer.metrics(), "draining"), Some(1.0));
    scorer.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn comparisons_are_told_while_a_rollout_has_the_slot_and_are_no_requests() {
    let config = decant_scorer::Config {
        compare_cpu_percent: 100,
        ..quick()
    };
    let scorer = Scorer::start_with(config).await;
    let old = scorer.pour(1, &files(0.0)).await;
    let new = scorer.push(&files(NEW)).await;
    assert!(!scorer.metrics().contains("decant_scorer_compared_rows"));
    let parts = [
        (1, old, Arm::Stable, BASIS_POINTS),
        (2, new, Arm::Shadow, 0),
    ];
    scorer.world.desire(&release(2, &parts, BASIS_POINTS)).await;
    scorer
        .measures(&[r#"decant_scorer_generation_observed{model="films",slot="main"} 2"#])
        .await;
    let before = requests(&scorer.metrics(), "stable", "OK", 1).unwrap();
    let mut client = scorer.client.clone();
    for _ in 0..10 {
        client.score(score(1, &[100, 101, 102])).await.unwrap();
    }
    eventually("a request was compared", || async {
        let metrics = scorer.metrics();
        let agreement = r#"decant_scorer_agreement{against="stable",model="films",slot="main"}"#;
        let rows = r#"decant_scorer_compared_rows_total{model="films",slot="main"}"#;
        let is_compared = value(&metrics, rows).is_some_and(|rows| rows >= 3.0);
        is_compared && value(&metrics, agreement).is_some()
    })
    .await;
    let after = scorer.metrics();
    // The shadow's were comparisons; that the stable version was asked again for them is not.
    assert_eq!(requests(&after, "stable", "OK", 1), Some(before + 10.0));
    assert!(requests(&after, "shadow", "OK", 2).is_some_and(|count| count >= 1.0));
    let skipped = r#"decant_scorer_comparisons_skipped_total{model="films",slot="main"}"#;
    assert!(value(&after, skipped).is_some());
    scorer.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cache_and_loads_that_fail_are_told_of() {
    let scorer = Scorer::start_member(World::new()).await;
    scorer.pour(1, &files(0.0)).await;
    scorer
        .measures(&[
            r#"decant_scorer_cache_lookups_total{outcome="miss"} 1"#,
            r#"decant_scorer_cache_lookups_total{outcome="hit"} 0"#,
        ])
        .await;
    let bytes = value(&scorer.metrics(), "decant_scorer_cache_bytes");
    assert!(bytes.is_some_and(|bytes| bytes > 0.0));
    let mut bad = files(NEW);
    bad.insert(file::GOLDEN, wrong_golden(NEW));
    let digest = scorer.push(&bad).await;
    scorer.set(2, 2, digest).await;
    eventually("a load has failed", || async {
        let failed = r#"decant_scorer_loads_total{model="films",outcome="failed"}"#;
        value(&scorer.metrics(), failed).is_some_and(|count| count >= 1.0)
    })
    .await;
    scorer.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scorer_that_was_stopped_tells_nothing_more() {
    let (scorer, _) = Scorer::serving().await;
    let telemetry = scorer.telemetry.clone();
    scorer.stop().await;
    let observed = ["decant_scorer_in_flight", "decant_scorer_requests_total"];
    eventually("nothing is told any more", || async {
        let families = telemetry.prometheus().gather();
        !families
            .iter()
            .any(|family| observed.contains(&family.name()))
    })
    .await;
}
