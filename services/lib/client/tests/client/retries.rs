//! Which failures lead to another attempt, where, and how many there are.

use std::time::{Duration, Instant};

use decant_client::{Code, Error};
use decant_proto::status::{ErrorCode, bad_request, busy};
use tokio::task::JoinSet;
use tonic::Status;

use crate::running::{LONG, Running, answering, builder, page, repeat_until};
use crate::scorer::{Act, Asked};

fn unavailable() -> Act {
    Act::Refuse(ErrorCode::NotReady.status("no version is ready"))
}

#[tokio::test]
async fn what_one_refuses_another_answers() {
    let refusals = [
        unavailable(),
        Act::Refuse(busy("the queue is full", LONG)),
        Act::Refuse(Status::resource_exhausted("too many")),
    ];
    for refusal in refusals {
        let (full, free) = (Running::start(1).await, Running::start(2).await);
        full.acts([refusal]);
        let scorers = builder([&full, &free]).build().unwrap();
        let call = async || assert_eq!(answering(&scorers).await, 2);
        repeat_until("the full one is asked", || !full.asked().is_empty(), call).await;
        let [before, after] = [&full, &free].map(|server| server.asked().pop().unwrap());
        let left = |asked: &Asked| -> u64 {
            let timeout = asked.headers["grpc-timeout"].strip_suffix('u');
            timeout.unwrap().parse().unwrap()
        };
        assert!(left(&after) < left(&before), "each is told what is left");
    }
}

#[tokio::test]
async fn what_breaks_off_is_answered_by_another() {
    let (mut broken, whole) = (Running::start(1).await, Running::start(2).await);
    broken.acts([Act::Hang]);
    let scorers = builder([&broken, &whole]).build().unwrap();
    let mut calls = JoinSet::new();
    let call = async || {
        let scorers = scorers.clone();
        calls.spawn(async move { answering(&scorers).await });
        tokio::time::sleep(Duration::from_millis(1)).await;
    };
    repeat_until("it is asked", || !broken.asked().is_empty(), call).await;
    broken.kill();
    while let Some(version) = calls.join_next().await {
        assert_eq!(version.unwrap(), 2);
    }
}

#[tokio::test]
async fn a_lone_scorer_that_is_busy_is_asked_again_when_it_said() {
    let server = Running::start(1).await;
    let pause = Duration::from_millis(80);
    server.acts([Act::Refuse(busy("the queue is full", pause)), Act::Answer]);
    let scorers = builder([&server]).build().unwrap();
    let began = Instant::now();
    assert_eq!(answering(&scorers).await, 1);
    assert!(began.elapsed() >= pause);
    assert_eq!(server.asked().len(), 2);

    // There is no time for the pause: the caller hears of it at once.
    server.acts([Act::Refuse(busy("the queue is full", 2 * LONG))]);
    let error = scorers.rank(&page()).await.unwrap_err();
    assert!(error.is_retryable());
    assert_eq!(error.tried().attempts, 1);
    assert!(matches!(error, Error::Busy { retry_after, .. } if retry_after == 2 * LONG));
}

#[tokio::test]
async fn a_lone_scorer_that_is_not_ready_is_asked_again_after_a_pause() {
    let server = Running::start(1).await;
    server.acts([unavailable(), unavailable(), Act::Answer]);
    let scorers = builder([&server]).build().unwrap();
    assert_eq!(answering(&scorers).await, 1);
    assert_eq!(server.asked().len(), 3);
}

#[tokio::test]
async fn nobody_is_asked_twice_in_a_row_while_there_is_another() {
    let servers = [Running::start(1).await, Running::start(2).await];
    for server in &servers {
        server.acts([unavailable()]);
    }
    for call in 1..=8 {
        // Each client knows nothing bad of either when it begins.
        let scorers = builder(&servers).build().unwrap();
        let error = scorers.rank(&page()).await.unwrap_err();
        assert_eq!(error.tried().attempts, 4, "{error}");
        let [one, other] = servers.each_ref().map(|server| server.asked());
        let mut asked: Vec<_> = one.iter().map(|asked| (asked.at, 1)).collect();
        asked.extend(other.iter().map(|asked| (asked.at, 2)));
        asked.sort_unstable();
        let last: Vec<u64> = asked[4 * (call - 1)..]
            .iter()
            .map(|(_, who)| *who)
            .collect();
        assert!(last == [1, 2, 1, 2] || last == [2, 1, 2, 1], "{last:?}");
    }
}

#[tokio::test]
async fn what_no_scorer_would_answer_is_asked_once() {
    let (one, other) = (Running::start(1).await, Running::start(2).await);
    let scorers = builder([&one, &other]).build().unwrap();
    let wrong = bad_request([("query[age]".to_owned(), "is missing".to_owned())]);
    let statuses = [
        wrong,
        ErrorCode::NotFound.status("no such slot"),
        ErrorCode::Precondition.status("no catalog"),
        ErrorCode::Expired.status("too late"),
        ErrorCode::Internal.status("scoring broke off"),
    ];
    for (calls, status) in statuses.into_iter().enumerate() {
        let code = status.code();
        for server in [&one, &other] {
            server.acts([Act::Refuse(status.clone())]);
        }
        let error = scorers.rank(&page()).await.unwrap_err();
        assert!(!error.is_retryable());
        assert_eq!(error.tried().attempts, 1);
        let fits = match (&error, code) {
            (Error::Invalid { violations, .. }, Code::InvalidArgument) => {
                violations[0].field == "query[age]" && violations[0].reason == "is missing"
            }
            (Error::NotFound { message, .. }, Code::NotFound) => message == "no such slot",
            (Error::Precondition { message, .. }, Code::FailedPrecondition) => {
                message == "no catalog"
            }
            (Error::Expired { deadline, .. }, Code::DeadlineExceeded) => *deadline == LONG,
            (Error::Unexpected { code, .. }, Code::Internal) => *code == Code::Internal,
            _ => false,
        };
        assert!(fits, "{code:?}: {error:?}");
        assert_eq!(one.asked().len() + other.asked().len(), calls + 1);
    }
}

#[tokio::test]
async fn retries_do_not_become_a_storm() {
    let servers = [
        Running::start(1).await,
        Running::start(2).await,
        Running::start(3).await,
    ];
    for server in &servers {
        server.acts([unavailable()]);
    }
    let scorers = builder(&servers).build().unwrap();
    let began = Instant::now();
    let calls = 300;
    let mut attempts = 0;
    for _ in 0..calls {
        let error = scorers.rank(&page()).await.unwrap_err();
        assert!(matches!(error, Error::NotReady { .. }), "{error}");
        assert!(error.tried().attempts <= 4, "{error}");
        assert!(error.to_string().contains("no version is ready"), "{error}");
        attempts += error.tried().attempts as usize;
    }
    let asked: usize = servers.iter().map(|server| server.asked().len()).sum();
    assert_eq!(asked, attempts);
    let retries = attempts - calls;
    // What was saved up, a fifth of the calls, and one a second.
    let most = 10.0 + 0.2 * calls as f64 + began.elapsed().as_secs_f64();
    assert!(retries as f64 <= most, "{retries} retries of {calls} calls");
    assert!(retries >= 10, "{retries}");
}
