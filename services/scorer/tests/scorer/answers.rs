//! What sound requests are answered.

use decant_proto::rollout::v1::Arm;
use decant_proto::scorer::v1 as wire;
use decant_scorer::Config;
use futures::future::join_all;
use tokio_stream::StreamExt;
use tonic_types::StatusExt;
use wire::score_stream_response::Outcome;

use crate::fixture;
use crate::harness::{Scorer, files, films, items, quick, score, user};
use crate::refusals::status;

#[tokio::test]
async fn score_answers_each_row_and_says_who_answered() {
    let (scorer, digest) = Scorer::serving().await;
    let answer = scorer
        .client
        .clone()
        .score(score(2, &[100, 107, 100]))
        .await
        .unwrap()
        .into_inner();
    let expected = fixture::expected(0.0, 2, 30.0);
    for (got, wanted) in answer
        .scores
        .iter()
        .zip([expected[0], expected[7], expected[0]])
    {
        assert!((got - wanted).abs() < 1e-6, "{got} {wanted}");
    }
    assert_eq!(answer.scores.len(), 3);
    let found = answer.served_by.unwrap();
    assert!(
        found.compute_micros > 0 && (0.0..=1.0).contains(&found.load),
        "{found:?}"
    );
    let served_by = wire::ServedBy {
        model: "films".into(),
        slot: "main".into(),
        version: 1,
        digest: digest.to_string(),
        arm: Arm::Stable.into(),
        generation: 1,
        queue_micros: found.queue_micros,
        compute_micros: found.compute_micros,
        load: found.load,
    };
    assert_eq!(found, served_by);
    scorer.stop().await;
}

#[tokio::test]
async fn who_had_to_wait_is_told_for_how_long_and_how_busy_the_scorer_was() {
    let config = Config {
        // Nobody is refused.
        queue_millis: 60_000,
        ..quick()
    };
    let scorer = Scorer::start_with(config).await;
    scorer.pour(1, &files(0.0)).await;
    // None of these shares a batch with another.
    let recommend = || {
        let mut client = scorer.client.clone();
        let request = wire::RecommendRequest {
            model: films(),
            query: user(1),
            top_k: 1,
            ..wire::RecommendRequest::default()
        };
        async move {
            let answer = client.recommend(request).await.unwrap().into_inner();
            answer.served_by.unwrap()
        }
    };
    let alone = recommend().await;
    let crowd = join_all((0..500).map(|_| recommend())).await;
    let longest = crowd.iter().map(|served| served.queue_micros).max();
    assert!(longest > Some(alone.queue_micros), "{alone:?} {longest:?}");
    let busiest = crowd.iter().map(|served| served.load).reduce(f32::max);
    assert!(busiest > Some(alone.load), "{alone:?} {busiest:?}");
    scorer.stop().await;
}

#[tokio::test]
async fn rank_gives_the_same_by_id_and_by_columns() {
    let (scorer, _) = Scorer::serving().await;
    let asked = [103, 101, 107, 100];
    let expected = fixture::expected(0.0, 1, 30.0);
    let ids = asked.iter().map(i64::to_string).collect();
    let columns = wire::Columns {
        columns: items(&asked),
    };
    let by_id = wire::rank_request::Candidates::ItemIds(ids);
    let by_columns = wire::rank_request::Candidates::ItemColumns(columns);
    for (candidates, named) in [(by_id, true), (by_columns, false)] {
        let request = wire::RankRequest {
            model: films(),
            query: user(1),
            candidates: Some(candidates),
            top_k: 0,
        };
        let ranked = scorer
            .client
            .clone()
            .rank(request.clone())
            .await
            .unwrap()
            .into_inner()
            .items;
        assert_eq!(ranked.len(), asked.len());
        assert!(
            ranked
                .iter()
                .is_sorted_by(|left, right| left.score >= right.score)
        );
        for item in ranked.iter() {
            let film = asked[item.position as usize];
            assert!((item.score - expected[(film - 100) as usize]).abs() < 1e-6);
            assert_eq!(
                item.id,
                if named {
                    film.to_string()
                } else {
                    String::new()
                }
            );
        }
        let best = scorer
            .client
            .clone()
            .rank(wire::RankRequest {
                top_k: 2,
                ..request
            })
            .await
            .unwrap();
        assert_eq!(best.into_inner().items, ranked.iter().take(2).collect());
    }
    scorer.stop().await;
}

#[tokio::test]
async fn recommend_takes_the_catalogs_best_but_the_excluded() {
    let (scorer, _) = Scorer::serving().await;
    let expected = fixture::expected(0.0, 3, 30.0);
    let mut best: Vec<usize> = (0..fixture::FILMS).collect();
    best.sort_by(|left, right| expected[*right].total_cmp(&expected[*left]));
    let excluded = best[0];
    let request = wire::RecommendRequest {
        model: films(),
        query: user(3),
        top_k: 3,
        exclude_item_ids: vec![(100 + excluded).to_string(), "unheard-of".into()],
        return_columns: vec!["title".into(), "genres".into()],
    };
    let items = scorer
        .client
        .clone()
        .recommend(request.clone())
        .await
        .unwrap()
        .into_inner()
        .items;
    let ids: Vec<String> = items.iter().map(|item| item.id.to_owned()).collect();
    assert_eq!(
        ids,
        best[1..4]
            .iter()
            .map(|film| (100 + film).to_string())
            .collect::<Vec<_>>()
    );
    let attributes = items.get(0).unwrap().attributes.unwrap();
    assert_eq!(attributes["title"], format!("Film {}", best[1]));
    assert_eq!(
        attributes["genres"],
        ["drama", "comedy", "western"][best[1] % 3]
    );
    let all = wire::RecommendRequest {
        top_k: 1_000_000,
        ..request
    };
    let all = scorer
        .client
        .clone()
        .recommend(all)
        .await
        .unwrap()
        .into_inner()
        .items;
    assert_eq!(all.len(), fixture::FILMS - 1);
    scorer.stop().await;
}

#[tokio::test]
async fn a_stream_answers_in_order_and_survives_bad_requests() {
    let (scorer, _) = Scorer::serving().await;
    let requests = (0..200_u64).map(|id| {
        let request = if id % 10 == 7 {
            wire::ScoreRequest::default()
        } else {
            score(1, &[100 + (id % 8) as i64])
        };
        wire::ScoreStreamRequest {
            id,
            request: Some(request),
        }
    });
    let answers = scorer
        .client
        .clone()
        .score_stream(tokio_stream::iter(requests))
        .await
        .unwrap();
    let answers: Vec<_> = answers
        .into_inner()
        .collect::<Result<_, _>>()
        .await
        .unwrap();
    assert_eq!(
        answers.iter().map(|answer| answer.id).collect::<Vec<_>>(),
        (0..200).collect::<Vec<_>>()
    );
    let expected = fixture::expected(0.0, 1, 30.0);
    for answer in answers {
        match answer.outcome.unwrap() {
            Outcome::Response(response) => {
                assert!((response.scores[0] - expected[(answer.id % 8) as usize]).abs() < 1e-6)
            }
            Outcome::Error(error) => {
                assert_eq!(
                    (answer.id % 10, error.code),
                    (7, tonic::Code::InvalidArgument.into())
                );
                assert!(
                    error.message.contains("model: missing"),
                    "{}",
                    error.message
                );
                let status = status(&error);
                let details = status.get_details_bad_request().unwrap();
                assert_eq!(details.field_violations[0].field, "model");
            }
        }
    }
    scorer.stop().await;
}

#[tokio::test]
async fn servables_are_listed_with_what_they_did() {
    let (scorer, digest) = Scorer::serving().await;
    for _ in 0..5 {
        scorer.client.clone().score(score(1, &[100])).await.unwrap();
    }
    let listed = scorer.listed(1, wire::ServableState::Available).await;
    assert_eq!(listed.served_by.unwrap().digest, digest.to_string());
    assert!(listed.answered >= 5, "{}", listed.answered);
    let times = listed.load_times.unwrap();
    assert!(
        times.fetch_micros > 0
            && times.open_micros > 0
            && times.replay_micros > 0
            && times.warm_up_micros > 0
    );
    assert!(listed.state_time.unwrap().seconds > 1_600_000_000);
    assert_eq!(listed.error, "");
    scorer.stop().await;
}
