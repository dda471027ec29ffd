//! A call's one deadline, and calls that are given up.

use std::time::{Duration, Instant};

use decant_client::Error;
use decant_proto::status::{ErrorCode, busy};
use tokio::task::JoinSet;

use crate::running::{Running, answering, builder, page, repeat_until, until};
use crate::scorer::Act;

const SHORT: Duration = Duration::from_millis(300);

#[tokio::test]
async fn all_attempts_together_have_one_deadline() {
    let server = Running::start(1).await;
    let full = Act::Refuse(busy("the queue is full", Duration::from_millis(30)));
    server.acts([full, Act::Hang]);
    let scorers = builder([&server]).deadline(SHORT).build().unwrap();
    let began = Instant::now();
    let error = scorers.rank(&page()).await.unwrap_err();
    assert!(began.elapsed() >= SHORT);
    assert_eq!(
        error.to_string(),
        format!(
            "no answer within 300ms (2 attempts, the last at {})",
            server.url()
        )
    );
    assert_eq!(server.asked().len(), 2);
}

#[tokio::test]
async fn without_time_nobody_is_asked() {
    let server = Running::start(1).await;
    let scorers = builder([&server]).build().unwrap();
    let hurried = scorers.with_deadline(Duration::ZERO);
    let error = hurried.rank(&page()).await.unwrap_err();
    assert!(matches!(&error, Error::Expired { .. }), "{error}");
    assert_eq!(error.tried().attempts, 0);
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn a_silent_scorer_costs_half_of_the_deadline_and_no_call() {
    let (silent, other) = (Running::start(1).await, Running::start(2).await);
    silent.acts([Act::Hang]);
    let deadline = Duration::from_secs(4);
    let scorers = builder([&silent, &other])
        .deadline(deadline)
        .build()
        .unwrap();
    let began = Instant::now();
    let call = async || assert_eq!(answering(&scorers).await, 2);
    repeat_until("it is asked", || !silent.asked().is_empty(), call).await;
    assert!(began.elapsed() >= deadline / 2);
}

#[tokio::test]
async fn a_slow_answer_counts_when_it_is_the_first() {
    let servers = [Running::start(1).await, Running::start(2).await];
    let deadline = Duration::from_secs(4);
    for server in &servers {
        // The second to be asked would come too late.
        server.acts([Act::Slow(deadline * 5 / 8)]);
    }
    let scorers = builder(&servers).deadline(deadline).build().unwrap();
    answering(&scorers).await;
    assert_eq!(servers.map(|server| server.asked().len()), [1, 1]);
}

#[tokio::test]
async fn a_second_scorer_without_time_for_it_does_not_end_the_firsts_work() {
    let (slow, late) = (Running::start(1).await, Running::start(2).await);
    let deadline = Duration::from_secs(4);
    slow.acts([Act::Slow(deadline * 5 / 8)]);
    // As a scorer says at once that knows how long such a call takes.
    late.acts([Act::Refuse(ErrorCode::Expired.status("too late"))]);
    let scorers = builder([&slow, &late]).deadline(deadline).build().unwrap();
    let call = async || match scorers.rank(&page()).await {
        Ok(ranked) => assert_eq!(ranked.served_by.version, 1),
        Err(error) => {
            assert_eq!(error.tried().attempts, 1, "it was the first: {error}");
            assert!(slow.asked().is_empty());
        }
    };
    repeat_until("the slow one is asked", || !slow.asked().is_empty(), call).await;
    assert!(!late.asked().is_empty());
}

#[tokio::test]
async fn calls_that_are_dropped_leave_nothing_behind() {
    let server = Running::start(1).await;
    server.acts([Act::Hang]);
    let scorers = builder([&server]).build().unwrap();
    let mut calls = JoinSet::new();
    for _ in 0..20 {
        let scorers = scorers.clone();
        calls.spawn(async move { scorers.rank(&page()).await.map(drop) });
    }
    until("all calls have come in", || server.asked().len() == 20).await;
    assert_eq!(scorers.statuses()[0].in_flight, 20);
    calls.shutdown().await;
    let status = &scorers.statuses()[0];
    assert_eq!(status.in_flight, 0);
    assert!(!status.ejected, "nobody waited for long");
    server.acts([Act::Answer]);
    assert_eq!(answering(&scorers).await, 1);
}
