//! Scorers that leave the rotation and come back.

use std::net::TcpListener;
use std::time::Duration;

use decant_client::{Error, Scorers};
use tokio::task::JoinSet;

use crate::running::{Running, answering, builder, ejected, page, repeat_until, until};
use crate::scorer::Act;

/// Half of it is silence for which a scorer is blamed; an answer has the other half.
const DEADLINE: Duration = Duration::from_secs(2);

/// Calls at the same time, of which each must be answered; the versions that did.
async fn calls(scorers: &Scorers, count: usize) -> Vec<u64> {
    let mut running = JoinSet::new();
    for _ in 0..count {
        let scorers = scorers.clone();
        running.spawn(async move { answering(&scorers).await });
    }
    running.join_all().await
}

/// Makes calls until the scorer is asked again.
async fn asked_again(scorers: &Scorers, server: &Running) {
    let asked = server.asked().len();
    let step = async || drop(calls(scorers, 5).await);
    repeat_until("it is asked again", || server.asked().len() > asked, step).await;
}

#[tokio::test]
async fn a_scorer_that_freezes_is_left_out_until_it_thaws() {
    let servers = [
        Running::start(1).await,
        Running::start(2).await,
        Running::start(3).await,
    ];
    let frozen = &servers[0];
    let scorers = builder(&servers).deadline(DEADLINE).build().unwrap();
    asked_again(&scorers, frozen).await;
    frozen.freeze();
    let step = async || assert!(!calls(&scorers, 12).await.contains(&1));
    repeat_until("it is out", || ejected(&scorers, frozen), step).await;
    let asked = frozen.asked().len();
    assert!(!calls(&scorers, 50).await.contains(&1));
    assert_eq!(frozen.asked().len(), asked);

    frozen.serve();
    until("it is back", || !ejected(&scorers, frozen)).await;
    assert!(frozen.checked().iter().all(|name| name == "movielens/main"));
    asked_again(&scorers, frozen).await;
}

#[tokio::test]
async fn a_scorer_that_accepts_and_never_answers_is_left_out() {
    // The kernel makes connections in the name of whoever listens.
    let stopped = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", stopped.local_addr().unwrap());
    let server = Running::start(1).await;
    let scorers = builder([&server])
        .endpoint(&address)
        .deadline(DEADLINE)
        .build()
        .unwrap();
    let is_out = || scorers.statuses()[1].ejected;
    let step = async || drop(calls(&scorers, 8).await);
    repeat_until("it is out", is_out, step).await;
    calls(&scorers, 50).await;
    assert!(is_out());
    assert_eq!(scorers.statuses()[1].in_flight, 0);
}

#[tokio::test]
async fn silence_takes_out_no_more_than_half() {
    let servers = [Running::start(1).await, Running::start(2).await];
    for server in &servers {
        server.freeze();
    }
    let deadline = Duration::from_millis(100);
    let scorers = builder(&servers).deadline(deadline).build().unwrap();
    let out = || {
        let statuses = scorers.statuses().into_iter();
        statuses.filter(|status| status.ejected).count()
    };
    let step = async || {
        let error = scorers.rank(&page()).await.unwrap_err();
        assert!(matches!(error, Error::Expired { .. }), "{error}");
    };
    repeat_until("one is out", || out() > 0, step).await;
    for _ in 0..8 {
        scorers.rank(&page()).await.unwrap_err();
        assert_eq!(out(), 1);
    }
}

#[tokio::test]
async fn when_all_are_out_all_are_asked() {
    let mut servers = [
        Running::start(1).await,
        Running::start(2).await,
        Running::start(3).await,
    ];
    let scorers = builder(&servers).build().unwrap();
    for server in &mut servers {
        server.kill();
    }
    let all_out = || scorers.statuses().iter().all(|status| status.ejected);
    let step = async || {
        let error = scorers.rank(&page()).await.unwrap_err();
        assert!(matches!(error, Error::NotReady { .. }), "{error}");
        assert!(error.to_string().contains("refused"), "{error}");
    };
    repeat_until("all are out", all_out, step).await;
    // The very next call finds the one that is there again, whatever probes have found.
    servers[1].restart().await;
    assert_eq!(answering(&scorers).await, 2);
    assert!(!ejected(&scorers, &servers[1]));
    assert_eq!(calls(&scorers, 20).await, [2; 20]);
}

#[tokio::test]
async fn another_process_at_the_address_is_asked_first_whether_it_serves() {
    let (mut replaced, other) = (Running::start(1).await, Running::start(2).await);
    let scorers = builder([&replaced, &other]).build().unwrap();
    replaced.kill();
    let step = async || assert_eq!(answering(&scorers).await, 2);
    repeat_until("it is out", || ejected(&scorers, &replaced), step).await;
    replaced.load_model();
    replaced.restart().await;
    let checked = replaced.checked().len();
    until("it is probed", || replaced.checked().len() > checked + 1).await;
    assert_eq!(calls(&scorers, 20).await, [2; 20]);
    assert!(replaced.asked().is_empty());

    replaced.serve();
    until("it is back", || !ejected(&scorers, &replaced)).await;
    asked_again(&scorers, &replaced).await;
}

#[tokio::test]
async fn a_scorer_that_drains_gets_no_calls_until_it_serves_again() {
    let (draining, other) = (Running::start(1).await, Running::start(2).await);
    let scorers = builder([&draining, &other]).build().unwrap();
    draining.drain();
    let step = async || assert_eq!(answering(&scorers).await, 2);
    repeat_until("it is out", || ejected(&scorers, &draining), step).await;
    let asked = draining.asked().len();
    until("it is probed twice", || draining.checked().len() > 1).await;
    assert_eq!(calls(&scorers, 20).await, [2; 20]);
    assert_eq!(draining.asked().len(), asked);

    draining.serve();
    until("it is back", || !ejected(&scorers, &draining)).await;
    asked_again(&scorers, &draining).await;
}

#[tokio::test]
async fn a_scorer_without_a_health_service_comes_back_too() {
    let (lost, other) = (Running::start(1).await, Running::start(2).await);
    lost.serve_without_health();
    let refusal = Act::Refuse(tonic::Status::unavailable("no version is ready"));
    lost.acts([refusal]);
    let scorers = builder([&lost, &other]).build().unwrap();
    let step = async || assert_eq!(answering(&scorers).await, 2);
    repeat_until("it is out", || ejected(&scorers, &lost), step).await;
    lost.acts([Act::Answer]);
    asked_again(&scorers, &lost).await;
}
