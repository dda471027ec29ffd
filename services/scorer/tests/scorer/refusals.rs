//! What bad requests are told: the code, and every violation.

use std::time::Duration;

use decant_proto::inference as oip;
use decant_proto::scorer::v1 as wire;
use decant_scorer::Config;
use futures::StreamExt;
use prost::Message;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;
use wire::score_stream_response::Outcome;
use wire::scorer_service_client::ScorerServiceClient;

use crate::fixture::FILMS;
use crate::harness::{
    Scorer, eventually, files, films, floats, ints, items, narrow, quick, score, texts, user,
};

/// The fields that a refusal names.
fn fields(status: &Status) -> Vec<String> {
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    let details = status.get_details_bad_request().expect("a BadRequest");
    details
        .field_violations
        .into_iter()
        .map(|violation| violation.field)
        .collect()
}

fn with(column: wire::Column) -> wire::ScoreRequest {
    let mut request = score(1, &[100, 101]);
    request.columns.retain(|other| other.name != column.name);
    request.columns.push(column);
    request
}

async fn refused(scorer: &Scorer, request: wire::ScoreRequest) -> Status {
    scorer.client.clone().score(request).await.unwrap_err()
}

#[tokio::test]
async fn score_lists_everything_that_is_wrong() {
    let (scorer, _) = Scorer::serving().await;
    let cases: Vec<(&str, wire::ScoreRequest, &[&str])> = vec![
        (
            "wrong type",
            with(floats("user", &[1.0, 2.0])),
            &["columns[user]"],
        ),
        (
            "text for a number",
            with(texts("age", &["a", "b"], &[])),
            &["columns[age]"],
        ),
        (
            "a list for one value",
            with(texts("film", &["100", "101"], &[0, 1, 2])),
            &["columns[film]"],
        ),
        (
            "extra column",
            with(ints("hour", &[1, 2])),
            &["columns[hour]"],
        ),
        (
            "not a number",
            with(floats("age", &[1.0, f32::NAN])),
            &["columns[age]"],
        ),
        (
            "infinite",
            with(floats("age", &[f32::INFINITY, 1.0])),
            &["columns[age]"],
        ),
        (
            "offsets too long",
            with(texts("genres", &["drama"], &[0, 1, 2])),
            &["columns[genres]"],
        ),
        (
            "offsets descend",
            with(texts("genres", &["drama"; 2], &[0, 3, 2])),
            &["columns[genres]"],
        ),
        (
            "offsets start late",
            with(texts("genres", &["drama"; 2], &[1, 1, 2])),
            &["columns[genres]"],
        ),
        (
            "rows differ",
            with(ints("user", &[1, 2, 3])),
            &["columns[user]"],
        ),
        ("no rows", score(1, &[]), &["columns"]),
        ("too many rows", score(1, &[100; 10_001]), &["columns"]),
        (
            "no model",
            wire::ScoreRequest {
                model: None,
                ..score(1, &[100])
            },
            &["model"],
        ),
    ];
    for (case, request, expected) in cases {
        let status = refused(&scorer, request).await;
        let mut fields = fields(&status);
        fields.dedup();
        // The first column is the one that others' rows are compared with.
        assert!(
            expected
                .iter()
                .all(|field| fields.contains(&(*field).to_owned())),
            "{case}: {status:?}"
        );
    }
    let nothing = refused(
        &scorer,
        wire::ScoreRequest {
            model: films(),
            columns: Vec::new(),
        },
    )
    .await;
    assert_eq!(
        fields(&nothing),
        [
            "columns",
            "columns[user]",
            "columns[age]",
            "columns[film]",
            "columns[genres]"
        ]
    );

    let several = wire::ScoreRequest {
        model: films(),
        columns: vec![
            ints("user", &[1]),
            floats("age", &[f32::NAN]),
            ints("usr", &[1]),
            floats("film", &[1.0]),
        ],
    };
    let several = refused(&scorer, several).await;
    assert_eq!(
        fields(&several),
        [
            "columns[usr]",
            "columns[age]",
            "columns[film]",
            "columns[genres]"
        ]
    );
    assert!(
        several.message().contains("columns[age]: value 0 is NaN"),
        "{}",
        several.message()
    );

    let names = wire::ModelRef {
        model: "Films".into(),
        slot: "-".into(),
    };
    let names = refused(
        &scorer,
        wire::ScoreRequest {
            model: Some(names),
            columns: Vec::new(),
        },
    )
    .await;
    assert_eq!(fields(&names), ["model.model", "model.slot"]);
    scorer.stop().await;
}

#[tokio::test]
async fn rank_and_recommend_refuse_what_they_cannot_rank() {
    let (scorer, _) = Scorer::serving().await;
    let ids = |ids: &[&str]| {
        let ids = ids.iter().collect();
        Some(wire::rank_request::Candidates::ItemIds(ids))
    };
    let rank = |query: Vec<wire::Column>, candidates: Option<wire::rank_request::Candidates>| {
        let mut client = scorer.client.clone();
        async move {
            let request = wire::RankRequest {
                model: films(),
                query,
                candidates,
                top_k: 0,
            };
            client.rank(request).await.unwrap_err()
        }
    };
    let two_users = vec![ints("user", &[1, 2]), floats("age", &[1.0, 2.0])];
    assert_eq!(
        fields(&rank(two_users.clone(), ids(&["100"])).await),
        ["query"]
    );
    let nobody = vec![ints("user", &[]), floats("age", &[])];
    assert_eq!(fields(&rank(nobody, ids(&[])).await), ["query", "item_ids"]);
    assert_eq!(fields(&rank(user(1), None).await), ["candidates"]);
    let mut with_an_items_column = user(1);
    with_an_items_column.push(ints("film", &[100]));
    assert_eq!(
        fields(&rank(with_an_items_column, ids(&["100"])).await),
        ["query[film]"]
    );
    let mut columns = items(&[100, 101]);
    columns.pop();
    let columns = Some(wire::rank_request::Candidates::ItemColumns(wire::Columns {
        columns,
    }));
    let both = rank(vec![ints("user", &[1])], columns).await;
    assert_eq!(fields(&both), ["query[age]", "item_columns[genres]"]);

    let unknown = rank(user(1), ids(&["100", "1", "x"])).await;
    assert_eq!(unknown.code(), Code::NotFound);
    assert!(unknown.message().contains("1, x"), "{}", unknown.message());
    let many: Vec<String> = (0..25).map(|id| format!("x{id}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let many = rank(user(1), ids(&many)).await;
    assert!(
        many.message().ends_with("x9, and 15 more"),
        "{}",
        many.message()
    );

    let request = wire::RecommendRequest {
        model: films(),
        query: two_users,
        top_k: 0,
        exclude_item_ids: vec!["100".into(); 10_001],
        return_columns: vec!["title".into(), "colour".into(), "title".into()],
    };
    let recommend = scorer.client.clone().recommend(request).await.unwrap_err();
    assert_eq!(
        fields(&recommend),
        [
            "query",
            "top_k",
            "exclude_item_ids",
            "return_columns[1]",
            "return_columns[2]"
        ]
    );
    scorer.stop().await;
}

#[tokio::test]
async fn what_is_larger_than_allowed_is_refused_before_it_costs_anything() {
    let scorer = Scorer::start_with(Config {
        max_rows: 4,
        max_request_bytes: 64 << 10,
        ..quick()
    })
    .await;
    scorer.pour(1, &files(0.0)).await;
    let recommend = |top_k: u32| {
        let mut client = scorer.client.clone();
        async move {
            let request = wire::RecommendRequest {
                model: films(),
                query: user(1),
                top_k,
                ..Default::default()
            };
            client.recommend(request).await
        }
    };
    assert!(recommend(4).await.is_ok());
    let status = recommend(1_000_000).await.unwrap_err();
    assert_eq!(fields(&status), ["top_k"]);
    let [violation] = &status.get_details_bad_request().unwrap().field_violations[..] else {
        panic!("{status:?}");
    };
    assert_eq!(violation.description, "8 items, but at most 4 are allowed");

    let mut wide = score(1, &[100]);
    let more = (0..2_000).map(|number| ints(&number.to_string(), &[1]));
    wide.columns.extend(more);
    assert_eq!(fields(&refused(&scorer, wide).await), ["columns"]);

    // Also when the columns are not of one number of rows.
    let mut many = score(1, &[100; 5]);
    many.columns.push(ints("hour", &[1; 7]));
    let many = refused(&scorer, many).await;
    let limit = "columns: 7 rows, but at most 4 are allowed";
    assert!(many.message().contains(limit), "{many:?}");

    let status = refused(&scorer, score(1, &[1 << 40; 20_000])).await;
    assert_eq!(status.code(), Code::OutOfRange, "{status:?}");
    scorer.stop().await;
}

#[tokio::test]
async fn an_open_stream_ends_when_the_scorer_stops() {
    let (scorer, _) = Scorer::serving().await;
    let message = wire::ScoreStreamRequest {
        id: 7,
        request: Some(score(1, &[100])),
    };
    let open = tokio_stream::iter([message]).chain(tokio_stream::pending());
    let answers = scorer.client.clone().score_stream(open).await;
    let mut answers = answers.unwrap().into_inner();
    assert_eq!(answers.message().await.unwrap().unwrap().id, 7);
    scorer.drain().await;
    let status = answers.message().await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    // Its connection, too.
    scorer.stop().await;
}

#[tokio::test]
async fn a_priority_that_there_is_not_is_refused() {
    let (scorer, _) = Scorer::serving().await;
    let asked = |priority: &'static str| {
        let mut client = scorer.client.clone();
        async move {
            let mut request = Request::new(score(1, &[100]));
            let priority = priority.parse().unwrap();
            request.metadata_mut().insert("decant-priority", priority);
            client.score(request).await
        }
    };
    for priority in ["critical", "normal", "sheddable"] {
        assert!(asked(priority).await.is_ok(), "{priority}");
    }
    let status = asked("urgent").await.unwrap_err();
    assert_eq!(fields(&status), ["decant-priority"]);
    scorer.stop().await;
}

#[tokio::test]
async fn what_is_wrong_with_the_metadata_is_told_with_what_is_wrong_with_the_message() {
    fn astray<T>(message: T) -> Request<T> {
        let mut request = Request::new(message);
        let metadata = request.metadata_mut();
        metadata.insert("decant-priority", "urgent".parse().unwrap());
        let key = "x".repeat(1_025);
        metadata.insert("decant-routing-key", key.parse().unwrap());
        request
    }
    let (scorer, _) = Scorer::serving().await;
    let mut client = scorer.client.clone();
    let headers = ["decant-priority", "decant-routing-key"];
    let with_headers = |others: &[&'static str]| [&headers[..], others].concat();

    let request = with(floats("user", &[1.0, 2.0]));
    let status = client.score(astray(request)).await.unwrap_err();
    assert_eq!(fields(&status), with_headers(&["columns[user]"]));
    let request = wire::ScoreRequest {
        model: None,
        ..score(1, &[100])
    };
    let status = client.score(astray(request)).await.unwrap_err();
    assert_eq!(fields(&status), with_headers(&["model"]));

    let request = wire::RankRequest {
        model: films(),
        query: user(1),
        ..Default::default()
    };
    let status = client.rank(astray(request)).await.unwrap_err();
    assert_eq!(fields(&status), with_headers(&["candidates"]));
    let request = wire::RecommendRequest {
        model: films(),
        query: user(1),
        ..Default::default()
    };
    let status = client.recommend(astray(request)).await.unwrap_err();
    assert_eq!(fields(&status), with_headers(&["top_k"]));

    let request = oip::ModelInferRequest {
        model_name: "films".into(),
        ..Default::default()
    };
    let mut inference = scorer.inference.clone();
    let status = inference.model_infer(astray(request)).await.unwrap_err();
    assert_eq!(fields(&status)[..2], headers);
    assert!(fields(&status).len() > 2, "{status:?}");

    // Of a stream it is told before there is any message.
    let messages = tokio_stream::pending::<wire::ScoreStreamRequest>();
    let status = client.score_stream(astray(messages)).await.unwrap_err();
    assert_eq!(fields(&status), headers);
    scorer.stop().await;
}

#[tokio::test]
async fn a_version_without_a_catalog_cannot_be_asked_by_id() {
    let scorer = Scorer::start().await;
    let mut without = files(0.0);
    without.remove(decant_model::file::CATALOG);
    scorer.pour(1, &without).await;
    let request = wire::RecommendRequest {
        model: films(),
        query: user(1),
        top_k: 1,
        ..Default::default()
    };
    let status = scorer.client.clone().recommend(request).await.unwrap_err();
    assert_eq!(status.code(), Code::FailedPrecondition);
    scorer.stop().await;
}

#[tokio::test]
async fn what_is_unknown_is_not_found_and_what_is_not_ready_is_unavailable() {
    let (scorer, _) = Scorer::serving().await;
    for (model, slot) in [("books", ""), ("films", "trial")] {
        let model = Some(wire::ModelRef {
            model: model.into(),
            slot: slot.into(),
        });
        let status = refused(
            &scorer,
            wire::ScoreRequest {
                model,
                ..score(1, &[100])
            },
        )
        .await;
        assert_eq!(status.code(), Code::NotFound, "{status:?}");
    }
    scorer.empty(2).await;
    eventually("the slot is empty", || async {
        let answer = scorer.client.clone().score(score(1, &[100])).await;
        answer.is_err_and(|status| status.code() == Code::Unavailable)
    })
    .await;
    scorer.stop().await;
}

/// Some were refused, each with a time to come again.
/// An error within a stream, as the one of a call: field by field it is the same message.
pub(crate) fn status(error: &wire::StreamError) -> Status {
    let code = Code::from(error.code);
    Status::with_details(code, error.message.clone(), error.encode_to_vec().into())
}

pub(crate) fn check_busy(refused: impl Iterator<Item = Status>) {
    let refused: Vec<Status> = refused.collect();
    assert!(!refused.is_empty(), "nothing was refused");
    for status in refused {
        assert_eq!(status.code(), Code::ResourceExhausted);
        let retry = status.get_details_retry_info().expect("a RetryInfo");
        assert!(
            retry
                .retry_delay
                .is_some_and(|delay| delay > Duration::ZERO)
        );
    }
}

#[tokio::test]
async fn a_client_that_asks_for_too_much_is_refused_and_the_others_are_not() {
    let config = Config {
        workers: 1,
        client_rows: 1_000,
        ..quick()
    };
    let scorer = Scorer::start_with(config).await;
    scorer.pour(1, &files(0.0)).await;
    let call = |client: &'static str, rows: usize| {
        let mut request = Request::new(score(1, &vec![100; rows]));
        let name = client.parse().unwrap();
        request.metadata_mut().insert("decant-client", name);
        let mut scorer = scorer.client.clone();
        async move { (client, scorer.score(request).await) }
    };
    let calls = (0..200).map(|number| match number % 10 {
        0 => call("mail", 1),
        _ => call("feed", 900),
    });
    let answers = futures::future::join_all(calls).await;
    let refused = answers.into_iter().filter_map(|(client, answer)| {
        let refused = answer.err()?;
        assert_eq!(client, "feed", "{refused:?}");
        assert!(refused.message().contains("of this client"), "{refused:?}");
        Some(refused)
    });
    check_busy(refused);
    scorer.stop().await;
}

#[tokio::test]
async fn a_full_queue_refuses_with_a_time_to_come_again() {
    let scorer = Scorer::start_with(narrow(1_000, 1_000)).await;
    scorer.pour(1, &files(0.0)).await;
    let calls: Vec<_> = (0..200)
        .map(|_| {
            let mut client = scorer.client.clone();
            async move { client.score(score(1, &[100; 900])).await }
        })
        .collect();
    let answers = futures::future::join_all(calls).await;
    check_busy(answers.into_iter().filter_map(Result::err));

    // The messages of streams are told as much.
    let streams = (0..20).map(|_| {
        let mut client = scorer.client.clone();
        let messages = (0..10).map(|id| wire::ScoreStreamRequest {
            id,
            request: Some(score(1, &[100; 900])),
        });
        async move {
            let answers = client.score_stream(tokio_stream::iter(messages)).await;
            let answers: Vec<_> = answers.unwrap().into_inner().collect().await;
            answers
        }
    });
    let answers = futures::future::join_all(streams).await;
    let outcomes = answers
        .into_iter()
        .flatten()
        .map(|answer| answer.unwrap().outcome);
    check_busy(outcomes.filter_map(|outcome| match outcome {
        Some(Outcome::Error(error)) => Some(status(&error)),
        _ => None,
    }));
    scorer.answers(1).await;
    scorer.stop().await;
}

#[tokio::test]
async fn a_deadline_that_has_passed_is_said_to_have() {
    let (scorer, _) = Scorer::serving().await;
    let mut request = Request::new(score(1, &[100; FILMS]));
    request
        .metadata_mut()
        .insert("grpc-timeout", "100n".parse().unwrap());
    // Without a channel, which would give it up by itself.
    let mut client = ScorerServiceClient::new(scorer.app.routes());
    let status = client.score(request).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded, "{status:?}");
    let mut request = Request::new(score(1, &[100]));
    request.set_timeout(Duration::from_secs(30));
    assert!(scorer.client.clone().score(request).await.is_ok());
    scorer.stop().await;
}

#[tokio::test]
async fn a_draining_scorer_refuses_and_says_so_in_its_health() {
    let (scorer, _) = Scorer::serving().await;
    let serving = tonic_health::pb::health_check_response::ServingStatus::Serving;
    for name in ["decant.scorer.v1.ScorerService", "films/main"] {
        // Health is told of a version just after requests can be answered with it.
        eventually("health says so", async || {
            scorer.serving_status(name).await == Some(serving)
        })
        .await;
    }
    assert_eq!(scorer.serving_status("books/main").await, None);
    scorer.app.announce_drain().await;
    assert_ne!(scorer.serving_status("films/main").await, Some(serving));
    assert!(scorer.client.clone().score(score(1, &[100])).await.is_ok());
    scorer.drain().await;
    assert_ne!(
        scorer
            .serving_status("decant.scorer.v1.ScorerService")
            .await,
        Some(serving)
    );
    let status = refused(&scorer, score(1, &[100])).await;
    assert_eq!(status.code(), Code::Unavailable);
    scorer.stop().await;
}
